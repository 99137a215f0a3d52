import type { Limits } from "./limits.js";
import type { KeyedTimers, Timers } from "./timers.js";

/** `probe`: ask whether the other end lives. `giveUp`: it has not answered in time, and is not watched any more. */
export type IdleVerdict = "probe" | "giveUp";

/**
 * Whether those at the other ends of connections still live. Whatever comes from one is a sign of life; who has given none
 * for a while is asked, again and again, until the time is over.
 *
 * TCP alone does not tell: a connection on which something unacknowledged is under way lives on for a quarter of an hour
 * after the other machine has vanished.
 */
export class IdleMonitor<Key> {
  readonly #probeMs: number;
  readonly #silentMs: number;
  readonly #heardAt = new Map<Key, number>();
  readonly #onIdle: (key: Key, verdict: IdleVerdict, now: number) => void;
  /** When to check each next. A sign of life does not move it, so hearing one costs no more than storing the time. */
  readonly #checks: KeyedTimers<Key>;

  /** `onIdle` is called for a connection on which nothing has come for a while. */
  constructor(
    { probeMs, silentMs }: Pick<Limits, "probeMs" | "silentMs">,
    timers: Timers,
    onIdle: (key: Key, verdict: IdleVerdict, now: number) => void,
  ) {
    // Two probes at least before the end, and never one without time having passed since the last.
    this.#probeMs = Math.max(1, Math.min(probeMs, silentMs / 3));
    this.#silentMs = silentMs;
    this.#onIdle = onIdle;
    this.#checks = timers.keyed((key, now) => this.#check(key, now));
  }

  /** From now on this one is watched. */
  watch(key: Key, now: number): void {
    this.#heardAt.set(key, now);
    this.#checks.set(key, now + this.#probeMs);
  }

  /** Something has come from this one. */
  heard(key: Key, now: number): void {
    if (this.#heardAt.has(key)) this.#heardAt.set(key, now);
  }

  /**
   * There is a reason to doubt that this one lives, and it is being probed: it gets no longer than the time between two
   * probes. Doubting it again before it has been heard gives it no more time.
   */
  doubt(key: Key, now: number): void {
    const known = this.#heardAt.get(key);
    if (known === undefined) return;
    const heardAt = Math.min(known, now - this.#silentMs + this.#probeMs);
    this.#heardAt.set(key, heardAt);
    this.#checks.set(key, heardAt + this.#silentMs);
  }

  forget(key: Key): void {
    this.#heardAt.delete(key);
    this.#checks.clear(key);
  }

  #check(key: Key, now: number): void {
    const heardAt = this.#heardAt.get(key) ?? now;
    // Moments are compared, not spans: a span that comes out a rounding error too short would be due again at once.
    const probeAt = heardAt + this.#probeMs;
    const giveUpAt = heardAt + this.#silentMs;
    if (now >= giveUpAt) {
      this.forget(key);
      this.#onIdle(key, "giveUp", now);
      return;
    }
    this.#checks.set(key, now < probeAt ? probeAt : Math.min(now + this.#probeMs, giveUpAt));
    if (now >= probeAt) this.#onIdle(key, "probe", now);
  }
}
