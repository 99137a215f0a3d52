import type { Limits } from "../../core/limits.js";
import type { KeyedTimers, Timers } from "../../core/timers.js";
import type { Id } from "../../protocol/directory.js";
import type { LinkStage } from "../../protocol/missing-pair.js";
import type { ControlOf } from "../../protocol/native/control.js";
import type { DownState } from "./link.js";

/** What this node knows of its link with one member, and at which attempt; `failure`: why it is not up. */
interface ReportedState {
  readonly attempt: number;
  readonly failure: DownState | undefined;
}

/** So many fit into a frame with the longest reasons, in letters of three bytes; a report of more goes in parts. */
const mostPerReport = 40;

/**
 * What this node reports of its links to the server, by the ids of the peers: only what has changed since the last report. The
 * first change after a pause is reported at once, those that follow within `reportMs` together.
 */
export class ServerLinkReport {
  readonly #limits: Limits;
  readonly #states = new Map<Id, ReportedState>();
  readonly #changed = new Set<Id>();
  readonly #timers: KeyedTimers<"report">;
  #isFull = false;
  /** When the last report was made. */
  #reportedAt = Number.NEGATIVE_INFINITY;

  /** `due` is called when there is something to be reported, and the time for it has come. */
  constructor(limits: Limits, timers: Timers, due: (now: number) => void) {
    this.#limits = limits;
    this.#timers = timers.keyed((_, now) => due(now));
  }

  /** The link with the member of this id is up by this attempt; 0 where it is classic. */
  up(id: Id, attempt: number, now: number): void {
    const state = this.#states.get(id);
    if (state?.attempt !== attempt || state.failure !== undefined) this.#set(id, { attempt, failure: undefined }, now);
  }

  /** The link with the member of this id is not up. */
  down(id: Id, attempt: number, failure: DownState, now: number): void {
    this.#set(id, { attempt, failure }, now);
  }

  /** There is no such member any more. */
  forget(id: Id): void {
    this.#states.delete(id);
    this.#changed.delete(id);
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
    for (const id of this.#states.keys()) this.#changed.add(id);
    this.#timers.set("report", now);
  }

  /** Takes out everything that is still to be reported, in order, also before its time. */
  take(now: number): ControlOf<"links">[] {
    this.#timers.clear("report");
    const ids = [...this.#changed];
    this.#changed.clear();
    const reports: ControlOf<"links">[] = [];
    for (let from = 0; from < ids.length || this.#isFull; from += mostPerReport) {
      reports.push(this.#report(ids.slice(from, from + mostPerReport)));
      this.#isFull = false;
    }
    if (reports.length > 0) this.#reportedAt = now;
    return reports;
  }

  #set(id: Id, state: ReportedState, now: number): void {
    this.#states.set(id, state);
    this.#changed.add(id);
    if (!this.#timers.has("report"))
      this.#timers.set("report", Math.max(now, this.#reportedAt + this.#limits.reportMs));
  }

  #report(ids: readonly Id[]): ControlOf<"links"> {
    const up: [Id, number][] = [];
    const down: [Id, LinkStage, number, string][] = [];
    for (const id of ids) {
      const state = this.#states.get(id);
      if (state === undefined) continue;
      const { attempt, failure } = state;
      if (failure === undefined) up.push([id, attempt]);
      else down.push([id, failure.stage, attempt, failure.reason]);
    }
    return { type: "links", ...(this.#isFull ? { full: true as const } : {}), up, down };
  }
}
