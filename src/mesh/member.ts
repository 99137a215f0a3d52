import type { ConnectionId, ConnectionProgress, Endpoint } from "../core/connections.js";
import { earliest } from "../core/deadlines.js";
import type { ErrorCode } from "../core/errors.js";
import { Lingering } from "../core/lingering.js";
import { type Machine, OutputQueue } from "../core/machine.js";
import { type Address, formatAddress } from "../protocol/address.js";
import { isUnspecified } from "../protocol/ip.js";
import type { Link } from "./links.js";
import { Peers } from "./peers.js";
import { Session } from "./session.js";
import type { MemberEvent, MemberInput, MemberOutput, MemberRules } from "./vocabulary.js";

/**
 * The member's machine: registers with the rendezvous server, links with its peers, and ends with the mesh.
 *
 * What happens to it comes in through `handle`; what it wants goes out through `poll` and `nextTimeout`. The conversation
 * with the server is `Session`'s, everything between peers is `Peers`'; here they meet: lists go from one to the other.
 */
export class Member implements Machine<MemberInput, MemberOutput> {
  readonly #rules: MemberRules;
  readonly #outputs = new OutputQueue<MemberOutput>();
  readonly #lingering: Lingering;
  readonly #session: Session;
  readonly #peers: Peers;
  /** Every connection that is not gone. */
  readonly #open = new Set<ConnectionId>();
  #dialed = 0;
  /** True while a registration waits for the connection that tells our own address. */
  #isRegistrationDue = false;
  #listening: Endpoint | undefined;
  #own: Address | undefined;
  #state: "running" | "ending" | "closed" = "running";

  constructor(rules: MemberRules) {
    const nextConnection = (): ConnectionId => this.#nextConnection();
    this.#rules = rules;
    this.#lingering = new Lingering(this.#outputs, rules.limits.lingerMs);
    this.#session = new Session(rules, this.#outputs, this.#lingering, nextConnection);
    this.#peers = new Peers(rules, this.#outputs, this.#lingering, nextConnection);
  }

  /** The address that this node registers; undefined before it does. */
  get own(): Address | undefined {
    return this.#own;
  }

  /** The newest list, in join order. */
  get members(): readonly Address[] {
    return this.#peers.membership.newest;
  }

  /** The links that are up. */
  get links(): Iterable<Link> {
    return this.#peers.links;
  }

  link(peer: Address): Link | undefined {
    return this.#peers.link(peer);
  }

  /** Who is at the other end of a connection: `server`, a peer's address, or undefined while that is unknown. */
  nameOf(connection: ConnectionId): "server" | Address | undefined {
    return connection === this.#session.connection ? "server" : this.#peers.peerOf(connection);
  }

  poll(): MemberOutput | undefined {
    return this.#outputs.poll();
  }

  nextTimeout(): number | undefined {
    return earliest(this.#session.nextTimeout(), this.#peers.nextTimeout(), this.#lingering.nextTimeout());
  }

  handle(input: MemberInput, now: number): void {
    switch (input.type) {
      case "connectToServer":
        if (this.#state === "running") this.#session.connect(input.to, now);
        break;
      case "listening":
        this.#listening = input.on;
        break;
      case "register":
        this.#register(now);
        break;
      case "write":
        this.#peers.write(input.peer, input.bytes);
        break;
      case "leave":
        this.#end("left", undefined, now);
        break;
      case "timeout":
        this.#session.handleTimeout(now);
        this.#peers.handleTimeout(now);
        this.#peers.givenUp(this.#lingering.handleTimeout(now));
        break;
      case "accepted":
        this.#accept(input.connection, input.remote, now);
        break;
      default:
        this.#progress(input, now);
    }
    if (this.#isRegistrationDue && this.#session.local !== undefined) this.#register(now);
    this.#hearSession(now);
  }

  #nextConnection(): ConnectionId {
    this.#dialed += 1;
    const connection: ConnectionId = `out:${this.#dialed}`;
    this.#open.add(connection);
    return connection;
  }

  #register(now: number): void {
    this.#own = this.#rules.advertise ?? this.#defaultAddress();
    this.#isRegistrationDue = this.#own === undefined;
    if (this.#own === undefined || this.#state !== "running") return;
    this.#peers.registeredAs(this.#own);
    this.#session.register(this.#own, now);
  }

  /** Where we listen; if that is every address of this machine, the one by which it reaches the server. */
  #defaultAddress(): Address | undefined {
    const { local } = this.#session;
    if (this.#listening === undefined || local === undefined) return undefined;
    const { host, port } = this.#listening;
    return formatAddress({ host: isUnspecified(host) ? local.host : host, port });
  }

  #accept(connection: ConnectionId, remote: Endpoint, now: number): void {
    const isFull = this.#open.size >= this.#rules.limits.connections;
    this.#open.add(connection);
    if (isFull) {
      const message = "no descriptors are left for another connection";
      this.#outputs.push({ type: "note", note: { code: "BUSY", message, remote: formatAddress(remote) } });
      this.#outputs.push({ type: "abort", connection });
    } else {
      this.#peers.accepted(connection, remote, now);
    }
  }

  #progress(input: ConnectionProgress, now: number): void {
    const { connection } = input;
    if (connection === this.#session.connection) this.#session.handle(input, now);
    else if (input.type === "connected") this.#peers.connected(connection, input.local, input.remote, now);
    else if (input.type === "bytes") this.#peers.bytes(connection, input.bytes, now);
    else if (input.type === "flushed") this.#peers.flushed(connection, now);
    else if (input.type === "ended") this.#peers.ended(connection, now);
    else this.#peers.closed(connection, input.failure, now);
    if (input.type !== "closed") return;
    this.#lingering.closed(connection);
    this.#open.delete(connection);
    this.#closeIfDone();
  }

  #hearSession(now: number): void {
    for (let news = this.#session.poll(); news !== undefined; news = this.#session.poll()) {
      if (this.#state !== "running") continue;
      if (news.type === "list") this.#peers.listRead(news.members, news.isSettled, now);
      else this.#end(news.reason, news.failure, now);
    }
  }

  #end(reason: string, failure: ErrorCode | undefined, now: number): void {
    if (this.#state !== "running") return;
    this.#state = "ending";
    this.#tell({ type: "ended", reason, ...(failure === undefined ? {} : { failure }) });
    this.#outputs.push({ type: "stopListening" });
    this.#session.end(now);
    this.#peers.end(now);
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (this.#state !== "ending" || this.#open.size > 0) return;
    this.#state = "closed";
    this.#tell({ type: "closed" });
  }

  #tell(event: MemberEvent): void {
    this.#outputs.push({ type: "event", event });
  }
}
