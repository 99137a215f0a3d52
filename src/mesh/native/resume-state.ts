import type { ResendBuffer } from "./resend-buffer.js";

/**
 * What one end of a link knows of where the two ends stand, so that no frame is lost, repeated or put out of order while
 * both incarnations live, however often the connection under them breaks: how much of what it has sent is known to have
 * arrived, and how many frames of the other end it has taken.
 *
 * Frames carry their numbers, and one that has been taken is dropped when it comes again. So it does no harm to send again
 * what may have arrived, and an early or a late frame on a connection that is given up cannot be taken twice.
 */
export class ResumeState {
  readonly #resendBuffer: ResendBuffer;
  /** The attempt at which this state began; 0 before the first. Both ends must mean the same. */
  #since = 0;
  #received = 0;

  constructor(resendBuffer: ResendBuffer) {
    this.#resendBuffer = resendBuffer;
  }

  get since(): number {
    return this.#since;
  }

  /** How many frames of the other end have been taken. */
  get received(): number {
    return this.#received;
  }

  /** A frame comes. `repeated`: it was taken before. `gap`: one before it is missing, or it is number 0; neither can be. */
  judge(number: number): "deliver" | "repeated" | "gap" {
    if (number === this.#received + 1) return "deliver";
    return number > this.#received || number === 0 ? "gap" : "repeated";
  }

  /** The next frame has been taken, all of it. */
  advance(): void {
    this.#received += 1;
  }

  /**
   * The hello of whoever has dialed. Takes up the state where the two left off, or begins one; false if they do not agree,
   * which means that one of the two has forgotten what it had.
   */
  takeHello(attempt: number, since: number, received: number): boolean {
    if (since !== 0 && since === this.#since) return this.#resendBuffer.acknowledge(received);
    // The answer that began a state may have been lost on its way: then neither end has taken anything in it.
    return since < attempt && this.#begin(attempt, received);
  }

  /** Our hello was answered. False if the two do not agree. */
  takeAnswer(attempt: number, since: number, received: number): boolean {
    if (since === this.#since) return this.#resendBuffer.acknowledge(received);
    return since === attempt && this.#begin(attempt, received);
  }

  /** Begins a new state, if nothing is known to have been taken in the old one, by either end. */
  #begin(attempt: number, received: number): boolean {
    if (this.#received > 0 || this.#resendBuffer.acknowledged > 0 || received > 0) return false;
    this.#since = attempt;
    return true;
  }
}
