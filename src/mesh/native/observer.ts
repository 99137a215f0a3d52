import type { ConnectionInput, ConnectionOutput, Endpoint } from "../../core/connections.js";
import type { ErrorCode, LogEvent } from "../../core/errors.js";
import type { Limits } from "../../core/limits.js";
import type { Machine } from "../../core/machine.js";
import { Queue } from "../../core/queue.js";
import { type KeyedTimers, Timers } from "../../core/timers.js";
import { formatAddress } from "../../protocol/address.js";
import type { Control, ControlOf } from "../../protocol/native/control.js";
import { decodeStatus } from "../../protocol/native/status.js";
import type { MeshStatus } from "../../protocol/status.js";
import { Connections } from "../connections.js";
import {
  connectionContext,
  NativeConnection,
  type NativeConnectionContext,
  type NativeConnectionOwner,
} from "./connection.js";

/** What an observer takes. */
export type ObserverInput =
  | ConnectionInput
  /** Look at the mesh from this server; once. */
  | { readonly type: "observe"; readonly server: Endpoint }
  | { readonly type: "close" };

/** What an observer puts out. */
export type ObserverOutput =
  | ConnectionOutput
  | { readonly type: "note"; readonly note: LogEvent }
  /** The newest status. Its times are milliseconds before now, as negative numbers. */
  | { readonly type: "status"; readonly status: MeshStatus }
  /** Nothing more comes, and why. `isRefusal`: the server has said it, and says it again. */
  | { readonly type: "over"; readonly code: ErrorCode; readonly message: string; readonly isRefusal: boolean };

/** The longest status that is taken, in characters: 2,000 members with long names and 1,000 missing pairs. */
const longestStatus = 4 * 1024 * 1024;

/** Refusals that are over in a moment. */
const passing: ReadonlySet<string> = new Set(["BUSY", "NO_DESCRIPTORS", "HANDSHAKE_TIMEOUT"]);

/** Looks at a mesh without being in it: asks a server for its status, and gets it again whenever it has changed. */
export class Observer implements Machine<ObserverInput, ObserverOutput>, NativeConnectionOwner {
  readonly #mesh: string;
  readonly #limits: Limits;
  readonly #outputs = new Queue<ObserverOutput>();
  readonly #timers = new Timers();
  readonly #answerTimer: KeyedTimers<"answer">;
  readonly #connections: Connections;
  readonly #context: NativeConnectionContext;
  #connection: NativeConnection | undefined;
  #serverName = "the server";
  /** The parts of a status that have come, while more are to come. */
  #text = "";
  #isOver = false;

  constructor(mesh: string, limits: Limits) {
    this.#mesh = mesh;
    this.#limits = limits;
    this.#connections = new Connections(this.#outputs, mesh, limits, this.#timers, () => {});
    this.#answerTimer = this.#timers.keyed(() => this.#unanswered());
    this.#context = connectionContext(this.#connections, this.#timers, limits, this.#outputs);
  }

  handle(input: ObserverInput, now: number): void {
    switch (input.type) {
      case "observe":
        this.#serverName = formatAddress(input.server);
        this.#connection = NativeConnection.dial(this.#context, input.server, "rendezvous", this);
        this.#answerTimer.set("answer", now + this.#limits.dialMs);
        break;
      case "close":
        this.#isOver = true;
        this.#answerTimer.clearAll();
        this.#connection?.abort();
        break;
      case "timeout":
        this.#timers.fire(now);
        break;
      case "accepted":
        break;
      default:
        this.#connections.progress(input, now);
    }
  }

  poll(): ObserverOutput | undefined {
    return this.#outputs.poll();
  }

  nextTimeout(): number | undefined {
    return this.#timers.next();
  }

  // What happens on its connection.

  connected(connection: NativeConnection, now: number): void {
    connection.watch(now);
    connection.send({ type: "observe", mesh: this.#mesh });
    this.#answerTimer.set("answer", now + this.#limits.handshakeMs);
  }

  control(connection: NativeConnection, control: Control, now: number): void {
    if (control.type === "refuse") this.#refused(connection, control);
    else if (control.type === "status") this.#part(connection, control, now);
    else connection.unexpected(control.type, now);
  }

  gone(connection: NativeConnection, reason: string): void {
    this.#over(connection.failure ?? "SERVER_UNREACHABLE", reason, false);
  }

  #part(connection: NativeConnection, { part, more }: ControlOf<"status">, now: number): void {
    this.#text += part;
    if (this.#text.length > longestStatus) {
      connection.fail("FRAME_TOO_LARGE", `a status of more than ${longestStatus} characters`, now);
      return;
    }
    this.#answerTimer.set("answer", more === true ? now + this.#limits.handshakeMs : undefined);
    if (more === true) return;
    const status = decodeStatus(this.#text);
    this.#text = "";
    if (typeof status === "string") connection.fail("BAD_FRAME", `the status has no good "${status}"`, now);
    else this.#outputs.push({ type: "status", status });
  }

  #refused(connection: NativeConnection, { code, message }: ControlOf<"refuse">): void {
    connection.abort();
    this.#over("REFUSED", `${code}: ${message}`, !passing.has(code));
  }

  #unanswered(): void {
    this.#connection?.abort();
    this.#over("SERVER_UNREACHABLE", "no answer in time", false);
  }

  #over(code: ErrorCode, reason: string, isRefusal: boolean): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#answerTimer.clearAll();
    this.#outputs.push({ type: "over", code, message: `${this.#serverName}: ${reason}`, isRefusal });
  }
}
