import type { ConnectionId } from "../../core/connections.js";
import type { ErrorCode } from "../../core/errors.js";
import type { LinkHandlerFactory } from "../../core/link-handler.js";
import type { OutputSink } from "../../core/machine.js";
import { PagePool } from "../../core/page-pool.js";
import type { PendingConnections } from "../../core/pending-connections.js";
import type { KeyedTimers } from "../../core/timers.js";
import type { Address } from "../../protocol/address.js";
import { type Claim, compareMembers, type Entry, type Id, type Member } from "../../protocol/directory.js";
import type { ControlOf } from "../../protocol/native/control.js";
import type { LinkDescription, MemberEvent, MemberOutput, MemberRules } from "../types.js";
import type { NativeConnection, NativeConnectionContext } from "./connection.js";
import type { ClaimTransition, DirectoryChange, DirectoryView } from "./directory-view.js";
import { grantRules } from "./grant-rules.js";
import { HelloHandler } from "./hello-handler.js";
import type { HelloCase } from "./hello-rules.js";
import { type DownState, Link, type LinkContext, type LinkEvents } from "./link.js";
import { LinkDialer } from "./link-dialer.js";
import { ReverseDialer } from "./reverse-dialer.js";
import { ServerLinkReport } from "./server-link-report.js";
import type { NativeSession } from "./session.js";

/** So many measured links fit well into a frame; more go in several. */
const mostPerMeasured = 200;

/** Events of the native peers for the rest of the member. */
export interface NativePeersEvents {
  /** The directory has changed; what follows from it comes next. */
  moved(): void;
  /** A key has a new holder, or none. */
  claimMoved(change: ClaimTransition, now: number): void;
  /** The log says that this incarnation has been removed. */
  fenced(reason: string): void;
}

/**
 * This node's side of the mesh as far as the native dialect goes: one link with every other native member of the directory.
 * The attempts are `LinkDialer`'s and `ReverseDialer`'s, the hellos `HelloHandler`'s, what goes over a link is `Link`'s; here
 * the directory meets them.
 */
export class NativePeers {
  readonly roster: DirectoryView;
  readonly reports: ServerLinkReport;
  readonly acceptor: HelloHandler;
  readonly #outputs: OutputSink<MemberOutput>;
  readonly #session: NativeSession;
  readonly #events: NativePeersEvents;
  readonly #dialer: LinkDialer;
  readonly #reverseDialer: ReverseDialer;
  readonly #linkContext: LinkContext;
  readonly #links = new Map<Id, Link>();
  readonly #byAddress = new Map<Address, Link>();
  /** Links whose connection is gone, and that wait for the next one. */
  readonly #unreachable = new Set<Link>();
  /** For links that are not up: when the server must know how far each has come, and then when the owner must. */
  readonly #outages: KeyedTimers<Link>;
  /** There is no server any more, and nobody else says that a member is gone. */
  #isReleased = false;
  /** When a link that is not up ends for good, once there is no server. */
  readonly #lapses: KeyedTimers<Link>;
  #leaseMs = 0;
  /** How often the links are measured; 0 while nobody looks at them. */
  #measureMs = 0;
  readonly #measurements: KeyedTimers<"measure">;

  constructor(
    rules: MemberRules,
    roster: DirectoryView,
    session: NativeSession,
    outputs: OutputSink<MemberOutput>,
    ports: NativeConnectionContext,
    pendingConnections: PendingConnections,
    handlers: LinkHandlerFactory,
    events: NativePeersEvents,
  ) {
    this.#outputs = outputs;
    this.#events = events;
    this.roster = roster;
    this.#session = session;
    this.reports = new ServerLinkReport(rules.limits, ports.timers, (now) => this.sendReports(now));
    const sender = { mesh: rules.mesh, roster };
    const ofLinks: LinkEvents = {
      answered: (link, now) => {
        if (link.connection !== undefined) this.#up(link, link.connection, now);
      },
      failed: (link, now) => this.#reportDown(link, link.downState, now),
      leaving: (link, now) => this.#reportDown(link, { stage: "broken", reason: "it has said goodbye" }, now),
      broken: (link, reason, now) => this.#broken(link, reason, now),
      lost: (link, reason, now) => this.#lost(link, reason, now),
    };
    this.#dialer = new LinkDialer(sender, rules.seed, ports, session, ofLinks);
    this.#reverseDialer = new ReverseDialer(sender, ports, session, ofLinks);
    const { limits, note, timers } = ports;
    this.#outages = timers.keyed((link, now) => this.#stillDown(link, now));
    this.#measurements = timers.keyed((_, now) => this.#measure(now));
    this.#lapses = timers.keyed((link) => {
      const reason = link.downState?.reason ?? "no connection has come about";
      this.#remove(link, `not linked for ${this.#leaseMs / 1000} s: ${reason}`);
    });
    this.#linkContext = {
      limits,
      note,
      handlers,
      pages: new PagePool(rules.allocate),
      scheduled: [],
      acknowledgements: timers.keyed((link) => link.acknowledge()),
      drains: timers.keyed((link, now) => link.drainOverdue(now)),
      events: ofLinks,
    };
    this.acceptor = new HelloHandler(rules, ports, pendingConnections, session, this.#links, {
      caseOf: (hello, link) => this.#caseOf(hello, link),
      accepted: (link, hello, connection, now) => this.#accepted(link, hello, connection, now),
    });
  }

  /** Links that have been up and have not ended. */
  get links(): Link[] {
    return [...this.#links.values()].filter(({ hasBeenUp }) => hasBeenUp);
  }

  /** True while a link that was up has no connection, though neither end has said goodbye: the mesh is not whole. */
  get hasUnreachable(): boolean {
    return this.#unreachable.size > 0;
  }

  /** Links that are not up, although both ends are members. */
  get missing(): Link[] {
    return [...this.#links.values()].filter(({ state }) => state !== "up");
  }

  /** The link with a listed peer, up or not; undefined if it is not listed, or the link has ended. */
  link(peer: Address): Link | undefined {
    return this.#byAddress.get(peer);
  }

  /** The peer at the other end of a connection, if one is known. */
  peerOf(connection: ConnectionId): Address | undefined {
    for (const link of this.#links.values()) if (link.connection?.id === connection) return link.peer.address;
    return undefined;
  }

  /** Hands what has been begun on links to their connections. */
  flush(now: number): void {
    const { scheduled } = this.#linkContext;
    // A link may be scheduled again meanwhile.
    for (let at = 0; at < scheduled.length; at += 1) scheduled[at]?.flush(now);
    scheduled.length = 0;
  }

  // Changes of the directory.

  directoryRead(
    members: readonly Member[],
    claims: readonly Omit<Claim, "member">[],
    gone: readonly Id[],
    revision: number,
    now: number,
  ): void {
    this.#applyChanges(this.roster.restore(members, revision, claims, gone), now);
    for (const link of this.#links.values()) {
      if (link.state !== "suspended") continue;
      link.step("relisted");
      this.#dialer.want(link, now);
    }
  }

  entriesRead(entries: readonly Entry[], now: number): void {
    this.#applyChanges(
      entries.flatMap((entry) => this.roster.apply(entry)),
      now,
    );
  }

  /**
   * The owner of a link lets this node dial. Whatever the link has is closed before: nothing more is read from it [C8].
   * Returns why the grant is ignored, if it is. With `failed` it is one of this node's own that has come to nothing.
   */
  granted({ owner, later, attempt, failed }: ControlOf<"grant">, now: number): ErrorCode | undefined {
    if (failed !== undefined) {
      const own = owner === this.roster.id ? this.#links.get(later) : undefined;
      if (own !== undefined) this.#dialer.grantFailed(own, attempt, failed, now);
      return undefined;
    }
    const link = this.#links.get(owner);
    const rule = grantRules.find(({ applies }) =>
      applies({
        isForMe: later === this.roster.id && link?.isOwner === false,
        isLeaving: link?.state === "draining",
        attempt,
        highest: link?.attempt ?? 0,
      }),
    );
    if (rule !== undefined || link === undefined) return rule?.verdict;
    this.#reverseDialer.drop(link);
    if (link.state === "up") {
      link.drop();
      link.step("broken");
      this.#broken(link, "its owner asks for a new connection", now);
    }
    this.#reverseDialer.dial(link, attempt, now);
    return undefined;
  }

  /** Reports what has changed of links. What is due without a session is sent with all others once there is one. */
  sendReports(now: number): void {
    if (!this.#session.isListed) return;
    for (const report of this.reports.take(now)) {
      const unlisted = report.up.flatMap(([id]) => this.roster.unlisted(id) ?? []);
      this.#session.send(unlisted.length === 0 ? report : { ...report, unlisted });
    }
  }

  /** The server wants to know so often what the links are like; 0: not any more. */
  measure(everyMs: number, now: number): void {
    this.#measureMs = everyMs === 0 ? 0 : Math.max(everyMs, this.#linkContext.limits.measureMs);
    if (everyMs === 0) this.#measurements.clear("measure");
    else this.#measurements.set("measure", now);
  }

  /** Sends what has been measured, and measures anew. A session that has gone ends it. */
  #measure(now: number): void {
    if (!this.#session.isListed) return;
    this.#measurements.set("measure", now + this.#measureMs);
    const up = [...this.#links.values()].filter(({ state }) => state === "up");
    for (let from = 0; from < up.length; from += mostPerMeasured) {
      const links = up.slice(from, from + mostPerMeasured).map(measuredRow);
      this.#session.send({ type: "measured", links });
    }
    for (const link of up) link.measure();
  }

  // Wishes of the application.

  /**
   * There is no server any more: all who are members stay, for as long as they are linked. A link that is not up for so long
   * ends for good.
   */
  released(leaseMs: number, now: number): void {
    this.#isReleased = true;
    this.#leaseMs = leaseMs;
    this.reports.clear();
    if (this.roster.release()) this.#events.moved();
    for (const link of this.missing) if (link.state !== "draining") this.#lapses.set(link, now + this.#leaseMs);
  }

  /** Says goodbye to everybody; what is under way is still delivered. */
  end(reason: string, now: number): void {
    this.#isReleased = false;
    this.#lapses.clearAll();
    this.acceptor.close();
    for (const link of [...this.#links.values()]) {
      this.#stopDialing(link);
      if (link.isCarried) {
        link.step("left");
        link.sayGoodbye(reason, now);
      } else this.#remove(link, reason);
    }
    this.#dialer.clear(now);
  }

  /** This incarnation is over, and another one begins: nothing of the old one is delivered or sent any more. */
  restart(id: Id, reason: string): void {
    this.#measurements.clear("measure");
    for (const link of [...this.#links.values()]) this.#remove(link, reason);
    this.reports.clear();
    this.roster.restart(id);
  }

  // Steps.

  #applyChanges(changes: readonly DirectoryChange[], now: number): void {
    if (changes.length > 0) this.#events.moved();
    for (const change of changes) {
      if (change.type === "kept") continue;
      if (change.type === "met") this.#joined(change.member, now);
      else if (change.type === "claimed" || change.type === "unclaimed") this.#events.claimMoved(change, now);
      else if (change.id === this.roster.id) {
        this.#events.fenced(change.reason);
        return;
      } else this.#removed(change, now);
    }
    this.acceptor.judgeParked(now);
    this.#dialer.dial(now);
  }

  #joined(member: Member, now: number): void {
    const { self } = this.roster;
    // Whoever has this address now is the only one that has it: nothing more is read from an older incarnation.
    const old = this.#byAddress.get(member.address);
    if (old !== undefined && old.peer.id !== member.id) this.#remove(old, "replaced by a new incarnation");
    if (self === undefined || member.id === self.id || member.dialect === "classic") return;
    // An id has one link, however often it is named.
    if (this.#links.has(member.id)) return;
    const link = new Link(member, compareMembers(self, member) < 0, this.#linkContext, now);
    this.#links.set(member.id, link);
    this.#byAddress.set(member.address, link);
    this.#awaitUp(link, now);
    if (link.isOwner) this.#dialer.want(link, now);
  }

  #removed(change: Extract<DirectoryChange, { type: "left" | "gone" }>, now: number): void {
    const { type, id, reason } = change;
    const link = this.#links.get(id);
    this.reports.forget(id);
    if (link === undefined) return;
    if (type === "left" && link.isCarried) {
      link.endReason ??= reason;
      link.step("left");
      link.awaitGoodbye(now);
    } else this.#remove(link, reason);
    // The server does not know that this ends the link, and would take it for one with a member that it does not list.
    if (change.isUnsaid === true) this.#reportDown(link, endedBecause(reason), now);
  }

  /** Ends a link at once: nothing more is read or sent on it. */
  #remove(link: Link, reason: string): void {
    this.#stopDialing(link);
    link.drop();
    if (link.state !== "ended") link.step("removed");
    this.#ended(link, reason);
  }

  #stopDialing(link: Link): void {
    this.#dialer.drop(link);
    this.#reverseDialer.drop(link);
  }

  #ended(link: Link, reason: string): void {
    const { id, address } = link.peer;
    this.#links.delete(id);
    this.#unreachable.delete(link);
    this.#outages.clear(link);
    this.#lapses.clear(link);
    if (this.#isReleased && this.roster.forget(id, reason)) this.#events.moved();
    if (this.#byAddress.get(address) === link) this.#byAddress.delete(address);
    this.reports.forget(id);
    const { handler, resendBuffer, hasBeenUp } = link;
    const unacknowledged = handler.waiting + resendBuffer.countMessages();
    resendBuffer.clear();
    handler.ended(reason);
    this.#emit({ type: "unlink", ...describe(link), reason, unacknowledged, wasUp: hasBeenUp });
  }

  #caseOf(hello: ControlOf<"hello">, link: Link | undefined): HelloCase {
    const standing = this.roster.senderOf(hello.from);
    const isPeer = standing === "earlier" || (standing === "later" && hello.from !== this.roster.id);
    return {
      isForMe: hello.to === this.roster.id,
      isAdmitted: this.roster.self !== undefined,
      // A link that has ended never begins anew, also while the log lists the peer still.
      sender: isPeer && link === undefined ? "removed" : standing,
      isLeaving: link?.state === "draining",
      attempt: hello.attempt,
      highest: link?.attempt ?? 0,
      granted: link?.state === "granted" ? link.attempt : undefined,
      fits: () => link?.resumeState.takeHello(hello.attempt, hello.since, hello.received) ?? false,
    };
  }

  #accepted(link: Link, { attempt, batches }: ControlOf<"hello">, connection: NativeConnection, now: number): void {
    this.#reverseDialer.drop(link);
    link.drop();
    link.step("accepted");
    link.attempt = attempt;
    link.takesBatches = batches === true;
    link.connection = connection;
    connection.trust();
    const { since, received } = link.resumeState;
    connection.send({ type: "answer", attempt, since, received, ...link.batchesField });
    if (link.isOwner) this.#dialer.accepted(link, now);
    this.#up(link, connection, now);
  }

  #up(link: Link, connection: NativeConnection, now: number): void {
    const { peer, attempt } = link;
    const type = link.hasBeenUp ? "relink" : "link";
    const isFirst = !link.hasBeenUp;
    link.hasBeenUp = true;
    this.#outages.clear(link);
    this.#unreachable.delete(link);
    this.#lapses.clear(link);
    this.reports.up(peer.id, attempt, now);
    this.#emit({ type, ...describe(link) });
    link.carry(connection, now);
    if (isFirst) link.handler.up();
    // The hello or the answer may have acknowledged what the broken connection had delivered.
    link.handler.moved();
  }

  #broken(link: Link, reason: string, now: number): void {
    if (link.state === "ended") {
      this.#dialer.drop(link);
      this.roster.depart(link.peer.id);
      this.#ended(link, link.endReason ?? reason);
      // While the log lists it still, it must not seem to be held by this node: the server may not know yet that it left.
      if (this.roster.member(link.peer.id) !== undefined) {
        this.#reportDown(link, endedBecause(link.endReason ?? reason), now);
      }
      return;
    }
    link.downState = { stage: "broken", reason };
    this.#unreachable.add(link);
    if (this.#isReleased) this.#lapses.set(link, now + this.#leaseMs);
    this.#awaitUp(link, now);
    this.#reportDown(link, link.downState, now);
    this.#emit({ type: "broken", ...describe(link), reason });
    if (link.isOwner) this.#dialer.broken(link, now);
  }

  /** The two ends do not agree on what has been delivered: better an end than a loss in silence. */
  #lost(link: Link, reason: string, now: number): void {
    this.#remove(link, reason);
    this.#reportDown(link, endedBecause(reason), now);
  }

  /** The link has been down for a while. Its owner alone knows how far it has come. */
  #stillDown(link: Link, now: number): void {
    const { limits, note } = this.#linkContext;
    const lastsAt = link.downSince + limits.brokenMs;
    if (now < lastsAt) {
      if (link.isOwner) this.#reportDown(link, link.downState, now);
      this.#outages.set(link, lastsAt);
      return;
    }
    const { peer, attempt, downState } = link;
    const reason = `${downState.stage}, attempt ${attempt}: ${downState.reason}`;
    const { name, address } = peer;
    const who = name === undefined ? address : `${name} at ${address}`;
    const { brokenMs, queueHardBytes } = limits;
    note(
      "NO_LINK",
      `no link with ${who} for ${brokenMs / 1000} s (${reason}), and the mesh lists it still: what is sent to it waits, ` +
        `up to ${queueHardBytes} bytes, and the next message fails with QUEUE_FULL`,
      address,
    );
    this.#emit({ type: "outage", ...describe(link), reason, since: link.downSince, wasUp: link.hasBeenUp });
  }

  #awaitUp(link: Link, now: number): void {
    link.downSince = now;
    this.#outages.set(link, now + this.#linkContext.limits.degradedMs / 2);
  }

  #reportDown({ peer, attempt }: Link, failure: DownState, now: number): void {
    this.reports.down(peer.id, attempt, failure, now);
  }

  #emit(event: MemberEvent): void {
    this.#outputs.push({ type: "event", event });
  }
}

function measuredRow({ peer, roundTripMs, unacknowledgedBytes, handler }: Link): [Id, number | null, number] {
  const roundedMs = roundTripMs === undefined ? null : Math.round(roundTripMs * 1_000) / 1_000;
  return [peer.id, roundedMs, unacknowledgedBytes + handler.waitingBytes];
}

function endedBecause(reason: string): DownState {
  return { stage: "broken", reason: `the link has ended: ${reason}` };
}

function describe({ peer, direction, connection }: Link): LinkDescription {
  const cipher = connection?.cipher === undefined ? {} : { cipher: connection.cipher };
  return { peer: peer.address, dialect: "native", direction, member: peer, ...cipher };
}
