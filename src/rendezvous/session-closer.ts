import type { ErrorCode } from "../core/errors.js";
import { printable } from "../core/escaping.js";
import type { GracefulCloses } from "../core/graceful-closes.js";
import type { OutputSink } from "../core/machine.js";
import type { KeyedTimers, Timers } from "../core/timers.js";
import { encodeEnd, encodeRefusal, teardownText } from "../protocol/classic/list.js";
import { encodeControl } from "../protocol/native/control.js";
import type { ClassicSender } from "./classic/sender.js";
import type { MemberSession } from "./member-session.js";
import type { RendezvousOutput, RendezvousRules } from "./types.js";

/** Why a session ends: `left` by the member's own message, `broken` otherwise. */
export interface CloseReason {
  readonly type: "left" | "broken";
  readonly reason: string;
}

/** How a mesh ends; `incomplete` says what is missing, if it was not complete in time. */
export interface MeshEndReason {
  readonly reason: string;
  /** The server leaves it to its members. */
  readonly isRelease: boolean;
  readonly incomplete?: string;
}

/** Why nobody joins any more. */
export const releasedText = "the server has left this mesh to its members, and nobody can join";

/** The longest refusal to a classic member: a simple program may read only 1,024 bytes at a time. */
const longestRefusal = 400;

/**
 * Closes sessions, in the peer's dialect: with a refusal, with the end of the mesh, or without a message. After the last
 * message comes a half-close; if the peer does not close within `lingerMs`, the connection is aborted.
 */
export class SessionCloser {
  /** How many were refused, by the codes. */
  readonly refusals = new Map<ErrorCode, number>();
  readonly #rules: RendezvousRules;
  readonly #outputs: OutputSink<RendezvousOutput>;
  readonly #classicSender: ClassicSender;
  readonly #gracefulCloses: GracefulCloses;
  readonly #ending: (session: MemberSession, closeReason: CloseReason, now: number) => void;
  /** Native members that were sent the teardown, and by when they must have closed. */
  readonly #draining: KeyedTimers<MemberSession>;

  /** `ending` is called once for each session, before it is closed. */
  constructor(
    rules: RendezvousRules,
    timers: Timers,
    outputs: OutputSink<RendezvousOutput>,
    classicSender: ClassicSender,
    gracefulCloses: GracefulCloses,
    ending: (session: MemberSession, closeReason: CloseReason, now: number) => void,
  ) {
    this.#rules = rules;
    this.#outputs = outputs;
    this.#classicSender = classicSender;
    this.#gracefulCloses = gracefulCloses;
    this.#ending = ending;
    this.#draining = timers.keyed((session, now) => {
      this.note(session, "TOO_SLOW", "did not close after the teardown");
      this.#gracefulCloses.begin(session.connection, now);
    });
  }

  /** Sends the reason of a refusal, and closes the session. */
  refuse(session: MemberSession, code: ErrorCode, message: string, now: number): void {
    if (session.state === "closing") return;
    this.refusals.set(code, (this.refusals.get(code) ?? 0) + 1);
    this.note(session, code, message);
    const isNative = this.#speaksNative(session);
    // A native member that is refused on this connection may come back on another.
    this.#part(session, { type: isNative ? "broken" : "left", reason: `refused: ${code}` }, now);
    if (!this.#mayBeSent(session)) this.#hangUp(session, now);
    else this.#hangUp(session, now, isNative ? this.#refusal(code, message) : encodeRefusal(code, message));
  }

  /** Closes the session, with a last message in its dialect, or none. */
  close(session: MemberSession, closeReason: CloseReason, now: number, lastMessage?: Uint8Array): void {
    if (session.state === "closing") return;
    this.#part(session, closeReason, now);
    this.#hangUp(session, now, lastMessage);
  }

  /**
   * Sends the end of the mesh, or that it is left to its members, to a member that has a session or comes back. Whoever is no
   * member is refused then. A native member gets `drainMs` to end its links, and closes first. A classic member takes
   * every message that is not a list for the end, so the end of an incomplete mesh is sent as a refusal.
   */
  dismiss(session: MemberSession, { reason, incomplete, isRelease }: MeshEndReason, now: number): void {
    if (session.state === "closing") return;
    if (isRelease && this.#speaksNative(session)) {
      const { state, candidate, resumes, recovery } = session;
      const isComingBack = candidate === undefined || resumes !== undefined || recovery !== undefined;
      const isMember = state === "member" || isComingBack;
      if (isMember) this.close(session, { type: "left", reason }, now, encodeControl({ type: "release", reason }));
      else this.refuse(session, "RELEASED", releasedText, now);
      return;
    }
    const deadlineMs = this.#rules.limits.drainMs;
    this.#part(session, { type: "left", reason }, now);
    if (!this.#speaksNative(session)) {
      const failure = printable(`${reason}: ${incomplete}`, longestRefusal);
      const isComplete = incomplete === undefined;
      this.#hangUp(session, now, isComplete ? encodeEnd(teardownText) : encodeRefusal("INCOMPLETE", failure));
      return;
    }
    const lack = incomplete === undefined ? {} : { incomplete };
    session.nativeWriter.send(encodeControl({ type: "teardown", reason, deadlineMs, ...lack }));
    this.#draining.set(session, now + deadlineMs);
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
    this.#classicSender.closed(session);
  }

  note(session: MemberSession, code: ErrorCode, message: string): void {
    this.#outputs.push({ type: "note", note: { code, message, remote: session.remoteAddress } });
  }

  /** During a TLS handshake a message in plain text would not be understood. */
  #mayBeSent({ identity, dialect }: MemberSession): boolean {
    return !this.#rules.isKeyed || identity !== undefined || dialect !== undefined;
  }

  #speaksNative({ dialect }: MemberSession): boolean {
    return dialect === "native" || (dialect === undefined && this.#rules.dialect === "native");
  }

  #refusal(code: ErrorCode, message: string): Uint8Array {
    const retryMs = this.#retryMs(code);
    return encodeControl({ type: "refuse", code, message, ...(retryMs === undefined ? {} : { retryMs }) });
  }

  /** When somebody who is refused for the moment may come again; undefined if the refusal is final. */
  #retryMs(code: ErrorCode): number | undefined {
    const { firstByteCrowdedMs, logRetryMs } = this.#rules.limits;
    if (code === "STORE_UNAVAILABLE") return logRetryMs;
    return code === "BUSY" || code === "NO_DESCRIPTORS" ? firstByteCrowdedMs : undefined;
  }

  #part(session: MemberSession, closeReason: CloseReason, now: number): void {
    this.#ending(session, closeReason, now);
    session.step("closing");
    session.reader.close();
  }

  #hangUp(session: MemberSession, now: number, lastMessage?: Uint8Array): void {
    if (!this.#speaksNative(session)) {
      this.#classicSender.close(session, now, lastMessage);
      return;
    }
    if (lastMessage !== undefined) session.nativeWriter.send(lastMessage);
    this.#gracefulCloses.begin(session.connection, now);
  }
}
