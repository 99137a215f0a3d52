import type { Endpoint, Identity } from "../core/connections.js";
import type { ErrorCode, FullmeshError } from "../core/errors.js";

/**
 * The outside world as the driver sees it. Each port has two implementations: sockets and clocks of Node in `nodejs/`, seeded
 * ones in `simulator/`.
 */

/** Time. */
export interface ClockPort {
  /** Milliseconds since some fixed moment; never goes back. */
  now(): number;
  /** Milliseconds since the epoch, as the computer has them. May go back. */
  wallTime(): number;
  /** Calls `fire` once when `now()` has reached `at`. Returns a function that cancels it. */
  setTimer(at: number, fire: () => void): () => void;
  /** Calls `run` after the code that runs now, before anything else is reported. */
  afterTurn(run: () => void): void;
  /** Calls `run` once everything that has arrived from the network has been reported. */
  afterPoll(run: () => void): void;
}

/**
 * The events of a connection, in this order: proving, at most once; connected or secured, at most once; then bytes, flushed and
 * ended in any order; then closed. An accepted connection in plain text is never secured.
 */
export interface ConnectionEvents {
  /** A dialed connection is connected, and has proved the secret if there is one; `cipher` names its encryption. */
  connected(local: Endpoint, remote: Endpoint, cipher?: string): void;
  /** The first byte of an accepted connection has begun a handshake. */
  proving(): void;
  /** The other side of an accepted connection has proved the secret. */
  secured(identity: Identity, cipher: string): void;
  /** The proof of the secret has failed, or a local socket is not to be trusted; `closed` follows. */
  unproved(code: ErrorCode, message: string): void;
  bytes(bytes: Uint8Array): void;
  flushed(): void;
  ended(): void;
  /** The last event, exactly once. `failure` is an errno name of the system. */
  closed(failure: string | undefined): void;
}

/** One connection, dialed or accepted. */
export interface ConnectionPort {
  /** Bytes given to `send` that the kernel has not taken yet. */
  readonly queuedBytes: number;
  /**
   * Sends bytes; `flushed` is reported when none are left in this process. With a secret, nothing goes out before it is proved,
   * or before the caller has begun in plain text.
   */
  send(bytes: Uint8Array): void;
  /** Ends the writing side after what was sent. Received bytes are still reported. */
  halfClose(): void;
  /** Closes at once. */
  abort(): void;
}

/** A listening socket. */
export interface ListenerPort {
  readonly address: Endpoint;
  /** Stops accepting. Accepted connections stay. */
  close(): void;
}

/** Takes an accepted connection, and returns the receiver of its events. */
export type Accept = (connection: ConnectionPort, local: Endpoint, remote: Endpoint) => ConnectionEvents;

/** Takes the listener, or the error. */
export type Listening = (outcome: ListenerPort | FullmeshError) => void;

/** Connections. */
export interface TransportPort {
  /** Dials; where there is a secret, proves it as `identity`. */
  dial(to: Endpoint, identity: Identity, events: ConnectionEvents): ConnectionPort;
  /** Listens; port 0 takes a free one. `done` is called once. */
  listen(on: Endpoint, accept: Accept, done: Listening): void;
}
