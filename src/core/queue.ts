/** So many places are kept when the queue is empty; what a burst has needed beyond that is given back. */
const mostKept = 4_096;

/** Places in front that are not worth moving the rest for. */
const leastMoved = 64;

/** First in, first out. Adding and taking cost the same however many items wait. */
export class Queue<Item> {
  #items: (Item | undefined)[] = [];
  #next = 0;
  #end = 0;

  get size(): number {
    return this.#end - this.#next;
  }

  /** What has waited longest; undefined if nothing waits. */
  get first(): Item | undefined {
    return this.#items[this.#next];
  }

  /** What was added last; undefined if nothing waits. */
  get newest(): Item | undefined {
    return this.#next === this.#end ? undefined : this.#items[this.#end - 1];
  }

  push(item: Item): void {
    this.#items[this.#end] = item;
    this.#end += 1;
  }

  /** Takes out what has waited longest; undefined if nothing waits. */
  poll(): Item | undefined {
    const next = this.#next;
    if (next === this.#end) return undefined;
    const item = this.#items[next];
    this.#items[next] = undefined;
    this.#next = next + 1;
    // Most queues are emptied again and again, and used from the front then.
    if (this.#next === this.#end) this.#rewind();
    else if (this.#next > leastMoved && this.#next * 2 >= this.#end) this.#moveForward();
    return item;
  }

  clear(): void {
    this.#items = [];
    this.#next = 0;
    this.#end = 0;
  }

  #rewind(): void {
    this.#next = 0;
    this.#end = 0;
    if (this.#items.length > mostKept) this.#items = [];
  }

  /** Half of the places in use are empty, so moving the others costs each item at most one move. */
  #moveForward(): void {
    this.#items = this.#items.slice(this.#next, this.#end);
    this.#end -= this.#next;
    this.#next = 0;
  }
}
