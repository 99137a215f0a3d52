import type { LookupAddress } from "node:dns";
import type { Endpoint, NetworkEndpoint } from "../core/connections.js";
import type { ErrorCode } from "../core/errors.js";
import { canonicalIp } from "../protocol/ip.js";
import type { ConnectionEvents, ConnectionPort } from "../runtime/ports.js";
import type { NodeConnection } from "./connection.js";

/** The time until the next address is tried while earlier attempts continue (RFC 8305 recommends 250 ms). */
const attemptDelayMs = 250;

/** The time for the remaining attempts once one address has failed to prove the secret. That failure is then reported. */
const answeredMs = 3_000;

/** Looks up the addresses of a host name, in the order in which to try them. */
export type Lookup = (
  host: string,
  done: (error: NodeJS.ErrnoException | null, addresses: readonly LookupAddress[]) => void,
) => void;

/** The system's resolver. */
export function systemLookup(...[host, done]: Parameters<Lookup>): void {
  process.getBuiltinModule("node:dns").lookup(host, { all: true }, done);
}

/** Dials one address. */
type DialAddress = (to: NetworkEndpoint, events: ConnectionEvents) => NodeConnection;

/**
 * A dial to a host name, which may have several addresses, not all of them reachable. Attempts overlap: the next address is
 * tried after 250 ms, or at once if no attempt is in progress. The first one that connects, and proves the secret if there is
 * one, becomes the connection; the others are aborted. The caller bounds the total time.
 */
export class NameDial implements ConnectionPort {
  readonly #to: NetworkEndpoint;
  readonly #dialAddress: DialAddress;
  readonly #events: ConnectionEvents;
  readonly #attempts = new Set<Attempt>();
  /** The failures of attempts, by address. */
  readonly #failures = new Map<string, string>();
  /** A failed proof of the secret, which says more than an unreachable address. */
  #unproved: { readonly code: ErrorCode; readonly message: string } | undefined;
  /** Addresses that have not been tried yet. */
  #untried: string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #connection: NodeConnection | undefined;
  /** True once the dial has connected, failed or been aborted. */
  #isSettled = false;

  constructor(to: NetworkEndpoint, lookup: Lookup, dialAddress: DialAddress, events: ConnectionEvents) {
    this.#to = to;
    this.#dialAddress = dialAddress;
    this.#events = events;
    lookup(to.host, (error, addresses) => this.#lookedUp(error, addresses));
  }

  get queuedBytes(): number {
    return this.#connection?.queuedBytes ?? 0;
  }

  send(bytes: Uint8Array): void {
    this.#connection?.send(bytes);
  }

  halfClose(): void {
    if (this.#connection === undefined) this.abort();
    else this.#connection.halfClose();
  }

  abort(): void {
    if (this.#connection !== undefined) {
      this.#connection.abort();
    } else if (!this.#isSettled) {
      this.#settle();
      // As for every connection: never before `abort` has returned.
      process.nextTick(() => this.#events.closed(undefined));
    }
  }

  // What the attempts report.

  connected(attempt: Attempt, local: Endpoint, remote: Endpoint, cipher: string | undefined): void {
    if (!this.#attempts.delete(attempt) || attempt.connection === undefined) return;
    this.#settle();
    this.#connection = attempt.connection;
    this.#connection.setEvents(this.#events);
    this.#events.connected(local, remote, cipher);
  }

  unproved(code: ErrorCode, message: string): void {
    this.#unproved ??= { code, message };
  }

  closed(attempt: Attempt, failure: string | undefined): void {
    if (!this.#attempts.delete(attempt)) return;
    this.#failures.set(attempt.host, failure ?? "closed");
    this.#dialNext();
  }

  #lookedUp(error: NodeJS.ErrnoException | null, addresses: readonly LookupAddress[]): void {
    if (this.#isSettled) return;
    if (error !== null) {
      this.#settle();
      this.#events.closed(error.code ?? error.message);
      return;
    }
    this.#untried = alternating(addresses);
    this.#dialNext();
  }

  #dialNext(): void {
    clearTimeout(this.#timer);
    const host = this.#untried.shift();
    if (host !== undefined) {
      const attempt = new Attempt(this, host);
      this.#attempts.add(attempt);
      attempt.connection = this.#dialAddress({ host, port: this.#to.port }, attempt);
    } else if (this.#attempts.size === 0) {
      this.#fail();
      return;
    }
    if (this.#untried.length > 0) this.#timer = setTimeout(() => this.#dialNext(), attemptDelayMs);
    else if (this.#unproved !== undefined) this.#timer = setTimeout(() => this.#fail(), answeredMs);
  }

  /** Fails with the failures of all attempts. */
  #fail(): void {
    this.#settle();
    if (this.#unproved !== undefined) this.#events.unproved(this.#unproved.code, this.#unproved.message);
    const [first, ...others] = new Set(this.#failures.values());
    const each = Array.from(this.#failures, ([host, failure]) => `${host} ${failure}`).join(", ");
    this.#events.closed(others.length === 0 ? first : each);
  }

  #settle(): void {
    this.#isSettled = true;
    clearTimeout(this.#timer);
    this.#untried = [];
    for (const { connection } of this.#attempts) connection?.abort();
    this.#attempts.clear();
  }
}

/** One address that is dialed. */
class Attempt implements ConnectionEvents {
  readonly host: string;
  connection: NodeConnection | undefined;
  readonly #dial: NameDial;

  constructor(dial: NameDial, host: string) {
    this.#dial = dial;
    this.host = host;
  }

  connected(local: Endpoint, remote: Endpoint, cipher?: string): void {
    this.#dial.connected(this, local, remote, cipher);
  }

  unproved(code: ErrorCode, message: string): void {
    this.#dial.unproved(code, message);
  }

  closed(failure: string | undefined): void {
    this.#dial.closed(this, failure);
  }

  // Nothing else happens before it is connected, and then the dialer of the name gets the events.
  proving(): void {}
  secured(): void {}
  bytes(): void {}
  flushed(): void {}
  ended(): void {}
}

/** The addresses in their order, with the two families taking turns, because one of them may be unreachable as a whole. */
function alternating(addresses: readonly LookupAddress[]): string[] {
  const families = new Map(addresses.map(({ address, family }) => [canonicalIp(address) ?? address, family]));
  const hosts = [...families.keys()];
  const isOfFirst = (host: string): boolean => families.get(host) === addresses[0]?.family;
  const [ofFirst, ofSecond] = [hosts.filter(isOfFirst), hosts.filter((host) => !isOfFirst(host))];
  const pairs = ofFirst.flatMap((host, index) => [host, ...ofSecond.slice(index, index + 1)]);
  return [...pairs, ...ofSecond.slice(ofFirst.length)];
}
