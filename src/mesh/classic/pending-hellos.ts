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

/** What is to become of an arrival: it has said hello and may be judged, or it is to be closed for a reason. */
export type HelloOutcome =
  | { readonly type: "hello"; readonly arrival: PendingHello; readonly address: Address }
  | { readonly type: "refuse"; readonly arrival: PendingHello; readonly code: ErrorCode; readonly message: string };

/**
 * Accepted connections on their way to becoming links: first their hello is read, then, if no list names its sender yet,
 * they are parked, because the list that does may be on its way.
 */
export class PendingHellos {
  readonly #limits: Limits;
  readonly #handshakes: PendingConnections;
  readonly #arrivals = new Map<ConnectionId, PendingHello>();
  readonly #quiet: KeyedTimers<PendingHello>;
  /** Arrivals that wait for a list, in the order in which they were parked. */
  readonly #parked: KeyedTimers<PendingHello>;
  readonly #parkedOrder = new Set<PendingHello>();
  #parkedBytes = 0;

  /** `resolve` takes what time comes to. */
  constructor(
    limits: Limits,
    handshakes: PendingConnections,
    timers: Timers,
    resolve: (outcome: HelloOutcome | undefined, now: number) => void,
  ) {
    this.#limits = limits;
    this.#handshakes = handshakes;
    this.#quiet = timers.keyed((pending, now) => {
      pending.reader.quiet();
      resolve(this.#understand(pending, now), now);
    });
    this.#parked = timers.keyed((pending, now) => {
      resolve(refuse(pending, "UNKNOWN_PEER", `no list names ${pending.hello}, which said hello`), now);
    });
  }

  begin(connection: ConnectionId, remote: Endpoint): void {
    const arrival = { connection, remote, reader: new HelloReader(), hello: undefined, payload: new ByteAccumulator() };
    this.#arrivals.set(connection, arrival);
  }

  get(connection: ConnectionId): PendingHello | undefined {
    return this.#arrivals.get(connection);
  }

  /** All of them. */
  all(): PendingHello[] {
    return [...this.#arrivals.values()];
  }

  /** Those who wait for a list, to be judged again. */
  parked(): PendingHello[] {
    return [...this.#parkedOrder];
  }

  push(arrival: PendingHello, bytes: Uint8Array, now: number): HelloOutcome | undefined {
    arrival.reader.push(bytes);
    return this.#understand(arrival, now);
  }

  /** The other side sends nothing more. */
  finish(arrival: PendingHello, now: number): HelloOutcome | undefined {
    arrival.reader.finish();
    return this.#understand(arrival, now);
  }

  /** Parks an arrival whose sender is unknown. Returns a refusal if there is no room. */
  park(arrival: PendingHello, now: number): HelloOutcome | undefined {
    if (this.#parkedOrder.has(arrival)) return undefined;
    if (this.#parkedOrder.size >= this.#limits.parked) return this.#full(arrival);
    this.#parkedOrder.add(arrival);
    this.#parked.set(arrival, now + this.#limits.parkedMs);
    this.#parkedBytes += arrival.payload.heldBytes;
    return this.#parkedBytes > this.#limits.parkedBytes ? this.#full(arrival) : undefined;
  }

  /** The arrival has become something else, or is gone. */
  remove(arrival: PendingHello): void {
    this.#handshakes.end(arrival.connection);
    this.#arrivals.delete(arrival.connection);
    this.#quiet.clear(arrival);
    this.#parked.clear(arrival);
    if (this.#parkedOrder.delete(arrival)) this.#parkedBytes -= arrival.payload.heldBytes;
  }

  /** It has taken too long to say hello. */
  overdue(arrival: PendingHello): HelloOutcome {
    return refuse(arrival, "HANDSHAKE_TIMEOUT", "no hello came in time");
  }

  #understand(arrival: PendingHello, now: number): HelloOutcome | undefined {
    let outcome: HelloOutcome | undefined;
    for (let event = arrival.reader.poll(); event !== undefined; event = arrival.reader.poll()) {
      // Every event is heard, also a payload behind the hello that decides.
      const result = this.#hear(arrival, event);
      outcome ??= result;
    }
    if (arrival.reader.awaitsQuiet) this.#quiet.set(arrival, now + this.#limits.quietMs);
    else this.#quiet.clear(arrival);
    return outcome;
  }

  #hear(arrival: PendingHello, event: HelloEvent): HelloOutcome | undefined {
    if (event.type === "hello") {
      this.#handshakes.end(arrival.connection);
      arrival.hello = event.address;
      return { type: "hello", arrival, address: event.address };
    }
    if (event.type === "payload") {
      const before = arrival.payload.heldBytes;
      arrival.payload.add(event.bytes);
      if (!this.#parkedOrder.has(arrival)) return undefined;
      this.#parkedBytes += arrival.payload.heldBytes - before;
      return this.#parkedBytes > this.#limits.parkedBytes ? this.#full(arrival) : undefined;
    }
    return refuse(arrival, callerCodes[event.caller], `expected a hello, got "${event.text}"`);
  }

  #full(arrival: PendingHello): HelloOutcome {
    return refuse(arrival, "PARKING_FULL", `no room to wait for a list that names ${arrival.hello}`);
  }
}

/** What it is called when a caller does not say hello. The door has shown native callers elsewhere. */
const callerCodes = {
  hello: "BAD_HELLO",
  stranger: "BAD_HELLO",
  native: "BAD_HELLO",
  registration: "REGISTRATION_AT_NODE",
  http: "HTTP_REQUEST",
  tls: "TLS_HELLO",
} as const;

function refuse(arrival: PendingHello, code: ErrorCode, message: string): HelloOutcome {
  return { type: "refuse", arrival, code, message };
}
