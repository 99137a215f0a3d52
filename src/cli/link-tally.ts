import type { Direction } from "../mesh/types.js";

/** A pair of members that is not linked, and why. */
export interface MissingLink {
  readonly a: string;
  readonly b: string;
  readonly reason: string;
}

/**
 * Counts the links that the members of a process group report. A pair is linked when both ends have reported it, one as the
 * dialer and the other as the acceptor. Every further report is a duplicate.
 */
export class LinkTally {
  readonly size: number;
  readonly #order: string[] = [];
  readonly #reports = new Map<string, Map<string, Direction>>();
  #duplicates = 0;
  #pairs = 0;

  /** `size`: the members that are expected. */
  constructor(size: number) {
    this.size = size;
  }

  /** The members in join order. */
  get order(): readonly string[] {
    return this.#order;
  }

  /** The pairs that are expected. */
  get expectedPairs(): number {
    return (this.size * (this.size - 1)) / 2;
  }

  /** The pairs that both ends have reported. */
  get pairs(): number {
    return this.#pairs;
  }

  /** Links that one end reported twice, that were refused as second ones, or that both ends dialed. */
  get duplicates(): number {
    return this.#duplicates;
  }

  get isComplete(): boolean {
    return this.#order.length === this.size && this.#pairs === this.expectedPairs;
  }

  joined(address: string): void {
    this.#order.push(address);
  }

  left(address: string): void {
    const at = this.#order.indexOf(address);
    if (at >= 0) this.#order.splice(at, 1);
  }

  /** Member `from` has reported a link with `to`. */
  link(from: string, to: string, direction: Direction): void {
    const reports = this.#reports.get(from) ?? new Map<string, Direction>();
    this.#reports.set(from, reports);
    const other = this.#reports.get(to)?.get(from);
    if (reports.has(to) || other === direction) this.#duplicates += 1;
    if (!reports.has(to) && other !== undefined) this.#pairs += 1;
    reports.set(to, direction);
  }

  unlink(from: string, to: string): void {
    const isKnown = this.#reports.get(from)?.delete(to) === true;
    if (isKnown && this.#reports.get(to)?.has(from) === true) this.#pairs -= 1;
  }

  /** A member has refused a second connection of a peer. */
  duplicateRefused(): void {
    this.#duplicates += 1;
  }

  /** The direction in which `a` has reported a link with `b`; undefined if it has not. */
  report(a: string, b: string): Direction | undefined {
    return this.#reports.get(a)?.get(b);
  }

  /** True when both ends have reported the link. */
  isLinked(a: string, b: string): boolean {
    return this.report(a, b) !== undefined && this.report(b, a) !== undefined;
  }

  /** The pairs of members that are not linked. */
  missing(): MissingLink[] {
    const missing: MissingLink[] = [];
    for (const [index, a] of this.#order.entries()) {
      for (const b of this.#order.slice(index + 1)) {
        if (!this.isLinked(a, b)) missing.push({ a, b, reason: this.#reason(a, b) });
      }
    }
    return missing;
  }

  #reason(a: string, b: string): string {
    if (this.report(a, b) !== undefined) return `${b} has not reported it`;
    return this.report(b, a) === undefined ? "not dialed, or not connected" : `${a} has not reported it`;
  }
}
