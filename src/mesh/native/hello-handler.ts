import type { ConnectionId } from "../../core/connections.js";
import type { ErrorCode } from "../../core/errors.js";
import type { PendingConnections } from "../../core/pending-connections.js";
import type { KeyedTimers } from "../../core/timers.js";
import type { Control, ControlOf } from "../../protocol/native/control.js";
import type { DialectAcceptor, PendingConnection } from "../acceptor.js";
import type { ConnectionListener } from "../connections.js";
import { NativeConnection, type NativeConnectionContext, type NativeConnectionOwner } from "./connection.js";
import type { Link } from "./link.js";
import type { HelloCase } from "./link-states.js";
import { judgeHello } from "./link-states.js";

type Hello = ControlOf<"hello">;

/** What callers say that concerns the session with the server, whom they are or take this node for. */
export type SessionCall = ControlOf<"challenge"> | ControlOf<"check"> | ControlOf<"register"> | ControlOf<"resume">;

/** What the acceptor must know of the directory, and what the rest of the member must know of it. */
export interface HelloHandlerEvents {
  /** True if this node may speak with callers in this mesh. */
  readonly mesh: string;
  readonly isKeyed: boolean;
  /** What a hello means, by the directory as it is now. */
  caseOf(hello: Hello): HelloCase;
  /** The link with the sender of a hello that is taken. */
  linkOf(hello: Hello): Link | undefined;
  /** A hello has been taken on this channel, and the old connection of the link is closed: answer, and go on. */
  accepted(link: Link, hello: Hello, channel: NativeConnection, now: number): void;
  /** The server has dialed back, or somebody registers here. */
  called(channel: NativeConnection, control: SessionCall, now: number): void;
}

/**
 * Receives native callers: reads what they come for, and judges hellos. One whose sender is unknown is parked, because the
 * entry that names it may be on its way.
 */
export class HelloHandler implements DialectAcceptor, NativeConnectionOwner {
  readonly #ports: NativeConnectionContext;
  readonly #handshakes: PendingConnections;
  readonly #watch: HelloHandlerEvents;
  /** Callers that have not said what they come for. */
  readonly #callers = new Map<ConnectionId, NativeConnection>();
  readonly #hellos = new Map<NativeConnection, Hello>();
  /** By when an entry must name the sender of each parked hello. */
  readonly #parked: KeyedTimers<NativeConnection>;

  constructor(ports: NativeConnectionContext, handshakes: PendingConnections, watch: HelloHandlerEvents) {
    this.#ports = ports;
    this.#handshakes = handshakes;
    this.#watch = watch;
    this.#parked = ports.timers.keyed((channel, now) => {
      const hello = this.#hellos.get(channel);
      this.#refuse(channel, "UNKNOWN_PEER", `the directory does not name ${hello?.from}`, now);
    });
  }

  receive(visitor: PendingConnection): ConnectionListener {
    const channel = NativeConnection.accept(this.#ports, visitor, this);
    this.#callers.set(visitor.connection, channel);
    return channel;
  }

  overdue(connection: ConnectionId, now: number): boolean {
    const channel = this.#callers.get(connection);
    if (channel !== undefined) this.#refuse(channel, "HANDSHAKE_TIMEOUT", "no hello came in time", now);
    return channel !== undefined;
  }

  control(channel: NativeConnection, control: Control, now: number): void {
    if (this.#hellos.has(channel)) {
      this.#forget(channel);
      channel.unexpected(control.type, now);
      return;
    }
    this.#known(channel);
    if (control.type === "hello") this.#greeted(channel, control, now);
    else if (isSessionCall(control)) this.#called(channel, control, now);
    else channel.unexpected(control.type, now);
  }

  gone(channel: NativeConnection): void {
    const isSilent = this.#callers.has(channel.id) && channel.failure === undefined;
    this.#forget(channel);
    if (isSilent) {
      this.#ports.note("NOTHING_SAID", "closed before it had said hello", channel.remoteAddress);
    }
  }

  /** The directory has moved: what is parked is judged afresh. */
  judgeParked(now: number): void {
    for (const [channel, hello] of [...this.#hellos]) this.#judge(channel, hello, now);
  }

  /** Nobody is received any more. */
  close(): void {
    for (const channel of [...this.#callers.values(), ...this.#hellos.keys()]) {
      this.#forget(channel);
      channel.abort();
    }
  }

  #greeted(channel: NativeConnection, hello: Hello, now: number): void {
    if (this.#isImpostor(channel, "member")) {
      this.#refuse(channel, "WRONG_ROLE", "a hello is for members", now);
    } else if (hello.mesh !== this.#watch.mesh) {
      this.#refuse(channel, "WRONG_MESH", `this is a member of another mesh than "${hello.mesh}"`, now);
    } else this.#judge(channel, hello, now);
  }

  #called(channel: NativeConnection, control: SessionCall, now: number): void {
    if (this.#isImpostor(channel, "rendezvous")) {
      this.#refuse(channel, "WRONG_ROLE", `a ${control.type} is for the rendezvous server`, now);
    } else if (this.#watch.isKeyed && control.mesh !== this.#watch.mesh) {
      this.#refuse(channel, "WRONG_MESH", `this is a member of another mesh than "${control.mesh}"`, now);
    } else this.#watch.called(channel, control, now);
  }

  #isImpostor(channel: NativeConnection, role: "member" | "rendezvous"): boolean {
    return this.#watch.isKeyed && channel.identity?.role !== role;
  }

  #judge(channel: NativeConnection, hello: Hello, now: number): void {
    const verdict = judgeHello(this.#watch.caseOf(hello));
    if (verdict === "park") {
      this.#park(channel, hello, now);
      return;
    }
    this.#forget(channel);
    const link = this.#watch.linkOf(hello);
    if (verdict !== "take" || link === undefined) {
      const code = verdict === "take" ? "UNKNOWN_PEER" : verdict;
      this.#refuse(channel, code, `the hello of attempt ${hello.attempt} is not taken`, now, link?.attempt);
      return;
    }
    this.#watch.accepted(link, hello, channel, now);
  }

  #park(channel: NativeConnection, hello: Hello, now: number): void {
    if (this.#hellos.has(channel)) return;
    if (this.#hellos.size >= this.#ports.limits.parked) {
      this.#refuse(channel, "PARKING_FULL", "no room to wait for an entry that names the sender", now);
      return;
    }
    this.#hellos.set(channel, hello);
    this.#parked.set(channel, now + this.#ports.limits.parkedMs);
  }

  #known(channel: NativeConnection): void {
    this.#callers.delete(channel.id);
    this.#handshakes.end(channel.id);
  }

  #forget(channel: NativeConnection): void {
    this.#known(channel);
    this.#hellos.delete(channel);
    this.#parked.clear(channel);
  }

  #refuse(channel: NativeConnection, code: ErrorCode, message: string, now: number, highest?: number): void {
    this.#forget(channel);
    this.#ports.note(code, message, channel.remoteAddress);
    channel.refuse(code, message, now, highest);
  }
}

function isSessionCall(control: Control): control is SessionCall {
  return ["challenge", "check", "register", "resume"].includes(control.type);
}
