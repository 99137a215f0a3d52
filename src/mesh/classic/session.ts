import type { ConnectionId, ConnectionProgress, Endpoint } from "../../core/connections.js";
import type { OutputSink } from "../../core/machine.js";
import { TimerTable } from "../../core/timer-table.js";
import { nextState } from "../../core/transitions.js";
import type { Address } from "../../protocol/address.js";
import { readEnd, type ServerEvent, ServerReader, teardownWord } from "../../protocol/classic/list.js";
import { encodeRegistration } from "../../protocol/classic/registration.js";
import type { ConnectionListener, Connections } from "../connections.js";
import { type ServerSession, type SessionEvent, SessionOutput } from "../server-session.js";
import type { MemberOutput, MemberRules } from "../types.js";
import { type ClassicSessionState, type ClassicSessionTrigger, classicSessionTransitions } from "./session-states.js";

/** How a refusal begins that tells of the end of a mesh that is not whole. */
const incomplete = "INCOMPLETE: ";

/**
 * The conversation with the rendezvous server: connects, registers, reads lists, hears the end.
 *
 * Any time may pass between connecting and registering. If the server closes the idle connection meanwhile, registering
 * opens a new one.
 */
export class ClassicSession implements ServerSession, ConnectionListener {
  readonly #limits: MemberRules["limits"];
  readonly #voice: SessionOutput;
  readonly #connections: Connections;
  readonly #waits = new TimerTable<"dial" | "quiet">();
  #state: ClassicSessionState = "idle";
  #connection: ConnectionId | undefined;
  #local: Endpoint | undefined;
  /** True once the server has said something on the present connection. */
  #hasSpoken = false;
  #reader: ServerReader;
  /** The address to register, from the moment it is to be registered. */
  #own: Address | undefined;

  constructor(rules: MemberRules, outputs: OutputSink<MemberOutput>, connections: Connections) {
    this.#limits = rules.limits;
    this.#voice = new SessionOutput(outputs);
    this.#connections = connections;
    this.#reader = new ServerReader(rules.limits);
  }

  /** The present connection, if there is one. */
  get connection(): ConnectionId | undefined {
    return this.#connection;
  }

  /** Our end of the newest connection, which tells by which address this machine reaches the server. */
  get local(): Endpoint | undefined {
    return this.#local;
  }

  nextTimeout(): number | undefined {
    return this.#waits.next();
  }

  poll(): SessionEvent | undefined {
    return this.#voice.poll();
  }

  // What the owner wants.

  connect(to: Endpoint, now: number): void {
    this.#voice.server = to;
    this.#hasSpoken = false;
    this.#connection = this.#connections.dial(to, "rendezvous", this);
    this.#step("dialing");
    this.#reader = new ServerReader(this.#limits);
    this.#waits.set("dial", now + this.#limits.dialMs);
  }

  /** Registers on the present connection, or on a new one if the server has closed an idle one. */
  register(own: Address, now: number): void {
    this.#own = own;
    if (this.#state === "connected" && this.#hasSpoken) this.#leaveIdle(now);
    if (this.#state === "connected") this.#sendRegistration();
    else if (this.#state === "idle" && this.#voice.server !== undefined) this.connect(this.#voice.server, now);
  }

  /** The server has said something to an idle connection, so it is about to close it. */
  #leaveIdle(now: number): void {
    if (this.#connection !== undefined) this.#connections.dismiss(this.#connection, now);
    this.#lost();
  }

  /** The end has come, from whichever side. */
  end(now: number): void {
    const { connection } = this;
    const isConnecting = this.#state === "connecting";
    this.#step("over");
    this.#waits.clearAll();
    if (connection === undefined) return;
    if (isConnecting) this.#connections.abort(connection);
    else this.#connections.dismiss(connection, now);
  }

  // What happened to the connection.

  handle(input: ConnectionProgress, now: number): void {
    switch (input.type) {
      case "connected":
        this.#connected(input.connection, input.local, input.remote);
        break;
      case "bytes":
        this.#hasSpoken = true;
        this.#reader.push(input.bytes);
        this.#understand(now);
        break;
      case "ended":
        this.#reader.finish();
        this.#understand(now);
        this.#connections.dismiss(input.connection, now);
        this.#gone(undefined);
        break;
      case "closed":
        this.#reader.break();
        this.#understand(now);
        this.#gone(input.failure);
        this.#connection = undefined;
        break;
      default:
        // The registration is the only thing ever sent; nobody waits for its leaving.
        break;
    }
  }

  handleTimeout(now: number): void {
    for (let due = this.#waits.takeDue(now); due !== undefined; due = this.#waits.takeDue(now)) {
      if (due === "quiet") {
        this.#reader.quiet();
        this.#understand(now);
      } else {
        this.#abort(`no answer within ${this.#limits.dialMs} ms`);
      }
    }
  }

  #connected(connection: ConnectionId, local: Endpoint, remote: Endpoint): void {
    if (connection !== this.#connection || this.#state !== "connecting") return;
    if (local.host === remote.host && local.port === remote.port) {
      // TCP has met its own outgoing port.
      this.#abort("nobody listens there");
      return;
    }
    this.#waits.clear("dial");
    this.#local = local;
    this.#step("connected");
    this.#voice.tell({ type: "connected", local });
    if (this.#own !== undefined) this.#sendRegistration();
  }

  #sendRegistration(): void {
    if (this.#connection === undefined || this.#own === undefined) return;
    this.#step("registering");
    this.#connections.send(this.#connection, encodeRegistration(this.#own));
  }

  /** The dial has come to nothing. */
  #abort(reason: string): void {
    if (this.#connection !== undefined) this.#connections.abort(this.#connection);
    this.#gone(reason);
  }

  /** The connection is of no more use; `failure` says how it broke, undefined that the server closed it. */
  #gone(failure: string | undefined): void {
    const server = this.#voice.serverName;
    this.#waits.clearAll();
    switch (this.#state) {
      case "connecting": {
        const message = `${server}: ${failure ?? "closed at once"}`;
        if (this.#own !== undefined) this.#voice.over(message, "SERVER_UNREACHABLE");
        else this.#voice.tell({ type: "unreachable", message, failure: "SERVER_UNREACHABLE" });
        this.#lost();
        break;
      }
      case "connected":
        this.#voice.note("SERVER_IDLE_CLOSED", "nothing had been registered");
        this.#lost();
        break;
      case "registering":
        this.#voice.over(`${server} closed before it had listed this node`, "SERVER_VANISHED");
        break;
      case "listed":
        if (failure === undefined) this.#voice.over("the server closed");
        else this.#voice.over(`the connection to ${server} broke: ${failure}`, "SERVER_VANISHED");
        break;
      default:
        break;
    }
  }

  #lost(): void {
    this.#step("lost");
    this.#connection = undefined;
  }

  // What the server says.

  #understand(now: number): void {
    for (let event = this.#reader.poll(); event !== undefined; event = this.#reader.poll()) this.#hear(event, now);
    if (this.#reader.awaitsQuiet) this.#waits.set("quiet", now + this.#limits.quietMs);
    else this.#waits.clear("quiet");
  }

  #hear(event: ServerEvent, now: number): void {
    if (this.#state === "connected" && (event.type === "end" || event.type === "tooLong")) {
      this.#voice.note("SERVER_IDLE_CLOSED", "it said an end before anything had been registered");
      this.#leaveIdle(now);
    }
    // Before the registration and after the end nothing else that the server says concerns this node.
    if (this.#state !== "registering" && this.#state !== "listed") return;
    switch (event.type) {
      case "list":
        this.#list(event.members, event.isSettled);
        break;
      case "revised":
        this.#voice.note("LIST_REVISED", "the last address of the list was corrected");
        break;
      case "badEntry":
        this.#voice.note("BAD_LIST", `skipped "${event.text}"`);
        break;
      case "tooLong":
        this.#tooLong(event.isList);
        break;
      case "end":
        this.#lastWords(event.text);
        break;
    }
  }

  #list(list: readonly Address[], isSettled: boolean): void {
    const isNamed = this.#own !== undefined && list.includes(this.#own);
    if (isNamed && this.#own !== undefined && this.#state === "registering") {
      this.#step("listed");
      this.#voice.tell({ type: "registered", address: this.#own, order: null });
    }
    if (isSettled && !isNamed) this.#voice.note("NOT_LISTED", `the list lacks ${this.#own}`);
    const members = [...new Set(list)];
    if (isSettled && members.length < list.length)
      this.#voice.note("LIST_DUPLICATE", "an address stands in the list twice");
    this.#voice.bring({ type: "list", members, isSettled });
  }

  #tooLong(isList: boolean): void {
    const { listBytes } = this.#limits;
    if (isList) this.#voice.over(`the server's list exceeds ${listBytes} bytes`, "LIST_TOO_LONG");
    else this.#voice.over(`the server sent ${listBytes} bytes and neither a list nor a word`, "REFUSED");
  }

  #lastWords(text: string): void {
    const { refusal } = readEnd(text);
    if (refusal?.startsWith(incomplete) === true) this.#voice.over(refusal.slice(incomplete.length), "INCOMPLETE");
    else if (refusal !== undefined) this.#voice.over(refusal, "REFUSED");
    else if (this.#state === "registering") this.#voice.over(unadmitted(text), "REFUSED");
    else this.#voice.over(text);
  }

  #step(event: ClassicSessionTrigger): void {
    this.#state = nextState(classicSessionTransitions, this.#state, event, "session with the server");
  }
}

/** What it means that a server answers a registration with something that is no list. */
function unadmitted(text: string): string {
  return text === teardownWord ? "the mesh ended before this node was let in" : `the server answered "${text}"`;
}
