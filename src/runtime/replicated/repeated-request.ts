import { FullmeshError } from "../../core/errors.js";
import type { StorePort } from "../store.js";

type Perform<Outcome> = (done: (outcome: Outcome | FullmeshError) => void) => void;

/**
 * One request to the store at a time, sent again unchanged, to the next endpoint, until one of its sendings is answered. So
 * only requests may be sent this way that do no harm when they are performed twice.
 */
export class RepeatedRequest {
  readonly #store: StorePort;
  readonly #answerMs: number;
  readonly #failed: (error: FullmeshError) => void;
  #send: ((now: number) => void) | undefined;
  #sentAt = 0;
  #hasFailed = false;

  /** `failed` is told of each failure; the request goes on unless it is cancelled. */
  constructor(store: StorePort, answerMs: number, failed: (error: FullmeshError) => void) {
    this.#store = store;
    this.#answerMs = answerMs;
    this.#failed = failed;
  }

  get isUnderWay(): boolean {
    return this.#send !== undefined;
  }

  start<Outcome>(perform: Perform<Outcome>, answered: (outcome: Outcome) => void, now: number): void {
    const send = (at: number): void => {
      this.#sentAt = at;
      this.#hasFailed = false;
      perform((outcome) => {
        // An earlier sending, or a later one, was answered before.
        if (this.#send !== send) return;
        if (outcome instanceof FullmeshError) {
          this.#hasFailed = true;
          this.#failed(outcome);
        } else {
          this.#send = undefined;
          answered(outcome);
        }
      });
    };
    this.#send = send;
    send(now);
  }

  /** Sends it again if it has failed, or was not answered in time. */
  tick(now: number): void {
    if (this.#send === undefined || (!this.#hasFailed && now - this.#sentAt < this.#answerMs)) return;
    // A request that fails has changed the endpoint itself.
    if (!this.#hasFailed) this.#store.switchEndpoint();
    this.#send(now);
  }

  cancel(): void {
    this.#send = undefined;
  }
}
