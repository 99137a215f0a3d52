import { endpointOf, formatAddress } from "../src/protocol/address.js";
import type { ConnectionEnd } from "./connection-end.js";
import type { SimulatedProcess } from "./engine.js";
import type { SimulatedMember } from "./member.js";
import type { SimulatedNetwork } from "./network.js";
import type { Fault, MemberScript, PathEnd, Scenario } from "./scenario.js";

/** Who can be struck. */
export interface FaultTargets {
  readonly network: SimulatedNetwork;
  readonly scenario: Scenario;
  readonly serverProcess: SimulatedProcess;
  /** Every life that there has been, the newest last. */
  readonly members: readonly SimulatedMember[];
  enter(part: MemberScript): void;
}

/** Lets something go wrong now. */
export function injectFault(troupe: FaultTargets, misfortune: Fault): void {
  const { network, serverProcess } = troupe;
  switch (misfortune.type) {
    case "killServer":
      network.kill(serverProcess);
      break;
    case "suspendServer":
      serverProcess.suspend(misfortune.forMs);
      break;
    case "reset": {
      const end = anyOf(network, isPeerConnection);
      if (end !== undefined) network.reset(end, misfortune.noticedWithinMs);
      break;
    }
    case "cut": {
      const { of, here, there } = misfortune;
      const end = anyOf(network, of === "link" ? isPeerConnection : (one) => isSession(one, serverProcess));
      if (end !== undefined) network.cut(end, here, there);
      break;
    }
    case "stall":
      stall(troupe, misfortune);
      break;
    default:
      strikeMember(troupe, misfortune);
  }
}

type MemberFault = Extract<Fault, { readonly part: number }>;

function strikeMember(troupe: FaultTargets, misfortune: MemberFault): void {
  const { network, scenario, members } = troupe;
  const part = scenario.parts[misfortune.part];
  const member = members.findLast(({ address }) => address === part?.address);
  if (member === undefined || part === undefined) return;
  const { type } = misfortune;
  if (type === "claim") {
    claim(troupe, part);
    return;
  }
  if (type === "leave" || type === "rejoin") member.leave();
  else if (type === "suspend") member.process.suspend(misfortune.forMs);
  else network.kill(member.process, type === "crash" ? misfortune.notice : undefined);
  const isBack = type === "restart" || type === "rejoin" || (type === "crash" && Number.isFinite(misfortune.forMs));
  if (isBack) network.world.after(misfortune.forMs, () => comeBack(troupe, part));
}

/** A part enters anew, as soon as the life before has closed its listener. */
function comeBack(troupe: FaultTargets, part: MemberScript): void {
  troupe.enter({ ...part, hesitatesMs: 0 });
}

/** Somebody on the same machine, who listens elsewhere, says that it has this part's address. */
function claim(troupe: FaultTargets, { address, dialect }: MemberScript): void {
  const { host, port } = endpointOf(address);
  if (dialect !== "native") return;
  const own = formatAddress({ host, port: 20_000 + (port % 10_000) });
  troupe.enter({ address: own, claims: address, startsAt: 0, hesitatesMs: 0, dialect });
}

function stall(troupe: FaultTargets, { from, to, isMutual, forMs }: Extract<Fault, { type: "stall" }>): void {
  const [a, b] = [nameOf(troupe, from), nameOf(troupe, to)];
  if (a === b) return;
  troupe.network.stall(a, b, forMs);
  if (isMutual) troupe.network.stall(b, a, forMs);
}

function nameOf({ scenario, serverProcess }: FaultTargets, who: PathEnd): string {
  return who === "server" ? serverProcess.name : (scenario.parts[who]?.address ?? "");
}

function anyOf(network: SimulatedNetwork, fits: (end: ConnectionEnd) => boolean): ConnectionEnd | undefined {
  const ends = [...network.open].filter(fits);
  return ends[network.world.random.integer(0, Math.max(0, ends.length - 1))];
}

/** True for a connection between two members, open at both ends. */
export function isPeerConnection(end: ConnectionEnd): boolean {
  const { other } = end;
  return other !== undefined && !other.isClosed && end.process.name !== "server" && other.process.name !== "server";
}

/** True for the server's end of a connection that is open at both ends. */
export function isSession(end: ConnectionEnd, server: SimulatedProcess): boolean {
  return end.process === server && end.other !== undefined && !end.other.isClosed;
}
