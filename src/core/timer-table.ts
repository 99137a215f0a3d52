import { Heap } from "./heap.js";

interface Deadline<Key> {
  readonly key: Key;
  readonly at: number;
}

/**
 * What a machine waits for: at most one moment for each key. Setting a key again moves its moment, so a machine with
 * thousands of connections finds the next due one without looking at them all.
 */
export class TimerTable<Key> {
  readonly #current = new Map<Key, Deadline<Key>>();
  // Moved and cleared deadlines stay in the heap until they surface, and are dropped there.
  readonly #heap = new Heap<Deadline<Key>>((a, b) => a.at < b.at);
  /** The earliest one, if it is known: it is asked for far more often than it changes. */
  #first: Deadline<Key> | undefined;

  /** `at` in milliseconds, on the machine's time. */
  set(key: Key, at: number): void {
    const deadline = { key, at };
    this.#current.set(key, deadline);
    this.#heap.push(deadline);
    if (this.#first !== undefined && (this.#first.key === key || at < this.#first.at)) this.#first = undefined;
    if (this.#heap.size > 2 * this.#current.size + 64) this.#rebuild();
  }

  clear(key: Key): void {
    this.#current.delete(key);
    if (this.#first?.key === key) this.#first = undefined;
  }

  clearAll(): void {
    this.#current.clear();
    this.#first = undefined;
  }

  /** The earliest moment that is set, or undefined. */
  next(): number | undefined {
    if (this.#first !== undefined) return this.#first.at;
    if (this.#current.size === 0) return undefined;
    for (;;) {
      const first = this.#heap.peek();
      if (first === undefined) return undefined;
      if (this.#current.get(first.key) === first) {
        this.#first = first;
        return first.at;
      }
      this.#heap.pop();
    }
  }

  /** Takes out one key whose moment is `now` or earlier, the earliest first; undefined when none is due. */
  takeDue(now: number): Key | undefined {
    const at = this.next();
    if (at === undefined || at > now) return undefined;
    const due = this.#heap.pop() as Deadline<Key>;
    this.#first = undefined;
    this.#current.delete(due.key);
    return due.key;
  }

  /** A key that is moved again and again would otherwise leave a heap that only grows. */
  #rebuild(): void {
    // Of several that are due at one moment another one may come out on top.
    this.#first = undefined;
    while (this.#heap.size > 0) this.#heap.pop();
    for (const deadline of this.#current.values()) this.#heap.push(deadline);
  }
}

/** The earliest of several moments, undefined ones left out; undefined if there is none. */
export function earliest(...moments: readonly (number | undefined)[]): number | undefined {
  let first: number | undefined;
  for (const moment of moments) {
    if (moment !== undefined && (first === undefined || moment < first)) first = moment;
  }
  return first;
}
