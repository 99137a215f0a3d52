import { backoffMs } from "../core/backoff.js";
import type { Endpoint } from "../core/connections.js";
import type { ErrorCode, LogEvent } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import { SeededRandom } from "../core/random.js";
import type { KeyedTimers, Timers } from "../core/timers.js";
import { type Address, formatAddress } from "../protocol/address.js";
import type { SessionEvent } from "./types.js";

/**
 * When a session dials its server again, which is gone or not there yet: after pauses that grow, until it is found or the
 * time for it is over. Time that this node stands in the waiting line does not count.
 */
export class ServerRedial {
  /** The server; undefined before it is known. */
  server: Endpoint | undefined;
  /** Why the newest dial has not led to a place in the mesh. */
  lastFailure: LogEvent | undefined;
  readonly #limits: Limits;
  readonly #random: SeededRandom;
  readonly #timers: KeyedTimers<"redial" | "giveUp">;
  /** For how many milliseconds it may go on, in all and still. Infinity: for ever; undefined: not at all, one failure is the end. */
  #allowedMs: number | undefined;
  #leftMs: number | undefined;
  /** Since when that time runs; undefined while it does not. */
  #since: number | undefined;
  /** Dials in a row that have led to nothing. */
  #failures = 0;

  constructor(
    limits: Limits,
    seed: number,
    timers: Timers,
    redial: (now: number) => void,
    giveUp: (now: number) => void,
  ) {
    this.#limits = limits;
    this.#random = new SeededRandom(seed);
    this.#timers = timers.keyed((timer, now) => (timer === "redial" ? redial(now) : giveUp(now)));
  }

  /** The server, as messages name it. */
  get serverName(): string {
    return this.server === undefined ? "the server" : formatAddress(this.server);
  }

  /** True if a server that is not there is dialed again. */
  get isAllowed(): boolean {
    return this.#leftMs !== undefined;
  }

  /** That the server is not there yet, or has ended the connection, as a sentence for the log. */
  awaited(code: ErrorCode, reason: string): string {
    const { serverName } = this;
    const what =
      code === "SERVER_UNREACHABLE" ? `no server at ${serverName} yet` : `${serverName} has not let this node in yet`;
    const forMs = this.#allowedMs ?? 0;
    const bound = forMs === Number.POSITIVE_INFINITY ? "until it does" : `for ${forMs / 1_000} s`;
    return `${what} (${reason}); trying again ${bound}`;
  }

  /** From now on, or from the next failure on, it may take so many milliseconds. */
  allow(withinMs: number | undefined): void {
    this.stop();
    this.#allowedMs = withinMs;
    this.#leftMs = withinMs;
  }

  /** Its time runs. */
  resume(now: number): void {
    if (this.#leftMs === undefined || this.#since !== undefined) return;
    this.#since = now;
    if (this.#leftMs !== Number.POSITIVE_INFINITY) this.#timers.set("giveUp", now + this.#leftMs);
  }

  /** Its time does not run: this node stands in the waiting line. */
  pause(now: number): void {
    if (this.#leftMs === undefined || this.#since === undefined) return;
    this.#leftMs -= now - this.#since;
    this.#since = undefined;
    this.#timers.clear("giveUp");
  }

  /** A dial has led to nothing: the next one comes after a pause, and not before the time that the server has named. */
  failed(now: number, retryMs = 0): void {
    const { redialMinMs, serverRedialMaxMs, retryMaxMs } = this.#limits;
    this.#failures += 1;
    this.resume(now);
    const pauseMs = backoffMs(this.#failures, redialMinMs, serverRedialMaxMs, this.#random);
    // Those who got the same time spread out.
    const namedMs = Math.min(retryMs, retryMaxMs) * (1 + 0.5 * this.#random.next());
    this.#timers.set("redial", now + Math.max(pauseMs, namedMs));
  }

  /** The `count`th incarnation in a row that did not last is over: the next one registers after a pause. Returns whether there is one. */
  pauseAfter(count: number, now: number): boolean {
    const { redialMinMs, redialMaxMs } = this.#limits;
    const pauseMs = backoffMs(count - 1, redialMinMs, redialMaxMs, this.#random);
    if (pauseMs > 0) this.#timers.set("redial", now + pauseMs);
    return pauseMs > 0;
  }

  /** What its end comes to for a node that has not been taken in yet, and wants to be under this address. */
  timedOut(own: Address | undefined): SessionEvent {
    const { serverName, lastFailure } = this;
    const missing = own === undefined ? `no connection to ${serverName}` : `${serverName} has not taken in ${own}`;
    const reason = `after ${Math.round(this.#allowedMs ?? 0)} ms ${missing}`;
    if (lastFailure === undefined) return { type: "over", reason, failure: "TIMED_OUT" };
    const { code, message } = lastFailure;
    const cause = { code, message: `${serverName}: ${message}` };
    return { type: "over", reason: `${reason}: ${message}`, failure: "TIMED_OUT", cause };
  }

  /** The server is found, or nobody looks for it any more. */
  stop(): void {
    this.#timers.clearAll();
    this.#since = undefined;
    this.#failures = 0;
  }
}
