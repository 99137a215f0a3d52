import type { Address } from "../protocol/address.js";
import type { RendezvousEvent, SharingServer } from "../rendezvous/types.js";

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
  /** What this server writes does not come back from the store: nobody is let in, and meshes go on as they are. */
  "store:lost": [event: { readonly reason: string }];
  /** It comes back again, after so many milliseconds. */
  "store:back": [event: { readonly awayMs: number }];
  /** Another server shares the logs from now on; or it is gone. */
  "server:joined": [server: SharingServer];
  "server:gone": [server: SharingServer];
  closed: [];
}
