import type { ConnectionId, ConnectionProgress, Endpoint } from "../core/connections.js";
import type { GracefulCloses } from "../core/graceful-closes.js";
import { IdleMonitor, type IdleVerdict } from "../core/idle-monitor.js";
import type { OutputSink } from "../core/machine.js";
import { PendingConnections } from "../core/pending-connections.js";
import { type PendingRefusal, PendingRefusals } from "../core/pending-refusals.js";
import type { KeyedTimers, Timers } from "../core/timers.js";
import type { Address } from "../protocol/address.js";
import { callerKindOf } from "../protocol/caller-kind.js";
import { ping } from "../protocol/native/frames.js";
import type { MeshStatus, PairStatus } from "../protocol/status.js";
import type { AddressVerifier } from "./address-verifier.js";
import { RegistrationHandler } from "./classic/registration-handler.js";
import type { ClassicSender } from "./classic/sender.js";
import { MemberSession } from "./member-session.js";
import { emptyStatus, statusOf } from "./mesh-status.js";
import type { Meshes } from "./meshes.js";
import { Measurements } from "./native/measurements.js";
import { NativeMessageHandler } from "./native/message-handler.js";
import { Observers } from "./native/observers.js";
import { pairStatusOf, recordsOf } from "./pair-status.js";
import { type CloseReason, SessionCloser } from "./session-closer.js";
import type { SharingServers } from "./sharing-servers.js";
import type { RendezvousOutput, RendezvousRules } from "./types.js";

/** The share of all connections that is kept for refusing those for whom there is no room. */
const shareOfRefusals = 1 / 8;

const noDescriptors = "no descriptors are left for another connection";

type Secured = Extract<ConnectionProgress, { type: "secured" }>;
type Unproved = Extract<ConnectionProgress, { type: "unproved" }>;

/**
 * Handles accepted connections: bounds those that have not registered, routes what they send to the handler of their
 * dialect, and notices when they are idle or end.
 */
export class ConnectionHandler {
  readonly classic: RegistrationHandler;
  readonly native: NativeMessageHandler;
  readonly sessionCloser: SessionCloser;
  readonly #rules: RendezvousRules;
  readonly #meshes: Meshes;
  readonly #classicSender: ClassicSender;
  readonly #addressVerifier: AddressVerifier;
  readonly #outputs: OutputSink<RendezvousOutput>;
  readonly #pendingConnections: PendingConnections;
  readonly #idleMonitor: IdleMonitor<MemberSession>;
  readonly #observers: Observers;
  readonly #measurements: Measurements;
  /** Every accepted connection that is not gone. */
  readonly #sessions = new Map<ConnectionId, MemberSession>();
  /** When a quiet period decides what a classic registration is. */
  readonly #quietTimers: KeyedTimers<MemberSession>;
  readonly #pendingRefusals: PendingRefusals;

  constructor(
    rules: RendezvousRules,
    timers: Timers,
    outputs: OutputSink<RendezvousOutput>,
    gracefulCloses: GracefulCloses,
    servers: SharingServers,
    meshes: Meshes,
    classicSender: ClassicSender,
    addressVerifier: AddressVerifier,
  ) {
    this.#rules = rules;
    this.#meshes = meshes;
    this.#classicSender = classicSender;
    this.#addressVerifier = addressVerifier;
    this.#outputs = outputs;
    const pendingConnections = new PendingConnections(rules.limits, timers, (connection, now) => {
      const session = this.#sessions.get(connection);
      if (session !== undefined)
        this.sessionCloser.refuse(session, "HANDSHAKE_TIMEOUT", "no registration came in time", now);
    });
    const idleMonitor = new IdleMonitor<MemberSession>(rules.limits, timers, (session, verdict, now) =>
      this.#idle(session, verdict, now),
    );
    this.#measurements = new Measurements(rules.limits, timers);
    const observers = new Observers(rules.limits, timers, (mesh, at) => this.status(mesh, at));
    const ending = (session: MemberSession, closeReason: CloseReason, now: number): void => {
      this.#endSession(session, closeReason, now);
    };
    const closer = new SessionCloser(rules, timers, outputs, classicSender, gracefulCloses, ending);
    this.#pendingConnections = pendingConnections;
    this.#idleMonitor = idleMonitor;
    this.#observers = observers;
    this.sessionCloser = closer;
    this.classic = new RegistrationHandler(rules, servers, meshes, closer, pendingConnections);
    this.native = new NativeMessageHandler(
      rules,
      servers,
      meshes,
      closer,
      pendingConnections,
      addressVerifier,
      idleMonitor,
      observers,
      this.#measurements,
    );
    this.#quietTimers = timers.keyed((session, now) => {
      session.reader.quiet();
      this.#handleEvents(session, now);
    });
    this.#pendingRefusals = new PendingRefusals(rules.limits, timers, (refusal, now) =>
      this.#sendRefusal(refusal, now),
    );
  }

  get sessions(): ReadonlyMap<ConnectionId, MemberSession> {
    return this.#sessions;
  }

  /** What is known of a mesh. */
  status(name: string, now: number): MeshStatus {
    const { version, startedAtMs, limits } = this.#rules;
    const refusals = Object.fromEntries(this.sessionCloser.refusals);
    const server = { version, startedAt: startedAtMs, connections: this.#sessions.size, refusals };
    const mesh = this.#meshes.peek(name);
    return mesh === undefined ? emptyStatus(name, server) : statusOf(mesh, server, limits, now);
  }

  /** What is known of two listed members and their link; undefined if they are not listed. */
  pair(name: string, a: Address, b: Address, now: number): PairStatus | undefined {
    const mesh = this.#meshes.peek(name);
    const records = mesh && recordsOf(mesh, a, b);
    return records && pairStatusOf(name, records, this.#measurements, now);
  }

  /** Somebody looks at a pair: its ends measure their links for a while. */
  measure(name: string, a: Address, b: Address, now: number): void {
    const mesh = this.#meshes.peek(name);
    for (const record of (mesh && recordsOf(mesh, a, b)) ?? []) this.#measurements.ask(record, now);
  }

  /** Takes a new connection, if there is room. */
  accept(connection: ConnectionId, remote: Endpoint, now: number): void {
    const { limits } = this.#rules;
    const session = new MemberSession(connection, remote, limits, this.#outputs);
    const room = limits.connections - this.#sessions.size - this.#addressVerifier.connections;
    if (room <= 0) {
      this.sessionCloser.note(session, "NO_DESCRIPTORS", noDescriptors);
      this.#outputs.push({ type: "abort", connection });
      return;
    }
    this.#sessions.set(connection, session);
    if (room <= Math.floor(limits.connections * shareOfRefusals)) {
      this.#refuse({ connection, code: "NO_DESCRIPTORS", message: noDescriptors }, now);
    } else if (!this.#pendingConnections.begin(connection, session.remote, now)) {
      this.#refuse({ connection, code: "BUSY", message: "too many connections have not yet registered" }, now);
    }
  }

  /** Refuses a connection for which there is no room, as soon as its dialect is known. */
  #refuse(refusal: PendingRefusal, now: number): void {
    // With a secret, the refusal goes out before the handshake.
    if (this.#rules.isKeyed) this.#sendRefusal(refusal, now);
    else this.#pendingRefusals.add(refusal, now);
  }

  #sendRefusal({ connection, code, message }: PendingRefusal, now: number): void {
    const session = this.#sessions.get(connection);
    if (session === undefined) return;
    this.sessionCloser.refuse(session, code, message, now);
    const oldest = this.#pendingRefusals.refused(connection);
    if (oldest !== undefined && this.#sessions.has(oldest)) this.#outputs.push({ type: "abort", connection: oldest });
  }

  /** Handles an input of a connection. Returns false if it was not accepted here. */
  handle(input: ConnectionProgress, now: number): boolean {
    const session = this.#sessions.get(input.connection);
    if (session === undefined) return false;
    if (input.type === "bytes") this.#read(session, input.bytes, now);
    else if (input.type === "flushed") this.#flushed(session, now);
    else if (input.type === "ended") this.#ended(session, now);
    else if (input.type === "closed") this.#closed(session, input.failure, now);
    else if (input.type === "proving") this.#pendingConnections.spoke(session.connection, now);
    else if (input.type === "secured") this.#secured(session, input, now);
    else if (input.type === "unproved") this.#unproved(session, input, now);
    return true;
  }

  #secured(session: MemberSession, { identity }: Secured, now: number): void {
    session.identity = identity;
    // A driver without sockets may report only this input.
    this.#pendingConnections.spoke(session.connection, now);
  }

  #unproved(session: MemberSession, { code, message }: Unproved, now: number): void {
    this.sessionCloser.note(session, code, message);
    this.sessionCloser.close(session, { type: "broken", reason: code }, now);
  }

  #read(session: MemberSession, bytes: Uint8Array, now: number): void {
    if (session.state === "closing") return;
    const isFirst = session.dialect === undefined;
    this.#pendingConnections.spoke(session.connection, now);
    this.#idleMonitor.heard(session, now);
    const record = this.#meshes.peek(session.mesh)?.members.of(session);
    if (record !== undefined) record.heardAt = now;
    session.reader.push(bytes);
    const refusal = this.#pendingRefusals.take(session.connection);
    if (refusal !== undefined) this.#sendRefusal(refusal, now);
    else if (this.#rules.isKeyed && session.identity === undefined) this.#refusePlain(session, bytes, now);
    else if (isFirst && session.dialect === "native" && this.#rules.dialect === "classic") {
      this.sessionCloser.refuse(session, "WRONG_DIALECT", "only classic members may join here", now);
    } else {
      this.#handleEvents(session, now);
    }
  }

  /** Plain text where the secret has to be proved first. */
  #refusePlain(session: MemberSession, bytes: Uint8Array, now: number): void {
    const [first = 0, second] = bytes;
    const caller = callerKindOf(first, second);
    if (caller === "http" || caller === "tls") this.classic.refuseOtherProtocol(session, caller, now);
    else
      this.sessionCloser.refuse(
        session,
        "SECRET_REQUIRED",
        "this server takes nobody who does not prove the secret",
        now,
      );
  }

  #flushed(session: MemberSession, now: number): void {
    if (session.dialect !== "native") {
      this.#classicSender.flushed(session, now);
      return;
    }
    session.nativeWriter.flushed();
    this.#meshes.peek(session.mesh)?.logBroadcaster.flushed(session);
  }

  #ended(session: MemberSession, now: number): void {
    if (session.state === "closing") {
      this.sessionCloser.ended(session, now);
      return;
    }
    session.reader.finish();
    this.#handleEvents(session, now);
    this.#noteUnregistered(session);
    const type = session.dialect === "native" ? "broken" : "left";
    this.sessionCloser.close(session, { type, reason: "closed its connection" }, now);
  }

  #closed(session: MemberSession, failure: string | undefined, now: number): void {
    if (session.state !== "closing") {
      // An unfinished message of a broken connection does not count.
      this.#noteUnregistered(session);
      const isClean = failure === undefined && session.dialect !== "native";
      const reason = failure ?? "closed its connection";
      this.#endSession(session, { type: isClean ? "left" : "broken", reason }, now);
    }
    this.sessionCloser.closed(session);
    this.#sessions.delete(session.connection);
  }

  /** The session is over: ends all that was under way for it. */
  #endSession(session: MemberSession, { type, reason }: CloseReason, now: number): void {
    this.#pendingConnections.end(session.connection);
    this.#pendingRefusals.take(session.connection);
    this.#idleMonitor.forget(session);
    this.#observers.end(session);
    this.#measurements.end(session);
    this.#quietTimers.clear(session);
    if (session.proof !== undefined) this.#addressVerifier.end(session.proof, now);
    session.proof = undefined;
    this.#meshes.find(session.mesh)?.depart(session, type === "left" ? "left" : "lost", reason, now);
  }

  #noteUnregistered(session: MemberSession): void {
    if (session.state === "reading")
      this.sessionCloser.note(session, "NOTHING_SAID", "closed before it had registered");
  }

  #idle(session: MemberSession, verdict: IdleVerdict, now: number): void {
    if (verdict === "probe") {
      session.nativeWriter.owe("ping", ping);
    } else {
      this.sessionCloser.note(session, "SILENT", `nothing came for ${this.#rules.limits.silentMs / 1000} s`);
      this.sessionCloser.close(session, { type: "broken", reason: "SILENT" }, now);
    }
  }

  #handleEvents(session: MemberSession, now: number): void {
    for (let event = session.reader.poll(); event !== undefined; event = session.reader.poll()) {
      if (session.state === "closing") break;
      if (event.type === "registration") this.classic.handle(session, event.event, now);
      else this.native.handle(session, event, now);
    }
    // The quiet period begins anew, if it decides anything.
    const awaitsQuiet = session.reader.awaitsQuiet && session.state !== "closing";
    this.#quietTimers.set(session, awaitsQuiet ? now + this.#rules.limits.quietMs : undefined);
  }
}
