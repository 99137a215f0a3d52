import type { Limits } from "../src/core/limits.js";
import type { MemberMachine } from "../src/mesh/member-machine.js";
import type { PeerChannel } from "../src/messaging/peer-channel.js";
import type { MessagingEvent } from "../src/messaging/types.js";
import type { Address } from "../src/protocol/address.js";
import type { Id } from "../src/protocol/directory.js";
import type { TraceRecord } from "../src/runtime/trace.js";
import type { CompletenessChecker } from "./checkers/completeness-checker.js";
import type { InvariantChecker, MemberRun } from "./checkers/invariant-checker.js";
import type { LinkChecker } from "./checkers/link-checker.js";
import type { LogChecker } from "./checkers/log-checker.js";
import type { MessageChecker } from "./checkers/message-checker.js";
import type { RequestChecker } from "./checkers/request-checker.js";
import type { StreamChecker } from "./checkers/stream-checker.js";
import type { ConnectionEnd } from "./connection-end.js";
import type { SimulatedProcess } from "./engine.js";
import type { SimulatedNetwork } from "./network.js";
import type { Scenario } from "./scenario.js";

/** One life of a native member as those who watch see it. It has several incarnations if it is fenced. */
export interface NativeRun extends MemberRun {
  readonly process: SimulatedProcess;
  readonly machine: MemberMachine<MessagingEvent>;
  /** The present incarnation. */
  readonly id: Id;
  /** True once it ends, or is dead. */
  readonly isOver: boolean;
  readonly isRegistered: boolean;
  /** Its end of the connection on which it registered or came back last. */
  readonly session: ConnectionEnd | undefined;
  /** When it first reported its links on that connection; undefined before. */
  readonly reportsSince: number | undefined;
}

/** A native life as those see it who speak in its name. */
export interface NativeMemberRun extends NativeRun {
  /** The machine's time. */
  readonly now: number;
  /** Runs something in a while, unless the process or this incarnation is gone by then. */
  later(ms: number, run: () => void): void;
  /** The conversation with the peer at an address, if there is one. */
  conversationWith(peer: string): PeerChannel | undefined;
}

/** What the stage gives to those who play on it, and to those who watch. */
export interface SimulationContext {
  readonly network: SimulatedNetwork;
  readonly scenario: Scenario;
  readonly limits: Limits;
  readonly observer: InvariantChecker;
  readonly ledger: LogChecker;
  readonly bonds: LinkChecker;
  readonly mail: MessageChecker;
  readonly errands: RequestChecker;
  readonly currents: StreamChecker;
  readonly wholeness: CompletenessChecker;
  /** Every incarnation of a native member that there has been. */
  readonly lives: Map<Id, NativeRun>;
  readonly serverProcess: SimulatedProcess;
  /** True while everything is mended and found whole: nothing may change any more. */
  readonly isSettled: boolean;
  /** Something that a run should come across now and then has happened. */
  hit(label: string): void;
  /** A message is sent. */
  trace(record: () => TraceRecord): void;
  /** A line of the run's history, made only if somebody wants it. */
  tell(line: () => string): void;
  /** This life of a native member has come to an end that was not its wish; somebody may start it again. */
  failed(address: Address): void;
}

/** For so long after something was wrong with a process or a path, it may be why others do not hear from it. */
export const memoryMs = 60_000;

/** True if a process was away for so long that others may have given it up. */
export function wasMissed(process: SimulatedProcess, { silentMs, probeMs }: Limits): boolean {
  // The last sign of life may have come one probe before it went, and everything takes a little time.
  return process.isDead || process.absentMs(memoryMs) > silentMs - probeMs - 1_000;
}
