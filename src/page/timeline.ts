import type { MeshStatus } from "../protocol/status.js";
import { changesBetween, type StatusChange, withChange } from "../protocol/status-changes.js";

/** One change, and when the server saw it, in milliseconds since the epoch. */
export interface Step {
  readonly at: number;
  readonly change: StatusChange;
}

/** After so many steps the status is kept, so that going back costs no more than that. */
const keptEvery = 64;
/** The most steps; the oldest go. */
const mostSteps = 16_384;

/** What has happened to a mesh since the page was opened. It can be at any step, and follows the newest one while it is live. */
export class Timeline {
  /** The status before the first step, and after each `keptEvery`th. */
  #kept: MeshStatus[];
  #steps: Step[] = [];
  #newest: MeshStatus;
  #position = 0;
  isLive = true;

  constructor(status: MeshStatus) {
    this.#kept = [status];
    this.#newest = status;
  }

  get steps(): readonly Step[] {
    return this.#steps;
  }

  /** How many steps have been taken at the moment that is shown. */
  get position(): number {
    return this.#position;
  }

  get newest(): MeshStatus {
    return this.#newest;
  }

  /** The status at the moment that is shown. */
  get status(): MeshStatus {
    return this.isLive ? this.#newest : this.#statusAt(this.#position);
  }

  /** Something has happened. */
  add(step: Step): void {
    this.#newest = withChange(this.#newest, step.change);
    this.#steps.push(step);
    if (this.#steps.length % keptEvery === 0) this.#kept.push(this.#newest);
    if (this.#steps.length > mostSteps) this.#dropOldest();
    if (this.isLive) this.#position = this.#steps.length;
  }

  /** The server sends the whole status again: what has changed meanwhile has happened now. */
  catchUp(status: MeshStatus, at: number): readonly Step[] {
    const steps = changesBetween(this.#newest, status).map((change): Step => ({ at, change }));
    for (const step of steps) this.add(step);
    this.#newest = status;
    return steps;
  }

  /** Shows the moment after so many steps, and does not follow any more. */
  goTo(position: number): void {
    this.isLive = false;
    this.#position = Math.max(0, Math.min(position, this.#steps.length));
  }

  /** Shows the newest moment, and follows. */
  goLive(): void {
    this.isLive = true;
    this.#position = this.#steps.length;
  }

  #statusAt(position: number): MeshStatus {
    const kept = Math.floor(position / keptEvery);
    const steps = this.#steps.slice(kept * keptEvery, position);
    return steps.reduce((status, { change }) => withChange(status, change), this.#kept[kept] ?? this.#newest);
  }

  #dropOldest(): void {
    this.#steps = this.#steps.slice(keptEvery);
    this.#kept = this.#kept.slice(1);
    this.#position = Math.max(0, this.#position - keptEvery);
  }
}
