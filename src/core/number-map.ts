/** How many places there are at first, a power of two; and more than how many are given back once all are empty. */
const [leastPlaces, mostKept] = [16, 1_024];

/** 2^32 divided by the golden ratio. */
const golden = 0x9e3779b1;

/**
 * Values by whole numbers that follow one another, as those of requests do: each comes, is looked up, and goes.
 *
 * A `Map` is no place for what comes and goes by the hundred thousand a second. Each table that V8 outgrows or cleans up
 * points to the next one, and the collector of young objects takes for alive whatever an old object points to. So from the
 * first table that has grown old, all that follow are kept and moved, with everything that was ever in them: a quarter of
 * the time of who asks with 64 requests in flight. Here is one table, in which what has gone leaves nothing behind.
 *
 * Open addressing with linear probing, at most half full; what is taken out closes its gap. Numbers are scattered by Knuth's
 * multiplication (The Art of Computer Programming 3, 6.4): side by side they would make one long row, to be looked through
 * at each gap. Numbers that somebody has chosen to lie on one place cost a look at each of them, so where a peer
 * chooses the numbers, there must be a bound on how many there are.
 */
export class NumberMap<Value extends object> {
  #keys: number[] = [];
  #values: (Value | undefined)[] = [];
  #size = 0;
  /** How many of the 32 bits of a scattered number are dropped to get a place. */
  #dropped = 32;

  get size(): number {
    return this.#size;
  }

  get(key: number): Value | undefined {
    return this.#values[this.#placeOf(key)];
  }

  set(key: number, value: Value): void {
    if ((this.#size + 1) * 2 > this.#values.length) this.#grow();
    const place = this.#placeOf(key);
    if (this.#values[place] === undefined) this.#size += 1;
    this.#keys[place] = key;
    this.#values[place] = value;
  }

  /** Takes a value out, and returns it; undefined if there is none. */
  take(key: number): Value | undefined {
    const place = this.#placeOf(key);
    const value = this.#values[place];
    if (value === undefined) return undefined;
    this.#size -= 1;
    if (this.#size === 0 && this.#values.length > mostKept) this.clear();
    else this.#close(place);
    return value;
  }

  /** All there are now, in the order of their numbers. */
  entries(): [number, Value][] {
    const entries = this.#values.flatMap((value, place): [number, Value][] =>
      value === undefined ? [] : [[this.#keys[place] ?? 0, value]],
    );
    return entries.sort(([a], [b]) => a - b);
  }

  clear(): void {
    this.#keys = [];
    this.#values = [];
    this.#size = 0;
  }

  /** Where the search for a key begins. */
  #homeOf(key: number): number {
    return Math.imul(key, golden) >>> this.#dropped;
  }

  /** Where this key is, or would be. */
  #placeOf(key: number): number {
    const last = this.#values.length - 1;
    let place = this.#homeOf(key);
    while (this.#values[place] !== undefined && this.#keys[place] !== key) place = (place + 1) & last;
    return place;
  }

  /** What would not be found any more behind an empty place moves into it. */
  #close(place: number): void {
    const last = this.#values.length - 1;
    let empty = place;
    for (let next = (empty + 1) & last; this.#values[next] !== undefined; next = (next + 1) & last) {
      const key = this.#keys[next] ?? 0;
      if (((next - this.#homeOf(key)) & last) < ((next - empty) & last)) continue;
      this.#keys[empty] = key;
      this.#values[empty] = this.#values[next];
      empty = next;
    }
    this.#values[empty] = undefined;
  }

  #grow(): void {
    const entries = this.entries();
    const places = Math.max(leastPlaces, this.#values.length * 2);
    this.#keys = Array.from({ length: places }, () => 0);
    this.#values = Array.from({ length: places });
    this.#size = 0;
    this.#dropped = Math.clz32(places - 1);
    for (const [key, value] of entries) this.set(key, value);
  }
}
