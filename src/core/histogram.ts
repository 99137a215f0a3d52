/** Counts what was measured by upper bounds, since the start. */
export class Histogram {
  /** In rising order; whatever is above the last one is counted behind it. */
  readonly bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.bounds = bounds;
    this.#counts = new Array<number>(bounds.length + 1).fill(0);
  }

  /** How many are within each bound and above the one before; the last number is of those above all bounds. */
  get counts(): readonly number[] {
    return this.#counts;
  }

  /** Of all that was measured. */
  get sum(): number {
    return this.#sum;
  }

  observe(value: number): void {
    const index = this.bounds.findIndex((bound) => value <= bound);
    const at = index < 0 ? this.bounds.length : index;
    this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    this.#sum += value;
  }
}
