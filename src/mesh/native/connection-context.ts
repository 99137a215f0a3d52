import type { ErrorCode } from "../../core/errors.js";
import type { IdleMonitor } from "../../core/idle-monitor.js";
import type { Limits } from "../../core/limits.js";
import type { Address } from "../../protocol/address.js";
import type { Control } from "../../protocol/native/control.js";
import type { Connections } from "../connections.js";
import type { NativeConnection } from "./connection.js";

/** The part of a member that a native connection belongs to. It may change: a greeting becomes a link. */
export interface NativeConnectionOwner {
  /** A dialed connection is there. */
  connected?(channel: NativeConnection, now: number): void;
  control(channel: NativeConnection, control: Control, now: number): void;
  /** A numbered frame, or its first part; see `FrameSink`. */
  numbered?(
    channel: NativeConnection,
    kind: number,
    bytes: Uint8Array,
    from: number,
    to: number,
    rest: number,
    now: number,
  ): void;
  /** The next part of it. */
  more?(channel: NativeConnection, bytes: Uint8Array, from: number, to: number, rest: number, now: number): void;
  /** The other side has taken every frame up to this number. */
  acknowledged?(channel: NativeConnection, number: number, now: number): void;
  /** Nothing more comes from the other side, and why; told once, and not after `close`, `refuse` or `abort`. */
  gone(channel: NativeConnection, reason: string, now: number): void;
  /** Everything sent has left this process. */
  flushed?(channel: NativeConnection): void;
}

/** What a channel needs of its member. */
export interface NativeConnectionContext {
  readonly connections: Connections;
  readonly limits: Limits;
  /** Asks those who are silent, and gives them up. */
  readonly pulse: IdleMonitor<NativeConnection>;
  /** Gives memory of so many bytes, whatever is in it. */
  readonly allocate: (bytes: number) => Uint8Array;
  /** Something was noticed about the other side. */
  note(code: ErrorCode, message: string, remote: Address): void;
}
