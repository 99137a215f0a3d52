import { Heap } from "./heap.js";

/** So many timers fired at once are one that is set again and again for a moment that has come. */
const mostAtOnce = 1_000_000;

/** One moment that was set, for a key of one table. */
class Timer<Key> {
  readonly at: number;
  /** Counts up: timers of one moment fire in the order in which they were set. */
  readonly sequence: number;
  /** False once it has fired, or was moved or cleared. It stays in the heap until it surfaces. */
  isSet = true;
  readonly #table: KeyedTimers<Key>;
  readonly #key: Key;

  constructor(at: number, sequence: number, table: KeyedTimers<Key>, key: Key) {
    this.at = at;
    this.sequence = sequence;
    this.#table = table;
    this.#key = key;
  }

  fire(now: number): void {
    this.#table.fire(this.#key, now);
  }
}

type AnyTimer = Pick<Timer<unknown>, "at" | "sequence" | "isSet" | "fire">;

/**
 * All timers of one machine. Its parts set and clear them by keys of their own; the machine asks one place when it wants
 * to be woken, and then fires whatever is due, in the order of time.
 */
export class Timers {
  #heap = new Heap<AnyTimer>(isBefore);
  #sequence = 0;
  /** How many in the heap are set. */
  #size = 0;

  /** Timers of one part of the machine. `onDue` is called once for each key whose moment has come; it may set the key again. */
  keyed<Key>(onDue: (key: Key, now: number) => void): KeyedTimers<Key> {
    return new KeyedTimers(this, onDue);
  }

  /** When the earliest timer is due, in milliseconds of the machine's time; undefined if none is set. */
  next(): number | undefined {
    for (let first = this.#heap.peek(); first !== undefined; first = this.#heap.peek()) {
      if (first.isSet) return first.at;
      this.#heap.pop();
    }
    return undefined;
  }

  /**
   * Fires all timers that are due at `now`, the earliest first. A timer that is set meanwhile for `now` or earlier fires too;
   * one that never stops doing so is a mistake, and throws.
   */
  fire(now: number): void {
    let fired = 0;
    for (let at = this.next(); at !== undefined && at <= now; at = this.next()) {
      this.#heap.pop()?.fire(now);
      fired += 1;
      if (fired > mostAtOnce) throw new Error(`a timer is set again and again for ${at}, and it is ${now}`);
    }
  }

  /** For `KeyedTimers`. */
  set<Key>(at: number, table: KeyedTimers<Key>, key: Key): Timer<Key> {
    const timer = new Timer(at, this.#sequence, table, key);
    this.#sequence += 1;
    this.#size += 1;
    this.#heap.push(timer);
    if (this.#heap.size > 2 * this.#size + 64) this.#rebuild();
    return timer;
  }

  /** For `KeyedTimers`. */
  clear(timer: AnyTimer): void {
    timer.isSet = false;
    this.#size -= 1;
  }

  /** A timer that is moved again and again would otherwise leave a heap that only grows. */
  #rebuild(): void {
    const heap = new Heap<AnyTimer>(isBefore);
    for (let timer = this.#heap.pop(); timer !== undefined; timer = this.#heap.pop()) if (timer.isSet) heap.push(timer);
    this.#heap = heap;
  }
}

/** At most one timer for each key. Setting a key again moves its timer. */
export class KeyedTimers<Key> {
  readonly #timers: Timers;
  readonly #onDue: (key: Key, now: number) => void;
  readonly #set = new Map<Key, Timer<Key>>();

  constructor(timers: Timers, onDue: (key: Key, now: number) => void) {
    this.#timers = timers;
    this.#onDue = onDue;
  }

  /** How many keys have a timer. */
  get size(): number {
    return this.#set.size;
  }

  has(key: Key): boolean {
    return this.#set.has(key);
  }

  /** `at` in milliseconds of the machine's time; undefined clears the timer. */
  set(key: Key, at: number | undefined): void {
    if (this.#set.get(key)?.at === at) return;
    this.clear(key);
    if (at !== undefined) this.#set.set(key, this.#timers.set(at, this, key));
  }

  clear(key: Key): void {
    const timer = this.#set.get(key);
    if (timer === undefined) return;
    this.#set.delete(key);
    this.#timers.clear(timer);
  }

  clearAll(): void {
    for (const timer of this.#set.values()) this.#timers.clear(timer);
    this.#set.clear();
  }

  /** For `Timers`: the moment of this key has come. */
  fire(key: Key, now: number): void {
    this.clear(key);
    this.#onDue(key, now);
  }
}

function isBefore(a: AnyTimer, b: AnyTimer): boolean {
  return a.at < b.at || (a.at === b.at && a.sequence < b.sequence);
}
