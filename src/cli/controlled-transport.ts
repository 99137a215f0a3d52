import type { Endpoint } from "../core/connections.js";
import { type Address, formatAddress } from "../protocol/address.js";
import type { ConnectionEvents, ConnectionPort, TransportPort } from "../runtime/ports.js";

/** What is about to happen on a connection: a dial, or something that is sent. */
export interface WireAction {
  /** The address that is dialed; on an accepted connection that of the socket at the other end. */
  readonly remote: Address;
  readonly isDialed: boolean;
  /** What is sent; undefined for a dial. */
  readonly bytes?: Uint8Array;
}

/** Decides when an action happens: calls `go` now or later. */
export type Gate = (action: WireAction, go: () => void) => void;

/** The errno names by which a machine learns what was done to it. */
const cutErrno = "ECONNRESET";
const refusedErrno = "EHOSTUNREACH";

/**
 * The connections of a process of `fullmesh up`, under the control of its user: they can be cut, peers can be made
 * unreachable as by a firewall, and each dial and each message waits for its gate. The machines notice nothing but that.
 */
export class ControlledTransport {
  readonly #gate: Gate;
  readonly #onConnected: (local: Address, dialed: Address) => void;
  readonly #dialed = new Map<ControlledConnection, Address>();
  #unreachable: ReadonlySet<Address> = new Set();

  /** `onConnected`: a dialed connection is there, and its own end is `local`. */
  constructor(gate: Gate = (_, go) => go(), onConnected: (local: Address, dialed: Address) => void = () => {}) {
    this.#gate = gate;
    this.#onConnected = onConnected;
  }

  /** Cuts the connections that were dialed to this address. */
  cut(to: Address): void {
    for (const [connection, address] of this.#dialed) if (address === to) connection.cut();
  }

  /** These addresses cannot be dialed from now on; all others can. Connections with them are cut. */
  setUnreachable(addresses: readonly Address[]): void {
    this.#unreachable = new Set(addresses);
    for (const address of addresses) this.cut(address);
  }

  wrap(transport: TransportPort): TransportPort {
    return {
      dial: (to, identity, events) => this.#dial(to, events, (wrapped) => transport.dial(to, identity, wrapped)),
      listen: (on, accept, done) => {
        const wrapAccept: typeof accept = (port, local, remote) => {
          const action = { remote: formatAddress(remote), isDialed: false };
          const connection = new ControlledConnection(action, this.#gate, port);
          return accept(connection, local, remote);
        };
        transport.listen(on, wrapAccept, done);
      },
    };
  }

  #dial(to: Endpoint, events: ConnectionEvents, dial: (events: ConnectionEvents) => ConnectionPort): ConnectionPort {
    const remote = formatAddress(to);
    const action = { remote, isDialed: true };
    const connection = new ControlledConnection(action, this.#gate);
    this.#dialed.set(connection, remote);
    const closed = (failure: string | undefined): void => {
      this.#dialed.delete(connection);
      events.closed(failure);
    };
    this.#gate(action, () => {
      if (connection.hasEnded) closed(undefined);
      // As of a socket, its events come in a later turn.
      else if (this.#unreachable.has(remote)) setImmediate(closed, refusedErrno);
      else connection.carryBy(dial(this.#watched(connection, remote, events, closed)));
    });
    return connection;
  }

  #watched(
    connection: ControlledConnection,
    remote: Address,
    events: ConnectionEvents,
    closed: (failure: string | undefined) => void,
  ): ConnectionEvents {
    return {
      connected: (local, to, cipher) => {
        this.#onConnected(formatAddress(local), remote);
        events.connected(local, to, cipher);
      },
      proving: () => events.proving(),
      secured: (identity, cipher) => events.secured(identity, cipher),
      unproved: (code, message) => events.unproved(code, message),
      bytes: (bytes) => events.bytes(bytes),
      flushed: () => events.flushed(),
      ended: () => events.ended(),
      closed: (failure) => closed(connection.wasCut ? cutErrno : failure),
    };
  }
}

/** One connection. What is done on it happens in order, each as soon as its gate lets it. */
class ControlledConnection implements ConnectionPort {
  readonly #action: WireAction;
  readonly #gate: Gate;
  #port: ConnectionPort | undefined;
  /** What waits for the first of it. */
  #waiting: (() => void)[] = [];
  #isWaiting = false;
  #hasEnded = false;
  #wasCut = false;

  constructor(action: WireAction, gate: Gate, port?: ConnectionPort) {
    this.#action = action;
    this.#gate = gate;
    this.#port = port;
  }

  get queuedBytes(): number {
    return this.#port?.queuedBytes ?? 0;
  }

  /** It was aborted by its machine, or cut. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  get wasCut(): boolean {
    return this.#wasCut;
  }

  /** The dial has begun. */
  carryBy(port: ConnectionPort): void {
    this.#port = port;
  }

  cut(): void {
    this.#wasCut = true;
    this.abort();
  }

  send(bytes: Uint8Array): void {
    // What waits is copied, because the machine may use its memory again. `slice` of a Buffer copies nothing.
    const kept = new Uint8Array(bytes);
    this.#inOrder((done) => {
      this.#gate({ ...this.#action, bytes: kept }, () => {
        this.#port?.send(kept);
        done();
      });
    });
  }

  halfClose(): void {
    this.#inOrder((done) => {
      this.#port?.halfClose();
      done();
    });
  }

  abort(): void {
    this.#hasEnded = true;
    this.#waiting = [];
    this.#port?.abort();
  }

  /** Does this once all before it is done. */
  #inOrder(act: (done: () => void) => void): void {
    this.#waiting.push(() => {
      this.#isWaiting = true;
      act(() => {
        this.#isWaiting = false;
        this.#waiting.shift()?.();
      });
    });
    if (!this.#isWaiting) this.#waiting.shift()?.();
  }
}
