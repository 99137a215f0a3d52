import type { ConnectionId } from "../../core/connections.js";
import type { ErrorCode } from "../../core/errors.js";
import type { PendingConnections } from "../../core/pending-connections.js";
import type { KeyedTimers } from "../../core/timers.js";
import type { Id } from "../../protocol/directory.js";
import type { Control, ControlOf } from "../../protocol/native/control.js";
import type { DialectAcceptor, UnidentifiedConnection } from "../acceptor.js";
import type { ConnectionListener } from "../connections.js";
import type { MemberRules } from "../types.js";
import { NativeConnection, type NativeConnectionContext, type NativeConnectionOwner } from "./connection.js";
import type { HelloCase } from "./hello-rules.js";
import { judgeHello } from "./hello-rules.js";
import type { Link } from "./link.js";
import type { NativeSession, SessionCall } from "./session.js";

type Hello = ControlOf<"hello">;

/** What judging a hello needs of the directory, and what follows from it. */
export interface HelloHandlerEvents {
  /** What a hello means for the link with its sender, if there is one, by the directory as it is now. */
  caseOf(hello: Hello, link: Link | undefined): HelloCase;
  /** A hello has been taken on this connection, and the old connection of the link is closed: answer, and go on. */
  accepted(link: Link, hello: Hello, connection: NativeConnection, now: number): void;
}

/**
 * Accepts native connections: reads their first message, and judges hellos. One whose sender is unknown is parked, because the
 * entry that names it may be on its way.
 */
export class HelloHandler implements DialectAcceptor, NativeConnectionOwner {
  readonly #rules: MemberRules;
  readonly #context: NativeConnectionContext;
  readonly #pending: PendingConnections;
  readonly #session: NativeSession;
  /** By the ids of the peers. */
  readonly #links: ReadonlyMap<Id, Link>;
  readonly #events: HelloHandlerEvents;
  /** Accepted connections on which no message has come. */
  readonly #callers = new Map<ConnectionId, NativeConnection>();
  readonly #hellos = new Map<NativeConnection, Hello>();
  /** By when an entry must name the sender of each parked hello. */
  readonly #parked: KeyedTimers<NativeConnection>;

  constructor(
    rules: MemberRules,
    context: NativeConnectionContext,
    pending: PendingConnections,
    session: NativeSession,
    links: ReadonlyMap<Id, Link>,
    events: HelloHandlerEvents,
  ) {
    this.#rules = rules;
    this.#context = context;
    this.#pending = pending;
    this.#session = session;
    this.#links = links;
    this.#events = events;
    this.#parked = context.timers.keyed((connection, now) => {
      const hello = this.#hellos.get(connection);
      this.#refuse(connection, "UNKNOWN_PEER", `the directory does not name ${hello?.from}`, now);
    });
  }

  receive(pending: UnidentifiedConnection): ConnectionListener {
    const connection = NativeConnection.accept(this.#context, pending, this);
    this.#callers.set(pending.connection, connection);
    return connection;
  }

  timedOut(id: ConnectionId, now: number): boolean {
    const connection = this.#callers.get(id);
    if (connection !== undefined) this.#refuse(connection, "HANDSHAKE_TIMEOUT", "no hello came in time", now);
    return connection !== undefined;
  }

  control(connection: NativeConnection, control: Control, now: number): void {
    if (this.#hellos.has(connection)) {
      this.#forget(connection);
      connection.unexpected(control.type, now);
      return;
    }
    this.#identified(connection);
    if (control.type === "hello") this.#helloRead(connection, control, now);
    else if (isSessionCall(control)) this.#called(connection, control, now);
    else connection.unexpected(control.type, now);
  }

  gone(connection: NativeConnection): void {
    const isSilent = this.#callers.has(connection.id) && connection.failure === undefined;
    this.#forget(connection);
    if (isSilent) {
      this.#context.note("NOTHING_SAID", "closed before it had said hello", connection.remoteAddress);
    }
  }

  /** The directory has moved: what is parked is judged afresh. */
  judgeParked(now: number): void {
    for (const [connection, hello] of [...this.#hellos]) this.#judge(connection, hello, now);
  }

  /** Nobody is received any more. */
  close(): void {
    for (const connection of [...this.#callers.values(), ...this.#hellos.keys()]) {
      this.#forget(connection);
      connection.abort();
    }
  }

  #helloRead(connection: NativeConnection, hello: Hello, now: number): void {
    if (this.#hasWrongRole(connection, "member")) {
      this.#refuse(connection, "WRONG_ROLE", "a hello is for members", now);
    } else if (hello.mesh !== this.#rules.mesh) {
      this.#refuse(connection, "WRONG_MESH", `this is a member of another mesh than "${hello.mesh}"`, now);
    } else this.#judge(connection, hello, now);
  }

  #called(connection: NativeConnection, control: SessionCall, now: number): void {
    if (this.#hasWrongRole(connection, "rendezvous")) {
      this.#refuse(connection, "WRONG_ROLE", `a ${control.type} is for the rendezvous server`, now);
    } else if (this.#rules.isKeyed && control.mesh !== this.#rules.mesh) {
      this.#refuse(connection, "WRONG_MESH", `this is a member of another mesh than "${control.mesh}"`, now);
    } else this.#session.called(connection, control, now);
  }

  #hasWrongRole(connection: NativeConnection, role: "member" | "rendezvous"): boolean {
    return this.#rules.isKeyed && connection.identity?.role !== role;
  }

  #judge(connection: NativeConnection, hello: Hello, now: number): void {
    const link = this.#links.get(hello.from);
    const verdict = judgeHello(this.#events.caseOf(hello, link));
    if (verdict === "park") {
      this.#park(connection, hello, now);
      return;
    }
    this.#forget(connection);
    if (verdict !== "take" || link === undefined) {
      const code = verdict === "take" ? "UNKNOWN_PEER" : verdict;
      this.#refuse(connection, code, `the hello of attempt ${hello.attempt} is not taken`, now, link?.attempt);
      return;
    }
    this.#events.accepted(link, hello, connection, now);
  }

  #park(connection: NativeConnection, hello: Hello, now: number): void {
    if (this.#hellos.has(connection)) return;
    if (this.#hellos.size >= this.#context.limits.parked) {
      this.#refuse(connection, "PARKING_FULL", "no room to wait for an entry that names the sender", now);
      return;
    }
    this.#hellos.set(connection, hello);
    this.#parked.set(connection, now + this.#context.limits.parkedMs);
  }

  #identified(connection: NativeConnection): void {
    this.#callers.delete(connection.id);
    this.#pending.end(connection.id);
  }

  #forget(connection: NativeConnection): void {
    this.#identified(connection);
    this.#hellos.delete(connection);
    this.#parked.clear(connection);
  }

  #refuse(connection: NativeConnection, code: ErrorCode, message: string, now: number, highest?: number): void {
    this.#forget(connection);
    this.#context.note(code, message, connection.remoteAddress);
    connection.refuse(code, message, now, highest);
  }
}

function isSessionCall(control: Control): control is SessionCall {
  return ["challenge", "check", "register", "resume", "probe"].includes(control.type);
}
