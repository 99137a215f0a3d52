import type { Direction } from "../../src/mesh/types.js";
import type { Address } from "../../src/protocol/address.js";
import type { Id } from "../../src/protocol/directory.js";
import type { RendezvousEvent } from "../../src/rendezvous/types.js";

/** An invariant that a run has violated. */
export interface Violation {
  /** The invariant's short name, as in the list of `invariants`. */
  readonly invariant: keyof typeof invariants;
  readonly at: number;
  readonly detail: string;
}

/** What must hold in every run. */
export const invariants = {
  S0: "no machine throws, and time goes on",
  S1: "at most one link with a peer at each end, and one connection under both ends",
  S2: "the earlier member dials, the later one accepts, and both ends agree on that",
  S3: "nothing of an old incarnation is delivered once the new one, or its removal, is known",
  S4: "a link only with a listed member, and whoever is listed as native listens where it says",
  S5: "a list is the beginning of a directory that the log has held, and a native member's directory is the log's",
  S6: "orders are unique, and a live address belongs to one member",
  S7: "never more members than the capacity",
  S8: "what a link delivers is the beginning of what was written to it, each once, and what is lost is told once",
  S9: "no teardown before the capacity is reached and the mesh is whole, but for the members and pairs that it names",
  S11: "a key has one holder at a time, by what members believe, its tokens rise, and it is not idle while somebody waits",
  S10: "nothing is left open or waiting after the end",
  A1: "a link breaks only by a fault of its connection or of a process, and ends only with a member",
  C1: "`complete` is told when everybody is there, as many as the capacity, and every pair is linked at both ends, and only then",
  N13: "nobody is lost who lives and can be reached, or for whom somebody vouches",
  N14: "a member is fenced only if the log has removed it",
  N17: "a link that was up ends only if one of its ends has gone, or was removed from the log",
  N26: "a mesh is forgotten only when nobody of it can be heard, and a lease later nothing of it is held",
  D1: "without a fault, one connection is dialed for each pair, and nobody is refused",
  L1: "after healing, every two listed members are linked within 60 s",
  L3: "two members that live and reach one another are linked within the time that the scenario names",
  L2: "every join is answered: listed, refused, ended, or told its place in line",
} as const;

/** One member's run as the invariant checker sees it; a restart is a new run. */
export interface MemberRun {
  readonly address: Address;
  /** Peer to direction and the text received so far, for the links that are up. */
  readonly links: Map<Address, { readonly direction: Direction; text: string }>;
}

/** Thrown at a violation in a run that stops there. */
export class StopAtViolation extends Error {}

/** What an invariant checker needs to know about a run. */
export interface InvariantCheckerOptions {
  readonly now: () => number;
  readonly stopsAtViolation: boolean;
  readonly capacity: number;
  readonly settleMs: number;
  /** Addresses may be read too short, which no reader can avoid. */
  readonly mayMisread: boolean;
}

/**
 * Watches a run from outside and reports each violation of an invariant when it happens.
 */
export class InvariantChecker {
  readonly violations: Violation[] = [];
  /** The ids of wrong witnesses, who have the orders that they like. */
  readonly liars = new Set<Id>();
  /** One of them has claimed a revision that no log has had: a later log goes on below it until somebody is back who has read it. */
  hasFalseRevision = false;
  readonly #now: () => number;
  readonly #stopsAtViolation: boolean;
  readonly #capacity: number;
  readonly #settleMs: number;
  readonly #mayMisread: boolean;
  /** Every directory that the log has held, as text, with its beginnings. */
  readonly #directories = new Set<string>([""]);
  readonly #members = new Map<number, Address>();
  readonly #ids = new Map<number, Id>();
  readonly #everListed = new Set<Address>();
  readonly #natives = new Set<Address>();
  #newestOrder = 0;
  #reachedAt: number | undefined;

  constructor(options: InvariantCheckerOptions) {
    this.#now = options.now;
    this.#stopsAtViolation = options.stopsAtViolation;
    this.#capacity = options.capacity;
    this.#settleMs = options.settleMs;
    this.#mayMisread = options.mayMisread;
  }

  /** The members' addresses by order, as the server has reported. */
  get members(): ReadonlyMap<number, Address> {
    return this.#members;
  }

  violate(invariant: keyof typeof invariants, detail: string): void {
    this.violations.push({ invariant, at: this.#now(), detail });
    if (this.#stopsAtViolation) throw new StopAtViolation();
  }

  serverEvent(event: RendezvousEvent, isOrdered: boolean): void {
    if (event.type === "joined") this.#joined(event);
    else if (event.type === "left" || event.type === "lost") this.#left(event.order);
    else if (event.type === "forgotten") this.#members.clear();
    else if (event.type === "teardown" && !isOrdered) this.#tornDown(event);
  }

  /** Another server begins a log of its own. */
  serverRestarted(): void {
    this.#members.clear();
    this.#ids.clear();
    this.#newestOrder = 0;
  }

  /** A member has read a list, or the beginning of one. */
  listRead(memberRun: MemberRun, members: readonly Address[]): void {
    // With a lag that may be as long as the quiet period a port can be taken too short, and is corrected.
    if (this.#mayMisread || this.#directories.has(members.join(" "))) return;
    this.violate("S5", `${memberRun.address} read ${members.join(" ")}`);
  }

  linkUp(memberRun: MemberRun, peer: Address, direction: Direction): void {
    if (memberRun.links.has(peer)) this.violate("S1", `${memberRun.address} has a second link with ${peer}`);
    if (!this.#everListed.has(peer))
      this.violate("S4", `${memberRun.address} is linked with ${peer}, which never joined`);
    memberRun.links.set(peer, { direction, text: "" });
  }

  linkDown(memberRun: MemberRun, peer: Address): void {
    if (!memberRun.links.delete(peer))
      this.violate("S1", `${memberRun.address} lost a link with ${peer} that it did not have`);
  }

  /** Text from a peer; writers count `n:0;n:1;...`, n being their link's number, perhaps with a letter in front. */
  received(memberRun: MemberRun, peer: Address, text: string): void {
    const link = memberRun.links.get(peer);
    if (link === undefined) {
      this.violate("S8", `${memberRun.address} heard ${peer} without a link`);
      return;
    }
    link.text += text;
    const [number = ""] = link.text.split(":");
    let expected = "";
    for (let count = 0; expected.length < link.text.length; count += 1) expected += `${number}:${count};`;
    if (!expected.startsWith(link.text)) this.violate("S8", `${memberRun.address} heard ${link.text} from ${peer}`);
  }

  #joined({ id, address, order, dialect, replaces, returned }: Extract<RendezvousEvent, { type: "joined" }>): void {
    for (const [other, member] of this.#ids) if (member === replaces) this.#members.delete(other);
    this.#ids.set(order, id);
    if (dialect === "native") this.#natives.add(address);
    if (order <= this.#newestOrder && returned !== true) this.violate("S6", `order ${order} of ${address} is not new`);
    if (!this.liars.has(id)) this.#newestOrder = Math.max(this.#newestOrder, order);
    for (const live of this.#members.values()) if (live === address) this.violate("S6", `${address} is listed twice`);
    this.#members.set(order, address);
    this.#everListed.add(address);
    if (this.#members.size > this.#capacity && returned !== true && replaces === undefined)
      this.violate("S7", `${this.#members.size} members`);
    if (this.#members.size === this.#capacity) this.#reachedAt ??= this.#now();
    this.#keepDirectory();
  }

  #left(order: number): void {
    this.#members.delete(order);
    this.#keepDirectory();
  }

  #keepDirectory(): void {
    const addresses = [...this.#members].sort(([a], [b]) => a - b).map(([, address]) => address);
    for (let length = 1; length <= addresses.length; length += 1) {
      this.#directories.add(addresses.slice(0, length).join(" "));
    }
  }

  /** Classic members cannot report their links, so two of them get some time to make theirs. */
  #tornDown({ incomplete }: Extract<RendezvousEvent, { type: "teardown" }>): void {
    const classics = [...this.#members.values()].filter((address) => !this.#natives.has(address));
    if (incomplete !== undefined || (this.#natives.size > 0 && classics.length < 2)) return;
    const settledAt = (this.#reachedAt ?? Number.POSITIVE_INFINITY) + this.#settleMs;
    if (this.#now() < settledAt) this.violate("S9", `teardown before ${settledAt}`);
  }
}
