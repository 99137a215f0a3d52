import type { Limits } from "../../core/limits.js";
import { SeededRandom } from "../../core/random.js";
import { TimerTable } from "../../core/timer-table.js";

/** What has taken long enough: an answer that does not come, a pause before the next try, or the server's absence. */
export type ReconnectTimeout = "answer" | "redial" | "serverLost";

/** How long a session waits for its server: for an answer, between two tries to come back, and in all. */
export class ReconnectTimers {
  readonly #limits: Limits;
  /** Infinity: for ever. */
  readonly #serverLostMs: number;
  readonly #random: SeededRandom;
  readonly #waits = new TimerTable<ReconnectTimeout>();
  /** Tries in a row to reach a server that has gone. */
  #tries = 0;
  /** Since when the server refuses to take this member back, if it does. */
  #refusedSince: number | undefined;
  /** When this incarnation was admitted; undefined before it was. */
  #admittedAt: number | undefined;
  /** Incarnations in a row that were removed soon after they had been admitted. */
  #shortLives = 0;

  constructor(limits: Limits, serverLostMs: number, seed: number) {
    this.#limits = limits;
    this.#serverLostMs = serverLostMs;
    this.#random = new SeededRandom(seed);
  }

  /** An answer must come within so many milliseconds. */
  awaitAnswer(withinMs: number, now: number): void {
    this.#waits.set("answer", now + withinMs);
  }

  answered(): void {
    this.#waits.clear("answer");
  }

  /**
   * The server has gone. It is to be tried again after a pause, which doubles with each try in a row, and not before the
   * time that the server itself has asked for.
   */
  away(isFirst: boolean, now: number, retryMs = 0): void {
    const { redialMinMs, serverRedialMaxMs } = this.#limits;
    if (isFirst && this.#serverLostMs !== Number.POSITIVE_INFINITY) {
      this.#waits.set("serverLost", now + this.#serverLostMs);
    }
    const pauseMs = Math.min(serverRedialMaxMs, redialMinMs * 2 ** this.#tries);
    this.#tries += 1;
    if (retryMs > 0) this.retryAfter(Math.max(retryMs, pauseMs), now);
    else this.#pause(pauseMs, now);
  }

  /** The server has asked to be tried again after so many milliseconds. Those who were told the same spread out. */
  retryAfter(retryMs: number, now: number): void {
    const pauseMs = Math.min(retryMs, this.#limits.retryMaxMs);
    this.#waits.set("redial", now + pauseMs * (1 + 0.5 * this.#random.next()));
  }

  /** The server does not take this member back. Returns for how many milliseconds it has been saying so. */
  refused(now: number): number {
    this.#refusedSince ??= now;
    return now - this.#refusedSince;
  }

  /** The server has let this incarnation in, or in again. */
  admitted(now: number): void {
    this.clear();
    this.#admittedAt ??= now;
  }

  /**
   * This incarnation is over, and the next one registers: at once, or after a pause that doubles with each one in a row that
   * did not last. Returns how many those are.
   */
  restart(now: number): number {
    const { redialMinMs, redialMaxMs, admissionProvenMs } = this.#limits;
    if (this.#admittedAt !== undefined) {
      const hasLasted = now - this.#admittedAt >= admissionProvenMs;
      this.#shortLives = hasLasted ? 0 : this.#shortLives + 1;
    }
    this.clear();
    this.#admittedAt = undefined;
    const pauseMs = this.#shortLives < 2 ? 0 : Math.min(redialMaxMs, redialMinMs * 2 ** (this.#shortLives - 2));
    this.#pause(pauseMs, now);
    return this.#shortLives;
  }

  /** Nothing is waited for any more. */
  clear(): void {
    this.#tries = 0;
    this.#refusedSince = undefined;
    this.#waits.clearAll();
  }

  nextTimeout(): number | undefined {
    return this.#waits.next();
  }

  takeDue(now: number): ReconnectTimeout | undefined {
    return this.#waits.takeDue(now);
  }

  /** With jitter, so that those who were sent away together do not come back together. */
  #pause(pauseMs: number, now: number): void {
    this.#waits.set("redial", now + pauseMs * (0.5 + 0.5 * this.#random.next()));
  }
}
