import type { ConnectionId, ConnectionInput, Endpoint, Identity } from "../core/connections.js";
import type { ErrorCode } from "../core/errors.js";
import type { ConnectionEvents } from "./ports.js";

/** The part of a driver that takes the inputs of a connection. */
export interface InputReceiver {
  input(input: ConnectionInput): void;
  receive(connection: ConnectionId, bytes: Uint8Array): void;
  forget(connection: ConnectionId): void;
}

/** Turns the events of one connection into inputs of the machine. */
export class ConnectionInputs implements ConnectionEvents {
  readonly #driver: InputReceiver;
  readonly #connection: ConnectionId;

  constructor(driver: InputReceiver, connection: ConnectionId) {
    this.#driver = driver;
    this.#connection = connection;
  }

  connected(local: Endpoint, remote: Endpoint, cipher?: string): void {
    const encryption = cipher === undefined ? {} : { cipher };
    this.#driver.input({ type: "connected", connection: this.#connection, local, remote, ...encryption });
  }

  proving(): void {
    this.#driver.input({ type: "proving", connection: this.#connection });
  }

  secured(identity: Identity, cipher: string): void {
    this.#driver.input({ type: "secured", connection: this.#connection, identity, cipher });
  }

  unproved(code: ErrorCode, message: string): void {
    this.#driver.input({ type: "unproved", connection: this.#connection, code, message });
  }

  bytes(bytes: Uint8Array): void {
    this.#driver.receive(this.#connection, bytes);
  }

  flushed(): void {
    this.#driver.input({ type: "flushed", connection: this.#connection });
  }

  ended(): void {
    this.#driver.input({ type: "ended", connection: this.#connection });
  }

  closed(failure: string | undefined): void {
    const reason = failure === undefined ? {} : { failure };
    this.#driver.forget(this.#connection);
    this.#driver.input({ type: "closed", connection: this.#connection, ...reason });
  }
}
