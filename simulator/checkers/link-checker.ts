import type { ConnectionId } from "../../src/core/connections.js";
import type { MemberEvent } from "../../src/mesh/types.js";
import type { Address } from "../../src/protocol/address.js";
import type { Id } from "../../src/protocol/directory.js";
import type { ControlOf } from "../../src/protocol/native/control.js";
import type { ConnectionEnd } from "../connection-end.js";
import { type LinkFacts, memoryMs, type NativeRun, type SimulationContext, wasMissed } from "../simulation-context.js";

/** A native link as one end has reported it. */
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
type UnlinkEvent = Extract<MemberEvent, { type: "unlink" }>;

/** A link that was sent on before it was up. */
interface WaitingLink {
  readonly own: Id;
  readonly peer: Id;
}

/** More attempts for one pair than any run can need. */
const mostAttempts = 60;

/** Watches the native links of all members, and what is sent on their connections. */
export class LinkChecker implements LinkFacts {
  readonly #context: SimulationContext;
  readonly #links = new Map<NativeRun, Map<Address, WatchedLink>>();
  /** The ends on which one incarnation has sent hello, or answer, to another. */
  readonly #speaking = new Map<string, ConnectionEnd[]>();
  readonly #hellos = new Map<ConnectionEnd, { readonly hello: ControlOf<"hello">; readonly at: number }>();
  /** Pairs that have been linked at both ends by one attempt, perhaps at one after the other. */
  readonly #met = new Set<string>();
  readonly #attempts = new Map<string, number>();
  /** Attempts that were granted and not used, and the newest one that no other attempt has followed, by owner and later end. */
  readonly #granted = new Map<string, Set<number>>();
  readonly #openGrants = new Set<string>();
  readonly #waiting = new Map<NativeRun, Map<Address, WaitingLink>>();

  constructor(context: SimulationContext) {
    this.#context = context;
  }

  // What members report.

  up(memberRun: NativeRun, { type, peer: address }: ObservedLinkEvent): void {
    const { invariantChecker, network, count } = this.#context;
    const listed = memberRun.machine.nativeLink(address);
    const link = listed?.hasBeenUp === true ? listed : undefined;
    const own = this.#of(memberRun);
    const before = own.get(address);
    if (this.#waiting.get(memberRun)?.delete(address) === true) count("sent before up, and up");
    if ((type === "relink") !== (before !== undefined)) {
      invariantChecker.violate("S1", `${memberRun.address} tells ${type} of ${address}, and had ${before?.peer}`);
    }
    if (link === undefined) {
      // It has ended by what was read in the same piece; its peer is not known any more.
      own.set(address, {
        own: memberRun.id,
        peer: "",
        attempt: 0,
        end: undefined,
        isUp: true,
        changedAt: network.engine.now,
      });
      return;
    }
    const { peer, connection, attempt } = link;
    const end = connection === undefined ? undefined : network.endOf(memberRun.process, connection.id);
    const watched: WatchedLink = {
      own: memberRun.id,
      peer: peer.id,
      attempt,
      end,
      isUp: true,
      changedAt: network.engine.now,
    };
    own.set(address, watched);
    if (end?.connection.startsWith("in:") === link.isOwner) {
      count(type === "link" ? "linked by a reverse dial" : "relinked by a reverse dial");
      if (link.isOwner) this.#openGrants.delete(`${memberRun.id} ${peer.id}`);
    }
    if (type === "relink" && link.resendBuffer.unacknowledgedBytes > 0) count("resumed with replay");
    if (before?.isUp === true) count("broken noticed by one end only");
    this.#checkListed(memberRun, watched, address);
    this.#checkSame(memberRun, watched);
  }

  broken(memberRun: NativeRun, address: Address, reason: string): void {
    const { invariantChecker, network } = this.#context;
    const watched = this.#of(memberRun).get(address);
    if (watched?.isUp !== true)
      invariantChecker.violate("S1", `${memberRun.address} tells that a link with ${address} broke: none was up`);
    if (watched === undefined) return;
    watched.isUp = false;
    watched.changedAt = network.engine.now;
    if (!this.#mayBreak(memberRun, watched))
      invariantChecker.violate("A1", `${memberRun.address} lost ${address} without a fault: ${reason}`);
  }

  /** A link has ended, with so many messages of which it is not known whether they were delivered. */
  ended(memberRun: NativeRun, address: Address, unacknowledged: number, reason: string): void {
    const { invariantChecker, messageChecker, scenario } = this.#context;
    const watched = this.#of(memberRun).get(address);
    if (watched === undefined) {
      invariantChecker.violate("S8", `${memberRun.address} tells twice that its link with ${address} has ended`);
      return;
    }
    this.#of(memberRun).delete(address);
    const undelivered = messageChecker.undelivered(watched.own, watched.peer);
    const said = `${memberRun.address} tells of ${unacknowledged} lost messages to ${address}`;
    if (unacknowledged < undelivered) invariantChecker.violate("S8", `${said}, and there are ${undelivered}`);
    if (unacknowledged > messageChecker.sent(watched.own, watched.peer))
      invariantChecker.violate("S8", `${said}, more than it sent`);
    if (unacknowledged > 0) this.#context.count("loss reported");
    if (unacknowledged > 0 && scenario.isCalm) invariantChecker.violate("S8", `${said} at a clean end: ${reason}`);
    if (!this.#mayEnd(memberRun, watched))
      invariantChecker.violate("A1", `${memberRun.address} ended ${address} without a cause: ${reason}`);
  }

  /** Something is sent on a link that is not up yet. False if that was so before. */
  sendsBeforeUp(memberRun: NativeRun, peer: Id, address: Address): boolean {
    const waiting = this.#waiting.get(memberRun) ?? new Map<Address, WaitingLink>();
    this.#waiting.set(memberRun, waiting);
    const known = waiting.get(address);
    if (known?.own === memberRun.id && known.peer === peer) return false;
    if (known !== undefined)
      this.#context.invariantChecker.violate(
        "S8",
        `${memberRun.address} did not tell how a link with ${address} ended`,
      );
    waiting.set(address, { own: memberRun.id, peer });
    return true;
  }

  /** S8: a link has ended without having been up: all that was sent on it is lost, and told of. */
  neverUp(memberRun: NativeRun, { peer: address, member, unacknowledged }: UnlinkEvent): void {
    const { invariantChecker, messageChecker, count } = this.#context;
    const link = this.#waiting.get(memberRun)?.get(address);
    if (link === undefined) {
      if (unacknowledged > 0)
        invariantChecker.violate(
          "S8",
          `${memberRun.address} tells of ${unacknowledged} lost messages that it never sent`,
        );
      return;
    }
    this.#waiting.get(memberRun)?.delete(address);
    const sent = messageChecker.sent(link.own, link.peer);
    if (sent > 0) count("sent before up, and lost");
    if (member?.id === link.peer && unacknowledged === sent) return;
    const told = `${memberRun.address} tells of ${unacknowledged} lost messages to ${member?.id} at ${address}`;
    invariantChecker.violate("S8", `${told}, and sent ${sent} to ${link.peer} before a link was up`);
  }

  /** S1: at most one connection of a pair on which an end still sends. */
  hello(memberRun: NativeRun, connection: ConnectionId, hello: ControlOf<"hello">): void {
    const end = this.#context.network.endOf(memberRun.process, connection);
    if (end === undefined) return;
    const { from, to, attempt } = hello;
    const key = `${from} ${to}`;
    this.#hellos.set(end, { hello, at: this.#context.network.engine.now });
    this.#speak(`hello ${key}`, end);
    // A reverse dial has the number of its grant, and uses it up.
    if (this.#granted.get(`${to} ${from}`)?.delete(attempt) !== true) this.#attempt(memberRun, key, attempt);
    if (attempt > 1 && this.#context.scenario.isCalm) {
      this.#context.invariantChecker.violate("D1", `${memberRun.address} needs attempt ${attempt}`);
    }
  }

  /** An owner lets the later end open an attempt. */
  grant(memberRun: NativeRun, { owner, later, attempt, failed }: ControlOf<"grant">): void {
    if (failed !== undefined) {
      this.#context.count("reverse dial failed, and said so");
      return;
    }
    const key = `${owner} ${later}`;
    this.#attempt(memberRun, key, attempt);
    this.#granted.set(key, (this.#granted.get(key) ?? new Set()).add(attempt));
    this.#openGrants.add(key);
    this.#context.count("attempt granted");
  }

  answer(memberRun: NativeRun, connection: ConnectionId): void {
    const { network, count } = this.#context;
    const end = network.endOf(memberRun.process, connection);
    const hello = end?.other === undefined ? undefined : this.#hellos.get(end.other)?.hello;
    if (end === undefined || hello === undefined) return;
    this.#speak(`answer ${hello.from} ${hello.to}`, end);
    if (end.readAtStep !== network.engine.steps) count("parked judged after entry");
  }

  /** This end sends goodbye. */
  goodbye(memberRun: NativeRun, connection: ConnectionId): void {
    const end = this.#context.network.endOf(memberRun.process, connection);
    if (end === undefined) return;
    end.hasSaidGoodbye = true;
    const link = memberRun.machine.nativeLinks.find((link) => link.connection?.id === connection);
    if (end.other?.hasSaidGoodbye === true && link?.hasReadGoodbye === false) this.#context.count("goodbye crossed");
  }

  // What is known about them.

  has(memberRun: NativeRun, peer: Id): boolean {
    return this.#find(memberRun, peer) !== undefined;
  }

  upSince(memberRun: NativeRun, peer: Id): number | undefined {
    const watched = this.#find(memberRun, peer);
    return watched?.isUp === true ? watched.changedAt : undefined;
  }

  areLinked(a: NativeRun, b: NativeRun): boolean {
    const there = this.#find(a, b.id);
    const back = this.#find(b, a.id);
    return there?.isUp === true && back?.isUp === true && there.attempt === back.attempt && isOne(there, back);
  }

  isBroken(memberRun: NativeRun, peer: Id): boolean {
    return this.#find(memberRun, peer)?.isUp === false;
  }

  haveMet(a: NativeRun, b: NativeRun): boolean {
    return this.#met.has(pairOf(a.id, b.id));
  }

  changedAt(memberRun: NativeRun, peer: Id): number | undefined {
    return this.#find(memberRun, peer)?.changedAt;
  }

  count(memberRun: NativeRun): number {
    return this.#of(memberRun).size + (this.#waiting.get(memberRun)?.size ?? 0);
  }

  #of(memberRun: NativeRun): Map<Address, WatchedLink> {
    let own = this.#links.get(memberRun);
    if (own === undefined) {
      own = new Map();
      this.#links.set(memberRun, own);
    }
    return own;
  }

  #find(memberRun: NativeRun, peer: Id): WatchedLink | undefined {
    for (const watched of this.#of(memberRun).values()) if (watched.peer === peer) return watched;
    return undefined;
  }

  /** S1: an owner's attempts have numbers that rise, and are not without end. */
  #attempt(memberRun: NativeRun, key: string, attempt: number): void {
    const { invariantChecker, count } = this.#context;
    const before = this.#attempts.get(key) ?? 0;
    this.#attempts.set(key, attempt);
    if (this.#openGrants.delete(key)) count("grant withdrawn");
    if (attempt <= before)
      invariantChecker.violate("S1", `${memberRun.address} uses attempt ${attempt} after ${before}`);
    if (attempt > mostAttempts) invariantChecker.violate("S10", `${memberRun.address} makes attempt ${attempt}`);
  }

  #speak(key: string, end: ConnectionEnd): void {
    const ends = this.#speaking.get(key) ?? [];
    this.#speaking.set(key, ends);
    for (const other of ends) {
      if (other.isSpeaking)
        this.#context.invariantChecker.violate("S1", `${end.process.name} has two connections: ${key}`);
    }
    ends.push(end);
  }

  /** S4: a link only with a member that is listed here, and that has the id that it names. */
  #checkListed(memberRun: NativeRun, { peer, end }: WatchedLink, address: Address): void {
    const { invariantChecker, memberRuns } = this.#context;
    const listed = memberRun.machine.entries.find(({ id }) => id === peer);
    if (listed?.address !== address || listed.dialect !== "native") {
      invariantChecker.violate(
        "S4",
        `${memberRun.address} is linked with ${peer} at ${address}, which it does not list`,
      );
    }
    if (end?.other !== undefined && memberRuns.get(peer)?.process !== end.other.process) {
      invariantChecker.violate("S4", `${memberRun.address} takes ${end.other.process.name} for ${peer}`);
    }
  }

  /** S2: if both ends are up, they mean the same attempt, on one connection. */
  #checkSame(memberRun: NativeRun, watched: WatchedLink): void {
    const { invariantChecker, memberRuns } = this.#context;
    const other = memberRuns.get(watched.peer);
    const back = other === undefined ? undefined : this.#find(other, memberRun.id);
    if (other === undefined || back === undefined) return;
    // The answer of a process that is dead by now may still come, and one end may have lost the link before the other has it.
    const isSame = watched.attempt === back.attempt && isOne(watched, back);
    if (isSame) this.#met.add(pairOf(memberRun.id, watched.peer));
    if (!back.isUp || isSame || other.process.isDead || other.id !== watched.peer) return;
    const lower = back.attempt < watched.attempt ? back : watched;
    const isBeingReplaced = back.attempt !== watched.attempt && lower.end?.other?.isClosed !== false;
    if (isBeingReplaced) return;
    invariantChecker.violate(
      "S2",
      `${memberRun.address} means attempt ${watched.attempt}, ${other.address} ${back.attempt}`,
    );
  }

  /** A connection breaks only if a fault has touched it or either process, or if one of the two is no member any more. */
  #mayBreak(memberRun: NativeRun, watched: WatchedLink): boolean {
    const { end } = watched;
    const { limits } = this.#context;
    const other = end?.other;
    if (end === undefined || other === undefined || end.isTouched || other.isTouched) return true;
    if (wasMissed(memberRun.process, limits) || wasMissed(other.process, limits)) return true;
    return this.#wasGivenUp(other) || this.#mayEnd(memberRun, watched);
  }

  /** Parked, and then a pause of the process: the answer came after the owner had given the attempt up. */
  #wasGivenUp(owner: ConnectionEnd): boolean {
    const { network, limits } = this.#context;
    const said = this.#hellos.get(owner);
    const hasPaused = [owner, owner.other].some((end) => (end?.process.absentMs(memoryMs) ?? 0) > 0);
    return said !== undefined && hasPaused && network.engine.now - said.at >= limits.dialMs;
  }

  /** Without a server a link ends for good that is broken for a lease, and then that of the other end does. */
  #hasLapsed({ releasedAt }: NativeRun, { isUp, changedAt }: WatchedLink): boolean {
    const { network, limits, count } = this.#context;
    if (releasedAt === undefined || isUp) return false;
    const hasLapsed = network.engine.now - Math.max(releasedAt, changedAt) >= limits.leaseMs - 1;
    if (hasLapsed) count("link ended by a lease without a server");
    return hasLapsed;
  }

  /** A link ends only if one of the two has been removed from the directory, or ends. */
  #mayEnd(memberRun: NativeRun, watched: WatchedLink): boolean {
    const { own, peer } = watched;
    const { logChecker, memberRuns } = this.#context;
    const other = memberRuns.get(peer);
    if (memberRun.isOver || memberRun.id !== own || other === undefined || other.isOver || other.id !== peer)
      return true;
    if (this.#hasLapsed(memberRun, watched) || (other.releasedAt !== undefined && !this.has(other, own))) return true;
    // No link ends because a log does not name its peer.
    const isRemoved = (id: Id): boolean => !logChecker.has(id) && !logChecker.isUnheard(id);
    return isRemoved(own) || isRemoved(peer);
  }
}

function isOne(a: WatchedLink, b: WatchedLink): boolean {
  return a.end !== undefined && a.end.other === b.end;
}

function pairOf(a: Id, b: Id): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}
