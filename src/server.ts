import { EventEmitter } from "node:events";
import type { Endpoint } from "./core/connections.js";
import { FullmeshError } from "./core/errors.js";
import type { Limits } from "./core/limits.js";
import { hostsIn, isCidr } from "./nodejs/advertise.js";
import { nodeClock } from "./nodejs/clock.js";
import { nodeTransport } from "./nodejs/transport.js";
import {
  badOption,
  choiceOption,
  integerOption,
  limitsOption,
  listenOption,
  millisecondsOption,
  refuseUnknown,
  requireSecure,
} from "./options.js";
import { type Address, formatAddress } from "./protocol/address.js";
import { isEndWord, teardownWord } from "./protocol/classic/list.js";
import type { OnFull } from "./rendezvous/admission.js";
import type { Change, LogEntry } from "./rendezvous/log.js";
import { Rendezvous } from "./rendezvous/rendezvous.js";
import type { RendezvousEvent, RendezvousInput, RendezvousOutput } from "./rendezvous/vocabulary.js";
import { Driver } from "./runtime/driver.js";
import { MemoryLog } from "./runtime/memory-log.js";
import { type LogRecord, NoteGate } from "./runtime/notes.js";
import type { TraceRecord } from "./runtime/trace.js";
import { Deferred, listenWith } from "./waiting.js";

/** How a rendezvous server is to behave. */
export interface ServerOptions {
  /** The most members, an integer >= 1. Default: no bound, and then nothing ends by itself. */
  readonly capacity?: number;
  /**
   * What happens at capacity. `teardown` (default): the mesh is sealed, and ends once `settleMs` have passed since the last
   * list. `hold`: it stays, and newcomers wait in line for a free slot.
   */
  readonly onFull?: OnFull;
  /**
   * Milliseconds from the last list at capacity to the teardown, default 2,000. Classic members cannot report their links,
   * so this is the time they get to make them: shorter ends sooner, longer is kinder to slow networks.
   */
  readonly settleMs?: number;
  /** The word that ends the mesh, default `teardown`. A letter other than `l` first, then up to 63 printable characters. */
  readonly endWord?: string;
  /**
   * Networks in CIDR notation whose hosts may be advertised from elsewhere, default none. Each one widens whom a stranger
   * can make every member dial.
   */
  readonly allowAdvertise?: readonly string[];
  /** Listen beyond loopback although nothing is encrypted, default false. */
  readonly insecure?: boolean;
  /** Bounds that differ from the defaults; see `defaultLimits`. */
  readonly limits?: Partial<Limits>;
  /** Hears of every message sent or understood; see `toSequenceDiagram`. */
  readonly trace?: (record: TraceRecord) => void;
}

/** Those of `ServeOptions`, so that `serve` can hand its own on. */
const serverOptionNames: readonly (keyof ServeOptions)[] = [
  "listen",
  "capacity",
  "onFull",
  "settleMs",
  "endWord",
  "allowAdvertise",
  "insecure",
  "limits",
  "trace",
];

type EventOf<Type extends RendezvousEvent["type"]> = Extract<RendezvousEvent, { type: Type }>;

/** What a server tells. */
export interface ServerEvents {
  listening: [address: Address];
  joined: [event: EventOf<"joined">];
  left: [event: EventOf<"left" | "lost">];
  lost: [event: EventOf<"left" | "lost">];
  waiting: [event: EventOf<"waiting">];
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
  readonly #log = new MemoryLog<Change>();
  readonly #gate = new NoteGate();
  readonly #closed = new Deferred<string>();
  #endReason = "closed";
  #on: Endpoint | undefined;
  #address: Address | undefined;

  /** Throws `BAD_OPTION` for an option with a value that it cannot take. */
  constructor(options: ServerOptions = {}) {
    super();
    this.#options = options;
    refuseUnknown(options, serverOptionNames);
    const limits = limitsOption(options.limits);
    const {
      capacity,
      onFull = "teardown",
      settleMs = limits.settleMs,
      endWord = teardownWord,
      allowAdvertise = [],
    } = options;
    if (!isEndWord(endWord)) badOption("endWord", "a word that begins with a letter other than l", endWord);
    for (const cidr of allowAdvertise)
      if (!isCidr(cidr)) badOption("allowAdvertise", "a network such as 10.0.0.0/8", cidr);
    this.#machine = new Rendezvous({
      capacity: capacity === undefined ? Number.POSITIVE_INFINITY : integerOption("capacity", capacity, 1),
      onFull: choiceOption("onFull", onFull, ["teardown", "hold"]),
      mayAdvertise: hostsIn(allowAdvertise),
      endWord,
      limits: { ...limits, settleMs: millisecondsOption("settleMs", settleMs) },
    });
    this.#driver = new Driver<RendezvousInput, RendezvousOutput>({
      machine: this.#machine,
      transport: nodeTransport(limits.keepAliveMs),
      clock: nodeClock,
      perform: (output) => this.#perform(output),
      onSend: (connection, bytes) => {
        const to = this.#machine.addressOf(connection);
        if (to !== undefined) this.#trace("server", to, new TextDecoder().decode(bytes));
      },
    });
  }

  /** Where the server listens; undefined before it does. */
  get address(): Address | undefined {
    return this.#address;
  }

  /** The members' addresses in join order. */
  get members(): readonly Address[] {
    return this.#machine.members;
  }

  /** The revision of the newest change of membership; 0 before the first. */
  get revision(): number {
    return this.#machine.revision;
  }

  /** The first step: checks and keeps the address. Node cannot bind without listening, so a port in use shows later. */
  async initSocket(ip: string, port: number): Promise<void> {
    const on = listenOption("listen", formatAddress({ host: ip, port }));
    requireSecure(on, this.#options.insecure);
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
      const entry: LogEntry = this.#log.append(output.change);
      this.#driver.input({ type: "appended", entry });
    } else if (output.type === "event") {
      this.#tell(output.event);
    } else if (output.type === "note") {
      for (const record of this.#gate.pass(output.note, Date.now())) this.emit("note", record);
    }
  }

  #tell(event: RendezvousEvent): void {
    switch (event.type) {
      case "joined":
        this.#trace(event.address, "server", event.address);
        this.emit("joined", event);
        break;
      case "left":
      case "lost":
        this.emit(event.type, event);
        break;
      case "waiting":
        this.emit("waiting", event);
        break;
      case "teardown":
        this.#endReason = event.reason;
        this.emit("teardown", event);
        break;
      case "closed":
        for (const record of this.#gate.finish(Date.now())) this.emit("note", record);
        this.#closed.resolve(this.#endReason);
        this.emit("closed");
        break;
    }
  }

  #trace(from: string, to: string, text: string): void {
    this.#options.trace?.({ at: nodeClock.now() + performance.timeOrigin, from, to, text });
  }
}

/** Options of `serve`: those of the server, and where it listens. */
export interface ServeOptions extends ServerOptions {
  /** `ip:port`, default 127.0.0.1:4000; port 0 takes any free one. */
  readonly listen?: string;
}

/**
 * Starts a rendezvous server.
 *
 * @throws {FullmeshError} `BAD_OPTION`, `PORT_IN_USE`, `NOT_OUR_ADDRESS`, `LISTEN_FAILED`, `INSECURE_LISTEN`
 */
export async function serve(options: ServeOptions = {}): Promise<RendezvousServer> {
  const { host, port } = listenOption("listen", options.listen ?? "127.0.0.1:4000");
  const server = new RendezvousServer(options);
  await server.initSocket(host, port);
  await server.sockListen();
  return server;
}
