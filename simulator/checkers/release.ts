import type { CheckedSimulation } from "../checked-simulation.js";
import type { SimulatedMember } from "../member.js";
import type { RecoveryFault } from "./recovery.js";

/** Checks a mesh that its server has left to its members, a lease after all faults: what is not whole by now has ended. */
export function firstReleaseFault(
  context: CheckedSimulation,
  members: readonly SimulatedMember[],
): RecoveryFault | undefined {
  const { streamChecker, memberRuns, count } = context;
  const alive = members.filter(({ isOver }) => !isOver);
  if (members.some(({ isRegistered, releasedAt, process }) => isRegistered && !releasedAt && !process.isDead))
    count("left with a member that was not told");
  for (const from of alive) {
    const { address, releasedAt, machine } = from;
    if (releasedAt === undefined) return { invariant: "L2", detail: `${address} waits for a server that has gone` };
    const kept = machine.nativeLinks.find(({ peer }) => memberRuns.get(peer.id)?.isOver !== false);
    if (kept !== undefined)
      return { invariant: "L1", detail: `${address} keeps its link with ${kept.peer.address}, which has gone` };
    for (const to of alive) {
      const fault = from === to ? undefined : pairFault(context, from, to);
      if (fault !== undefined) return fault;
    }
  }
  const unfinished = streamChecker.unfinished(new Set(alive.map(({ id }) => id)));
  return unfinished === undefined ? undefined : { invariant: "L1", detail: unfinished };
}

/** Two members are linked at both ends and have everything that was sent, or have parted for good. */
function pairFault(
  { linkChecker, messageChecker, count }: CheckedSimulation,
  from: SimulatedMember,
  to: SimulatedMember,
): RecoveryFault | undefined {
  if (!linkChecker.has(from, to.id)) return undefined;
  const pair = `${from.address} - ${to.address}`;
  if (!linkChecker.areLinked(from, to)) return { invariant: "L1", detail: `${pair} is neither whole nor ended` };
  count("linked without a server");
  const missing = messageChecker.undelivered(from.id, to.id);
  return missing === 0 ? undefined : { invariant: "S8", detail: `${missing} messages of ${pair} are missing` };
}
