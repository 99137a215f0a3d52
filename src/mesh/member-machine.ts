import type { ConnectionId, Endpoint } from "../core/connections.js";
import type { Histogram } from "../core/histogram.js";
import type { LinkHandlerFactory } from "../core/link-handler.js";
import type { Clocks, Machine } from "../core/machine.js";
import { PendingConnections } from "../core/pending-connections.js";
import type { Queue } from "../core/queue.js";
import type { Timers } from "../core/timers.js";
import { type Address, endpointOf, formatAddress } from "../protocol/address.js";
import type { Claim, Member as Entry } from "../protocol/directory.js";
import { isUnspecified } from "../protocol/ip.js";
import { Acceptor } from "./acceptor.js";
import type { ClassicLink } from "./classic/links.js";
import { ClassicPeers } from "./classic/peers.js";
import { ClassicSession } from "./classic/session.js";
import { Connections } from "./connections.js";
import type { Link as NativeLink } from "./native/link.js";
import { NativeMember } from "./native/native-member.js";
import type { ServerSession } from "./server-session.js";
import type {
  ListedMember,
  MemberEvent,
  MemberInput,
  MemberOutput,
  MemberRules,
  MeshEnd,
  SessionEvent,
} from "./types.js";

/**
 * The member's machine: registers with the rendezvous server, links with its peers, and ends with the mesh.
 *
 * What happens to it comes in through `handle`; what it wants goes out through `poll` and `nextTimeout`. It has one session
 * with the server, in its own dialect, and peers in either: a native member greets a classic one in classic. What happens
 * on a connection goes to the part that owns it. What native links carry is for their handlers; their events leave in the
 * same queue as everything else, and so in order.
 */
export class MemberMachine<HandlerEvent = unknown> implements Machine<MemberInput, MemberOutput | HandlerEvent> {
  readonly #rules: MemberRules;
  readonly #outputs: Queue<MemberOutput | HandlerEvent>;
  readonly #timers: Timers;
  readonly #connections: Connections;
  readonly #acceptor: Acceptor;
  readonly #session: ServerSession;
  readonly #classic: ClassicPeers;
  /** Undefined in a classic member. */
  readonly #native: NativeMember | undefined;
  /** True while a registration waits for the connection that shows our own address. */
  #isRegistrationDue = false;
  #listening: Endpoint | undefined;
  /** True if its owner has not said where to listen. */
  #isListeningByDefault = false;
  #own: Address | undefined;
  /** The classic addresses that the classic peers know of, and the members that they were taken from. */
  #classicList = "";
  #classicListOf: readonly Entry[] = [];
  #state: "running" | "ending" | "closed" = "running";
  /** The leader that its owner knows of. */
  #reportedLeader: ListedMember | undefined;

  /** `handlers` makes what handles the frames of native links, and has its events in the same queue, and the same timers. */
  constructor(
    rules: MemberRules,
    outputs: Queue<MemberOutput | HandlerEvent>,
    timers: Timers,
    handlers: LinkHandlerFactory,
  ) {
    const { limits, dialect, mesh } = rules;
    this.#outputs = outputs;
    this.#timers = timers;
    const pendingConnections = new PendingConnections(limits, timers, (connection, now) =>
      this.#acceptor.timedOut(connection, now),
    );
    const emit = (event: SessionEvent, now: number): void => this.#sessionEvent(event, now);
    this.#rules = rules;
    this.#connections = new Connections(outputs, mesh, limits, timers, (connection) =>
      this.#classic.closedUnsent(connection),
    );
    this.#native =
      dialect === "native"
        ? new NativeMember(rules, timers, outputs, this.#connections, pendingConnections, handlers, emit)
        : undefined;
    this.#session = this.#native?.session ?? new ClassicSession(rules, timers, outputs, this.#connections, emit);
    this.#classic = new ClassicPeers(rules, timers, outputs, this.#connections, pendingConnections, {
      isWholeMesh: dialect === "classic",
      changed: (peer, isUp, reason, now) => this.#classicChanged(peer, isUp, reason, now),
    });
    this.#acceptor = new Acceptor(rules, timers, this.#connections, outputs, pendingConnections, {
      classic: this.#classic,
      native: this.#native?.peers.acceptor,
    });
  }

  /** The address that this node registers; undefined before it does. */
  get own(): Address | undefined {
    return this.#own;
  }

  /** The newest members' addresses, in join order. */
  get members(): readonly Address[] {
    return this.#native?.members.map(({ address }) => address) ?? this.#classic.membership.newest;
  }

  /** This node's place among them, 0 for the oldest; -1 while it is none of them. */
  get rank(): number {
    const own = this.#own;
    if (own === undefined) return -1;
    const rank = this.#native?.members.findIndex(({ address }) => address === own);
    return rank ?? this.#classic.membership.newest.indexOf(own);
  }

  /**
   * Who leads, as far as this node knows: the oldest member that the server has heard within a lease; to a classic member,
   * which is told nothing but addresses, the oldest. Undefined when this node cannot know.
   */
  get leader(): ListedMember | undefined {
    if (this.#state !== "running") return undefined;
    if (this.#native !== undefined) return this.#native.leader;
    const [address] = this.#classic.membership.newest;
    return address === undefined ? undefined : { address, dialect: "classic" };
  }

  /** The newest members as the log has them; empty in a classic member. */
  get entries(): readonly Entry[] {
    return this.#native?.members ?? [];
  }

  /** This member as the log has it; undefined before it is admitted, and in a classic member. */
  get self(): Entry | undefined {
    return this.#native?.peers.roster.self;
  }

  /** The newest revision that is known here; 0 in a classic member. */
  get revision(): number {
    return this.#native?.peers.roster.revision ?? 0;
  }

  /** The keys that members hold, as the log has them. */
  get claims(): ReadonlyMap<string, Claim> {
    return this.#native?.peers.roster.claims ?? new Map();
  }

  /** Round trips to peers in milliseconds; a classic member measures none. */
  get roundTrips(): Histogram | undefined {
    return this.#native?.roundTrips;
  }

  /** True for a member that speaks native with its server. */
  get isNative(): boolean {
    return this.#native !== undefined;
  }

  /** The links with classic peers. */
  get classicLinks(): Iterable<ClassicLink> {
    return this.#classic.links;
  }

  /** The links with native peers that have been up and have not ended. */
  get nativeLinks(): NativeLink[] {
    return this.#native?.peers.links ?? [];
  }

  classicLink(peer: Address): ClassicLink | undefined {
    return this.#classic.link(peer);
  }

  nativeLink(peer: Address): NativeLink | undefined {
    return this.#native?.peers.link(peer);
  }

  /** Other members to which there is no link that is up, and what is known of the reason. */
  get missing(): { readonly address: Address; readonly reason: string }[] {
    const troubles = new Map((this.#native?.peers.missing ?? []).map((link) => [link.peer.address, link]));
    const others = this.members.filter((address) => address !== this.#own && !this.#isUp(address));
    return others.map((address) => ({ address, reason: explain(troubles.get(address)) }));
  }

  /** Who is at the other end of a connection: `server`, a peer's address, or undefined while that is unknown. */
  nameOf(connection: ConnectionId): "server" | Address | undefined {
    if (connection === this.#session.connectionId) return "server";
    return this.#classic.peerOf(connection) ?? this.#native?.peerOf(connection);
  }

  poll(): MemberOutput | HandlerEvent | undefined {
    return this.#outputs.poll();
  }

  nextTimeout(): number | undefined {
    return this.#timers.next();
  }

  awaitsFlush(connection: ConnectionId): boolean {
    return this.#connections.awaitsFlush(connection);
  }

  handle(input: MemberInput, now: number, clocks: Clocks = { monotonicMs: now, wallMs: now }): void {
    this.#native?.advance(clocks, now);
    switch (input.type) {
      case "connectToServer":
        if (this.#state === "running") this.#session.connect(input.servers, now, input.lookMs);
        break;
      case "listening":
        this.#listening = input.on;
        this.#isListeningByDefault = input.isDefault === true;
        this.#moveIfElsewhere(now);
        break;
      case "register":
        this.#register(now);
        break;
      case "write":
        this.#classic.write(input.peer, input.bytes);
        break;
      case "flush":
        break;
      case "watch":
        this.#native?.watch(input.size);
        break;
      case "claim":
        this.#native?.claims.claim(input.key, input.number, input.waits, now);
        break;
      case "unclaim":
        this.#native?.claims.unclaim(input.key, now);
        break;
      case "leave":
        this.#end({ reason: "left" }, now, true);
        break;
      case "timeout":
        this.#timers.fire(now);
        break;
      case "accepted":
        this.#acceptor.accepted(input.connection, input.remote, now);
        break;
      default:
        this.#connections.progress(input, now);
        // What admits this node counts as well.
        if (input.type === "bytes" && input.connection === this.#session.connectionId)
          this.#native?.receivedFromServer(now);
    }
    if (this.#isRegistrationDue && this.#session.local !== undefined) this.#register(now);
    this.#native?.finishStep(now);
    this.#reportLeader();
    this.#closeIfDone();
  }

  #reportLeader(): void {
    const { leader } = this;
    if (leader?.id === this.#reportedLeader?.id && leader?.address === this.#reportedLeader?.address) return;
    this.#reportedLeader = leader;
    this.#emit({ type: "leader", leader });
  }

  #register(now: number): void {
    this.#own = this.#rules.advertise ?? this.#defaultAddress();
    this.#isRegistrationDue = this.#own === undefined;
    if (this.#own === undefined || this.#state !== "running") return;
    this.#classic.registeredAs(this.#own, this.#session.serverName);
    this.#session.register(this.#own, now);
  }

  /** Where we listen; if that is every address of this machine, the one by which it reaches the server. */
  #defaultAddress(): Address | undefined {
    const { local } = this.#session;
    if (this.#listening === undefined || local === undefined) return undefined;
    const { host, port } = this.#listening;
    if (host === undefined || local.host === undefined) return formatAddress(this.#listening);
    return formatAddress({ host: isUnspecified(host) ? local.host : host, port });
  }

  /**
   * A member whose machine has another address now is not reached where it has registered. It registers where it listens by
   * now, as a new incarnation; if it listened on the old address only, its owner is asked to listen on the new one first.
   */
  #moveIfElsewhere(now: number): void {
    const { local } = this.#session;
    if (this.#native === undefined || this.#own === undefined || this.#listening === undefined) return;
    if (local?.host === undefined || this.#rules.advertise !== undefined || this.#state !== "running") return;
    const own = this.#defaultAddress();
    if (own !== undefined && own !== this.#own) {
      const reason = `this machine's address has changed from ${endpointOf(this.#own).host} to ${local.host}`;
      this.#register(now);
      this.#native.restart(reason, now);
    } else if (this.#isListeningByDefault && this.#listening.host !== local.host) {
      this.#emit({ type: "moved", host: local.host });
    }
  }

  #sessionEvent(event: SessionEvent, now: number): void {
    if (this.#state !== "running") return;
    if (event.type === "over") this.#end(event, now, false);
    else if (event.type === "refused") this.#moveIfElsewhere(now);
    else if (event.type === "list") this.#classic.listRead(event.members, event.isSettled, now);
    else if (this.#native !== undefined) this.#nativeEvent(this.#native, event, now);
  }

  #nativeEvent(native: NativeMember, event: SessionEvent, now: number): void {
    native.handle(event, now);
    this.#meetClassic(native.members, now);
    // Whoever has an address now takes over the classic link that is there, on this side as on the other.
    if (event.type === "directory" || event.type === "entries") {
      for (const { peer } of this.#classic.links) this.#classicChanged(peer, true, "", now);
    }
  }

  /** Classic peers know only one another and this node: a list of the classic members, with our own place in it. */
  #meetClassic(members: readonly Entry[], now: number): void {
    if (members === this.#classicListOf) return;
    this.#classicListOf = members;
    // In most meshes there is nobody to look for, and this happens with every entry.
    if (this.#classicList === "" && !members.some(({ dialect }) => dialect === "classic")) return;
    const own = this.#own;
    const list = members.filter(({ address, dialect }) => dialect === "classic" || address === own);
    const addresses = list.map(({ address }) => address);
    const text = list.length > 1 || this.#classicList !== "" ? addresses.join(" ") : "";
    if (text === this.#classicList) return;
    this.#classicList = text;
    this.#classic.listRead(addresses, true, now);
  }

  #classicChanged(peer: Address, isUp: boolean, reason: string, now: number): void {
    const entry = this.#native?.members.find(({ address }) => address === peer);
    if (this.#native === undefined || entry?.dialect !== "classic") return;
    if (isUp) this.#native.peers.reports.up(entry.id, 0, now);
    else this.#native.peers.reports.down(entry.id, 0, { stage: "classic", reason }, now);
  }

  #isUp(peer: Address): boolean {
    return this.#classic.link(peer) !== undefined || this.nativeLink(peer)?.state === "up";
  }

  #end(end: MeshEnd, now: number, isOwnWish: boolean): void {
    if (this.#state !== "running") return;
    const { reason } = end;
    this.#state = "ending";
    // What is held ends before the server knows of the leaving, and gives it to somebody else.
    this.#native?.claims.ended(reason, now);
    this.#reportLeader();
    this.#emit({ ...end, type: "ended" });
    this.#outputs.push({ type: "stopListening" });
    this.#session.end(now, isOwnWish ? reason : undefined);
    this.#acceptor.close();
    this.#classic.end(now);
    this.#native?.end(reason, now);
  }

  #closeIfDone(): void {
    if (this.#state !== "ending" || this.#connections.size > 0) return;
    this.#state = "closed";
    this.#emit({ type: "closed" });
  }

  #emit(event: MemberEvent): void {
    this.#outputs.push({ type: "event", event });
  }
}

function explain(link: NativeLink | undefined): string {
  if (link === undefined) return "no link yet";
  const { attempt, downState } = link;
  return `${downState.stage}${attempt === 0 ? "" : `, attempt ${attempt}`}: ${downState.reason}`;
}
