import { type Address, endpointOf, formatAddress, type LocalAddress } from "../src/protocol/address.js";
import type { ConnectionEnd } from "./connection-end.js";
import type { SimulatedProcess } from "./engine.js";
import type { SimulatedMember } from "./member.js";
import type { SimulatedNetwork } from "./network.js";
import type { Fault, MemberScript, PathEnd, Scenario } from "./scenario.js";

/** What faults act on. */
export interface FaultTargets {
  readonly network: SimulatedNetwork;
  readonly scenario: Scenario;
  readonly serverProcess: SimulatedProcess;
  /** Every run so far, the newest last. */
  readonly members: readonly SimulatedMember[];
  startMember(script: MemberScript): void;
  /** The server leaves the mesh to its members. */
  releaseServer(): void;
  /** Kills the server, and starts an empty one `forMs` later. */
  restartServer(forMs: number, isClockBack: boolean): void;
}

/** Injects a fault now. */
export function injectFault(troupe: FaultTargets, fault: Fault): void {
  const { network, serverProcess } = troupe;
  switch (fault.type) {
    case "killServer":
      network.kill(serverProcess);
      break;
    case "release":
      troupe.releaseServer();
      break;
    case "restartServer":
      troupe.restartServer(fault.forMs, fault.isClockBack);
      break;
    case "suspendServer":
      serverProcess.suspend(fault.forMs);
      break;
    case "reset": {
      const end = anyOf(network, isPeerConnection);
      if (end !== undefined) network.reset(end, fault.noticedWithinMs);
      break;
    }
    case "cut": {
      const { of, here, there } = fault;
      const end = anyOf(network, of === "link" ? isPeerConnection : (one) => isSession(one, serverProcess));
      if (end !== undefined) network.cut(end, here, there);
      break;
    }
    case "stall":
      stall(troupe, fault);
      break;
    case "firewall":
      network.block(nameOf(troupe, fault.from), nameOf(troupe, fault.to), fault.forMs, fault.refuses);
      break;
    default:
      injectMemberFault(troupe, fault);
  }
}

type MemberFault = Extract<Fault, { readonly script: number }>;

function injectMemberFault(troupe: FaultTargets, fault: MemberFault): void {
  const { network, scenario, members } = troupe;
  const script = scenario.scripts[fault.script];
  const member = members.findLast(({ script: one }) => one.address === script?.address);
  if (member === undefined || script === undefined) return;
  const { type } = fault;
  if (type === "claim") {
    claim(troupe, script);
    return;
  }
  if (type === "leave" || type === "rejoin") member.leave();
  else if (type === "suspend") member.process.suspend(fault.forMs);
  else if (type === "setClock") member.process.wallOffsetMs += fault.byMs;
  else if (type === "move") move(troupe, member, fault);
  else if (type === "lie") lie(troupe, member, fault);
  else network.kill(member.process, type === "crash" ? fault.notice : undefined);
  const isBack = type === "restart" || type === "rejoin" || (type === "crash" && Number.isFinite(fault.forMs));
  if (isBack) network.engine.after(fault.forMs, () => restart(troupe, script));
}

/** Starts a member again, once its last run has closed its listener. */
function restart(troupe: FaultTargets, script: MemberScript): void {
  troupe.startMember({ ...script, hesitatesMs: 0 });
}

/** Each move of a member takes it to an address that nobody has had. */
function move({ network }: FaultTargets, member: SimulatedMember, fault: Extract<Fault, { type: "move" }>): void {
  const { process, isOver, address } = member;
  if (isOver) return;
  const { port } = endpointOf(address);
  // A local socket stays where it is.
  if (port === undefined) return;
  network.move(process, { host: `10.1.${fault.script}.${process.names.size}`, port }, fault.notice);
}

/** The member says what is false, until it is found out. */
function lie(troupe: FaultTargets, member: SimulatedMember, { lie, forMs }: Extract<Fault, { type: "lie" }>): void {
  const { network } = troupe;
  if (member.isOver) return;
  member.lie(lie);
  network.engine.after(forMs, () => {
    if (member.isOver) return;
    network.kill(member.process);
    restart(troupe, member.script);
  });
}

/** A program on the same machine, which listens elsewhere, registers this member's address. */
function claim(troupe: FaultTargets, { address, dialect }: MemberScript): void {
  const { host, port } = endpointOf(address);
  if (dialect !== "native") return;
  const own: Address =
    host === undefined ? `${address as LocalAddress}-other` : formatAddress({ host, port: 20_000 + (port % 10_000) });
  troupe.startMember({ address: own, claims: address, startsAt: 0, hesitatesMs: 0, dialect });
}

function stall(troupe: FaultTargets, { from, to, isMutual, forMs }: Extract<Fault, { type: "stall" }>): void {
  const [a, b] = [nameOf(troupe, from), nameOf(troupe, to)];
  if (a === b) return;
  troupe.network.stall(a, b, forMs);
  if (isMutual) troupe.network.stall(b, a, forMs);
}

function nameOf({ scenario, serverProcess, members }: FaultTargets, who: PathEnd): string {
  if (who === "server") return serverProcess.name;
  const address = scenario.scripts[who]?.address ?? "";
  return members.findLast(({ script }) => script.address === address)?.process.name ?? address;
}

function anyOf(network: SimulatedNetwork, fits: (end: ConnectionEnd) => boolean): ConnectionEnd | undefined {
  const ends = [...network.open].filter(fits);
  return ends[network.engine.random.integer(0, Math.max(0, ends.length - 1))];
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
