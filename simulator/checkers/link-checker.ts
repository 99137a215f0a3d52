import type { ConnectionId } from "../../src/core/connections.js";
import type { MemberEvent } from "../../src/mesh/types.js";
import type { Address } from "../../src/protocol/address.js";
import type { Id } from "../../src/protocol/directory.js";
import type { ControlOf } from "../../src/protocol/native/control.js";
import type { ConnectionEnd } from "../connection-end.js";
import { memoryMs, type NativeRun, type SimulationContext, wasMissed } from "../simulation-context.js";

/** A native link as one end has told of it. */
interface WatchedLink {
  readonly own: Id;
  readonly peer: Id;
  attempt: number;
  /** Our end of its connection. */
  end: ConnectionEnd | undefined;
  isUp: boolean;
  changedAt: number;
}

type ObservedLinkEvent = Extract<MemberEvent, { type: "link" | "relink" }>;

/** More attempts for one pair than any play can need. */
const mostAttempts = 60;

/** Watches the native links of all members, and what is said on their connections. */
export class LinkChecker {
  readonly #stage: SimulationContext;
  readonly #bonds = new Map<NativeRun, Map<Address, WatchedLink>>();
  /** The ends on which one incarnation has said hello, or answered, to another. */
  readonly #speaking = new Map<string, ConnectionEnd[]>();
  readonly #hellos = new Map<ConnectionEnd, { readonly hello: ControlOf<"hello">; readonly at: number }>();
  /** Pairs that have been linked at both ends by one attempt. */
  readonly #met = new Set<string>();
  readonly #attempts = new Map<string, number>();

  constructor(stage: SimulationContext) {
    this.#stage = stage;
  }

  // What members tell.

  up(life: NativeRun, { type, peer: address }: ObservedLinkEvent): void {
    const { observer, network, hit } = this.#stage;
    const link = life.machine.nativeLink(address);
    const own = this.#of(life);
    const before = own.get(address);
    if ((type === "relink") !== (before !== undefined)) {
      observer.violate("S1", `${life.address} tells ${type} of ${address}, and had ${before?.peer}`);
    }
    if (link === undefined) {
      // It has ended by what was read in the same piece; who it was is known no more.
      own.set(address, {
        own: life.id,
        peer: "",
        attempt: 0,
        end: undefined,
        isUp: true,
        changedAt: network.world.now,
      });
      return;
    }
    const { peer, channel, attempt } = link;
    const end = channel === undefined ? undefined : network.endOf(life.process, channel.connection);
    const bond: WatchedLink = { own: life.id, peer: peer.id, attempt, end, isUp: true, changedAt: network.world.now };
    own.set(address, bond);
    if (type === "relink" && link.outflow.unacknowledgedBytes > 0) hit("resumed with replay");
    if (before?.isUp === true) hit("broken noticed by one end only");
    this.#checkListed(life, bond, address);
    this.#checkSame(life, bond);
  }

  broken(life: NativeRun, address: Address, reason: string): void {
    const { observer, network } = this.#stage;
    const bond = this.#of(life).get(address);
    if (bond?.isUp !== true)
      observer.violate("S1", `${life.address} tells that a link with ${address} broke: none was up`);
    if (bond === undefined) return;
    bond.isUp = false;
    bond.changedAt = network.world.now;
    if (!this.#mayBreak(life, bond))
      observer.violate("A1", `${life.address} lost ${address} without a fault: ${reason}`);
  }

  /** A link has ended, with so many messages of which it is not known whether they were delivered. */
  ended(life: NativeRun, address: Address, unacknowledged: number, reason: string): void {
    const { observer, mail, scenario } = this.#stage;
    const bond = this.#of(life).get(address);
    if (bond === undefined) {
      observer.violate("S8", `${life.address} tells twice that its link with ${address} has ended`);
      return;
    }
    this.#of(life).delete(address);
    const undelivered = mail.undelivered(bond.own, bond.peer);
    const said = `${life.address} tells of ${unacknowledged} lost messages to ${address}`;
    if (unacknowledged < undelivered) observer.violate("S8", `${said}, and there are ${undelivered}`);
    if (unacknowledged > mail.sent(bond.own, bond.peer)) observer.violate("S8", `${said}, more than it sent`);
    if (unacknowledged > 0) this.#stage.hit("loss reported");
    if (unacknowledged > 0 && scenario.isCalm) observer.violate("S8", `${said} at a clean end: ${reason}`);
    if (!this.#mayEnd(life, bond))
      observer.violate("A1", `${life.address} ended ${address} without a cause: ${reason}`);
  }

  /** S1: at most one connection of a pair on which an end still speaks. */
  hello(life: NativeRun, connection: ConnectionId, hello: ControlOf<"hello">): void {
    const end = this.#stage.network.endOf(life.process, connection);
    if (end === undefined) return;
    const { from, to, attempt } = hello;
    const key = `${from} ${to}`;
    this.#hellos.set(end, { hello, at: this.#stage.network.world.now });
    this.#speak(`hello ${key}`, end);
    const before = this.#attempts.get(key) ?? 0;
    this.#attempts.set(key, attempt);
    if (attempt <= before)
      this.#stage.observer.violate("S1", `${life.address} uses attempt ${attempt} after ${before}`);
    if (attempt > mostAttempts) this.#stage.observer.violate("S10", `${life.address} makes attempt ${attempt}`);
    if (attempt > 1 && this.#stage.scenario.isCalm) {
      this.#stage.observer.violate("D1", `${life.address} needs attempt ${attempt}`);
    }
  }

  answer(life: NativeRun, connection: ConnectionId): void {
    const { network, hit } = this.#stage;
    const end = network.endOf(life.process, connection);
    const hello = end?.other === undefined ? undefined : this.#hellos.get(end.other)?.hello;
    if (end === undefined || hello === undefined) return;
    this.#speak(`answer ${hello.from} ${hello.to}`, end);
    if (end.readAtStep !== network.world.steps) hit("parked judged after entry");
  }

  /** This one says goodbye. */
  goodbye(life: NativeRun, connection: ConnectionId): void {
    const end = this.#stage.network.endOf(life.process, connection);
    if (end === undefined) return;
    end.hasSaidGoodbye = true;
    const link = life.machine.nativeLinks.find(({ channel }) => channel?.connection === connection);
    if (end.other?.hasSaidGoodbye === true && link?.hasHeardGoodbye === false) this.#stage.hit("goodbye crossed");
  }

  // What is known of them.

  /** True while this life has a link with that incarnation. */
  has(life: NativeRun, peer: Id): boolean {
    return this.#find(life, peer) !== undefined;
  }

  /** Since when this life's link with that incarnation has been up. */
  upSince(life: NativeRun, peer: Id): number | undefined {
    const bond = this.#find(life, peer);
    return bond?.isUp === true ? bond.changedAt : undefined;
  }

  /** True if the two are linked: both are up by one attempt, on the two ends of one connection. */
  areLinked(a: NativeRun, b: NativeRun): boolean {
    const there = this.#find(a, b.id);
    const back = this.#find(b, a.id);
    return there?.isUp === true && back?.isUp === true && there.attempt === back.attempt && isOne(there, back);
  }

  /** True while this life's link with that incarnation has no connection. */
  isBroken(life: NativeRun, peer: Id): boolean {
    return this.#find(life, peer)?.isUp === false;
  }

  /** True if the two have ever been linked in these incarnations. */
  haveMet(a: NativeRun, b: NativeRun): boolean {
    return this.#met.has(pairOf(a.id, b.id));
  }

  /** When this life's link with that incarnation last came or went. */
  changedAt(life: NativeRun, peer: Id): number | undefined {
    return this.#find(life, peer)?.changedAt;
  }

  /** The connections that this life's links are on. */
  count(life: NativeRun): number {
    return this.#of(life).size;
  }

  #of(life: NativeRun): Map<Address, WatchedLink> {
    let own = this.#bonds.get(life);
    if (own === undefined) {
      own = new Map();
      this.#bonds.set(life, own);
    }
    return own;
  }

  #find(life: NativeRun, peer: Id): WatchedLink | undefined {
    for (const bond of this.#of(life).values()) if (bond.peer === peer) return bond;
    return undefined;
  }

  #speak(key: string, end: ConnectionEnd): void {
    const ends = this.#speaking.get(key) ?? [];
    this.#speaking.set(key, ends);
    for (const other of ends) {
      if (other.isSpeaking) this.#stage.observer.violate("S1", `${end.process.name} has two connections: ${key}`);
    }
    ends.push(end);
  }

  /** S4: a link only with a member that is listed here, and that is who it says. */
  #checkListed(life: NativeRun, { peer, end }: WatchedLink, address: Address): void {
    const { observer, lives } = this.#stage;
    const listed = life.machine.entries.find(({ id }) => id === peer);
    if (listed?.address !== address || listed.dialect !== "native") {
      observer.violate("S4", `${life.address} is linked with ${peer} at ${address}, which it does not list`);
    }
    if (end?.other !== undefined && lives.get(peer)?.process !== end.other.process) {
      observer.violate("S4", `${life.address} takes ${end.other.process.name} for ${peer}`);
    }
  }

  /** S2: if both ends are up, they mean the same attempt, on one connection. */
  #checkSame(life: NativeRun, bond: WatchedLink): void {
    const { observer, lives } = this.#stage;
    const other = lives.get(bond.peer);
    const back = other === undefined ? undefined : this.#find(other, life.id);
    if (other === undefined || back?.isUp !== true) return;
    const isSame = bond.attempt === back.attempt && isOne(bond, back);
    // The answer of one who is dead by now may still come.
    if (isSame) this.#met.add(pairOf(life.id, bond.peer));
    if (isSame || other.process.isDead || other.id !== bond.peer) return;
    const lower = back.attempt < bond.attempt ? back : bond;
    const isBeingReplaced = back.attempt !== bond.attempt && lower.end?.other?.isClosed !== false;
    if (isBeingReplaced) return;
    observer.violate("S2", `${life.address} means attempt ${bond.attempt}, ${other.address} ${back.attempt}`);
  }

  /** A connection breaks only if a fault has touched it or either process, or if one of the two is no member any more. */
  #mayBreak(life: NativeRun, bond: WatchedLink): boolean {
    const { end } = bond;
    const { limits } = this.#stage;
    const other = end?.other;
    if (end === undefined || other === undefined || end.isTouched || other.isTouched) return true;
    if (wasMissed(life.process, limits) || wasMissed(other.process, limits)) return true;
    return this.#wasGivenUp(other) || this.#mayEnd(life, bond);
  }

  /** Parked, and then a pause of the process: the answer came after the owner had given the attempt up. */
  #wasGivenUp(owner: ConnectionEnd): boolean {
    const { network, limits } = this.#stage;
    const said = this.#hellos.get(owner);
    const hasPaused = [owner, owner.other].some((end) => (end?.process.absentMs(memoryMs) ?? 0) > 0);
    return said !== undefined && hasPaused && network.world.now - said.at >= limits.dialMs;
  }

  /** A link ends only if one of the two has been removed from the directory, or ends. */
  #mayEnd(life: NativeRun, { own, peer }: WatchedLink): boolean {
    const { ledger, lives } = this.#stage;
    const other = lives.get(peer);
    if (life.isOver || life.id !== own || other === undefined || other.isOver || other.id !== peer) return true;
    return !ledger.has(own) || !ledger.has(peer);
  }
}

function isOne(a: WatchedLink, b: WatchedLink): boolean {
  return a.end !== undefined && a.end.other === b.end;
}

function pairOf(a: Id, b: Id): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}
