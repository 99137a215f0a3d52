import type { MeshStatus } from "../../protocol/status.js";
import { changesBetween, type StatusChange } from "../../protocol/status-changes.js";

/** One change with its number and when it was seen, in milliseconds since the epoch. */
export type NumberedChange = { readonly number: number; readonly at: number } & StatusChange;

/** Gets what there is to see of a mesh. */
export interface Observer {
  /** Changes that have not been sent, in order. */
  changed(changes: readonly NumberedChange[]): void;
}

/** The time between two looks. */
const lookMs = 100;
/** Changes that are kept for those who come back: some minutes of a mesh that forms. */
const keptChanges = 2_000;
/** Changes go on being collected for so long after the last observer has gone, who may come back. */
const lingerMs = 60_000;

/**
 * What happens in one mesh, as numbered changes, for all who look at it. While nobody looks, and some time later, nothing is
 * computed.
 */
export class Observation {
  readonly #statusOf: () => MeshStatus;
  readonly #observers = new Set<Observer>();
  #timer: NodeJS.Timeout | undefined;
  #status: MeshStatus | undefined;
  /** The newest changes, without a gap. */
  #changes: NumberedChange[] = [];
  #newest = 0;
  #unseenSince = 0;

  constructor(statusOf: () => MeshStatus) {
    this.#statusOf = statusOf;
  }

  /** The number of the newest change. */
  get newest(): number {
    return this.#newest;
  }

  get isObserved(): boolean {
    return this.#observers.size > 0;
  }

  /** True while changes are collected. */
  get isRunning(): boolean {
    return this.#timer !== undefined;
  }

  /** The status as all changes up to now have made it. */
  get status(): MeshStatus {
    this.#look();
    return this.#status ?? this.#statusOf();
  }

  begin(observer: Observer): void {
    this.#observers.add(observer);
    if (this.#timer !== undefined) return;
    this.#status = this.#statusOf();
    this.#timer = setInterval(() => this.#look(), lookMs);
  }

  end(observer: Observer): void {
    if (this.#observers.delete(observer) && !this.isObserved) this.#unseenSince = performance.now();
  }

  /** The changes behind this one; undefined if they are not kept any more, or it has not happened here. */
  since(number: number): readonly NumberedChange[] | undefined {
    const first = this.#newest - this.#changes.length;
    if (this.#timer === undefined || number < first || number > this.#newest) return undefined;
    return this.#changes.slice(number - first);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#status = undefined;
    this.#changes = [];
  }

  #look(): void {
    if (this.#timer === undefined || this.#status === undefined) return;
    if (!this.isObserved && performance.now() - this.#unseenSince > lingerMs) {
      this.stop();
      return;
    }
    const status = this.#statusOf();
    const at = Date.now();
    const changes = changesBetween(this.#status, status).map((change): NumberedChange => {
      this.#newest += 1;
      return { number: this.#newest, at, ...change };
    });
    this.#status = status;
    if (changes.length === 0) return;
    this.#changes = [...this.#changes, ...changes].slice(-keptChanges);
    for (const observer of this.#observers) observer.changed(changes);
  }
}
