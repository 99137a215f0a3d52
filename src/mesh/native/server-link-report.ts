import type { Limits } from "../../core/limits.js";
import type { KeyedTimers, Timers } from "../../core/timers.js";
import type { ControlOf } from "../../protocol/native/control.js";
import type { DownState } from "./link.js";

/** What this node knows of its link with one member. */
type ReportedState = { readonly attempt: number } | DownState;

/** So many fit into a frame with the longest reasons, in letters of three bytes; a report of more goes in parts. */
const mostPerReport = 40;

/**
 * What this node reports of its links to the server, by the orders of the peers: only what has changed since the last report. The
 * first change after a pause is reported at once, those that follow within `reportMs` together.
 */
export class ServerLinkReport {
  readonly #limits: Limits;
  readonly #states = new Map<number, ReportedState>();
  readonly #changed = new Set<number>();
  readonly #timers: KeyedTimers<"report">;
  #isFull = false;
  /** When the last report was made. */
  #reportedAt = Number.NEGATIVE_INFINITY;

  /** `due` is called when there is something to be reported, and the time for it has come. */
  constructor(limits: Limits, timers: Timers, due: (now: number) => void) {
    this.#limits = limits;
    this.#timers = timers.keyed((_, now) => due(now));
  }

  /** The link with the member of this order is up by this attempt; 0 where it is classic. */
  up(order: number, attempt: number, now: number): void {
    const state = this.#states.get(order);
    if (state === undefined || !("attempt" in state) || state.attempt !== attempt) this.#set(order, { attempt }, now);
  }

  /** The link with the member of this order is not up. */
  down(order: number, state: DownState, now: number): void {
    this.#set(order, state, now);
  }

  /** There is no such member any more. */
  forget(order: number): void {
    this.#states.delete(order);
    this.#changed.delete(order);
  }

  /** Another incarnation begins, which has reported nothing yet. */
  clear(): void {
    this.#states.clear();
    this.#changed.clear();
    this.#timers.clear("report");
  }

  /** The next report must have everything. */
  all(now: number): void {
    this.#isFull = true;
    for (const order of this.#states.keys()) this.#changed.add(order);
    this.#timers.set("report", now);
  }

  /** Takes out everything that is still to be reported, in order, also before its time. */
  take(now: number): ControlOf<"links">[] {
    this.#timers.clear("report");
    const orders = [...this.#changed];
    this.#changed.clear();
    const reports: ControlOf<"links">[] = [];
    for (let from = 0; from < orders.length || this.#isFull; from += mostPerReport) {
      reports.push(this.#report(orders.slice(from, from + mostPerReport)));
      this.#isFull = false;
    }
    if (reports.length > 0) this.#reportedAt = now;
    return reports;
  }

  #set(order: number, state: ReportedState, now: number): void {
    this.#states.set(order, state);
    this.#changed.add(order);
    if (!this.#timers.has("report"))
      this.#timers.set("report", Math.max(now, this.#reportedAt + this.#limits.reportMs));
  }

  #report(orders: readonly number[]): ControlOf<"links"> {
    const up: [number, number][] = [];
    const down: [number, string, string][] = [];
    for (const order of orders) {
      const state = this.#states.get(order);
      if (state === undefined) continue;
      if ("attempt" in state) up.push([order, state.attempt]);
      else down.push([order, state.stage, state.reason]);
    }
    return { type: "links", ...(this.#isFull ? { full: true as const } : {}), up, down };
  }
}
