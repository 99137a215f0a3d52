import { randomInt } from "node:crypto";
import { EventEmitter } from "node:events";
import type { Endpoint } from "./core/connections.js";
import { FullmeshError } from "./core/errors.js";
import type { Limits } from "./core/limits.js";
import { Member } from "./mesh/member.js";
import type { MemberEvent, MemberInput, MemberOutput } from "./mesh/vocabulary.js";
import type { NodeEvents, Peer } from "./node-events.js";
import { nodeClock } from "./nodejs/clock.js";
import { nodeTransport } from "./nodejs/transport.js";
import { addressOption, limitsOption, listenOption, refuseUnknown, requireSecure, serverOption } from "./options.js";
import { type Address, formatAddress } from "./protocol/address.js";
import { Driver } from "./runtime/driver.js";
import { NoteGate } from "./runtime/notes.js";
import { Deferred, listenWith, type WaitOptions, waitFor } from "./waiting.js";
import { Writing } from "./writing.js";

/** How a node is to behave. */
export interface NodeOptions {
  /** The address to register, if others reach this node by another one than it listens on. Default: where it listens. */
  readonly advertise?: string;
  /** Listen beyond loopback although nothing is encrypted, default false. */
  readonly insecure?: boolean;
  /** Bounds that differ from the defaults; see `defaultLimits`. */
  readonly limits?: Partial<Limits>;
}

/** Those of `JoinOptions`, so that `join` can hand its own on. */
const nodeOptionNames = ["listen", "advertise", "insecure", "limits", "signal", "timeoutMs"];

/**
 * A member of a mesh. Its steps can be taken one by one, with any pause between: `connectToServer`, `initListeningSocket`,
 * `sockListen`, `registerWithServer`, `start`. `join` takes them in a row.
 */
export class MeshNode extends EventEmitter<NodeEvents> {
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

  /** Throws `BAD_OPTION` for an option with a value that it cannot take. */
  constructor(options: NodeOptions = {}) {
    super();
    this.#options = options;
    refuseUnknown(options, nodeOptionNames);
    const limits = limitsOption(options.limits);
    const { advertise } = options;
    this.#machine = new Member({
      ...(advertise === undefined ? {} : { advertise: addressOption("advertise", advertise) }),
      seed: randomInt(2 ** 48 - 1),
      limits,
    });
    this.#driver = new Driver<MemberInput, MemberOutput>({
      machine: this.#machine,
      transport: nodeTransport(limits.keepAliveMs),
      clock: nodeClock,
      perform: (output) => this.#perform(output),
    });
    this.#writing = new Writing(this.#driver, limits);
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

  /** The peers with which there is a link. */
  get peers(): Peer[] {
    return Array.from(this.#machine.links, ({ peer, direction }) => ({ address: peer, direction }));
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
    requireSecure(on, this.#options.insecure);
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
   * Resolves when this node is linked with every other address of the newest list, and that has `size` members or more.
   * Classic members cannot attest each other's links, so this speaks for this node's own.
   *
   * @throws {FullmeshError} `TIMED_OUT` and `ABORTED`, naming the peers that are missing; `ENDED`
   */
  async complete({ size = 1, ...wait }: WaitOptions & { readonly size?: number } = {}): Promise<void> {
    if (this.members.length >= size && this.#missing().length === 0) return;
    this.#requireRunning();
    const done = new Deferred<void>();
    const onComplete = (members: number): void => {
      if (members >= size) done.resolve();
    };
    const onEnded = (reason: string): void => done.reject(new FullmeshError("ENDED", `the mesh ended: ${reason}`));
    this.on("complete", onComplete).once("ended", onEnded);
    try {
      await waitFor(done.promise, wait, () => this.#explain(size));
    } finally {
      this.off("complete", onComplete).off("ended", onEnded);
    }
  }

  /**
   * Writes bytes to one peer, given by its address or as `peers` has it. Small ones are copied; from 4 KiB on they are referenced until they have left this process,
   * and must not change. Returns false above the soft limit (4 MiB waiting): go on after `drain`.
   *
   * @throws {FullmeshError} `QUEUE_FULL` above the hard limit (16 MiB waiting), and takes nothing; `NOT_LINKED`
   */
  write(peer: string | Peer, bytes: Uint8Array): boolean {
    const address = typeof peer === "string" ? peer : peer.address;
    const link = this.#end === undefined ? this.#machine.link(address as Address) : undefined;
    if (link === undefined) throw new FullmeshError("NOT_LINKED", `no link with ${address}`);
    return this.#writing.write(link, bytes);
  }

  /** Writes bytes to every peer that there is now. Returns the peers that did not take them, because their queue is full. */
  writeAll(bytes: Uint8Array): Address[] {
    if (this.#end !== undefined) return [];
    const full = [...this.#machine.links].filter((link) => !this.#writing.hasRoom(link, bytes.length));
    for (const link of this.#machine.links) if (!full.includes(link)) this.#writing.write(link, bytes);
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

  /** Members of the newest list with which there is no link. */
  #missing(): Address[] {
    return this.members.filter((address) => address !== this.address && this.#machine.link(address) === undefined);
  }

  #explain(size: number): string {
    const missing = this.#missing();
    const links = missing.length === 0 ? "" : `; no link with ${missing.join(", ")}`;
    return `${this.members.length} of ${size} members are listed${links}`;
  }

  #perform(output: MemberOutput): void {
    if (output.type === "event") {
      this.#tell(output.event);
    } else if (output.type === "note") {
      for (const record of this.#gate.pass(output.note, Date.now())) this.emit("note", record);
    }
  }

  #tell(event: MemberEvent): void {
    switch (event.type) {
      case "connected":
        this.#connecting?.resolve(event.local);
        break;
      case "unreachable":
        this.#server = undefined;
        this.#connecting?.reject(new FullmeshError("SERVER_UNREACHABLE", event.message));
        break;
      case "registered":
        this.#registered.resolve();
        this.emit("registered", event.address);
        break;
      case "directory":
        this.emit("directory", event.members);
        break;
      case "link":
        this.emit("peer:up", { address: event.peer, direction: event.direction });
        break;
      case "unlink":
        this.#writing.forget(event.peer);
        this.emit("peer:down", event.peer, event.reason);
        break;
      case "bytes":
        this.emit("bytes", { peer: event.peer, bytes: event.bytes });
        break;
      case "drained":
        if (this.#writing.drained(event.peer)) this.emit("drain", event.peer);
        break;
      case "complete":
        this.emit("complete", event.members);
        break;
      case "ended":
        this.#ended(
          event.reason,
          event.failure === undefined ? undefined : new FullmeshError(event.failure, event.reason),
        );
        break;
      case "closed":
        for (const record of this.#gate.finish(Date.now())) this.emit("note", record);
        if (this.#end?.error === undefined) this.#closed.resolve(this.#end?.reason ?? "closed");
        else this.#closed.reject(this.#end.error);
        this.emit("closed");
        break;
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
