import type { EventEmitter } from "node:events";
import { callListener, callListeners } from "../api/application-calls.js";
import { Deferred } from "../api/deferred.js";
import { Log } from "../api/log.js";
import { FullmeshError } from "../core/errors.js";
import { printable } from "../core/escaping.js";
import { nodeClock } from "../nodejs/clock.js";
import { type MeshStatus, movedInTime } from "../protocol/status.js";
import { RendezvousMachine } from "../rendezvous/rendezvous-machine.js";
import type { RendezvousEvent, RendezvousInput, RendezvousOutput } from "../rendezvous/types.js";
import { Driver } from "../runtime/driver.js";
import type { MembershipLog } from "../runtime/membership-log.js";
import { MemoryLog } from "../runtime/memory-log.js";
import { type TraceRecord, wireText } from "../runtime/trace.js";
import type { ServerEvents } from "./events.js";
import type { ServerConfig } from "./options.js";

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
  readonly #membershipLog: MembershipLog = new MemoryLog((answer) => this.driver.input(answer));
  readonly log: Log;
  readonly #closed = new Deferred<ServerEnd>();
  #end: ServerEnd = { reason: "closed" };

  constructor(server: EventEmitter<ServerEvents>, { rules, transport, trace, logger }: ServerConfig) {
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

  status(mesh: string): MeshStatus {
    const now = this.driver.now();
    return movedInTime(this.machine.status(mesh, now), nodeClock.wallTime() - now);
  }

  #perform(output: RendezvousOutput): void {
    if (output.type === "append") {
      this.#membershipLog.append(output);
    } else if (output.type === "forgetLog") {
      this.#membershipLog.forget(output.mesh);
    } else if (output.type === "event") {
      this.#emit(output.event);
    } else if (output.type === "note") {
      this.log.write(output.note);
    }
  }

  #emit(event: RendezvousEvent): void {
    switch (event.type) {
      case "joined":
        // The last message of the registration: the address in classic, the proof in native.
        this.#trace(event.address, "server", event.dialect === "classic" ? event.address : `proof of ${event.address}`);
        break;
      case "teardown":
        this.#rememberEnd(event);
        break;
      case "closed":
        this.#membershipLog.close();
        this.#closed.resolve(this.#end);
        callListeners(this.log, this.#server, "closed", undefined);
        this.log.close();
        return;
      default:
        break;
    }
    callListeners(this.log, this.#server, event.type, event);
  }

  /** One mesh that ended incomplete makes the end of the server a failure, whatever happens to the others. */
  #rememberEnd({ mesh, reason, incomplete }: Extract<RendezvousEvent, { type: "teardown" }>): void {
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
