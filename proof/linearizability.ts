/**
 * Something that clients have done, as they have seen it. Times are of one clock.
 *
 * Where the result names a place in the one order that the log gives (the order of a member, the token of a claim), it is the
 * `stamp`: operations with stamps can only have happened in the order of these.
 */
export interface Operation<State> {
  /** For people. */
  readonly name: string;
  readonly begunAt: number;
  /** When its result was known; Infinity if none came. */
  readonly endedAt: number;
  readonly stamp?: number;
  /** It may never have happened: its outcome is not known. */
  readonly isOptional?: boolean;
  /** It changes nothing: it may happen at any moment at which it can. */
  readonly isReading?: boolean;
  /** The state after it; undefined if it cannot happen in this state with the result that it had. */
  readonly apply: (state: State) => State | undefined;
}

/** What a search has found. */
export interface Verdict {
  readonly isLinearizable: boolean;
  /** The longest order that was found: the names of the operations. */
  readonly longest: readonly string[];
  /** Of those that are left then, the ones that must come next, and cannot. */
  readonly stuck: readonly string[];
}

/** One step of the search: what has happened by then, and what is still to be tried from there. */
interface Step<State> {
  readonly state: State;
  readonly operation: number | undefined;
  readonly candidates: number[];
}

/**
 * Whether the operations can have happened one after the other, each at a moment between its beginning and its end, from this
 * state on. `keyOf` names a state: two with the same name allow the same.
 *
 * A search as that of Wing and Gong (Testing and verifying concurrent objects, 1993), with the set of what has happened and the
 * state remembered (Lowe, Testing for linearizability, 2017). Operations that only read happen as soon as they can.
 */
export function checkLinearizable<State>(
  operations: readonly Operation<State>[],
  initial: State,
  keyOf: (state: State) => string,
): Verdict {
  return new Search(operations, keyOf).run(initial);
}

class Search<State> {
  /** In the order of their beginnings. */
  readonly #operations: readonly Operation<State>[];
  readonly #keyOf: (state: State) => string;
  /** The places of those with stamps, in the order of these, and how many of them have happened. */
  readonly #stamped: readonly number[];
  #stampsHappened = 0;
  readonly #happened: Uint8Array;
  /** How many have happened that must. */
  #settled = 0;
  readonly #mustHappen: number;
  readonly #seen = new Set<string>();
  readonly #order: string[] = [];

  constructor(operations: readonly Operation<State>[], keyOf: (state: State) => string) {
    this.#operations = [...operations].sort((a, b) => a.begunAt - b.begunAt);
    this.#keyOf = keyOf;
    const stampOf = (index: number): number => this.#at(index).stamp ?? 0;
    const stamped = this.#operations.flatMap(({ stamp }, index) => (stamp === undefined ? [] : [index]));
    this.#stamped = stamped.sort((a, b) => stampOf(a) - stampOf(b));
    this.#happened = new Uint8Array(operations.length);
    this.#mustHappen = operations.filter(({ isOptional }) => isOptional !== true).length;
  }

  run(initial: State): Verdict {
    let longest: string[] = [];
    let stuck: string[] = [];
    const steps: Step<State>[] = [{ state: initial, operation: undefined, candidates: this.#candidates() }];
    for (let step = steps.at(-1); step !== undefined; step = steps.at(-1)) {
      if (this.#settled === this.#mustHappen) return { isLinearizable: true, longest: this.#order, stuck: [] };
      const next = this.#next(step);
      if (next !== undefined) {
        steps.push(next);
        continue;
      }
      if (this.#order.length >= longest.length) {
        longest = [...this.#order];
        stuck = this.#candidates().map((index) => this.#at(index).name);
      }
      steps.pop();
      if (step.operation !== undefined) this.#undo(step.operation);
    }
    return { isLinearizable: false, longest, stuck };
  }

  #at(index: number): Operation<State> {
    return this.#operations[index] as Operation<State>;
  }

  /** The next step from here that leads to something new; undefined if there is none any more. */
  #next({ state: before, candidates }: Step<State>): Step<State> | undefined {
    const reading = candidates.find(
      (index) => this.#at(index).isReading && this.#at(index).apply(before) !== undefined,
    );
    // What reads early bars nothing: no other order has to be tried.
    if (reading !== undefined) candidates.splice(0, candidates.length, reading);
    for (let index = candidates.pop(); index !== undefined; index = candidates.pop()) {
      const state = this.#at(index).apply(before);
      if (state === undefined) continue;
      this.#do(index);
      const key = `${this.#happened.join("")} ${this.#keyOf(state)}`;
      if (!this.#seen.has(key)) {
        this.#seen.add(key);
        return { state, operation: index, candidates: this.#candidates() };
      }
      this.#undo(index);
    }
    return undefined;
  }

  /** Those that can come next, by their times and stamps: nobody else has ended before they began. Those with stamps are last. */
  #candidates(): number[] {
    let firstEnd = Number.POSITIVE_INFINITY;
    const found: number[] = [];
    for (const [index, { begunAt, endedAt, isOptional }] of this.#operations.entries()) {
      if (begunAt > firstEnd) break;
      if (this.#happened[index] === 1) continue;
      if (isOptional !== true) firstEnd = Math.min(firstEnd, endedAt);
      found.push(index);
    }
    const isNext = (index: number): boolean => {
      const { stamp } = this.#at(index);
      return stamp === undefined || this.#stamped[this.#stampsHappened] === index;
    };
    const possible = found.filter((index) => this.#at(index).begunAt <= firstEnd && isNext(index));
    return possible.sort((a, b) => Number(this.#at(a).stamp !== undefined) - Number(this.#at(b).stamp !== undefined));
  }

  #do(index: number): void {
    const { name, stamp, isOptional } = this.#at(index);
    this.#happened[index] = 1;
    if (stamp !== undefined) this.#stampsHappened += 1;
    if (isOptional !== true) this.#settled += 1;
    this.#order.push(name);
  }

  #undo(index: number): void {
    const { stamp, isOptional } = this.#at(index);
    this.#happened[index] = 0;
    if (stamp !== undefined) this.#stampsHappened -= 1;
    if (isOptional !== true) this.#settled -= 1;
    this.#order.pop();
  }
}
