import { doubleZero } from "../core/double-field.js";
import { highestNumber } from "../protocol/native/numbered-frames.js";

/**
 * Credit: the receiver says how many bytes in all may be sent, and raises that limit as its application takes what has
 * come. So what the application does not take is bounded, and the sender knows that it must wait.
 */

/** The end of a flow that sends. */
export class SendWindow {
  #limit = doubleZero;
  #sent = doubleZero;

  /** `window`: what may be sent before the first credit comes, in bytes. */
  constructor(window: number) {
    this.#limit = window;
  }

  /** How many bytes may be sent now. */
  get room(): number {
    return this.#limit - this.#sent;
  }

  /** So many bytes are sent; there is room for them. */
  spend(bytes: number): void {
    this.#sent += bytes;
  }

  /** The other end has raised the limit. False if it has lowered it, which is a protocol error. */
  raise(limit: number): boolean {
    if (limit < this.#limit) return false;
    this.#limit = limit;
    return true;
  }
}

/** The end of a flow that receives. */
export class ReceiveWindow {
  readonly #window: number;
  #granted = doubleZero;
  #received = doubleZero;
  #consumed = doubleZero;

  /** `window`: what may come before the application takes any of it, in bytes. */
  constructor(window: number) {
    this.#window = window;
    this.#granted = window;
  }

  /** Bytes that have come and that the application has not taken. */
  get unreadBytes(): number {
    return this.#received - this.#consumed;
  }

  /** By how much more than the first window may lie here until the application takes some. */
  get grownBytes(): number {
    return Math.max(0, this.#granted - this.#consumed - this.#window);
  }

  /** So many bytes have come. False if they were not granted. */
  take(bytes: number): boolean {
    this.#received += bytes;
    return this.#received <= this.#granted;
  }

  /**
   * The application has taken so many bytes. Returns the new limit, if a quarter of the window can be granted: rarely
   * enough to cost nothing, and early enough to reach the sender before it must wait.
   */
  consume(bytes: number, window: number): number | undefined {
    this.#consumed += bytes;
    if (this.#consumed > this.#received) throw new RangeError("more bytes were taken than have come");
    if ((this.#consumed + window - this.#granted) * 4 < window) return undefined;
    const limit = Math.min(this.#consumed + window, highestNumber);
    if (limit <= this.#granted) return undefined;
    this.#granted = limit;
    return limit;
  }

  /** Nothing more comes: what was granted and has not been sent never will be. From now on the window is 0. */
  close(): void {
    this.#granted = this.#received;
  }
}
