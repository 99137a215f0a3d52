import type { Address } from "../protocol/address.js";
import type { RendezvousEvent } from "../rendezvous/types.js";

type EventOf<Type extends RendezvousEvent["type"]> = Extract<RendezvousEvent, { type: Type }>;

/** The events of a server. Times are milliseconds since the epoch. */
export interface ServerEvents {
  listening: [address: Address];
  joined: [event: EventOf<"joined">];
  left: [event: EventOf<"left" | "lost">];
  lost: [event: EventOf<"left" | "lost">];
  forgotten: [event: EventOf<"forgotten">];
  waiting: [event: EventOf<"waiting">];
  full: [event: EventOf<"full">];
  gathering: [event: EventOf<"gathering">];
  gathered: [event: EventOf<"gathered">];
  complete: [event: EventOf<"complete">];
  degraded: [event: EventOf<"degraded">];
  teardown: [event: EventOf<"teardown">];
  released: [event: EventOf<"released">];
  closed: [];
}
