import { encodeMessage } from "../../protocol/native/message.js";

/** A message that the peer is not known to have delivered. */
interface Unacknowledged {
  readonly number: number;
  readonly frame: Uint8Array;
}

/**
 * What one end of a link keeps so that no message is lost, repeated or put out of order while both incarnations live,
 * however often the connection under them breaks: what it has sent and the peer has not acknowledged, and how many
 * messages of the peer it has delivered.
 *
 * Messages carry their numbers, and one that has been delivered is dropped when it comes again. So it does no harm to send
 * again what may have arrived, and an early or a late message on a connection that is given up cannot be delivered twice.
 */
export class Replay {
  /** The attempt at which this state began; 0 before the first. Both ends must mean the same. */
  #since = 0;
  #sent = 0;
  #acknowledged = 0;
  #received = 0;
  #waiting: Unacknowledged[] = [];
  #waitingBytes = 0;

  get since(): number {
    return this.#since;
  }

  /** How many messages of the peer have been delivered. */
  get received(): number {
    return this.#received;
  }

  /** How many messages of ours are not known to have been delivered, and their bytes. */
  get unacknowledged(): number {
    return this.#sent - this.#acknowledged;
  }

  get unacknowledgedBytes(): number {
    return this.#waitingBytes;
  }

  /** The frames of the messages that wait, in order. */
  get frames(): Iterable<Uint8Array> {
    return this.#waiting.map(({ frame }) => frame);
  }

  /** Numbers a message and keeps it. Returns its frame. */
  add(topic: string, payload: Uint8Array): Uint8Array {
    this.#sent += 1;
    const frame = encodeMessage({ number: this.#sent, topic, payload });
    this.#waiting.push({ number: this.#sent, frame });
    this.#waitingBytes += frame.length;
    return frame;
  }

  /** The peer has delivered everything up to this number. False if that cannot be. */
  acknowledge(number: number): boolean {
    if (number < this.#acknowledged || number > this.#sent) return false;
    this.#acknowledged = number;
    let kept = 0;
    for (const { number: waiting, frame } of this.#waiting) {
      if (waiting > number) break;
      this.#waitingBytes -= frame.length;
      kept += 1;
    }
    if (kept > 0) this.#waiting = this.#waiting.slice(kept);
    return true;
  }

  /** A message has come. `repeated`: it was delivered before. `gap`: one before it is missing, which cannot be. */
  take(number: number): "deliver" | "repeated" | "gap" {
    if (number <= this.#received) return "repeated";
    if (number > this.#received + 1) return "gap";
    this.#received = number;
    return "deliver";
  }

  /**
   * The owner has said hello. Takes up its state where the two left off, or begins one; false if they do not agree, which
   * means that one of the two has forgotten what it had.
   */
  takeHello(attempt: number, since: number, received: number): boolean {
    if (since !== 0) return since === this.#since && this.acknowledge(received);
    // The owner has never read an answer of ours, so it has sent and taken nothing.
    if (this.#received > 0 || this.#acknowledged > 0 || received > 0) return false;
    this.#since = attempt;
    return true;
  }

  /** The later member has answered our hello. False if the two do not agree. */
  takeAnswer(attempt: number, since: number, received: number): boolean {
    if (this.#since === 0 && since !== attempt) return false;
    if (this.#since !== 0 && since !== this.#since) return false;
    this.#since = since;
    return this.acknowledge(received);
  }
}
