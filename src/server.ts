import { EventEmitter } from "node:events";
import type { Endpoint } from "./core/connections.js";
import { FullmeshError } from "./core/errors.js";
import { isolate } from "./isolation.js";
import { nodeClock } from "./nodejs/clock.js";
import { limitsOption, listenOption, requireSecure, transportOption } from "./options.js";
import { type Address, formatAddress } from "./protocol/address.js";
import type { Change, Id } from "./protocol/directory.js";
import { Rendezvous } from "./rendezvous/rendezvous.js";
import type { RendezvousEvent, RendezvousInput, RendezvousOutput } from "./rendezvous/vocabulary.js";
import { Driver } from "./runtime/driver.js";
import { MemoryLog } from "./runtime/memory-log.js";
import { type LogRecord, NoteGate } from "./runtime/notes.js";
import { wireText } from "./runtime/trace.js";
import { type ServeOptions, type ServerOptions, serverRules } from "./server-options.js";
import { Deferred, listenWith } from "./waiting.js";

type EventOf<Type extends RendezvousEvent["type"]> = Extract<RendezvousEvent, { type: Type }>;

/** What a server tells. */
export interface ServerEvents {
  listening: [address: Address];
  joined: [event: EventOf<"joined">];
  left: [event: EventOf<"left" | "lost">];
  lost: [event: EventOf<"left" | "lost">];
  waiting: [event: EventOf<"waiting">];
  complete: [event: EventOf<"complete">];
  degraded: [event: EventOf<"degraded">];
  teardown: [event: EventOf<"teardown">];
  closed: [];
  /** Something was noticed that belongs in a log. */
  note: [record: LogRecord];
}

/**
 * The rendezvous server: where the members of a mesh meet. It carries none of their data.
 *
 * Its steps can be taken one by one, with any pause between: `initSocket`, `sockListen`, `start`. `serve` takes them in a
 * row.
 */
export class RendezvousServer extends EventEmitter<ServerEvents> {
  readonly #options: ServerOptions;
  readonly #machine: Rendezvous;
  readonly #driver: Driver<RendezvousInput, RendezvousOutput>;
  /** The membership logs, by the names of their meshes. */
  readonly #logs = new Map<string, { readonly id: Id | undefined; readonly log: MemoryLog }>();
  readonly #isKeyed: boolean;
  readonly #gate = new NoteGate();
  readonly #closed = new Deferred<string>();
  #endReason = "closed";
  #on: Endpoint | undefined;
  #address: Address | undefined;

  /** Throws `BAD_OPTION` for an option with a value that it cannot take. */
  constructor(options: ServerOptions = {}) {
    super();
    this.#options = options;
    const { transport, isKeyed } = transportOption(
      options.secret,
      ({ role }) => role === "rendezvous",
      limitsOption(options.limits).keepAliveMs,
    );
    this.#isKeyed = isKeyed;
    this.#machine = new Rendezvous(serverRules(options, isKeyed));
    this.#driver = new Driver<RendezvousInput, RendezvousOutput>({
      machine: this.#machine,
      transport,
      clock: nodeClock,
      perform: (output) => this.#perform(output),
      onSend: (connection, bytes) => {
        // What nobody traces is not put into words: that took a quarter of the server's time.
        if (options.trace === undefined) return;
        const to = this.#machine.addressOf(connection);
        if (to !== undefined) this.#trace("server", to, wireText(bytes));
      },
    });
  }

  /** Where the server listens; undefined before it does. */
  get address(): Address | undefined {
    return this.#address;
  }

  /** The addresses of all members, mesh by mesh, and those of each mesh in join order. */
  get members(): readonly Address[] {
    return this.#machine.members;
  }

  /** The addresses of the members of one mesh in join order; none if there is no such mesh. */
  membersOf(mesh: string): readonly Address[] {
    return this.#machine.membersOf(mesh);
  }

  /** The highest revision that any mesh has come to: that of the newest change of membership where there is one mesh. */
  get revision(): number {
    return this.#machine.revision;
  }

  /** Bytes sent so far, before any encryption. */
  get sentBytes(): number {
    return this.#driver.sentBytes;
  }

  /** The first step: checks and keeps the address. Node cannot bind without listening, so a port in use shows later. */
  async initSocket(ip: string, port: number): Promise<void> {
    const on = listenOption("listen", formatAddress({ host: ip, port }));
    requireSecure(on, this.#options.insecure, this.#isKeyed);
    if (this.#address !== undefined) throw new FullmeshError("WRONG_STEP", "the server listens already");
    this.#on = on;
  }

  /** The second step: listens, and resolves with the address, in which port 0 has become a real one. */
  async sockListen(): Promise<Address> {
    if (this.#address !== undefined) throw new FullmeshError("WRONG_STEP", "the server listens already");
    if (this.#on === undefined) throw new FullmeshError("WRONG_STEP", "sockListen comes after initSocket");
    const on = this.#on;
    // A second call at the same time finds nothing to listen on; after a failure there is something again.
    this.#on = undefined;
    try {
      this.#address = formatAddress(await listenWith(this.#driver, on));
    } catch (error) {
      this.#on = on;
      throw error;
    }
    this.emit("listening", this.#address);
    return this.#address;
  }

  /** The last step: resolves with the reason when the mesh has ended and every connection is closed. */
  async start(): Promise<string> {
    if (this.#address === undefined) throw new FullmeshError("WRONG_STEP", "start comes after sockListen");
    return await this.#closed.promise;
  }

  /** Ends the mesh on purpose: tells every node, closes, and resolves when all is closed. */
  async teardown(reason = "teardown"): Promise<void> {
    this.#driver.input({ type: "teardown", reason });
    await this.#closed.promise;
  }

  /** Stops the server without a word about the mesh. Classic members take the closing as the end. */
  async close(): Promise<void> {
    this.#driver.input({ type: "close" });
    await this.#closed.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #perform(output: RendezvousOutput): void {
    if (output.type === "append") {
      this.#append(output.mesh, output.change);
    } else if (output.type === "event") {
      this.#tell(output.event);
    } else if (output.type === "note") {
      this.#log(this.#gate.pass(output.note, Date.now()));
    }
  }

  #log(records: readonly LogRecord[]): void {
    for (const record of records) isolate(() => this.emit("note", record));
  }

  #append(mesh: string, change: Change): void {
    const id = this.#machine.logOf(mesh);
    const known = this.#logs.get(mesh);
    const log = known !== undefined && known.id === id ? known.log : this.#newLog(mesh, id);
    this.#driver.input({ type: "appended", mesh, entry: log.append(change) });
  }

  /** The log of a mesh that begins. Those of meshes that the machine has forgotten are forgotten here too. */
  #newLog(mesh: string, id: Id | undefined): MemoryLog {
    const kept = new Set(this.#machine.meshes);
    for (const name of this.#logs.keys()) if (!kept.has(name)) this.#logs.delete(name);
    const log = new MemoryLog(this.#machine.revisionOf(mesh));
    this.#logs.set(mesh, { id, log });
    return log;
  }

  #tell(event: RendezvousEvent): void {
    switch (event.type) {
      case "joined":
        // What a member has sent at that moment: its whole registration in classic, the end of it in native.
        this.#trace(event.address, "server", event.dialect === "classic" ? event.address : `proof of ${event.address}`);
        this.emit("joined", event);
        break;
      case "left":
      case "lost":
        this.emit(event.type, event);
        break;
      case "waiting":
        this.emit("waiting", event);
        break;
      case "complete":
        this.emit("complete", event);
        break;
      case "degraded":
        this.emit("degraded", event);
        break;
      case "teardown":
        this.#endReason = event.reason;
        this.emit("teardown", event);
        break;
      case "closed":
        this.#log(this.#gate.finish(Date.now()));
        this.#closed.resolve(this.#endReason);
        this.emit("closed");
        break;
    }
  }

  #trace(from: string, to: string, text: string): void {
    this.#options.trace?.({ at: performance.timeOrigin + performance.now(), from, to, text });
  }
}

/** A server that listens, and so has an address. */
export type ListeningServer = RendezvousServer & { readonly address: Address };

/**
 * Starts a rendezvous server.
 *
 * @throws {FullmeshError} `BAD_OPTION`, `PORT_IN_USE`, `NOT_OUR_ADDRESS`, `LISTEN_FAILED`, `INSECURE_LISTEN`
 */
export async function serve(options: ServeOptions = {}): Promise<ListeningServer> {
  const { host, port } = listenOption("listen", options.listen ?? "127.0.0.1:4000");
  const server = new RendezvousServer(options);
  await server.initSocket(host, port);
  await server.sockListen();
  return server as ListeningServer;
}
