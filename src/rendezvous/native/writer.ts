import type { ConnectionId, ConnectionOutput } from "../../core/connections.js";
import type { OutputSink } from "../../core/machine.js";
import { encodePreface } from "../../protocol/native/preface.js";

/** Messages of which only the newest of its kind is sent. */
type ReplaceableMessage =
  | "ping"
  | "pong"
  | "waiting"
  | "renewed"
  | "measure"
  | `grant ${string}`
  | `unclaimable ${string}`;

/**
 * Writes on one native connection, the preface first.
 *
 * Pings, pongs, places in line, grants, answers to renewals and calls to measure wait while earlier bytes are being sent, and only the newest of each kind goes out then.
 * So a peer that does not read costs no more than what is being sent.
 */
export class NativeWriter {
  readonly #connection: ConnectionId;
  readonly #outputs: OutputSink<ConnectionOutput>;
  readonly #owed = new Map<ReplaceableMessage, Uint8Array>();
  #isGreeted = false;
  #isFlushing = false;

  constructor(connection: ConnectionId, outputs: OutputSink<ConnectionOutput>) {
    this.#connection = connection;
    this.#outputs = outputs;
  }

  /** True while something that was sent has not left this process. */
  get isFlushing(): boolean {
    return this.#isFlushing;
  }

  /** Sends at once. */
  send(frame: Uint8Array): void {
    this.#isFlushing = true;
    if (!this.#isGreeted) this.#push(encodePreface());
    this.#isGreeted = true;
    this.#push(frame);
  }

  /** Sends a preface and nothing else, which says that no version is common. */
  sendVersions(): void {
    this.#isGreeted = true;
    this.#push(encodePreface());
  }

  /** Sends as soon as what was sent before has left. */
  owe(topic: ReplaceableMessage, frame: Uint8Array): void {
    if (this.#isFlushing) this.#owed.set(topic, frame);
    else this.send(frame);
  }

  /** How many messages wait. */
  get owed(): number {
    return this.#owed.size;
  }

  /** What was sent has left this process. */
  flushed(): void {
    this.#isFlushing = false;
    const owed = [...this.#owed.values()];
    this.#owed.clear();
    for (const frame of owed) this.send(frame);
  }

  #push(bytes: Uint8Array): void {
    this.#outputs.push({ type: "send", connection: this.#connection, bytes });
  }
}
