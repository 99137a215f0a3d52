import { ping, pong } from "../../protocol/native/frames.js";

/** Sends frames: a channel. */
interface FrameSender {
  sendFrame(frame: Uint8Array): void;
}

/** More questions than are ever asked before a silent connection is given up. */
const mostAsked = 16;

/** Pings and pongs on one connection: who is asked whether it lives, who asks, and how long an answer takes. */
export class PingTracker {
  readonly #channel: FrameSender;
  /** A pong has not left this process yet, and so many are due when it has. */
  #hasUnreadPong = false;
  #owedPongs = 0;
  /** When the other side was asked what it has not answered, the earliest first: it answers in order. */
  #asked: number[] | undefined;
  #roundTripMs: number | undefined;

  constructor(channel: FrameSender) {
    this.#channel = channel;
  }

  /** The shortest round trip that was measured, in milliseconds. */
  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  /** Asks whether the other side lives. */
  ask(now: number): void {
    this.#asked ??= [];
    if (this.#asked.length < mostAsked) this.#asked.push(now);
    this.#channel.sendFrame(ping);
  }

  /** Measures the round trip, unless that is under way. */
  measure(now: number): void {
    if (this.#asked === undefined || this.#asked.length === 0) this.ask(now);
  }

  /** The other side lives. */
  answered(now: number): void {
    // An answer to an earlier question must not be taken for that to a later one: the round trip would seem too short.
    const askedAt = this.#asked?.shift();
    if (askedAt === undefined) return;
    const tookMs = now - askedAt;
    this.#roundTripMs = Math.min(this.#roundTripMs ?? tookMs, tookMs);
  }

  /** The other side asks. Who asks and does not read is owed some answers, however often it asks. */
  asked(): void {
    this.#owedPongs = Math.min(this.#owedPongs + 1, mostAsked);
    if (!this.#hasUnreadPong) this.#answer();
  }

  /** Everything sent has left this process. */
  flushed(): void {
    this.#hasUnreadPong = false;
    this.#answer();
  }

  #answer(): void {
    for (; this.#owedPongs > 0; this.#owedPongs -= 1) {
      this.#hasUnreadPong = true;
      this.#channel.sendFrame(pong);
    }
  }
}
