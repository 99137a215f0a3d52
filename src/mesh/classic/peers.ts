import type { ConnectionId, ConnectionProgress, Endpoint } from "../../core/connections.js";
import type { ErrorCode } from "../../core/errors.js";
import type { OutputSink } from "../../core/machine.js";
import type { PendingConnections } from "../../core/pending-connections.js";
import type { Timers } from "../../core/timers.js";
import { type Address, endpointOf, formatAddress } from "../../protocol/address.js";
import { httpRefusal, tlsRefusal } from "../../protocol/caller-kind.js";
import { encodeHello } from "../../protocol/classic/hello.js";
import { encodeRefusal } from "../../protocol/classic/list.js";
import { isAmbiguousPort } from "../../protocol/classic/scanner.js";
import { type DialectAcceptor, notTheServer, type UnidentifiedConnection } from "../acceptor.js";
import type { ConnectionListener, Connections } from "../connections.js";
import type { Direction, MemberEvent, MemberOutput, MemberRules } from "../types.js";
import { type ClassicLink, ClassicLinks } from "./links.js";
import { MemberList } from "./member-list.js";
import { OutgoingDials } from "./outgoing-dials.js";
import { type HelloOutcome, type PendingHello, PendingHellos } from "./pending-hellos.js";

/** What the rest of the member must know of classic links. */
export interface ClassicPeersEvents {
  /** True if every member speaks classic, so that what these peers know is the whole mesh. */
  readonly isWholeMesh: boolean;
  /** A link with this peer has come or gone. */
  changed(peer: Address, isUp: boolean, reason: string, now: number): void;
}

/**
 * This node's side of the mesh as far as the classic dialect goes: whom it dials, whom it lets in, and the links that come
 * of it. Never more than one link with a peer: a peer that has one is neither dialed nor let in again.
 */
export class ClassicPeers implements DialectAcceptor, ConnectionListener {
  readonly #rules: MemberRules;
  readonly #outputs: OutputSink<MemberOutput>;
  readonly #connections: Connections;
  readonly #events: ClassicPeersEvents;
  /** What the lists say. */
  readonly membership = new MemberList();
  readonly #dials: OutgoingDials;
  readonly #pendingHellos: PendingHellos;
  readonly #links: ClassicLinks;
  readonly #linkOf = new Map<ConnectionId, ClassicLink>();
  /** The list for which completeness has been reported. */
  #reportedComplete: readonly Address[] | undefined;
  #server: string | undefined;
  #isOver = false;

  constructor(
    rules: MemberRules,
    timers: Timers,
    outputs: OutputSink<MemberOutput>,
    connections: Connections,
    pendingConnections: PendingConnections,
    events: ClassicPeersEvents,
  ) {
    this.#rules = rules;
    this.#outputs = outputs;
    this.#connections = connections;
    this.#events = events;
    this.#dials = new OutgoingDials(rules.limits, rules.seed, timers, connections, {
      connected: (peer, connection, now) => this.#connected(peer, connection, now),
      failed: (peer, code, reason, failures, now) => {
        this.#events.changed(peer, false, `${code} ${reason}`, now);
        this.#note(code, `cannot reach ${peer} (attempt ${failures}): ${reason}`, endpointOf(peer));
      },
    });
    this.#pendingHellos = new PendingHellos(rules.limits, pendingConnections, timers, (outcome, now) =>
      this.#resolve(outcome, now),
    );
    this.#links = new ClassicLinks(connections, timers, (link, now) => {
      if (this.#isOver) this.#closeLink(link, now);
    });
  }

  link(peer: Address): ClassicLink | undefined {
    return this.#links.get(peer);
  }

  get links(): Iterable<ClassicLink> {
    return this.#links.all;
  }

  /** The peer at the other end of a connection, if one is known. */
  peerOf(connection: ConnectionId): Address | undefined {
    return this.#linkOf.get(connection)?.peer ?? this.#dials.peerOf(connection);
  }

  // What happened.

  /** A list has come, or more of one. */
  listRead(list: readonly Address[], isSettled: boolean, now: number): void {
    const before = this.membership.newest;
    this.membership.read(list, isSettled);
    const { newest } = this.membership;
    if (newest !== before && this.#events.isWholeMesh) {
      this.#emit({ type: "directory", members: newest.map((address) => ({ address, dialect: "classic" })) });
    }
    this.#dials.want(this.membership.toDial, now);
    for (const peer of this.membership.toDial) if (this.#links.has(peer)) this.#dials.linked(peer, now);
    for (const pending of this.#pendingHellos.parked()) this.#judge(pending, pending.hello, now);
    this.#dials.dial(now);
    this.#checkComplete();
  }

  receive({ connection, remote }: UnidentifiedConnection): ConnectionListener {
    this.#pendingHellos.begin(connection, remote);
    return this;
  }

  timedOut(connection: ConnectionId, now: number): boolean {
    const pending = this.#pendingHellos.get(connection);
    if (pending !== undefined) this.#resolve(this.#pendingHellos.timeOut(pending), now);
    return pending !== undefined;
  }

  handle(input: ConnectionProgress, now: number): void {
    const { connection } = input;
    if (input.type === "bytes") this.#bytes(connection, input.bytes, now);
    else if (input.type === "flushed") this.#flushed(connection);
    else if (input.type === "ended") this.#ended(connection, now);
    else if (input.type === "closed") this.#closed(connection, input.failure, now);
  }

  #connected(peer: Address, connection: ConnectionId, now: number): void {
    const { own } = this.membership;
    if (own === undefined || this.#links.has(peer)) {
      this.#connections.abort(connection);
      return;
    }
    this.#connections.give(connection, this);
    this.#connections.send(connection, encodeHello(own));
    const { payloadPauseMs, messageGapMs } = this.#rules.limits;
    // A simple reader must not find payload in one piece with the hello, nor a digit behind an ambiguous port.
    const { port = 0 } = endpointOf(own);
    const pauseMs = isAmbiguousPort(port) ? payloadPauseMs : messageGapMs;
    this.#linkUp(peer, connection, "dialed", now, now + pauseMs);
  }

  #bytes(connection: ConnectionId, bytes: Uint8Array, now: number): void {
    const link = this.#linkOf.get(connection);
    const pending = this.#pendingHellos.get(connection);
    // Also after the end: what a peer wrote before it is still on its way until the connection is gone.
    if (link !== undefined) this.#emit({ type: "bytes", peer: link.peer, bytes });
    else if (pending !== undefined) this.#resolve(this.#pendingHellos.push(pending, bytes, now), now);
  }

  #flushed(connection: ConnectionId): void {
    const link = this.#linkOf.get(connection);
    if (link === undefined || link.isHolding) return;
    link.isUnflushed = false;
    this.#emit({ type: "drained", peer: link.peer });
  }

  /** The other side sends nothing more. A byte pipe without one of its directions is no link. */
  #ended(connection: ConnectionId, now: number): void {
    const pending = this.#pendingHellos.get(connection);
    if (pending !== undefined) this.#resolve(this.#pendingHellos.finish(pending, now), now);
    if (pending !== undefined && this.#pendingHellos.get(connection) !== undefined) {
      this.#pendingHelloGone(pending);
      this.#connections.dismiss(connection, now);
    }
    const link = this.#linkOf.get(connection);
    if (link === undefined || this.#isOver) return;
    // The peer may still read for a while; what is held for it goes out behind all the rest.
    this.#links.release(link);
    this.#linkDown(link, "closed by the peer", now);
    this.#closeLink(link, now);
  }

  #closed(connection: ConnectionId, failure: string | undefined, now: number): void {
    const pending = this.#pendingHellos.get(connection);
    if (pending !== undefined) this.#pendingHelloGone(pending);
    const link = this.#linkOf.get(connection);
    if (link !== undefined) this.#linkDown(link, failure ?? "closed by the peer", now);
  }

  // What the owner wants.

  /** This node's address from now on, and the server at which it registers. */
  registeredAs(own: Address, server: string): void {
    this.#server = server;
    this.membership.registeredAs(own);
  }

  write(peer: Address, bytes: Uint8Array): void {
    const link = this.#links.get(peer);
    if (link !== undefined && !this.#isOver) this.#links.write(link, bytes);
  }

  /** The end: no more dials, no more pendingHellos; links close when what they hold has gone out. */
  end(now: number): void {
    this.#isOver = true;
    this.#dials.want(new Set(), now);
    for (const pending of this.#pendingHellos.all()) {
      this.#pendingHellos.remove(pending);
      this.#connections.abort(pending.connection);
    }
    for (const link of this.#links.all) if (link.held.length === 0) this.#closeLink(link, now);
  }

  /** Closes a link of a mesh that has ended, behind what is still going out on it. */
  #closeLink(link: ClassicLink, now: number): void {
    if (link.isUnflushed) this.#connections.drain(link.connection, now, this.#rules.limits.drainMs);
    else this.#connections.finish(link.connection, now);
  }

  /** A connection was aborted before all that was written on it had gone out. */
  closedUnsent(connection: ConnectionId): void {
    const peer = this.#linkOf.get(connection)?.peer;
    if (peer !== undefined) this.#note("TOO_SLOW", `${peer} did not read in time`, endpointOf(peer));
  }

  // How it comes about.

  #resolve(outcome: HelloOutcome | undefined, now: number): void {
    if (outcome?.type === "hello") this.#judge(outcome.pending, outcome.address, now);
    else if (outcome !== undefined) this.#refuse(outcome.pending, outcome.code, outcome.message, now);
  }

  /** Decides what a hello from this address comes to, by what the lists say now. */
  #judge(pending: PendingHello, address: Address | undefined, now: number): void {
    if (address === undefined) return;
    switch (this.membership.positionOf(address)) {
      case "unknown":
        this.#resolve(this.#pendingHellos.park(pending, now), now);
        break;
      case "self":
        this.#refuse(pending, "HELLO_FROM_SELF", `${address} is this node's own address`, now);
        break;
      case "later":
        this.#refuse(pending, "WRONG_DIRECTION", `${address} joined later and is dialed from here`, now);
        break;
      case "earlier":
        if (this.#links.has(address)) this.#refuse(pending, "ALREADY_LINKED", `${address} has a link already`, now);
        else this.#accept(pending, address, now);
    }
  }

  #accept(pending: PendingHello, address: Address, now: number): void {
    this.#pendingHellos.remove(pending);
    this.#linkUp(address, pending.connection, "accepted", now);
    for (const bytes of pending.payload) this.#emit({ type: "bytes", peer: address, bytes });
  }

  #pendingHelloGone(pending: PendingHello): void {
    if (pending.hello === undefined) this.#note("NOTHING_SAID", "closed before it had said hello", pending.remote);
    this.#pendingHellos.remove(pending);
  }

  /** A refusal is silent, because whatever we wrote would be payload to a classic peer; but these callers are none. */
  #refuse(pending: PendingHello, code: ErrorCode, message: string, now: number): void {
    this.#note(code, message, pending.remote);
    this.#pendingHellos.remove(pending);
    const { connection } = pending;
    if (code === "HTTP_REQUEST") this.#connections.send(connection, httpRefusal());
    else if (code === "TLS_HELLO") this.#connections.send(connection, tlsRefusal());
    else if (code === "REGISTRATION_AT_NODE") {
      this.#connections.send(connection, encodeRefusal(code, notTheServer(this.#server)));
    }
    this.#connections.dismiss(connection, now);
  }

  #linkUp(peer: Address, connection: ConnectionId, direction: Direction, now: number, holdUntil?: number): void {
    this.#linkOf.set(connection, this.#links.add(peer, connection, direction, holdUntil));
    this.#dials.linked(peer, now);
    this.#emit({ type: "link", peer, direction, dialect: "classic" });
    this.#events.changed(peer, true, direction, now);
    this.#checkComplete();
  }

  #linkDown(link: ClassicLink, reason: string, now: number): void {
    this.#linkOf.delete(link.connection);
    this.#links.remove(link);
    if (this.#isOver) return;
    this.#dials.unlinked(link.peer, now);
    this.#reportedComplete = undefined;
    const { peer, direction } = link;
    this.#emit({ type: "unlink", peer, dialect: "classic", direction, reason, unacknowledged: 0, wasUp: true });
    this.#events.changed(link.peer, false, reason, now);
  }

  #checkComplete(): void {
    const { newest, own } = this.membership;
    if (!this.#events.isWholeMesh) return;
    if (own === undefined || newest === this.#reportedComplete || !newest.includes(own)) return;
    if (!newest.every((address) => address === own || this.#links.has(address))) return;
    this.#reportedComplete = newest;
    const members = newest.length;
    const links = members - 1;
    const unverified = (members * links) / 2 - links;
    this.#emit({ type: "complete", members, links, unverified, revision: null, scope: "own" });
  }

  #emit(event: MemberEvent): void {
    this.#outputs.push({ type: "event", event });
  }

  #note(code: ErrorCode, message: string, remote: Endpoint): void {
    this.#outputs.push({ type: "note", note: { code, message, remote: formatAddress(remote) } });
  }
}
