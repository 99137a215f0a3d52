import type { Limits } from "../core/limits.js";
import type { Member } from "../mesh/member.js";
import type { Conversation } from "../messaging/conversation.js";
import type { Arrival } from "../messaging/vocabulary.js";
import type { Address } from "../protocol/address.js";
import type { Id } from "../protocol/directory.js";
import type { TraceRecord } from "../runtime/trace.js";
import type { Bonds } from "./bonds.js";
import type { Currents } from "./currents.js";
import type { End } from "./end.js";
import type { Errands } from "./errands.js";
import type { Ledger } from "./ledger.js";
import type { Mail } from "./mail.js";
import type { Network } from "./network.js";
import type { Life, Observer } from "./observer.js";
import type { Scenario } from "./scenario.js";
import type { Wholeness } from "./wholeness.js";
import type { SimulatedProcess } from "./world.js";

/** One life of a native member as those who watch see it. It has several incarnations if it is fenced. */
export interface NativeLife extends Life {
  readonly process: SimulatedProcess;
  readonly machine: Member<Arrival>;
  /** The present incarnation. */
  readonly id: Id;
  /** True once it ends, or is dead. */
  readonly isOver: boolean;
  readonly isRegistered: boolean;
  /** Its end of the connection on which it registered or came back last. */
  readonly session: End | undefined;
  /** When it first reported its links on that connection; undefined before. */
  readonly reportsSince: number | undefined;
}

/** A native life as those see it who speak in its name. */
export interface Speaker extends NativeLife {
  /** The machine's time. */
  readonly now: number;
  /** Runs something in a while, unless the process or this incarnation is gone by then. */
  later(ms: number, run: () => void): void;
  /** The conversation with the peer at an address, if there is one. */
  conversationWith(peer: string): Conversation | undefined;
}

/** What the stage gives to those who play on it, and to those who watch. */
export interface Stage {
  readonly network: Network;
  readonly scenario: Scenario;
  readonly limits: Limits;
  readonly observer: Observer;
  readonly ledger: Ledger;
  readonly bonds: Bonds;
  readonly mail: Mail;
  readonly errands: Errands;
  readonly currents: Currents;
  readonly wholeness: Wholeness;
  /** Every incarnation of a native member that there has been. */
  readonly lives: Map<Id, NativeLife>;
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
