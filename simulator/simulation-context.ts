import type { Limits } from "../src/core/limits.js";
import type { MemberMachine } from "../src/mesh/member-machine.js";
import type { MessagingChannel, MessagingEvent } from "../src/messaging/messaging-channel.js";
import type { Address } from "../src/protocol/address.js";
import type { Entry, Id } from "../src/protocol/directory.js";
import type { TraceRecord } from "../src/runtime/trace.js";
import type { InvariantChecker, MemberRun } from "./checkers/invariant-checker.js";
import type { ConnectionEnd } from "./connection-end.js";
import type { SimulatedProcess } from "./engine.js";
import type { SimulatedNetwork } from "./network.js";
import type { Scenario } from "./scenario.js";

/** One run of a native member, as checkers see it. It has several incarnations if it is fenced. */
export interface NativeRun extends MemberRun {
  readonly process: SimulatedProcess;
  readonly machine: MemberMachine<MessagingEvent>;
  /** The present incarnation. */
  readonly id: Id;
  /** True once it ends, or is dead. */
  readonly isOver: boolean;
  readonly isRegistered: boolean;
  /** When it read that the server has left the mesh to its members; undefined before. */
  readonly releasedAt: number | undefined;
  /** Its end of the connection on which it registered or resumed last. */
  readonly session: ConnectionEnd | undefined;
  /** When it first reported its links on that connection; undefined before. */
  readonly reportsSince: number | undefined;
  /** Its newest registration says that it was looking for the server. */
  readonly hasLooked: boolean;
}

/** A native run, as the workload uses it. */
export interface NativeMemberRun extends NativeRun {
  /** The machine's time. */
  readonly now: number;
  /** Runs something later, unless the process or this incarnation is gone by then. */
  later(ms: number, run: () => void): void;
  /** The channel to the peer at an address, if there is one. */
  channelWith(peer: string): MessagingChannel | undefined;
}

/** A member in the log. */
export interface ListedMember {
  readonly id: Id;
  readonly order: number;
  readonly address: string;
  readonly dialect: string;
}

/** What the log contains, as the log checker has read it. */
export interface LogFacts {
  /** Ids that a wrong witness has made up. */
  readonly madeUp: ReadonlySet<Id>;
  /** A member of an earlier log that the present one has listed. */
  isBack(id: Id): boolean;
  /** The log before listed this native member, and the present one has neither listed nor removed it. */
  isUnheard(id: Id): boolean;
  /** A member of an earlier log that the present one has not listed. */
  isOnlyRemembered(id: Id): boolean;
  readonly revision: number;
  /** The members that are listed now, in join order. */
  readonly members: readonly ListedMember[];
  /** True while this incarnation is listed. */
  has(id: Id): boolean;
  /** How this incarnation was removed, and when; undefined if it was not. */
  departure(id: Id): { readonly type: Entry["type"]; readonly at: number } | undefined;
}

/** What native members have reported about their links, as the link checker has read it. */
export interface LinkFacts {
  /** True while this run has a link with that incarnation. */
  has(memberRun: NativeRun, peer: Id): boolean;
  /** Since when this run's link with that incarnation has been up; undefined if it is not. */
  upSince(memberRun: NativeRun, peer: Id): number | undefined;
  /** True if the two are linked: both are up by one attempt, on the two ends of one connection. */
  areLinked(a: NativeRun, b: NativeRun): boolean;
  /** True while this run's link with that incarnation has no connection. */
  isBroken(memberRun: NativeRun, peer: Id): boolean;
  /** True if each of the two has reported a link of one attempt, in these incarnations. */
  haveMet(a: NativeRun, b: NativeRun): boolean;
  /** When this run's link with that incarnation last changed. */
  changedAt(memberRun: NativeRun, peer: Id): number | undefined;
  /** How many links this run has. */
  count(memberRun: NativeRun): number;
}

/** How many messages one incarnation has sent another, as the message checker has counted them. */
export interface MessageFacts {
  sent(from: Id, to: Id): number;
  /** Those of them that have not been delivered. */
  undelivered(from: Id, to: Id): number;
}

/** What all parts of a simulation share. */
export interface SimulationContext {
  readonly network: SimulatedNetwork;
  readonly scenario: Scenario;
  readonly limits: Limits;
  readonly invariantChecker: InvariantChecker;
  readonly logChecker: LogFacts;
  readonly linkChecker: LinkFacts;
  readonly messageChecker: MessageFacts;
  /** Every incarnation of a native member that there has been. */
  readonly memberRuns: Map<Id, NativeRun>;
  readonly serverProcess: SimulatedProcess;
  /** True while all faults are over and the mesh was found complete: nothing may change any more. */
  readonly isSettled: boolean;
  /** Counts a situation that runs should meet now and then. */
  count(label: string): void;
  /** Records a message that is sent. */
  trace(record: () => TraceRecord): void;
  /** Adds a line to the history of the run. It is made only if the history is kept. */
  record(line: () => string): void;
  /** A native member has failed; somebody may start it again. */
  memberFailed(address: Address): void;
}

/** For so long after a fault of a process or a path, the fault may be why others have received nothing from it. */
export const memoryMs = 60_000;

/** True if a process was away for so long that others may have given it up. */
export function wasMissed(process: SimulatedProcess, { silentMs, probeMs }: Limits): boolean {
  // Its last sign of life may have come one probe before the pause, and everything takes a little time.
  return process.isDead || process.absentMs(memoryMs) > silentMs - probeMs - 1_000;
}
