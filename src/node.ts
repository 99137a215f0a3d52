import { EventEmitter } from "node:events";
import type { Endpoint } from "./core/connections.js";
import { FullmeshError } from "./core/errors.js";
import { Member } from "./mesh/member.js";
import type { MemberEvent, MemberInput, MemberOutput } from "./mesh/vocabulary.js";
import type { NodeEvents, Peer } from "./node-events.js";
import { type NodeOptions, nodeParts } from "./node-options.js";
import { addressOf, peersOf } from "./node-peers.js";
import { tellMesh } from "./node-tidings.js";
import { nodeClock } from "./nodejs/clock.js";
import { integerOption, listenOption, refuseUnknown, requireSecure, serverOption } from "./options.js";
import { type Address, formatAddress } from "./protocol/address.js";
import { Driver } from "./runtime/driver.js";
import { NoteGate } from "./runtime/notes.js";
import { Deferred, listenWith, type WaitOptions, waitFor } from "./waiting.js";
import { Wholeness } from "./wholeness.js";
import { Writing } from "./writing.js";

/**
 * A member of a mesh. Its steps can be taken one by one, with any pause between: `connectToServer`, `initListeningSocket`,
 * `sockListen`, `registerWithServer`, `start`. `join` takes them in a row.
 */
export class MeshNode extends EventEmitter<NodeEvents> {
  /** The name of the mesh. */
  readonly mesh: string;
  readonly #options: NodeOptions;
  readonly #machine: Member;
  readonly #driver: Driver<MemberInput, MemberOutput>;
  readonly #gate = new NoteGate();
  readonly #registered = new Deferred<void>();
  readonly #closed = new Deferred<string>();
  #connecting: Deferred<Endpoint> | undefined;
  #server: string | undefined;
  #on: Endpoint | undefined;
  #listening: Address | undefined;
  #hasRegistered = false;
  #end: { readonly reason: string; readonly error?: FullmeshError } | undefined;
  readonly #writing: Writing;
  readonly #wholeness: Wholeness;
  readonly #isKeyed: boolean;

  /** Throws `BAD_OPTION` for an option with a value that it cannot take. */
  constructor(options: NodeOptions = {}) {
    super();
    this.#options = options;
    const { rules, transport } = nodeParts(options);
    this.#isKeyed = rules.isKeyed;
    this.mesh = rules.mesh;
    this.#machine = new Member(rules);
    this.#driver = new Driver<MemberInput, MemberOutput>({
      machine: this.#machine,
      transport,
      clock: nodeClock,
      perform: (output) => this.#perform(output),
    });
    this.#writing = new Writing(this.#driver, rules.limits);
    this.#wholeness = new Wholeness(this.#machine, (size) => this.#driver.input({ type: "watch", size }));
  }

  /** The address that this node has registered; undefined before it has. */
  get address(): Address | undefined {
    return this.#machine.own;
  }

  /** All members of the newest list, this node included, in join order. */
  get members(): readonly Address[] {
    return this.#machine.members;
  }

  /** This node's place in the newest list, 0 for the oldest; -1 while no list names it. */
  get rank(): number {
    return this.#machine.own === undefined ? -1 : this.members.indexOf(this.#machine.own);
  }

  /**
   * This incarnation's order: unique in the mesh, and larger than that of every member that joined before, so it can be
   * handed to a resource as a fencing token. Null before it is known, and in a classic node.
   */
  get order(): number | null {
    return this.#machine.self?.order ?? null;
  }

  /** The id of this incarnation; undefined before it is a member, and in a classic node. */
  get id(): string | undefined {
    return this.#machine.self?.id;
  }

  /** The peers with which there is a link, in join order where that is known. */
  get peers(): Peer[] {
    return peersOf(this.#machine);
  }

  /**
   * Connects to the rendezvous server, `host:port`. Resolves with this machine's end of the connection. After
   * `SERVER_UNREACHABLE` it may be called again; an attempt that is no longer waited for goes on until `leave`.
   *
   * @throws {FullmeshError} `SERVER_UNREACHABLE`, `BAD_OPTION`, `ABORTED`, `TIMED_OUT`
   */
  async connectToServer(address: string, wait: WaitOptions = {}): Promise<Endpoint> {
    const to = serverOption("server", address);
    this.#requireRunning();
    if (this.#server !== undefined) throw new FullmeshError("WRONG_STEP", "connectToServer has been called already");
    this.#server = address;
    this.#connecting = new Deferred();
    this.#driver.input({ type: "connectToServer", to });
    return await waitFor(this.#connecting.promise, wait, () => `no connection to ${address}`);
  }

  /** Checks and keeps the address to listen on. Node cannot bind without listening, so a port in use shows later. */
  async initListeningSocket(ip: string, port: number): Promise<void> {
    const on = listenOption("listen", formatAddress({ host: ip, port }));
    requireSecure(on, this.#options.insecure, this.#isKeyed);
    if (this.#listening !== undefined) throw new FullmeshError("WRONG_STEP", "the node listens already");
    this.#on = on;
  }

  /**
   * Listens. Resolves with the address, in which port 0 has become a real one.
   *
   * @throws {FullmeshError} `PORT_IN_USE`, `NOT_OUR_ADDRESS`, `LISTEN_FAILED`, `WRONG_STEP`
   */
  async sockListen(): Promise<Address> {
    if (this.#listening !== undefined) throw new FullmeshError("WRONG_STEP", "the node listens already");
    if (this.#on === undefined) throw new FullmeshError("WRONG_STEP", "sockListen comes after initListeningSocket");
    this.#requireRunning();
    const wanted = this.#on;
    // A second call at the same time finds nothing to listen on; after a failure there is something again.
    this.#on = undefined;
    try {
      const on = await listenWith(this.#driver, wanted);
      this.#driver.input({ type: "listening", on });
      this.#listening = formatAddress(on);
    } catch (error) {
      this.#on = wanted;
      throw error;
    }
    this.emit("listening", this.#listening);
    return this.#listening;
  }

  /**
   * Registers, and resolves when a list names this node, which is the only answer that the classic dialect has. In a full
   * mesh that holds newcomers in line, that is when a slot has become free.
   *
   * @throws {FullmeshError} `REFUSED`, `SERVER_VANISHED`, `SERVER_UNREACHABLE`, `WRONG_STEP`, `ABORTED`, `TIMED_OUT`
   */
  async registerWithServer(wait: WaitOptions = {}): Promise<void> {
    if (this.#server === undefined || this.#listening === undefined) {
      throw new FullmeshError("WRONG_STEP", "registerWithServer comes after connectToServer and sockListen");
    }
    this.#requireRunning();
    if (!this.#hasRegistered) this.#driver.input({ type: "register" });
    this.#hasRegistered = true;
    await waitFor(this.#registered.promise, wait, () => `no list of ${this.#server} names ${this.address}`);
  }

  /**
   * The last step: resolves with the reason when the mesh has ended for this node and every connection is closed.
   *
   * @throws {FullmeshError} `SERVER_VANISHED`, `REFUSED`, `LIST_TOO_LONG`, `WRONG_STEP`
   */
  async start(): Promise<string> {
    const canEnd = this.#hasRegistered || this.#end !== undefined;
    if (!canEnd) throw new FullmeshError("WRONG_STEP", "start comes after registerWithServer");
    return await this.#closed.promise;
  }

  /**
   * Resolves when the mesh is whole and has `size` members or more: every pair is linked, and both ends have said so. To a
   * classic node nobody says that; it speaks for its own links.
   *
   * @throws {FullmeshError} `TIMED_OUT` and `ABORTED`, naming the pairs that are missing and why; `ENDED`
   */
  async complete(options: WaitOptions & { readonly size?: number } = {}): Promise<void> {
    refuseUnknown(options, ["size", "signal", "timeoutMs"]);
    const { size = 1, ...wait } = options;
    integerOption("size", size, 1);
    this.#requireRunning();
    await this.#wholeness.wait(size, wait);
  }

  /**
   * Sends a message to one native peer, given by its address or as `peers` has it. It is delivered once, in order, also
   * when connections break, as long as both ends live. The payload is copied. Returns false above the soft limit (4 MiB not
   * acknowledged): go on after `drain`.
   *
   * @throws {FullmeshError} `QUEUE_FULL` above the hard limit (16 MiB), and takes nothing; `NOT_LINKED`, `CLASSIC_PEER`,
   *   `MESSAGE_TOO_LARGE`, `BAD_OPTION`
   */
  send(peer: string | Peer, topic: string, payload: Uint8Array): boolean {
    this.#writing.checkMessage(topic, payload);
    const address = addressOf(peer);
    const link = this.#end === undefined ? this.#machine.nativeLink(address) : undefined;
    // Behind our goodbye nothing more is sent: a message would be lost without a word.
    if (link !== undefined && !link.hasSaidGoodbye) return this.#writing.send(link, topic, payload);
    const isClassic = this.#machine.classicLink(address) !== undefined;
    throw new FullmeshError(isClassic ? "CLASSIC_PEER" : "NOT_LINKED", `cannot send a message to ${address}`);
  }

  /**
   * Sends a message to every native peer. Returns the peers that did not take it, because their queue is full.
   *
   * @throws {FullmeshError} `MESSAGE_TOO_LARGE`, `BAD_OPTION`, `ENDED`
   */
  broadcast(topic: string, payload: Uint8Array): Address[] {
    this.#writing.checkMessage(topic, payload);
    this.#requireRunning();
    const links = this.#machine.nativeLinks.filter(({ hasSaidGoodbye }) => !hasSaidGoodbye);
    const full = links.filter((link) => !this.#writing.hasRoom(link, topic.length + payload.length));
    for (const link of links) if (!full.includes(link)) this.#writing.send(link, topic, payload);
    return full.map((link) => link.peer.address);
  }

  /**
   * Writes bytes to one classic peer, given by its address or as `peers` has it. Small ones are copied; from 4 KiB on they
   * are referenced until they have left this process, and must not change. Returns false above the soft limit (4 MiB
   * waiting): go on after `drain`.
   *
   * @throws {FullmeshError} `QUEUE_FULL` above the hard limit (16 MiB waiting), and takes nothing; `NOT_LINKED`,
   *   `NATIVE_PEER`
   */
  write(peer: string | Peer, bytes: Uint8Array): boolean {
    const address = addressOf(peer);
    const link = this.#end === undefined ? this.#machine.classicLink(address) : undefined;
    if (link !== undefined) return this.#writing.write(link, bytes);
    const isNative = this.#machine.nativeLink(address) !== undefined;
    throw new FullmeshError(isNative ? "NATIVE_PEER" : "NOT_LINKED", `cannot write bytes to ${address}`);
  }

  /** Writes bytes to every classic peer. Returns the peers that did not take them, because their queue is full. */
  writeAll(bytes: Uint8Array): Address[] {
    if (this.#end !== undefined) return [];
    const links = [...this.#machine.classicLinks];
    const full = links.filter((link) => !this.#writing.hasRoom(link, bytes.length));
    for (const link of links) if (!full.includes(link)) this.#writing.write(link, bytes);
    return full.map((link) => link.peer);
  }

  /** Leaves the mesh: closes every connection, and resolves when all are closed. */
  async leave(): Promise<void> {
    this.#driver.input({ type: "leave" });
    await this.#closed.promise.catch(() => {});
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave();
  }

  #requireRunning(): void {
    if (this.#end !== undefined) throw new FullmeshError("ENDED", `this node has ended: ${this.#end.reason}`);
  }

  #perform(output: MemberOutput): void {
    if (output.type === "event") {
      this.#tell(output.event);
    } else if (output.type === "note") {
      for (const record of this.#gate.pass(output.note, Date.now())) this.emit("note", record);
    }
  }

  #tell(event: MemberEvent): void {
    this.#wholeness.hear(event);
    switch (event.type) {
      case "connected":
        this.#connecting?.resolve(event.local);
        break;
      case "unreachable":
        this.#server = undefined;
        this.#connecting?.reject(new FullmeshError(event.failure, event.message));
        break;
      case "registered":
        this.#registered.resolve();
        this.emit("registered", event.address);
        break;
      case "ended":
        this.#ended(event.reason, event.failure && new FullmeshError(event.failure, event.reason));
        break;
      case "closed":
        for (const record of this.#gate.finish(Date.now())) this.emit("note", record);
        if (this.#end?.error === undefined) this.#closed.resolve(this.#end?.reason ?? "closed");
        else this.#closed.reject(this.#end.error);
        this.emit("closed");
        break;
      default:
        if (event.type === "unlink") this.#writing.forget(event.peer);
        if (event.type !== "drained" || this.#writing.drained(event.peer)) tellMesh(this, this.#machine, event);
    }
  }

  #ended(reason: string, error: FullmeshError | undefined): void {
    this.#end = { reason, ...(error === undefined ? {} : { error }) };
    const failure = error ?? new FullmeshError("ENDED", `this node has ended: ${reason}`);
    this.#connecting?.reject(failure);
    this.#registered.reject(failure);
    this.emit("ended", reason);
  }
}
