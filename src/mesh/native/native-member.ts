import type { ConnectionId } from "../../core/connections.js";
import { Histogram } from "../../core/histogram.js";
import { leaderLeaseMs } from "../../core/limits.js";
import type { LinkHandlerFactory } from "../../core/link-handler.js";
import { type Clocks, elapsedMs, type OutputSink } from "../../core/machine.js";
import type { PendingConnections } from "../../core/pending-connections.js";
import type { KeyedTimers, Timers } from "../../core/timers.js";
import type { Address } from "../../protocol/address.js";
import type { Id, Member } from "../../protocol/directory.js";
import type { MissingPair } from "../../protocol/missing-pair.js";
import type { ControlOf } from "../../protocol/native/control.js";
import type { Connections } from "../connections.js";
import type { MemberEvent, MemberOutput, MemberRules, SessionEvent } from "../types.js";
import { connectionContext } from "./connection.js";
import { type ClaimTransition, DirectoryView } from "./directory-view.js";
import { MemberClaims } from "./member-claims.js";
import { NativePeers } from "./peers.js";
import { NativeSession } from "./session.js";

/** From one machine to the other side of the world, and what a busy one adds. */
const roundTripBoundsMs = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000];

/** A member that speaks native: its session, its peers, its reports and claims, and the idle monitor of all its connections. */
export class NativeMember {
  readonly session: NativeSession;
  readonly peers: NativePeers;
  readonly claims: MemberClaims;
  /** To peers, in milliseconds. */
  readonly roundTrips = new Histogram(roundTripBoundsMs);
  readonly #rules: MemberRules;
  readonly #outputs: OutputSink<MemberOutput>;
  /** Why this incarnation is over, if it is. */
  #fencedBecause: string | undefined;
  /** The members that the owner knows. */
  #reportedMembers: readonly Member[] = [];
  /** What the owner waits for: it is asked for again on every session. */
  #watched: number | undefined;
  /** True once the owner knows that this incarnation is a member. */
  #isRegistered = false;
  /** Who leads, as the server has said last, and as far as the directory knows it: who has been named may be listed later. */
  #leaderId: Id | undefined;
  #leader: Member | undefined;
  #clocks: Clocks = { monotonicMs: 0, wallMs: 0 };
  /** When something last came from the server to this member; undefined if that is a lease ago, or has never been. */
  #receivedAt: Clocks | undefined;
  /** When that lease was over, on the machine's clock: what is read later may have been sent before. */
  #unheardFrom: number | undefined;
  /** The end of the lease, or of an earlier one: the clocks are compared again then. */
  readonly #leaseTimer: KeyedTimers<"lease">;

  constructor(
    rules: MemberRules,
    timers: Timers,
    outputs: OutputSink<MemberOutput>,
    connections: Connections,
    pendingConnections: PendingConnections,
    handlers: LinkHandlerFactory,
    emit: (event: SessionEvent, now: number) => void,
  ) {
    this.#rules = rules;
    this.#outputs = outputs;
    const { limits, allocate } = rules;
    const context = connectionContext(connections, timers, limits, outputs, allocate, this.roundTrips);
    this.#leaseTimer = timers.keyed((timer, now) => {
      // `advance` has ended what has run out. In the future in any case: a rest that `now` rounds away would be due for ever.
      if (this.#receivedAt !== undefined)
        this.#leaseTimer.set(timer, Math.max(now + 1, now + this.#leaseLeftMs(this.#receivedAt)));
    });
    const roster = new DirectoryView(rules.draw(), rules.limits);
    this.session = new NativeSession(rules, outputs, context, roster, emit);
    this.peers = new NativePeers(rules, roster, this.session, outputs, context, pendingConnections, handlers, {
      moved: () => this.#reportDirectory(),
      fenced: (reason) => {
        this.#fencedBecause = reason;
      },
      claimMoved: (change, now) => this.#claimMoved(change, now),
    });
    this.claims = new MemberClaims(
      rules.limits,
      timers,
      roster,
      (control) => this.session.send(control),
      (event) => this.#emit(event),
    );
  }

  get members(): readonly Member[] {
    return this.peers.roster.members;
  }

  /** Who leads, as the server has said last; undefined once nothing has come from it for one lease. */
  get leader(): Member | undefined {
    return this.#receivedAt === undefined ? undefined : this.#leader;
  }

  /**
   * The beginning of every step, with the clocks: while this process was stopped the machine's time stood still, and another
   * member may lead by now.
   */
  advance(clocks: Clocks, now: number): void {
    this.#clocks = clocks;
    this.claims.advance(clocks, now);
    if (this.#receivedAt === undefined || this.#leaseLeftMs(this.#receivedAt) > 0) return;
    this.#forgetServer();
    this.#unheardFrom = now;
    this.session.probe(now);
  }

  /** The server has said something. After a lease without a word only an answer to what was asked since then counts. */
  receivedFromServer(now: number): void {
    if (!this.session.isListed) return;
    if (this.#unheardFrom !== undefined && this.session.answeredAt < this.#unheardFrom) return;
    this.#unheardFrom = undefined;
    this.#receivedAt = { ...this.#clocks };
    // It is not moved by each word: when it fires, it is set for the rest.
    if (!this.#leaseTimer.has("lease")) this.#leaseTimer.set("lease", now + this.#leaderLeaseMs);
  }

  get #leaderLeaseMs(): number {
    return leaderLeaseMs({ leaseMs: this.session.leaseMs, silentMs: this.#rules.limits.silentMs });
  }

  #leaseLeftMs(receivedAt: Clocks): number {
    return this.#leaderLeaseMs - elapsedMs(receivedAt, this.#clocks);
  }

  /** The end of every step: what has been begun goes out. */
  finishStep(now: number): void {
    if (!this.session.isListed) this.claims.away();
    if (this.#leaderId !== undefined && this.#leaderId !== this.#leader?.id)
      this.#leader = this.peers.roster.member(this.#leaderId) ?? this.#leader;
    this.peers.flush(now);
  }

  /** Acts on an event of the session. */
  handle(event: SessionEvent, now: number): void {
    switch (event.type) {
      case "admitted":
        // What the server knew of an earlier session is void.
        if (event.isAgain) this.peers.reports.all(now);
        this.peers.measure(0, now);
        for (const { id } of this.peers.roster.enter(event.log)) this.peers.reports.forget(id);
        this.claims.admitted(event.log, now);
        if (this.#watched !== undefined) this.session.send({ type: "watch", size: this.#watched });
        break;
      case "directory":
        this.peers.directoryRead(event.members, event.claims, event.gone, event.revision, now);
        break;
      case "entries":
        this.peers.entriesRead(event.entries, now);
        break;
      case "complete":
        this.#complete(event, now);
        break;
      case "degraded":
        this.#degraded(event, now);
        break;
      case "release":
        this.#released(event.reason, now);
        break;
      case "leader":
        this.#leaderId = event.id;
        break;
      case "grant":
        this.#granted(event, now);
        break;
      case "measure":
        this.peers.measure(event.everyMs, now);
        break;
      case "renewed":
      case "unclaimable":
        this.claims.answered(event, now);
        break;
      case "unanswered":
        // It may be a member under this id, with an order that it does not know: nobody must take it for that one.
        this.peers.restart(this.#rules.draw(), event.type);
        break;
      case "fenced":
        this.#fencedBecause = event.reason;
        break;
      default:
        break;
    }
    if (this.#fencedBecause !== undefined) this.restart(this.#fencedBecause, now);
  }

  /** Says goodbye to everybody. Who has left leads nobody, and waits for nothing from the server. */
  end(reason: string, now: number): void {
    this.#forgetServer();
    this.peers.end(reason, now);
  }

  /** The next incarnation begins: with a new id, without links, and registered anew. */
  restart(reason: string, now: number): void {
    this.#fencedBecause = undefined;
    this.#isRegistered = false;
    this.#reportedMembers = [];
    this.#leaderId = undefined;
    this.#leader = undefined;
    this.claims.restarted(reason, now);
    this.peers.restart(this.#rules.draw(), reason);
    this.session.restart(now);
    this.#emit({ type: "fenced", reason });
  }

  /** The server has gone for good: nobody knows any more who leads or who holds what, and links are all that there is. */
  #released(reason: string, now: number): void {
    this.#forgetServer();
    this.claims.released();
    this.peers.released(this.session.leaseMs, now);
    this.#emit({ type: "released", reason });
  }

  #forgetServer(): void {
    this.#receivedAt = undefined;
    this.#leaseTimer.clear("lease");
  }

  /** The owner waits until the mesh is whole with so many members. */
  watch(size: number): void {
    this.#watched = size;
    this.session.send({ type: "watch", size });
  }

  #granted(grant: ControlOf<"grant">, now: number): void {
    const code = this.peers.granted(grant, now);
    if (code === undefined) return;
    const message = `a grant of attempt ${grant.attempt} from ${grant.owner} is ignored`;
    this.#outputs.push({ type: "note", note: { code, message, remote: this.session.serverName } });
  }

  #claimMoved(change: ClaimTransition, now: number): void {
    const { key, token, member } = change.claim;
    if (change.type === "claimed") this.claims.claimed(change.claim, now);
    else this.claims.unclaimed(change.claim, change.reason, now);
    // A holder that was lost before this node has joined is nobody that it knows.
    if (member === undefined) return;
    if (change.type === "claimed") this.#emit({ type: "claimed", key, token, holder: member });
    else this.#emit({ type: "unclaimed", key, token, holder: member, reason: change.reason });
  }

  peerOf(connection: ConnectionId): Address | undefined {
    return this.peers.peerOf(connection);
  }

  /**
   * Tells the owner who is in the mesh, and the first time that this node is. Who lost its session before it had read its
   * directory comes back to entries, so that may be at either.
   */
  #reportDirectory(): void {
    const { self } = this.peers.roster;
    const { members } = this;
    if (self === undefined || members === this.#reportedMembers) return;
    if (!this.#isRegistered) this.#emit({ type: "registered", address: self.address, order: self.order });
    this.#isRegistered = true;
    this.#reportedMembers = members;
    this.#emit({ type: "directory", members });
  }

  /**
   * The server says that the mesh is whole. It may not know yet that a link of this node is broken: then that is reported
   * first, and it is asked again.
   */
  #complete(event: Extract<SessionEvent, { type: "complete" }>, now: number): void {
    if (this.peers.hasUnreachable) {
      this.peers.sendReports(now);
      if (this.#watched !== undefined) this.session.send({ type: "watch", size: this.#watched });
      return;
    }
    if (this.#watched !== undefined && event.members >= this.#watched) this.#watched = undefined;
    this.#emit({ ...event, scope: "mesh" });
  }

  #degraded(
    { revision, count, missing, unlisted = [] }: Extract<SessionEvent, { type: "degraded" }>,
    now: number,
  ): void {
    const others = new Map(unlisted.map((member) => [member.id, { ...member, dialect: "native" as const }]));
    const named = missing.flatMap(([owner, later, stage, attempt, reason, forMs]): MissingPair<Member>[] => {
      const [a, b] = [owner, later].map((id) => this.peers.roster.member(id) ?? others.get(id));
      return a === undefined || b === undefined ? [] : [{ a, b, owner: a, stage, attempt, reason, since: now - forMs }];
    });
    this.#emit({ type: "degraded", revision, count, missing: named });
  }

  #emit(event: MemberEvent): void {
    this.#outputs.push({ type: "event", event });
  }
}
