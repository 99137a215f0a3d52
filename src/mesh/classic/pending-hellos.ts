import { ByteAccumulator } from "../../core/byte-accumulator.js";
import type { ConnectionId, Endpoint } from "../../core/connections.js";
import type { ErrorCode } from "../../core/errors.js";
import type { Limits } from "../../core/limits.js";
import type { PendingConnections } from "../../core/pending-connections.js";
import type { KeyedTimers, Timers } from "../../core/timers.js";
import type { Address } from "../../protocol/address.js";
import { type HelloEvent, HelloReader } from "../../protocol/classic/hello.js";

/** An accepted connection of which it is not yet known whether it becomes a link. */
export interface PendingHello {
  readonly connection: ConnectionId;
  readonly remote: Endpoint;
  readonly reader: HelloReader;
  /** The address it greets with; undefined before the hello. */
  hello: Address | undefined;
  /** What it has sent behind the hello. */
  readonly payload: ByteAccumulator;
}

/** What is to become of a pending hello: it has said hello and may be judged, or it is to be closed for a reason. */
export type HelloOutcome =
  | { readonly type: "hello"; readonly pending: PendingHello; readonly address: Address }
  | { readonly type: "refuse"; readonly pending: PendingHello; readonly code: ErrorCode; readonly message: string };

/**
 * Accepted connections on their way to becoming links: first their hello is read, then, if no list names its sender yet,
 * they are parked, because the list that does may be on its way.
 */
export class PendingHellos {
  readonly #limits: Limits;
  readonly #pendingConnections: PendingConnections;
  readonly #all = new Map<ConnectionId, PendingHello>();
  readonly #quiet: KeyedTimers<PendingHello>;
  /** Pending hellos that wait for a list, in the order in which they were parked. */
  readonly #parked: KeyedTimers<PendingHello>;
  readonly #parkedOrder = new Set<PendingHello>();
  #parkedBytes = 0;

  /** `resolve` takes what time comes to. */
  constructor(
    limits: Limits,
    pendingConnections: PendingConnections,
    timers: Timers,
    resolve: (outcome: HelloOutcome | undefined, now: number) => void,
  ) {
    this.#limits = limits;
    this.#pendingConnections = pendingConnections;
    this.#quiet = timers.keyed((pending, now) => {
      pending.reader.quiet();
      resolve(this.#read(pending, now), now);
    });
    this.#parked = timers.keyed((pending, now) => {
      resolve(refuse(pending, "UNKNOWN_PEER", `no list names ${pending.hello}, which said hello`), now);
    });
  }

  begin(connection: ConnectionId, remote: Endpoint): void {
    const pending = { connection, remote, reader: new HelloReader(), hello: undefined, payload: new ByteAccumulator() };
    this.#all.set(connection, pending);
  }

  get(connection: ConnectionId): PendingHello | undefined {
    return this.#all.get(connection);
  }

  /** All of them. */
  all(): PendingHello[] {
    return [...this.#all.values()];
  }

  /** Those who wait for a list, to be judged again. */
  parked(): PendingHello[] {
    return [...this.#parkedOrder];
  }

  push(pending: PendingHello, bytes: Uint8Array, now: number): HelloOutcome | undefined {
    pending.reader.push(bytes);
    return this.#read(pending, now);
  }

  /** The other side sends nothing more. */
  finish(pending: PendingHello, now: number): HelloOutcome | undefined {
    pending.reader.finish();
    return this.#read(pending, now);
  }

  /** Parks a pending hello whose sender is unknown. Returns a refusal if there is no room. */
  park(pending: PendingHello, now: number): HelloOutcome | undefined {
    if (this.#parkedOrder.has(pending)) return undefined;
    if (this.#parkedOrder.size >= this.#limits.parked) return this.#full(pending);
    this.#parkedOrder.add(pending);
    this.#parked.set(pending, now + this.#limits.parkedMs);
    this.#parkedBytes += pending.payload.heldBytes;
    return this.#parkedBytes > this.#limits.parkedBytes ? this.#full(pending) : undefined;
  }

  /** The pending has become something else, or is gone. */
  remove(pending: PendingHello): void {
    this.#pendingConnections.end(pending.connection);
    this.#all.delete(pending.connection);
    this.#quiet.clear(pending);
    this.#parked.clear(pending);
    if (this.#parkedOrder.delete(pending)) this.#parkedBytes -= pending.payload.heldBytes;
  }

  /** It has taken too long to say hello. */
  timeOut(pending: PendingHello): HelloOutcome {
    return refuse(pending, "HANDSHAKE_TIMEOUT", "no hello came in time");
  }

  #read(pending: PendingHello, now: number): HelloOutcome | undefined {
    let outcome: HelloOutcome | undefined;
    for (let event = pending.reader.poll(); event !== undefined; event = pending.reader.poll()) {
      // Every event is handled, also a payload behind the hello that decides.
      const result = this.#handleEvent(pending, event);
      outcome ??= result;
    }
    if (pending.reader.awaitsQuiet) this.#quiet.set(pending, now + this.#limits.quietMs);
    else this.#quiet.clear(pending);
    return outcome;
  }

  #handleEvent(pending: PendingHello, event: HelloEvent): HelloOutcome | undefined {
    if (event.type === "hello") {
      this.#pendingConnections.end(pending.connection);
      pending.hello = event.address;
      return { type: "hello", pending, address: event.address };
    }
    if (event.type === "payload") {
      const before = pending.payload.heldBytes;
      pending.payload.add(event.bytes);
      if (!this.#parkedOrder.has(pending)) return undefined;
      this.#parkedBytes += pending.payload.heldBytes - before;
      return this.#parkedBytes > this.#limits.parkedBytes ? this.#full(pending) : undefined;
    }
    return refuse(pending, callerCodes[event.caller], `expected a hello, got "${event.text}"`);
  }

  #full(pending: PendingHello): HelloOutcome {
    return refuse(pending, "PARKING_FULL", `no room to wait for a list that names ${pending.hello}`);
  }
}

/** What it is called when a caller does not say hello. Native callers never come here. */
const callerCodes = {
  hello: "BAD_HELLO",
  stranger: "BAD_HELLO",
  native: "BAD_HELLO",
  registration: "REGISTRATION_AT_NODE",
  http: "HTTP_REQUEST",
  tls: "TLS_HELLO",
} as const;

function refuse(pending: PendingHello, code: ErrorCode, message: string): HelloOutcome {
  return { type: "refuse", pending, code, message };
}
