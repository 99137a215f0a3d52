import type { CheckedSimulation } from "../checked-simulation.js";
import { isPeerConnection, isSession } from "../faults.js";
import type { SimulatedMember } from "../member.js";
import type { SimulatedServer } from "../server.js";

/** What is still wrong in a mesh that should be complete by now. */
export interface RecoveryFault {
  readonly invariant: "L1" | "L2" | "S1" | "S2" | "S5" | "S8" | "S10" | "C1";
  readonly detail: string;
}

/** Checks a mesh after all faults: every join answered, every pair linked once, everything delivered, nothing left over. */
export function firstRecoveryFault(
  context: CheckedSimulation,
  server: SimulatedServer,
  members: readonly SimulatedMember[],
): RecoveryFault | undefined {
  const alive = members.filter((member) => !member.isOver);
  return (
    unanswered(context, alive) ??
    unlisted(context, alive) ??
    unlinked(context, alive) ??
    missingWatchAnswer(context, server, alive) ??
    undelivered(context, alive) ??
    leftOver(context, alive)
  );
}

/** L2: every join was answered. A classic member that waits in line gets no message. */
function unanswered({ scenario }: CheckedSimulation, alive: readonly SimulatedMember[]): RecoveryFault | undefined {
  const waiting = alive.filter((member) => !member.isRegistered);
  if (waiting.length > Math.max(0, alive.length - scenario.capacity)) {
    return { invariant: "L2", detail: `a slot is free, and ${waiting.map(({ address }) => address).join(" ")} waits` };
  }
  const silent = alive.filter((member) => !member.isAnswered);
  const isWrong = silent.filter(({ dialect }) => dialect === "native" || scenario.onFull !== "hold");
  const room = Math.max(0, alive.length - scenario.capacity);
  if (isWrong.length === 0 && silent.length <= room) return undefined;
  return { invariant: "L2", detail: `no answer for ${silent.map(({ address }) => address).join(" ")}` };
}

/** Every member lives, every process that was admitted is a member, and all native members know it. */
function unlisted({ logChecker }: CheckedSimulation, alive: readonly SimulatedMember[]): RecoveryFault | undefined {
  // While no session is live, nobody is judged.
  if (alive.length === 0) return undefined;
  const inside = alive.filter(({ isRegistered }) => isRegistered);
  const text = (addresses: readonly string[]): string => [...addresses].sort().join(" ");
  const listed = text(logChecker.members.map(({ address }) => address));
  const living = text(inside.map(({ address }) => address));
  if (listed !== living) return { invariant: "L1", detail: `listed are ${listed}, and alive ${living}` };
  for (const { dialect, id, address, machine, reportsSince, session } of inside) {
    if (dialect === "classic") continue;
    if (!logChecker.has(id)) return { invariant: "L1", detail: `${address} is listed with another id` };
    // One that has been alone from the beginning has nothing to report; one that is coming back has.
    if (reportsSince === undefined && (inside.length > 1 || session?.isResuming === true))
      return { invariant: "L1", detail: `${address} reports no links` };
    if (!logChecker.isCurrent(machine.revision)) return { invariant: "S5", detail: `${address} is behind` };
    const stale = machine.nativeLinks.find(({ peer }) => !logChecker.has(peer.id));
    if (stale !== undefined)
      return { invariant: "L1", detail: `${address} keeps its link with ${stale.peer.address}, which is not listed` };
  }
  return undefined;
}

/** L1 and S2: every two members are linked at both ends, and the earlier has dialed. */
function unlinked(context: CheckedSimulation, alive: readonly SimulatedMember[]): RecoveryFault | undefined {
  const memberRuns = context.logChecker.members.flatMap(
    ({ address }) => alive.find((memberRun) => memberRun.address === address) ?? [],
  );
  for (const [index, earlier] of memberRuns.entries()) {
    for (const later of memberRuns.slice(index + 1)) {
      const recoveryFault = pairFault(context, earlier, later);
      if (recoveryFault !== undefined) return recoveryFault;
    }
  }
  return undefined;
}

function pairFault(
  { linkChecker }: CheckedSimulation,
  earlier: SimulatedMember,
  later: SimulatedMember,
): RecoveryFault | undefined {
  const pair = `${earlier.address} - ${later.address}`;
  const apart: RecoveryFault = { invariant: "L1", detail: `${pair} not linked at both ends` };
  if (earlier.dialect === "native" && later.dialect === "native") {
    return linkChecker.areLinked(earlier, later) ? undefined : apart;
  }
  const there = earlier.links.get(later.address)?.direction;
  const back = later.links.get(earlier.address)?.direction;
  if (there === undefined || back === undefined) return apart;
  // A fenced member takes its classic links over into its next run, whoever dialed them.
  if (earlier.incarnations > 1 || later.incarnations > 1) return undefined;
  if (there === "dialed" && back === "accepted") return undefined;
  return { invariant: "S2", detail: `${pair} is ${there} and ${back}` };
}

/** Every native member is told of a complete mesh; with a capacity, once it is full. */
function missingWatchAnswer(
  context: CheckedSimulation,
  server: SimulatedServer,
  alive: readonly SimulatedMember[],
): RecoveryFault | undefined {
  const { logChecker, scenario, linkChecker } = context;
  const { members } = logChecker;
  const natives = alive.filter(({ dialect, isRegistered }) => dialect === "native" && isRegistered);
  const isFull = members.length >= scenario.capacity || scenario.capacity === Number.POSITIVE_INFINITY;
  if (members.length < 2 || natives.length === 0 || !isFull) return undefined;
  const { completeAt } = server;
  const told = context.completenessChecker.complete;
  if (completeAt === undefined || told === undefined) return { invariant: "C1", detail: "nobody said it was complete" };
  for (const one of natives) {
    if ((one.completeRevision ?? -1) < told.revision)
      return { invariant: "C1", detail: `${one.address} was not told so` };
    for (const other of natives) {
      const changedAt = linkChecker.changedAt(one, other.id) ?? 0;
      if (changedAt > completeAt) return { invariant: "C1", detail: "nobody said that it was complete again" };
    }
  }
  return undefined;
}

/** S8: everything sent has arrived by now. */
function undelivered(
  { messageChecker, streamChecker }: CheckedSimulation,
  alive: readonly SimulatedMember[],
): RecoveryFault | undefined {
  const unfinished = streamChecker.unfinished(new Set(alive.map(({ id }) => id)));
  if (unfinished !== undefined) return { invariant: "L1", detail: unfinished };
  for (const from of alive) {
    for (const to of alive) {
      const count = from === to || from.dialect !== to.dialect ? 0 : messageChecker.undelivered(from.id, to.id);
      if (count > 0)
        return { invariant: "S8", detail: `${count} messages of ${from.address} to ${to.address} are missing` };
    }
  }
  return undefined;
}

/** S1 and S10: a connection for each link, one for each session, and no more. */
function leftOver(
  { network, linkChecker, serverProcess }: CheckedSimulation,
  alive: readonly SimulatedMember[],
): RecoveryFault | undefined {
  const open = [...network.open];
  const connections = open.filter(isPeerConnection).length / 2;
  const links = alive.reduce((sum, member) => sum + member.links.size + linkChecker.count(member), 0) / 2;
  if (connections !== links) return { invariant: "S1", detail: `${connections} connections for ${links} links` };
  const sessions = open.filter((end) => isSession(end, serverProcess)).length;
  if (sessions !== alive.length)
    return { invariant: "S10", detail: `${sessions} sessions for ${alive.length} members` };
  // A classic member goes on dialing members that have gone: a departure sends no list.
  const half = open.find(({ other, process }) => (other === undefined ? !process.isClassic : other.isClosed));
  if (half !== undefined) {
    return { invariant: "S10", detail: `${half.connection} of ${half.process.name} is open without another end` };
  }
  const broken = open.find(({ isCut }) => isCut);
  if (broken === undefined) return undefined;
  return { invariant: "L1", detail: `${broken.process.name} does not notice that ${broken.connection} is cut` };
}
