import type { ErrorCode } from "../core/errors.js";
import { printable } from "../core/escaping.js";
import { GracefulCloses } from "../core/graceful-closes.js";
import type { OutputSink } from "../core/machine.js";
import { earliest, TimerTable } from "../core/timer-table.js";
import { encodeEnd, encodeRefusal, teardownWord } from "../protocol/classic/list.js";
import { encodeControl } from "../protocol/native/control.js";
import type { ListBroadcaster } from "./classic/list-broadcaster.js";
import type { MemberSession } from "./member-session.js";
import type { RendezvousOutput, RendezvousRules } from "./types.js";

/** What partings are made with. */
export interface SessionCloserOptions {
  readonly rules: RendezvousRules;
  readonly delivery: ListBroadcaster;
  readonly outputs: OutputSink<RendezvousOutput>;
  /** A session is about to be closed, and nothing that it says counts any more. Called once for each. */
  readonly leaving: (session: MemberSession, departure: CloseReason, now: number) => void;
}

/** How a session is over: its other side has said so, or it was not to be. */
export interface CloseReason {
  readonly type: "left" | "broken";
  readonly reason: string;
}

/** How a mesh ends; `incomplete` says what it lacks, if it ends because it has not become whole in time. */
export interface MeshEndReason {
  readonly reason: string;
  readonly incomplete?: string;
}

/** What a simple reader is told of that at most: it may read 1,024 bytes at a time, and keep less. */
const longestRefusal = 400;

/**
 * How conversations end, in the words of whoever is at the other end: refused with a reason, told that the mesh ends, or
 * closed without a word. After the last word comes the half-close, and then a little patience.
 */
export class SessionCloser {
  readonly #options: SessionCloserOptions;
  readonly #lingering: GracefulCloses;
  /** Native members that have been told of the teardown, and by when they must have closed. */
  readonly #draining = new TimerTable<MemberSession>();

  constructor(options: SessionCloserOptions) {
    this.#options = options;
    this.#lingering = new GracefulCloses(options.outputs, options.rules.limits.lingerMs);
  }

  /** Tells why the conversation ends, and ends it. */
  refuse(session: MemberSession, code: ErrorCode, message: string, now: number): void {
    if (session.state === "closing") return;
    this.note(session, code, message);
    const isNative = this.#speaksNative(session);
    // A native member that is refused on this connection may come back on another.
    this.#part(session, { type: isNative ? "broken" : "left", reason: `refused: ${code}` }, now);
    if (!this.#mayBeHeard(session)) this.#hangUp(session, now);
    else this.#hangUp(session, now, isNative ? this.#refusal(code, message) : encodeRefusal(code, message));
  }

  /** Ends the conversation, with a last word that this reader understands, or none. */
  close(session: MemberSession, departure: CloseReason, now: number, lastWord?: Uint8Array): void {
    if (session.state === "closing") return;
    this.#part(session, departure, now);
    this.#hangUp(session, now, lastWord);
  }

  /**
   * Tells that the mesh ends. A native member gets the time to end its links, and closes first. To a classic one any message
   * that is no list is the end, so a refusal tells it of an end that is none of a whole mesh.
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
        incomplete === undefined ? encodeEnd(teardownWord) : encodeRefusal("INCOMPLETE", failure),
      );
      return;
    }
    const lack = incomplete === undefined ? {} : { incomplete };
    session.line.send(encodeControl({ type: "teardown", reason, deadlineMs: limits.drainMs, ...lack }));
    this.#draining.set(session, now + limits.drainMs);
  }

  /** The other side has half-closed a session that is closing. */
  ended(session: MemberSession, now: number): void {
    this.#draining.clear(session);
    if (this.#speaksNative(session)) this.#lingering.begin(session.connection, now);
  }

  /** The session's connection is gone. */
  closed(session: MemberSession): void {
    this.#draining.clear(session);
    this.#lingering.closed(session.connection);
    this.#options.delivery.closed(session);
  }

  nextTimeout(): number | undefined {
    return earliest(this.#draining.next(), this.#lingering.nextTimeout());
  }

  handleTimeout(now: number): void {
    for (let due = this.#draining.takeDue(now); due !== undefined; due = this.#draining.takeDue(now)) {
      this.note(due, "TOO_SLOW", "did not close after the teardown");
      this.#lingering.begin(due.connection, now);
    }
    this.#lingering.handleTimeout(now);
  }

  note(session: MemberSession, code: ErrorCode, message: string): void {
    this.#options.outputs.push({ type: "note", note: { code, message, remote: session.remoteAddress } });
  }

  /** In the middle of a proof of the secret no word of ours would be understood. */
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

  #part(session: MemberSession, departure: CloseReason, now: number): void {
    this.#options.leaving(session, departure, now);
    session.step("closing");
    session.door.close();
  }

  #hangUp(session: MemberSession, now: number, lastWord?: Uint8Array): void {
    if (!this.#speaksNative(session)) {
      this.#options.delivery.close(session, now, lastWord);
      return;
    }
    if (lastWord !== undefined) session.line.send(lastWord);
    this.#lingering.begin(session.connection, now);
  }
}
