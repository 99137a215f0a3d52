import type { ErrorCode } from "../core/errors.js";
import { printable } from "../core/escaping.js";
import { GracefulCloses } from "../core/graceful-closes.js";
import type { OutputSink } from "../core/machine.js";
import { earliest, TimerTable } from "../core/timer-table.js";
import { encodeEnd, encodeRefusal, teardownText } from "../protocol/classic/list.js";
import { encodeControl } from "../protocol/native/control.js";
import type { ListBroadcaster } from "./classic/list-broadcaster.js";
import type { MemberSession } from "./member-session.js";
import type { RendezvousOutput, RendezvousRules } from "./types.js";

/** What a session closer needs. */
export interface SessionCloserOptions {
  readonly rules: RendezvousRules;
  readonly listBroadcaster: ListBroadcaster;
  readonly outputs: OutputSink<RendezvousOutput>;
  /** Called once for each session, before it is closed. */
  readonly leaving: (session: MemberSession, closeReason: CloseReason, now: number) => void;
}

/** Why a session ends: `left` by the member's own message, `broken` otherwise. */
export interface CloseReason {
  readonly type: "left" | "broken";
  readonly reason: string;
}

/** How a mesh ends; `incomplete` says what is missing, if it was not complete in time. */
export interface MeshEndReason {
  readonly reason: string;
  readonly incomplete?: string;
}

/** The longest refusal to a classic member: a simple program may read only 1,024 bytes at a time. */
const longestRefusal = 400;

/**
 * Closes sessions, in the peer's dialect: with a refusal, with the end of the mesh, or without a message. After the last
 * message comes a half-close; if the peer does not close within `lingerMs`, the connection is aborted.
 */
export class SessionCloser {
  readonly #options: SessionCloserOptions;
  readonly #gracefulCloses: GracefulCloses;
  /** Native members that were sent the teardown, and by when they must have closed. */
  readonly #draining = new TimerTable<MemberSession>();

  constructor(options: SessionCloserOptions) {
    this.#options = options;
    this.#gracefulCloses = new GracefulCloses(options.outputs, options.rules.limits.lingerMs);
  }

  /** Sends the reason of a refusal, and closes the session. */
  refuse(session: MemberSession, code: ErrorCode, message: string, now: number): void {
    if (session.state === "closing") return;
    this.note(session, code, message);
    const isNative = this.#speaksNative(session);
    // A native member that is refused on this connection may come back on another.
    this.#part(session, { type: isNative ? "broken" : "left", reason: `refused: ${code}` }, now);
    if (!this.#mayBeHeard(session)) this.#hangUp(session, now);
    else this.#hangUp(session, now, isNative ? this.#refusal(code, message) : encodeRefusal(code, message));
  }

  /** Closes the session, with a last message in its dialect, or none. */
  close(session: MemberSession, closeReason: CloseReason, now: number, lastWord?: Uint8Array): void {
    if (session.state === "closing") return;
    this.#part(session, closeReason, now);
    this.#hangUp(session, now, lastWord);
  }

  /**
   * Sends the end of the mesh. A native member gets `drainMs` to end its links, and closes first. A classic member takes
   * every message that is not a list for the end, so the end of an incomplete mesh is sent as a refusal.
   */
  dismiss(session: MemberSession, { reason, incomplete }: MeshEndReason, now: number): void {
    if (session.state === "closing") return;
    const { limits } = this.#options.rules;
    this.#part(session, { type: "left", reason }, now);
    if (!this.#speaksNative(session)) {
      const failure = printable(`${reason}: ${incomplete}`, longestRefusal);
      this.#hangUp(
        session,
        now,
        incomplete === undefined ? encodeEnd(teardownText) : encodeRefusal("INCOMPLETE", failure),
      );
      return;
    }
    const lack = incomplete === undefined ? {} : { incomplete };
    session.nativeWriter.send(encodeControl({ type: "teardown", reason, deadlineMs: limits.drainMs, ...lack }));
    this.#draining.set(session, now + limits.drainMs);
  }

  /** The other side has half-closed a session that is closing. */
  ended(session: MemberSession, now: number): void {
    this.#draining.clear(session);
    if (this.#speaksNative(session)) this.#gracefulCloses.begin(session.connection, now);
  }

  /** The session's connection is gone. */
  closed(session: MemberSession): void {
    this.#draining.clear(session);
    this.#gracefulCloses.closed(session.connection);
    this.#options.listBroadcaster.closed(session);
  }

  nextTimeout(): number | undefined {
    return earliest(this.#draining.next(), this.#gracefulCloses.nextTimeout());
  }

  handleTimeout(now: number): void {
    for (let due = this.#draining.takeDue(now); due !== undefined; due = this.#draining.takeDue(now)) {
      this.note(due, "TOO_SLOW", "did not close after the teardown");
      this.#gracefulCloses.begin(due.connection, now);
    }
    this.#gracefulCloses.handleTimeout(now);
  }

  note(session: MemberSession, code: ErrorCode, message: string): void {
    this.#options.outputs.push({ type: "note", note: { code, message, remote: session.remoteAddress } });
  }

  /** During a TLS handshake a message in plain text would not be understood. */
  #mayBeHeard({ identity, dialect }: MemberSession): boolean {
    return !this.#options.rules.isKeyed || identity !== undefined || dialect !== undefined;
  }

  #speaksNative({ dialect }: MemberSession): boolean {
    return dialect === "native" || (dialect === undefined && this.#options.rules.dialect === "native");
  }

  #refusal(code: ErrorCode, message: string): Uint8Array {
    const retryMs = this.#retryMs(code);
    return encodeControl({ type: "refuse", code, message, ...(retryMs === undefined ? {} : { retryMs }) });
  }

  /** When somebody who is refused for the moment may come again; undefined if the refusal is final. */
  #retryMs(code: ErrorCode): number | undefined {
    const { firstByteCrowdedMs, logRetryMs } = this.#options.rules.limits;
    if (code === "STORE_UNAVAILABLE") return logRetryMs;
    return code === "BUSY" || code === "NO_DESCRIPTORS" ? firstByteCrowdedMs : undefined;
  }

  #part(session: MemberSession, closeReason: CloseReason, now: number): void {
    this.#options.leaving(session, closeReason, now);
    session.step("closing");
    session.reader.close();
  }

  #hangUp(session: MemberSession, now: number, lastWord?: Uint8Array): void {
    if (!this.#speaksNative(session)) {
      this.#options.listBroadcaster.close(session, now, lastWord);
      return;
    }
    if (lastWord !== undefined) session.nativeWriter.send(lastWord);
    this.#gracefulCloses.begin(session.connection, now);
  }
}
