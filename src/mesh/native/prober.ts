import type {
  ConnectionId,
  ConnectionInput,
  ConnectionOutput,
  ConnectionProgress,
  Endpoint,
} from "../../core/connections.js";
import type { ErrorCode, LogEvent } from "../../core/errors.js";
import type { Limits } from "../../core/limits.js";
import type { Machine } from "../../core/machine.js";
import { Queue } from "../../core/queue.js";
import { type KeyedTimers, Timers } from "../../core/timers.js";
import type { Address } from "../../protocol/address.js";
import type { Id } from "../../protocol/directory.js";
import type { Control, ControlOf } from "../../protocol/native/control.js";
import type { UnidentifiedConnection } from "../acceptor.js";
import { type ConnectionListener, Connections } from "../connections.js";
import {
  connectionContext,
  NativeConnection,
  type NativeConnectionContext,
  type NativeConnectionOwner,
} from "./connection.js";

/** What a prober takes. */
export type ProberInput =
  | ConnectionInput
  /** Connect to this server, and prove the secret if there is one. */
  | { readonly type: "connect"; readonly server: Endpoint }
  /** Once connected: ask whether others reach this address. */
  | { readonly type: "probe"; readonly address: Address }
  | { readonly type: "close" };

/** What a prober puts out. */
export type ProberOutput =
  | ConnectionOutput
  | { readonly type: "note"; readonly note: LogEvent }
  /** `cipher`: how the connection is encrypted, once both ends have proved the secret. */
  | { readonly type: "connected"; readonly local: Endpoint; readonly remote: Endpoint; readonly cipher?: string }
  /** Somebody has connected to the address that is probed. */
  | { readonly type: "dialed"; readonly from: Endpoint }
  | { readonly type: "answered"; readonly answer: ControlOf<"probed"> }
  /** No answer comes, and why. `code`: of the refusal, if the other side has refused. */
  | {
      readonly type: "failed";
      readonly code: ErrorCode | undefined;
      readonly refusal?: string;
      readonly reason: string;
    };

/** So many callers are answered at once: the server, and whoever else happens to dial. */
const mostCallers = 16;

/** Asks a server whether others reach an address, without becoming a member; answers as its listener. For one question. */
export class Prober implements Machine<ProberInput, ProberOutput>, NativeConnectionOwner {
  readonly #mesh: string;
  readonly #id: Id;
  readonly #isKeyed: boolean;
  readonly #limits: Limits;
  readonly #outputs = new Queue<ProberOutput>();
  readonly #timers = new Timers();
  readonly #timer: KeyedTimers<"answer">;
  readonly #connections: Connections;
  readonly #context: NativeConnectionContext;
  #server: NativeConnection | undefined;
  #callers = 0;
  #isOver = false;

  /** `id`: which the listener names to whoever asks for it. */
  constructor(mesh: string, id: Id, isKeyed: boolean, limits: Limits) {
    this.#mesh = mesh;
    this.#id = id;
    this.#isKeyed = isKeyed;
    this.#limits = limits;
    this.#connections = new Connections(this.#outputs, mesh, limits, this.#timers, () => {});
    this.#timer = this.#timers.keyed(() => this.#fail(undefined, "no answer in time"));
    this.#context = connectionContext(this.#connections, this.#timers, limits, this.#outputs);
  }

  handle(input: ProberInput, now: number): void {
    switch (input.type) {
      case "connect":
        this.#server = NativeConnection.dial(this.#context, input.server, "rendezvous", this);
        this.#timer.set("answer", now + this.#limits.dialMs);
        break;
      case "probe":
        this.#server?.send({ type: "probe", mesh: this.#mesh, id: this.#id, address: input.address });
        // The dial waits for its turn, and may take its whole time.
        this.#timer.set("answer", now + this.#limits.handshakeMs);
        break;
      case "close":
        this.#isOver = true;
        this.#timer.clearAll();
        this.#server?.abort();
        this.#outputs.push({ type: "stopListening" });
        break;
      case "timeout":
        this.#timers.fire(now);
        break;
      case "accepted":
        this.#accepted(input.connection, input.remote);
        break;
      default:
        this.#connections.progress(input, now);
    }
  }

  poll(): ProberOutput | undefined {
    return this.#outputs.poll();
  }

  nextTimeout(): number | undefined {
    return this.#timers.next();
  }

  // What happens on its connection with the server.

  connected(connection: NativeConnection): void {
    const { local, remote, cipher } = connection;
    this.#timer.set("answer", undefined);
    if (local !== undefined)
      this.#outputs.push({ type: "connected", local, remote, ...(cipher === undefined ? {} : { cipher }) });
  }

  control(connection: NativeConnection, control: Control, now: number): void {
    if (control.type === "probed") {
      this.#isOver = true;
      connection.close(now);
      this.#timer.set("answer", undefined);
      this.#outputs.push({ type: "answered", answer: control });
    } else if (control.type === "refuse") {
      connection.abort();
      this.#fail("REFUSED", control.message, control.code);
    } else connection.unexpected(control.type, now);
  }

  gone(connection: NativeConnection, reason: string): void {
    this.#fail(connection.failure, reason);
  }

  #fail(code: ErrorCode | undefined, reason: string, refusal?: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#server?.abort();
    this.#timer.set("answer", undefined);
    this.#outputs.push({ type: "failed", code, reason, ...(refusal === undefined ? {} : { refusal }) });
  }

  #accepted(connection: ConnectionId, remote: Endpoint): void {
    this.#outputs.push({ type: "dialed", from: remote });
    this.#connections.give(connection, { handle: () => {} });
    if (this.#callers >= mostCallers) {
      this.#connections.abort(connection);
      return;
    }
    this.#callers += 1;
    const pending = { connection, remote, identity: undefined, cipher: undefined };
    const caller = new Caller(this.#context, pending, this.#id, this.#isKeyed, () => {
      this.#callers -= 1;
    });
    this.#connections.give(connection, caller);
  }
}

/** Somebody who has connected to the address, and asks who listens there. */
class Caller implements ConnectionListener, NativeConnectionOwner {
  readonly #context: NativeConnectionContext;
  readonly #connection: NativeConnection;
  readonly #id: Id;
  readonly #closed: () => void;
  /** What it says is understood: it has proved the secret, or there is none. */
  #isTrusted: boolean;

  constructor(
    context: NativeConnectionContext,
    pending: UnidentifiedConnection,
    id: Id,
    isKeyed: boolean,
    closed: () => void,
  ) {
    this.#context = context;
    this.#connection = NativeConnection.accept(context, pending, this);
    this.#id = id;
    this.#isTrusted = !isKeyed;
    this.#closed = closed;
  }

  handle(input: ConnectionProgress, now: number): void {
    if (input.type === "secured") this.#isTrusted = true;
    else if (input.type === "closed") this.#closed();
    if (input.type === "bytes" && !this.#isTrusted) this.#context.connections.abort(input.connection);
    else this.#connection.handle(input, now);
  }

  control(connection: NativeConnection, control: Control, now: number): void {
    if (control.type === "check") {
      connection.send({ type: "here", id: this.#id });
      connection.close(now);
    } else connection.unexpected(control.type, now);
  }

  gone(): void {}
}
