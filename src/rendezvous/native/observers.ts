import type { Limits } from "../../core/limits.js";
import type { KeyedTimers, Timers } from "../../core/timers.js";
import { encodeControl } from "../../protocol/native/control.js";
import { encodeStatus } from "../../protocol/native/status.js";
import { type MeshStatus, movedInTime } from "../../protocol/status.js";
import type { MemberSession } from "../member-session.js";

/** A mesh that somebody looks at. */
interface Observed {
  readonly mesh: string;
  /** The status that was sent last, as JSON. */
  text: string;
}

/**
 * Those who look at meshes without being in them. Each is sent the status at once, and again whenever it has changed and the
 * one before has left this process. While nobody looks, nothing is computed.
 */
export class Observers {
  readonly #limits: Limits;
  readonly #statusOf: (mesh: string, now: number) => MeshStatus;
  readonly #observed = new Map<MemberSession, Observed>();
  readonly #timers: KeyedTimers<MemberSession>;

  constructor(limits: Limits, timers: Timers, statusOf: (mesh: string, now: number) => MeshStatus) {
    this.#limits = limits;
    this.#statusOf = statusOf;
    this.#timers = timers.keyed((session, now) => this.#look(session, now));
  }

  get isFull(): boolean {
    return this.#observed.size >= this.#limits.observers;
  }

  begin(session: MemberSession, mesh: string, now: number): void {
    this.#observed.set(session, { mesh, text: "" });
    this.#look(session, now);
  }

  end(session: MemberSession): void {
    this.#observed.delete(session);
    this.#timers.clear(session);
  }

  #look(session: MemberSession, now: number): void {
    const observed = this.#observed.get(session);
    if (observed === undefined) return;
    this.#timers.set(session, now + this.#limits.observeMs);
    if (session.nativeWriter.isFlushing) return;
    const status = this.#statusOf(observed.mesh, now);
    const text = JSON.stringify(status);
    if (text === observed.text) return;
    observed.text = text;
    for (const part of encodeStatus(movedInTime(status, -now))) session.nativeWriter.send(encodeControl(part));
  }
}
