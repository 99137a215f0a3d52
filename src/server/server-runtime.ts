import type { EventEmitter } from "node:events";
import { callListener, callListeners } from "../api/application-calls.js";
import { Deferred } from "../api/deferred.js";
import { Log } from "../api/log.js";
import type { WaitOptions } from "../api/waiting.js";
import { FullmeshError } from "../core/errors.js";
import { printable } from "../core/escaping.js";
import { nodeClock } from "../nodejs/clock.js";
import { pageFolder } from "../nodejs/package-files.js";
import type { Address } from "../protocol/address.js";
import { movedPair } from "../protocol/missing-pair.js";
import { type MeshStatus, movedInTime, movedPairStatus, type PairStatus } from "../protocol/status.js";
import { RendezvousMachine } from "../rendezvous/rendezvous-machine.js";
import type { RendezvousEvent, RendezvousInput, RendezvousOutput, RendezvousRules } from "../rendezvous/types.js";
import { Driver } from "../runtime/driver.js";
import type { MembershipLog } from "../runtime/membership-log.js";
import { MemoryLog } from "../runtime/memory-log.js";
import { type TraceRecord, wireText } from "../runtime/trace.js";
import type { ServerEvents } from "./events.js";
import type { ServerFigures } from "./http/metrics.js";
import type { StatusPages } from "./http/status-pages.js";
import { MeshCounters } from "./mesh-counters.js";
import type { ServerConfig } from "./options.js";
import type { SharedLog } from "./shared-log.js";

/** A clock that is off by more has been set, or this computer was asleep. */
const jumpMs = 1_000;

/** How a server ended. */
export interface ServerEnd {
  readonly reason: string;
  /** A mesh was not complete in time. */
  readonly failure?: FullmeshError;
}

/** The machine of a server with its driver, its membership log and its events. */
export class ServerRuntime {
  readonly machine: RendezvousMachine;
  readonly driver: Driver<RendezvousInput, RendezvousOutput>;
  readonly #server: EventEmitter<ServerEvents>;
  readonly #onTrace: ((record: TraceRecord) => void) | undefined;
  readonly #rules: RendezvousRules;
  readonly #store: ServerConfig["store"];
  readonly #memoryLog: MembershipLog | undefined;
  /** Instead of that, from `openLog` on, where servers share the log. */
  #sharedLog: SharedLog | undefined;
  readonly log: Log;
  readonly #http: ServerConfig["http"];
  #pages: StatusPages | undefined;
  #httpAddress: Address | undefined;
  readonly #counters = new MeshCounters();
  #hasClosed = false;
  /** From the machine's time to that of the wall. */
  #clockOffset = 0;
  readonly #closed = new Deferred<ServerEnd>();
  #end: ServerEnd = { reason: "closed" };

  constructor(server: EventEmitter<ServerEvents>, { rules, transport, trace, logger, http, store }: ServerConfig) {
    this.#http = http;
    this.#store = store;
    this.#rules = rules;
    this.#memoryLog = store === undefined ? new MemoryLog((answer) => this.driver.input(answer)) : undefined;
    this.log = new Log(logger);
    this.#server = server;
    this.#onTrace = trace;
    this.machine = new RendezvousMachine(rules);
    this.driver = new Driver<RendezvousInput, RendezvousOutput>({
      machine: this.machine,
      transport,
      clock: nodeClock,
      perform: (output) => this.#perform(output),
      onSend: (connection, bytes) => {
        // Without a trace no text is made: that took a quarter of the server's time.
        if (trace === undefined) return;
        const to = this.machine.addressOf(connection);
        if (to !== undefined) this.#trace("server", to, wireText(bytes));
      },
    });
  }

  /** Resolves when the mesh has ended and every connection is closed. */
  get closed(): Promise<ServerEnd> {
    return this.#closed.promise;
  }

  get httpAddress(): Address | undefined {
    return this.#httpAddress;
  }

  /**
   * Reads the store, where servers share the log. `on`: where this server listens.
   *
   * @throws {FullmeshError} whatever is wrong with the store, `TIMED_OUT`, `ABORTED`
   */
  async openLog(on: Address, wait: WaitOptions): Promise<void> {
    if (this.#store === undefined) return;
    const { SharedLog } = await import("./shared-log.js");
    this.#sharedLog = new SharedLog(
      this.#store,
      this.#rules,
      on,
      (input) => this.driver.input(input),
      (event) => callListeners(this.log, this.#server, event.type, event),
      (failure) => this.#fail(failure),
    );
    try {
      await this.#sharedLog.open(wait);
    } catch (error) {
      this.driver.input({ type: "close" });
      await this.closed;
      throw error;
    }
  }

  /** What the store has shown lets no server go on. */
  #fail(failure: FullmeshError): void {
    this.#end = { reason: failure.message, failure };
    this.driver.input({ type: "close" });
  }

  /** Shows the mesh over HTTP, if that is wanted. */
  async show(): Promise<void> {
    if (this.#http === undefined || this.#pages !== undefined) return;
    const { StatusPages } = await import("./http/status-pages.js");
    this.#pages = new StatusPages(this, this.#http.hosts, pageFolder());
    this.#httpAddress = await this.#pages.listen(this.#http.on);
  }

  async hide(): Promise<void> {
    const pages = this.#pages;
    this.#pages = undefined;
    this.#httpAddress = undefined;
    await pages?.close();
  }

  // What the pages show.

  get meshes(): readonly string[] {
    return this.machine.meshes;
  }

  get isReady(): boolean {
    return !this.#hasClosed && (this.#memoryLog !== undefined || this.#sharedLog?.isThere === true);
  }

  get figures(): Omit<ServerFigures, "meshes" | "loopDelay"> {
    const { sentBytes, receivedBytes } = this.driver;
    return { counters: this.#counters, sentBytes, receivedBytes, store: this.#sharedLog?.figures };
  }

  status(mesh: string): MeshStatus {
    return movedInTime(this.machine.status(mesh, this.driver.now()), this.#clockAheadMs);
  }

  /** What is known of a pair now. Its ends measure their link for a while, so whoever asks again gets newer figures. */
  pair(mesh: string, a: Address, b: Address): PairStatus | undefined {
    this.driver.input({ type: "measure", mesh, a, b });
    const pair = this.machine.pair(mesh, a, b, this.driver.now());
    return pair && movedPairStatus(pair, this.#clockAheadMs);
  }

  membersOf(mesh: string): readonly Address[] {
    return this.machine.membersOf(mesh);
  }

  /** By how much the time since the epoch is ahead of the machine's. */
  get #clockAheadMs(): number {
    const offset = nodeClock.wallTime() - this.driver.now();
    // A moment that has passed keeps its time, unless one of the clocks has jumped.
    if (Math.abs(offset - this.#clockOffset) > jumpMs) this.#clockOffset = offset;
    return this.#clockOffset;
  }

  /** Before a shared log has been read nobody is let in, so nothing is appended. */
  get #membershipLog(): MembershipLog | undefined {
    return this.#memoryLog ?? this.#sharedLog?.log;
  }

  #perform(output: RendezvousOutput): void {
    if (output.type === "append") {
      this.#membershipLog?.append(output);
    } else if (output.type === "publish") {
      this.#sharedLog?.log.publish(output.mesh, output.fact);
    } else if (output.type === "forgetLog") {
      this.#membershipLog?.forget(output.mesh);
    } else if (output.type === "event") {
      this.#emit(output.event);
    } else if (output.type === "note") {
      this.log.write(output.note);
    }
  }

  #emit(event: RendezvousEvent): void {
    switch (event.type) {
      case "joined":
        if (event.returned !== true) this.#counters.count(event.mesh, "joined");
        // The last message of the registration: the address in classic, the proof in native.
        this.#trace(event.address, "server", event.dialect === "classic" ? event.address : `proof of ${event.address}`);
        break;
      case "left":
      case "lost":
        this.#counters.count(event.mesh, event.type);
        break;
      case "teardown":
      case "released":
        this.#rememberEnd(event.mesh, event.reason, event.type === "teardown" ? event.incomplete : undefined);
        break;
      case "closed":
        this.#hasClosed = true;
        void this.#close();
        return;
      default:
        break;
    }
    if (event.type === "degraded" || event.type === "teardown" || event.type === "released") {
      const missing = event.missing.map((pair) => movedPair(pair, this.#clockAheadMs));
      callListeners(this.log, this.#server, event.type, { ...event, missing });
    } else callListeners(this.log, this.#server, event.type, event);
  }

  async #close(): Promise<void> {
    void this.hide();
    this.#memoryLog?.close();
    if (this.#sharedLog !== undefined) await this.#sharedLog.close();
    this.#closed.resolve(this.#end);
    callListeners(this.log, this.#server, "closed", undefined);
    this.log.close();
  }

  /** One mesh that ended incomplete makes the end of the server a failure, whatever happens to the others. */
  #rememberEnd(mesh: string, reason: string, incomplete: string | undefined): void {
    const isFirst = incomplete !== undefined && this.#end.failure === undefined;
    const failure = isFirst
      ? new FullmeshError("INCOMPLETE", `mesh "${printable(mesh)}": ${reason}: ${incomplete}`)
      : this.#end.failure;
    this.#end = { reason, ...(failure === undefined ? {} : { failure }) };
  }

  #trace(from: string, to: string, text: string): void {
    if (this.#onTrace === undefined) return;
    const record: TraceRecord = { at: performance.timeOrigin + performance.now(), from, to, text };
    callListener(this.log, this.#onTrace, record, "trace");
  }
}
