import { backoffMs } from "../core/backoff.js";
import type { Endpoint } from "../core/connections.js";
import type { LogEvent } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import { SeededRandom } from "../core/random.js";
import type { KeyedTimers, Timers } from "../core/timers.js";
import { type Address, endpointOf, formatAddress } from "../protocol/address.js";
import type { SessionEvent } from "./types.js";

/** Why an address has not led to a place in the mesh. */
interface FailedAddress extends LogEvent {
  /** What answers there is no server of this mesh: it has another secret, or speaks something else. */
  readonly isFinal: boolean;
}

/** Of several addresses each gets this part of the time for a dial, at most: less than a third loses a repeated SYN. */
const dialParts = 3;

/**
 * When a session dials its server again, which is gone or not there yet: after pauses that grow, until it is found or the
 * time for it is over. A server may have several addresses, and may share its log with others, which it names. All take
 * turns, and the pause comes when each has been tried. Time that this node stands in the waiting line does not count.
 */
export class ServerRedial {
  readonly #limits: Limits;
  readonly #random: SeededRandom;
  readonly #timers: KeyedTimers<"redial" | "giveUp">;
  /** The addresses that the owner has given; none before a server is known. */
  #given: readonly Endpoint[] = [];
  /** These, and behind them what the last server has named; which one is dialed; and how many were tried since the last pause. */
  #servers: readonly Endpoint[] = [];
  /** True if other servers go on with the log when this one is lost. */
  #isShared = false;
  #current = 0;
  #tried = 0;
  /** The newest failure of each address, the newest last. */
  readonly #failed = new Map<Address, FailedAddress>();
  /** The longest time that a server has named since the last pause. */
  #namedMs = 0;
  /** For how many milliseconds it may go on, in all and still. Infinity: for ever; undefined: not at all, one round is the end. */
  #allowedMs: number | undefined;
  #leftMs: number | undefined;
  /** Since when that time runs; undefined while it does not. */
  #since: number | undefined;
  /** Rounds in a row that have led to nothing. */
  #rounds = 0;

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

  /** The server is at these addresses, and may be looked for so many milliseconds from now on; see `connectToServer`. */
  begin(servers: readonly Endpoint[], withinMs: number | undefined, now: number): void {
    this.#given = servers;
    this.#servers = servers;
    this.#current = 0;
    this.allow(withinMs);
    this.resume(now);
  }

  /** The server with which the session is shares its log with these others, and no longer with any that it named before. */
  learn(others: readonly Address[]): void {
    const { server } = this;
    if (server === undefined) return;
    const servers = new Map(this.#given.map((given) => [formatAddress(given), given]));
    // The server itself, too, if another one has named it.
    for (const address of [formatAddress(server), ...others]) {
      if (!servers.has(address)) servers.set(address, endpointOf(address));
    }
    this.#servers = [...servers.values()];
    this.#current = [...servers.keys()].indexOf(formatAddress(server));
    this.#isShared = others.length > 0;
  }

  /** The address that is dialed; undefined before one is known. */
  get server(): Endpoint | undefined {
    return this.#servers[this.#current];
  }

  /** The same, as messages name it. */
  get serverName(): string {
    return this.server === undefined ? "the server" : formatAddress(this.server);
  }

  /** True if a server that is not there is dialed again and again. */
  get isAllowed(): boolean {
    return this.#leftMs !== undefined;
  }

  get hasSeveral(): boolean {
    return this.#servers.length > 1;
  }

  /** How long a dial may take. */
  get dialMs(): number {
    return this.#limits.dialMs / Math.max(1, Math.min(this.#servers.length, dialParts));
  }

  /** True if an address that has failed is followed by another try, there or elsewhere. */
  goesOn(isFinal = false): boolean {
    if (this.#tried + 1 < this.#servers.length) return true;
    if (!this.isAllowed) return false;
    return (
      !isFinal ||
      this.#servers.some(
        (server) => server !== this.server && this.#failed.get(formatAddress(server))?.isFinal !== true,
      )
    );
  }

  /** That the server is not there yet, or has ended the connection, as a sentence; undefined if that address has failed before. */
  awaited({ code, message }: LogEvent): string | undefined {
    const { server, serverName } = this;
    if (server === undefined || this.#failed.has(formatAddress(server))) return undefined;
    const what =
      code === "SERVER_UNREACHABLE" ? `no server at ${serverName} yet` : `${serverName} has not let this node in yet`;
    const next = this.hasSeveral ? `trying ${this.#names(", ")} in turn` : "trying again";
    const forMs = this.#allowedMs ?? 0;
    const bound =
      forMs === Number.POSITIVE_INFINITY
        ? " until it does"
        : forMs === 0
          ? ""
          : ` for ${Math.round(forMs / 100) / 10} s`;
    return `${what} (${message}); ${next}${bound}`;
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

  /**
   * A session has broken. Another server that shares the log is dialed at once; if there is none, the one that it was with,
   * after a pause.
   */
  lost(failure: LogEvent, now: number, retryMs = 0): void {
    this.#tried = 0;
    if (this.#isShared) {
      this.failed(failure, now, retryMs);
      return;
    }
    this.resume(now);
    this.#namedMs = retryMs;
    this.#setPause(now);
  }

  /**
   * The dial has led to nothing. The next address is dialed at once; after the last one comes a pause, and the time that a
   * server has named.
   */
  failed(failure: LogEvent, now: number, retryMs = 0, isFinal = false): void {
    this.resume(now);
    this.note(failure, isFinal);
    this.#namedMs = Math.max(this.#namedMs, retryMs);
    this.#current = (this.#current + 1) % this.#servers.length;
    this.#tried += 1;
    if (this.#tried < this.#servers.length) this.#timers.set("redial", now);
    else this.#setPause(now);
  }

  /** Why the present address has failed. */
  note({ code, message }: LogEvent, isFinal = false): void {
    if (this.server === undefined) return;
    const address = formatAddress(this.server);
    this.#failed.delete(address);
    this.#failed.set(address, { code, message, isFinal });
  }

  #setPause(now: number): void {
    const { redialMinMs, serverRedialMaxMs, retryMaxMs } = this.#limits;
    this.#rounds += 1;
    const pauseMs = backoffMs(this.#rounds, redialMinMs, serverRedialMaxMs, this.#random);
    // Those who got the same time spread out.
    const namedMs = Math.min(this.#namedMs, retryMaxMs) * (1 + 0.5 * this.#random.next());
    this.#timers.set("redial", now + Math.max(pauseMs, namedMs));
    this.#tried = 0;
    this.#namedMs = 0;
  }

  /** The `count`th incarnation in a row that did not last is over: the next one registers after a pause. Returns whether there is one. */
  pauseAfter(count: number, now: number): boolean {
    const { redialMinMs, redialMaxMs } = this.#limits;
    const pauseMs = backoffMs(count - 1, redialMinMs, redialMaxMs, this.#random);
    if (pauseMs > 0) this.#timers.set("redial", now + pauseMs);
    return pauseMs > 0;
  }

  /** Why each address has failed, as far as it has. */
  get failures(): string {
    return Array.from(this.#failed, ([server, { message }]) => `${server}: ${message}`).join("; ");
  }

  /** What its end comes to for a node that has not been taken in yet, and wants to be under this address. */
  timedOut(own: Address | undefined): SessionEvent {
    const { failures } = this;
    const missing =
      own === undefined ? `no connection to ${this.#names(" or ")}` : `${this.#names(" or ")} has not taken in ${own}`;
    const reason = `after ${Math.round(this.#allowedMs ?? 0)} ms ${missing}`;
    const all = [...this.#failed.values()];
    // What has answered, and is no server of this mesh, says more than an address where nobody is.
    const cause = all.find(({ isFinal }) => isFinal) ?? all.at(-1);
    if (cause === undefined) return { type: "over", reason, failure: "TIMED_OUT" };
    const why = this.hasSeveral ? failures : cause.message;
    return {
      type: "over",
      reason: `${reason}: ${why}`,
      failure: "TIMED_OUT",
      cause: { code: cause.code, message: failures },
    };
  }

  /** The server is found, or nobody looks for it any more. */
  stop(): void {
    this.#timers.clearAll();
    this.#since = undefined;
    this.#rounds = 0;
    this.#tried = 0;
    this.#namedMs = 0;
    this.#failed.clear();
  }

  #names(between: string): string {
    return this.#servers.map(formatAddress).join(between);
  }
}
