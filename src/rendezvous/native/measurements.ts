import type { Limits } from "../../core/limits.js";
import type { KeyedTimers, Timers } from "../../core/timers.js";
import type { Id } from "../../protocol/directory.js";
import { type ControlOf, encodeControl } from "../../protocol/native/control.js";
import type { MemberRecord } from "../member-record.js";
import type { MemberSession } from "../member-session.js";
import type { Members } from "../members.js";

/** What one end of a link measures. */
export interface Measurement {
  /** undefined if it has not measured any yet. */
  readonly roundTripMs: number | undefined;
  readonly queuedBytes: number;
  readonly at: number;
}

/** So many times `measureMs` a member goes on measuring after it was last asked for, and what it has measured counts. */
const lastsTimes = 5;

/**
 * What members measure of their links, for those who look at a pair. A member is asked to measure when somebody asks for a
 * link of its, and told to stop when nobody has for a while. While nobody looks, nothing is sent and nothing is kept.
 */
export class Measurements {
  readonly #limits: Limits;
  /** By the sessions of those who measure, whoever was asked for last at the end: a member forgets it with its session. */
  readonly #measured = new Map<MemberSession, Map<Id, Measurement>>();
  readonly #timers: KeyedTimers<MemberSession>;

  constructor(limits: Limits, timers: Timers) {
    this.#limits = limits;
    this.#timers = timers.keyed((session) => this.#stop(session));
  }

  /** Somebody looks at a link of this member. Beyond `measuring` members, the one that was asked for longest ago stops. */
  ask({ session, dialect }: MemberRecord, now: number): void {
    if (session?.logProgress?.isAdmitted !== true || dialect === "classic") return;
    const { measureMs, measuring } = this.#limits;
    const links = this.#measured.get(session);
    this.#measured.delete(session);
    const [oldest] = this.#measured.keys();
    if (oldest !== undefined && this.#measured.size >= measuring) this.#stop(oldest);
    this.#measured.set(session, links ?? new Map());
    this.#timers.set(session, now + lastsTimes * measureMs);
    if (links === undefined) owe(session, measureMs);
  }

  /** A member has measured. What it says of those that are not listed is ignored, as is what it was not asked for. */
  take(session: MemberSession, { links }: ControlOf<"measured">, members: Members, now: number): void {
    const measured = this.#measured.get(session);
    if (measured === undefined) return;
    for (const id of measured.keys()) if (!members.listed.has(id)) measured.delete(id);
    for (const [id, roundTripMs, queuedBytes] of links) {
      if (!members.listed.has(id)) continue;
      measured.set(id, { roundTripMs: roundTripMs ?? undefined, queuedBytes, at: now });
    }
  }

  /** What this member has measured lately of its link with another one. */
  of({ session }: MemberRecord, peer: Id, now: number): Measurement | undefined {
    const found = session && this.#measured.get(session)?.get(peer);
    return found !== undefined && now - found.at <= lastsTimes * this.#limits.measureMs ? found : undefined;
  }

  /** The session is over. */
  end(session: MemberSession): void {
    this.#measured.delete(session);
    this.#timers.clear(session);
  }

  #stop(session: MemberSession): void {
    this.end(session);
    owe(session, 0);
  }
}

/** Of a reader that is slow, only the newest waits. */
function owe({ nativeWriter }: MemberSession, everyMs: number): void {
  nativeWriter.owe("measure", encodeControl({ type: "measure", everyMs }));
}
