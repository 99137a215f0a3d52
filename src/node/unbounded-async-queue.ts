import { Deferred } from "../api/deferred.js";
import { FullmeshError } from "../core/errors.js";
import { type Abortable, unwatchAbort, watchAbort } from "./abort-watch.js";

/** What waits for the loop until it is taken. */
export interface LazyItem<Item> {
  /** It is taken: makes the item, or nothing if it turns out that there is none. */
  take(): Item | undefined;
  /** It will never be taken. */
  drop(): void;
}

class ReadyItem<Item> implements LazyItem<Item> {
  readonly #item: Item;

  constructor(item: Item) {
    this.#item = item;
  }

  take(): Item {
    return this.#item;
  }

  drop(): void {}
}

/**
 * One loop over things that come with time. What comes while the loop is busy waits here, so whoever pushes sees to it that
 * this does not grow without a bound.
 */
export class UnboundedAsyncQueue<Item> implements AsyncIterableIterator<Item> {
  readonly #ended: (iteration: UnboundedAsyncQueue<Item>) => void;
  readonly #signal: AbortSignal | undefined;
  readonly #abortable: Abortable = {
    aborted: () => this.fail(new FullmeshError("ABORTED", "the loop was given up", { cause: this.#signal?.reason })),
  };
  /** From `#first` on: those before it have been taken. */
  #waiting: (LazyItem<Item> | undefined)[] = [];
  #first = 0;
  /** Those who ask for the next item, while there is none. */
  readonly #asking: Deferred<IteratorResult<Item, undefined>>[] = [];
  #isFinished = false;
  #error: FullmeshError | undefined;

  /** `ended`: called once, when nothing more is to be pushed. */
  constructor(signal: AbortSignal | undefined, ended: (iteration: UnboundedAsyncQueue<Item>) => void) {
    this.#ended = ended;
    this.#signal = signal;
    if (signal?.aborted === true) this.#abortable.aborted();
    else if (signal !== undefined) watchAbort(signal, this.#abortable);
  }

  /** How many items nobody has taken yet. */
  get size(): number {
    return this.#waiting.length - this.#first;
  }

  get isFinished(): boolean {
    return this.#isFinished;
  }

  push(item: Item): void {
    this.pushLazy(new ReadyItem(item));
  }

  /** True if somebody asks for the next item already. */
  get isAsking(): boolean {
    return this.#asking.length > 0;
  }

  /** The same for an item that is made when it is taken. */
  pushLazy(waiting: LazyItem<Item>): void {
    if (this.#isFinished) {
      waiting.drop();
      return;
    }
    if (!this.isAsking) {
      this.#waiting.push(waiting);
      return;
    }
    const value = waiting.take();
    if (value !== undefined) this.#asking.shift()?.resolve({ done: false, value });
  }

  /** Nothing more comes; what waits can still be taken. */
  finish(): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    if (this.#signal !== undefined) unwatchAbort(this.#signal, this.#abortable);
    for (const asking of this.#asking.splice(0)) asking.resolve({ done: true, value: undefined });
    this.#ended(this);
  }

  /** The loop fails at once; what waits is let go. */
  fail(error: FullmeshError): void {
    if (this.#isFinished) return;
    const [asking] = this.#asking.splice(0, 1);
    if (asking === undefined) this.#error = error;
    else asking.reject(error);
    this.finish();
    this.#release();
  }

  next(): Promise<IteratorResult<Item, undefined>> {
    for (let waiting = this.#shift(); waiting !== undefined; waiting = this.#shift()) {
      const value = waiting.take();
      if (value !== undefined) return Promise.resolve({ done: false, value });
    }
    if (this.#error !== undefined) {
      const error = this.#error;
      this.#error = undefined;
      return Promise.reject(error);
    }
    if (this.#isFinished) return Promise.resolve({ done: true, value: undefined });
    const asking = new Deferred<IteratorResult<Item, undefined>>();
    this.#asking.push(asking);
    return asking.promise;
  }

  /** Ends the loop, as `break` does; what waits is let go. */
  return(): Promise<IteratorResult<Item, undefined>> {
    this.finish();
    this.#release();
    return Promise.resolve({ done: true, value: undefined });
  }

  /** Ends the loop, as `return` does, and rejects with the error that it is given: whoever loops has failed. */
  throw(error?: unknown): Promise<IteratorResult<Item, undefined>> {
    this.finish();
    this.#release();
    return Promise.reject(error);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #shift(): LazyItem<Item> | undefined {
    const waiting = this.#waiting[this.#first];
    if (waiting === undefined) return undefined;
    this.#waiting[this.#first] = undefined;
    this.#first += 1;
    // Now and then the places of those that are gone are given back: rarely enough to cost nothing.
    if (this.#first > 1_024 && 2 * this.#first > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#first);
      this.#first = 0;
    }
    return waiting;
  }

  #release(): void {
    for (let waiting = this.#shift(); waiting !== undefined; waiting = this.#shift()) waiting.drop();
  }
}
