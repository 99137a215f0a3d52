import type { LookupAddress } from "node:dns";
import type { Endpoint } from "../core/connections.js";
import type { ErrorCode } from "../core/errors.js";
import { canonicalIp } from "../protocol/ip.js";
import type { ConnectionEvents, ConnectionPort } from "../runtime/ports.js";
import type { NodeConnection } from "./connection.js";

/** After how long the next address is tried while the earlier attempts go on (RFC 8305 recommends 250 ms). */
const attemptDelayMs = 250;

/**
 * How long the others may still take when all have been tried and one has answered that it is not the one: what it has said
 * is then told, and not that nobody answers.
 */
const answeredMs = 3_000;

/** Looks up the addresses of a host name, in the order in which they are to be tried. */
export type Lookup = (
  host: string,
  done: (error: NodeJS.ErrnoException | null, addresses: readonly LookupAddress[]) => void,
) => void;

/** The system's resolver. */
export function systemLookup(...[host, done]: Parameters<Lookup>): void {
  process.getBuiltinModule("node:dns").lookup(host, { all: true }, done);
}

/** Dials one address. */
type DialAddress = (to: Endpoint, events: ConnectionEvents) => NodeConnection;

/**
 * A dial to a host name, which may have several addresses, some of them dead. Attempts overlap: the next address is tried
 * after a short while, or at once if nothing is under way. The first one that is connected, with the secret proved if there
 * is one, becomes the connection, and the others are given up. Whoever dials bounds the time for all of them.
 */
export class NameDial implements ConnectionPort {
  readonly #to: Endpoint;
  readonly #dialAddress: DialAddress;
  readonly #events: ConnectionEvents;
  readonly #attempts = new Set<Attempt>();
  /** What has become of attempts, by their addresses. */
  readonly #failures = new Map<string, string>();
  /** Why a proof of the secret has failed, if one has: that tells more than an address at which nobody is. */
  #unproved: { readonly code: ErrorCode; readonly message: string } | undefined;
  /** Addresses that have not been tried yet. */
  #untried: string[] = [];
  #timer: NodeJS.Timeout | undefined;
  #connection: NodeConnection | undefined;
  /** True once it is connected, has failed, or has been given up. */
  #isSettled = false;

  constructor(to: Endpoint, lookup: Lookup, dialAddress: DialAddress, events: ConnectionEvents) {
    this.#to = to;
    this.#dialAddress = dialAddress;
    this.#events = events;
    lookup(to.host, (error, addresses) => this.#found(error, addresses));
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
    this.#connection.hear(this.#events);
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

  #found(error: NodeJS.ErrnoException | null, addresses: readonly LookupAddress[]): void {
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

  /** No address is left, or none that still counts. */
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

/** One address that is tried. */
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

  // Nothing else happens before it is connected, and then it is heard by whoever has dialed the name.
  proving(): void {}
  secured(): void {}
  bytes(): void {}
  flushed(): void {}
  ended(): void {}
}

/** The addresses in their order, but for the two families taking turns: one of them may be dead as a whole. */
function alternating(addresses: readonly LookupAddress[]): string[] {
  const families = new Map(addresses.map(({ address, family }) => [canonicalIp(address) ?? address, family]));
  const hosts = [...families.keys()];
  const isOfFirst = (host: string): boolean => families.get(host) === addresses[0]?.family;
  const [ofFirst, ofSecond] = [hosts.filter(isOfFirst), hosts.filter((host) => !isOfFirst(host))];
  const pairs = ofFirst.flatMap((host, index) => [host, ...ofSecond.slice(index, index + 1)]);
  return [...pairs, ...ofSecond.slice(ofFirst.length)];
}
