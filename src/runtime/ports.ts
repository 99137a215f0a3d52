import type { Endpoint, Identity } from "../core/connections.js";
import type { ErrorCode, FullmeshError } from "../core/errors.js";

/**
 * The outside world as the driver sees it. Each port is small enough to have several implementations: real sockets and
 * clocks in `nodejs/`, seeded ones in `simulator/`.
 */

/** Time. */
export interface ClockPort {
  /** Milliseconds since some fixed moment; never goes back. */
  now(): number;
  /** Milliseconds since the epoch, as the computer has them. May go back. */
  wallTime(): number;
  /** Calls `fire` once when `now()` has reached `at`. Returns a function that calls it off. */
  setTimer(at: number, fire: () => void): () => void;
  /** Calls `run` when the code that runs now has come to its end, before anything else is reported. */
  afterTurn(run: () => void): void;
  /** Calls `run` once everything that has already arrived from the network has been reported. */
  afterPoll(run: () => void): void;
}

/**
 * What a connection reports, in this order: proving, once or never; connected or secured, once or never; then bytes, flushed
 * and ended in any order; then closed. An accepted connection that speaks in plain text is never secured.
 */
export interface ConnectionEvents {
  /** A dialed connection is there, and the secret is proved if there is one; `cipher` says how it is encrypted. */
  connected(local: Endpoint, remote: Endpoint, cipher?: string): void;
  /** The first byte of an accepted connection has come, and begins the proof of the secret. */
  proving(): void;
  /** The other side of an accepted connection has proved the secret. */
  secured(identity: Identity, cipher: string): void;
  /** The proof of the secret has failed, as far as it is known why; `closed` follows. */
  unproved(code: ErrorCode, message: string): void;
  bytes(bytes: Uint8Array): void;
  flushed(): void;
  ended(): void;
  /** Exactly once, the last of all. `failure` is the system's errno name. */
  closed(failure: string | undefined): void;
}

/** One connection, dialed or accepted. */
export interface ConnectionPort {
  /** Bytes given to `send` that the kernel has not taken yet. */
  readonly queuedBytes: number;
  /**
   * Sends after all that was sent before; `flushed` is reported when nothing is left in this process. Where there is a
   * secret, nothing goes out before it is proved, or before the caller has shown that it speaks in plain text.
   */
  send(bytes: Uint8Array): void;
  /** Sends nothing more after what was sent; what comes in is still reported. */
  halfClose(): void;
  /** Closes at once. */
  abort(): void;
}

/** A listening socket. */
export interface ListenerPort {
  readonly address: Endpoint;
  /** Accepts no more; accepted connections live on. */
  close(): void;
}

/** Takes an accepted connection and says who is to hear of it. */
export type Accept = (connection: ConnectionPort, local: Endpoint, remote: Endpoint) => ConnectionEvents;

/** Takes the listener, or the error that says why there is none. */
export type Listening = (outcome: ListenerPort | FullmeshError) => void;

/** Connections. */
export interface TransportPort {
  /** Dials; where there is a secret, proves it as `identity`. */
  dial(to: Endpoint, identity: Identity, events: ConnectionEvents): ConnectionPort;
  /** Listens; port 0 takes a free one. `done` is called once. */
  listen(on: Endpoint, accept: Accept, done: Listening): void;
}
