import type { ConnectionId, Endpoint } from "../core/connections.js";
import { type Address, formatAddress } from "../protocol/address.js";
import { RegistrationReader } from "../protocol/classic/registration.js";
import { canonicalIp } from "../protocol/ip.js";
import type { Outbox } from "./outbox.js";

/**
 * The life of a session, as data: from each state, what may happen and where it leads. Anything else is a fault of the
 * machine, and is said at once.
 */
export const sessionTransitions = {
  /** Nothing complete has been read yet. */
  reading: { admitted: "joining", queued: "waiting", closing: "closing" },
  /** Registered, in line for a slot. */
  waiting: { admitted: "joining", withdrawn: "reading", closing: "closing" },
  /** The append of the membership is under way. */
  joining: { listed: "member", closing: "closing" },
  /** In the directory. */
  member: { withdrawn: "reading", closing: "closing" },
  /** Has been told everything, or is about to be; hears no more. */
  closing: { closing: "closing" },
} as const;

export type SessionState = keyof typeof sessionTransitions;
export type SessionEvent = "admitted" | "queued" | "listed" | "withdrawn" | "closing";

/** The conversation with one connection: what it has said, what it is, and what it is still to be told. */
export class Session {
  readonly connection: ConnectionId;
  /** Where it connects from, in canonical form. */
  readonly remote: Endpoint;
  readonly reader = new RegistrationReader();
  readonly outbox: Outbox;
  /** The address it has registered; undefined while reading. */
  address: Address | undefined;
  /** The address that is to replace it, when more digits of its port came late. */
  correction: Address | undefined;
  /** Its order in the log; undefined unless it is a member. */
  order: number | undefined;
  #state: SessionState = "reading";

  constructor(connection: ConnectionId, remote: Endpoint, outbox: Outbox) {
    this.connection = connection;
    this.remote = { host: canonicalIp(remote.host) ?? remote.host, port: remote.port };
    this.outbox = outbox;
  }

  /** The other end of the connection, as text. */
  get remoteAddress(): Address {
    return formatAddress(this.remote);
  }

  get state(): SessionState {
    return this.#state;
  }

  step(event: SessionEvent): void {
    const transitions: Partial<Record<SessionEvent, SessionState>> = sessionTransitions[this.#state];
    const next = transitions[event];
    if (next === undefined) throw new Error(`session ${this.connection}: no ${event} in state ${this.#state}`);
    this.#state = next;
  }
}
