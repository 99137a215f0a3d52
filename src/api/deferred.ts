/** A promise with its two ends in hand; Node 20 lacks `Promise.withResolvers`. */
export class Deferred<Value> {
  readonly promise: Promise<Value>;
  resolve!: (value: Value) => void;
  reject!: (error: Error) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    // Whoever waits hears of the failure; if nobody does, it is no crash.
    this.promise.catch(() => {});
  }
}
