import { type ConnectionId, type ConnectionProgress, type Endpoint, isSelfConnection } from "../../core/connections.js";
import type { LogEvent } from "../../core/errors.js";
import type { OutputSink } from "../../core/machine.js";
import type { KeyedTimers, Timers } from "../../core/timers.js";
import type { Address } from "../../protocol/address.js";
import { readEndText, type ServerStreamEvent, ServerStreamReader, teardownText } from "../../protocol/classic/list.js";
import { encodeRegistration } from "../../protocol/classic/registration.js";
import type { ConnectionListener, Connections } from "../connections.js";
import { ServerSession } from "../server-session.js";
import type { MemberOutput, MemberRules, SessionEvent } from "../types.js";

/** The states of a classic member's session with its server. What a row does not allow is a fault of the machine. */
export const classicSessionTransitions = {
  /** No connection. */
  idle: { dialing: "connecting", over: "over" },
  /** A dial is under way. */
  connecting: { connected: "connected", lost: "idle", postponed: "postponed", over: "over" },
  /** Connected; nothing has been registered yet, for as long as the caller likes. */
  connected: { registering: "registering", lost: "idle", over: "over" },
  /** The registration is sent; no list has named this node. */
  registering: { listed: "listed", postponed: "postponed", over: "over" },
  /** The server is not there: it is dialed again after a pause. */
  postponed: { dialing: "connecting", over: "over" },
  /** A list has named this node. */
  listed: { over: "over" },
  /** The end: told by the server, wished by the owner, or a broken connection. */
  over: { over: "over" },
} as const;

type State = keyof typeof classicSessionTransitions;
type Trigger = "dialing" | "connected" | "registering" | "listed" | "lost" | "postponed" | "over";

/** How a refusal begins at the end of a mesh that is not whole. */
const incomplete = "INCOMPLETE: ";

/**
 * The session with the rendezvous server: connects, registers, reads lists, and the end.
 *
 * Any time may pass between connecting and registering. If the server closes the idle connection meanwhile, registering
 * opens a new one.
 */
export class ClassicSession extends ServerSession<State, Trigger> implements ConnectionListener {
  readonly #connections: Connections;
  readonly #timers: KeyedTimers<"dial" | "quiet">;
  #connection: ConnectionId | undefined;
  /** True once something has come from the server on the present connection. */
  #hasReceived = false;
  #reader: ServerStreamReader;

  constructor(
    rules: MemberRules,
    timers: Timers,
    outputs: OutputSink<MemberOutput>,
    connections: Connections,
    emit: (event: SessionEvent, now: number) => void,
  ) {
    super(classicSessionTransitions, "idle", rules, timers, outputs, emit);
    this.#connections = connections;
    this.#timers = timers.keyed((wait, now) => this.#timedOut(wait, now));
    this.#reader = new ServerStreamReader(rules.limits);
  }

  override get connectionId(): ConnectionId | undefined {
    return this.#connection;
  }

  // What the member wants.

  override register(own: Address, now: number): void {
    this.own = own;
    if (this.state === "connected" && this.#hasReceived) this.#leaveIdle(now);
    if (this.state === "connected") this.#sendRegistration();
    else if (this.state === "idle") this.dial(now);
  }

  /** The server has said something to an idle connection, so it is about to close it. */
  #leaveIdle(now: number): void {
    if (this.#connection !== undefined) this.#connections.dismiss(this.#connection, now);
    this.#lost();
  }

  override end(now: number): void {
    const connection = this.#connection;
    const isConnecting = this.state === "connecting";
    this.step("over");
    this.#timers.clearAll();
    this.serverRedial.stop();
    if (connection === undefined) return;
    if (isConnecting) this.#connections.abort(connection);
    else this.#connections.dismiss(connection, now);
  }

  // What happened to the connection.

  handle(input: ConnectionProgress, now: number): void {
    switch (input.type) {
      case "connected":
        this.#connected(input.connection, input.local, input.remote, now);
        break;
      case "bytes":
        this.#hasReceived = true;
        this.#reader.push(input.bytes);
        this.#readAll(now);
        break;
      case "ended":
        this.#reader.finish();
        this.#readAll(now);
        this.#connections.dismiss(input.connection, now);
        this.#gone(undefined, now);
        break;
      case "closed":
        this.#reader.break();
        this.#readAll(now);
        this.#gone(input.failure, now);
        this.#connection = undefined;
        break;
      default:
        // The registration is the only thing ever sent; nobody waits for its leaving.
        break;
    }
  }

  #timedOut(wait: "dial" | "quiet", now: number): void {
    if (wait === "dial") this.#abort(`no answer within ${Math.round(this.serverRedial.dialMs)} ms`, now);
    else {
      this.#reader.quiet();
      this.#readAll(now);
    }
  }

  protected override dial(now: number): void {
    const { server } = this.serverRedial;
    if (server === undefined) return;
    this.step("dialing");
    this.#hasReceived = false;
    this.#connection = this.#connections.dial(server, "rendezvous", this);
    this.#reader = new ServerStreamReader(this.rules.limits);
    this.#timers.set("dial", now + this.serverRedial.dialMs);
  }

  #connected(connection: ConnectionId, local: Endpoint, remote: Endpoint, now: number): void {
    if (connection !== this.#connection || this.state !== "connecting") return;
    if (isSelfConnection(local, remote)) {
      // TCP has met its own outgoing port.
      this.#abort("nobody listens there", now);
      return;
    }
    this.#timers.clear("dial");
    this.local = local;
    this.step("connected");
    this.report({ type: "connected", local, server: remote });
    if (this.own !== undefined) this.#sendRegistration();
  }

  #sendRegistration(): void {
    if (this.#connection === undefined || this.own === undefined) return;
    this.step("registering");
    this.#connections.send(this.#connection, encodeRegistration(this.own));
  }

  /** The dial has come to nothing. */
  #abort(reason: string, now: number): void {
    if (this.#connection !== undefined) this.#connections.abort(this.#connection);
    this.#gone(reason, now);
  }

  /** The connection is of no more use; `failure` says how it broke, undefined that the server closed it. */
  #gone(failure: string | undefined, now: number): void {
    const redial = this.serverRedial;
    const goesOn = redial.goesOn();
    this.#timers.clearAll();
    switch (this.state) {
      case "connecting": {
        const problem = { code: "SERVER_UNREACHABLE", message: failure ?? "closed at once" } as const;
        if (goesOn) {
          this.#postpone(problem, now);
          break;
        }
        redial.note(problem);
        const message = redial.failures;
        redial.stop();
        this.#lost();
        if (this.own !== undefined) this.over(message, "SERVER_UNREACHABLE", now);
        else this.report({ type: "unreachable", message, failure: "SERVER_UNREACHABLE" });
        break;
      }
      case "connected":
        this.note("SERVER_IDLE_CLOSED", "nothing had been registered");
        this.#lost();
        break;
      case "registering": {
        const problem = { code: "SERVER_VANISHED", message: "closed before it had listed this node" } as const;
        if (goesOn) {
          this.#postpone(problem, now);
          break;
        }
        redial.note(problem);
        this.over(redial.failures, "SERVER_VANISHED", now);
        break;
      }
      case "listed":
        if (failure === undefined) this.over("the server closed", undefined, now);
        else this.over(`the connection to ${redial.serverName} broke: ${failure}`, "SERVER_VANISHED", now);
        break;
      default:
        break;
    }
  }

  /** The server is not there; it is looked for. */
  #postpone(failure: LogEvent, now: number): void {
    this.noteAwaited(failure);
    this.step("postponed");
    this.#connection = undefined;
    this.serverRedial.failed(failure, now);
  }

  #lost(): void {
    this.step("lost");
    this.#connection = undefined;
  }

  // What the server says.

  #readAll(now: number): void {
    for (let event = this.#reader.poll(); event !== undefined; event = this.#reader.poll()) this.#read(event, now);
    if (this.#reader.awaitsQuiet) this.#timers.set("quiet", now + this.rules.limits.quietMs);
    else this.#timers.clear("quiet");
  }

  #read(event: ServerStreamEvent, now: number): void {
    if (this.state === "connected" && (event.type === "end" || event.type === "tooLong")) {
      this.note("SERVER_IDLE_CLOSED", "it said an end before anything had been registered");
      this.#leaveIdle(now);
    }
    // Before the registration and after the end nothing else that the server says concerns this node.
    if (this.state !== "registering" && this.state !== "listed") return;
    switch (event.type) {
      case "list":
        this.#list(event.members, event.isSettled, now);
        break;
      case "revised":
        this.note("LIST_REVISED", "the last address of the list was corrected");
        break;
      case "badEntry":
        this.note("BAD_LIST", `skipped "${event.text}"`);
        break;
      case "tooLong":
        this.#tooLong(event.isList, now);
        break;
      case "end":
        this.#lastWords(event.text, now);
        break;
    }
  }

  #list(list: readonly Address[], isSettled: boolean, now: number): void {
    const isNamed = this.own !== undefined && list.includes(this.own);
    if (isNamed && this.own !== undefined && this.state === "registering") {
      this.step("listed");
      this.serverRedial.allow(undefined);
      this.report({ type: "registered", address: this.own, order: null });
    }
    if (isSettled && !isNamed) this.note("NOT_LISTED", `the list lacks ${this.own}`);
    const members = [...new Set(list)];
    if (isSettled && members.length < list.length) this.note("LIST_DUPLICATE", "an address stands in the list twice");
    this.emit({ type: "list", members, isSettled }, now);
  }

  #tooLong(isList: boolean, now: number): void {
    const { listBytes } = this.rules.limits;
    if (isList) this.over(`the server's list exceeds ${listBytes} bytes`, "LIST_TOO_LONG", now);
    else this.over(`the server sent ${listBytes} bytes and neither a list nor an end text`, "REFUSED", now);
  }

  #lastWords(text: string, now: number): void {
    const { refusal } = readEndText(text);
    if (refusal?.startsWith(incomplete) === true) this.over(refusal.slice(incomplete.length), "INCOMPLETE", now);
    else if (refusal !== undefined) this.over(refusal, "REFUSED", now);
    else if (this.state === "registering") this.over(unadmitted(text), "REFUSED", now);
    else this.over(text, undefined, now);
  }
}

/** What it means that a server answers a registration with something that is no list. */
function unadmitted(text: string): string {
  return text === teardownText ? "the mesh ended before this node was let in" : `the server answered "${text}"`;
}
