import type { EventEmitter } from "node:events";
import { Deferred } from "../api/waiting.js";
import { FullmeshError } from "../core/errors.js";
import { printable } from "../core/escaping.js";
import { nodeClock } from "../nodejs/clock.js";
import { callListener } from "../nodejs/uncaught.js";
import { RendezvousMachine } from "../rendezvous/rendezvous-machine.js";
import type { RendezvousEvent, RendezvousInput, RendezvousOutput } from "../rendezvous/types.js";
import { Driver } from "../runtime/driver.js";
import { LogRateLimiter, type LogRecord } from "../runtime/log-rate-limiter.js";
import type { MembershipLog } from "../runtime/membership-log.js";
import { MemoryLog } from "../runtime/memory-log.js";
import { type TraceRecord, wireText } from "../runtime/trace.js";
import type { ServerEvents } from "./events.js";
import type { ServerConfig } from "./options.js";

/** How a server has ended. */
export interface ServerEnd {
  readonly reason: string;
  /** A mesh has not become whole in time. */
  readonly failure?: FullmeshError;
}

/** All that a server consists of behind its face. What happens comes in here, and `server` tells of it. */
export class ServerRuntime {
  readonly machine: RendezvousMachine;
  readonly driver: Driver<RendezvousInput, RendezvousOutput>;
  readonly #server: EventEmitter<ServerEvents>;
  readonly #traced: ((record: TraceRecord) => void) | undefined;
  readonly #log: MembershipLog = new MemoryLog((answer) => this.driver.input(answer));
  readonly #gate = new LogRateLimiter();
  readonly #closed = new Deferred<ServerEnd>();
  #end: ServerEnd = { reason: "closed" };

  constructor(server: EventEmitter<ServerEvents>, { rules, transport, trace }: ServerConfig) {
    this.#server = server;
    this.#traced = trace;
    this.machine = new RendezvousMachine(rules);
    this.driver = new Driver<RendezvousInput, RendezvousOutput>({
      machine: this.machine,
      transport,
      clock: nodeClock,
      perform: (output) => this.#perform(output),
      onSend: (connection, bytes) => {
        // What nobody traces is not put into words: that took a quarter of the server's time.
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

  #perform(output: RendezvousOutput): void {
    if (output.type === "append") {
      this.#log.append(output);
    } else if (output.type === "forgetLog") {
      this.#log.forget(output.mesh);
    } else if (output.type === "event") {
      this.#tell(output.event);
    } else if (output.type === "note") {
      this.#writeLog(this.#gate.pass(output.note, Date.now()));
    }
  }

  #writeLog(records: readonly LogRecord[]): void {
    for (const record of records) callListener(() => this.#server.emit("note", record));
  }

  #tell(event: RendezvousEvent): void {
    switch (event.type) {
      case "joined":
        // What a member has sent at that moment: its whole registration in classic, the end of it in native.
        this.#trace(event.address, "server", event.dialect === "classic" ? event.address : `proof of ${event.address}`);
        this.#server.emit("joined", event);
        break;
      case "left":
      case "lost":
        this.#server.emit(event.type, event);
        break;
      case "waiting":
        this.#server.emit("waiting", event);
        break;
      case "complete":
        this.#server.emit("complete", event);
        break;
      case "degraded":
        this.#server.emit("degraded", event);
        break;
      case "full":
        this.#server.emit("full", event);
        break;
      case "teardown":
        this.#hearEnd(event);
        this.#server.emit("teardown", event);
        break;
      case "closed":
        this.#writeLog(this.#gate.finish(Date.now()));
        this.#log.close();
        this.#closed.resolve(this.#end);
        this.#server.emit("closed");
        break;
    }
  }

  /** One mesh that has ended without being whole makes the end of the server one, whatever becomes of the others. */
  #hearEnd({ mesh, reason, incomplete }: Extract<RendezvousEvent, { type: "teardown" }>): void {
    const isFirst = incomplete !== undefined && this.#end.failure === undefined;
    const failure = isFirst
      ? new FullmeshError("INCOMPLETE", `mesh "${printable(mesh)}": ${reason}: ${incomplete}`)
      : this.#end.failure;
    this.#end = { reason, ...(failure === undefined ? {} : { failure }) };
  }

  #trace(from: string, to: string, text: string): void {
    // A function of the application, which is not called as one of ours.
    const traced = this.#traced;
    traced?.({ at: performance.timeOrigin + performance.now(), from, to, text });
  }
}
