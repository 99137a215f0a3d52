import type { Histogram } from "../../core/histogram.js";
import { ping, pong } from "../../protocol/native/frames.js";

/** Sends frames: a connection. */
interface FrameSender {
  sendFrame(frame: Uint8Array): void;
}

/** More questions than are ever asked before a silent connection is given up. */
const mostUnanswered = 16;

/** Pings and pongs on one connection: who is asked whether it lives, who asks, and how long an answer takes. */
export class PingTracker {
  readonly #connection: FrameSender;
  /** A pong has not left this process yet, and so many are due when it has. */
  #isPongUnsent = false;
  #owedPongs = 0;
  /** When the other side was asked what it has not answered, the earliest first: it answers in order. */
  #pingedAt: number[] | undefined;
  #roundTripMs: number | undefined;
  #answeredAt: number | undefined;
  readonly #roundTrips: Histogram | undefined;

  /** `roundTrips` counts what is measured. */
  constructor(connection: FrameSender, roundTrips?: Histogram) {
    this.#connection = connection;
    this.#roundTrips = roundTrips;
  }

  /** The shortest round trip that was measured, in milliseconds. */
  get roundTripMs(): number | undefined {
    return this.#roundTripMs;
  }

  /** When the newest question that was answered was asked; undefined before the first answer. */
  get answeredAt(): number | undefined {
    return this.#answeredAt;
  }

  get awaitsFlush(): boolean {
    return this.#isPongUnsent || this.#owedPongs > 0;
  }

  /** Asks whether the other side lives. */
  ping(now: number): void {
    this.#pingedAt ??= [];
    if (this.#pingedAt.length < mostUnanswered) this.#pingedAt.push(now);
    this.#connection.sendFrame(ping);
  }

  /** Measures the round trip, unless that is under way. */
  measure(now: number): void {
    if (this.#pingedAt === undefined || this.#pingedAt.length === 0) this.ping(now);
  }

  /** The other side lives. */
  pongRead(now: number): void {
    // An answer to an earlier question must not be taken for that to a later one: the round trip would seem too short.
    const askedAt = this.#pingedAt?.shift();
    if (askedAt === undefined) return;
    this.#answeredAt = askedAt;
    const tookMs = now - askedAt;
    this.#roundTrips?.observe(tookMs);
    this.#roundTripMs = Math.min(this.#roundTripMs ?? tookMs, tookMs);
  }

  /** A ping has come. A peer that sends pings and does not read is owed a bounded number of pongs. */
  pingRead(): void {
    this.#owedPongs = Math.min(this.#owedPongs + 1, mostUnanswered);
    if (!this.#isPongUnsent) this.#sendPongs();
  }

  /** Everything sent has left this process. */
  flushed(): void {
    this.#isPongUnsent = false;
    this.#sendPongs();
  }

  #sendPongs(): void {
    for (; this.#owedPongs > 0; this.#owedPongs -= 1) {
      this.#isPongUnsent = true;
      this.#connection.sendFrame(pong);
    }
  }
}
