import type { ConnectionId, ConnectionProgress, Endpoint } from "../core/connections.js";
import type { ErrorCode } from "../core/errors.js";
import { IdleMonitor } from "../core/idle-monitor.js";
import type { OutputSink } from "../core/machine.js";
import { PendingConnections } from "../core/pending-connections.js";
import { type PendingRefusal, PendingRefusals } from "../core/pending-refusals.js";
import { earliest } from "../core/timer-table.js";
import { sniff } from "../protocol/caller-kind.js";
import { ping } from "../protocol/native/frames.js";
import type { AddressVerifier } from "./address-verifier.js";
import { ClassicHandler } from "./classic/handler.js";
import type { ListBroadcaster } from "./classic/list-broadcaster.js";
import { MemberSession } from "./member-session.js";
import type { Mesh } from "./mesh.js";
import type { Meshes } from "./meshes.js";
import { NativeHandler } from "./native/handler.js";
import { type CloseReason, SessionCloser } from "./session-closer.js";
import type { RendezvousOutput, RendezvousRules } from "./types.js";

/** The share of all connections that is kept for those who are told that there is no room. */
const shareOfRefusals = 1 / 8;

const noDescriptors = "no descriptors are left for another connection";

type Secured = Extract<ConnectionProgress, { type: "secured" }>;
type Unproved = Extract<ConnectionProgress, { type: "unproved" }>;

/** What a reception is made with. */
export interface ConnectionHandlerOptions {
  readonly rules: RendezvousRules;
  readonly meshes: Meshes;
  readonly delivery: ListBroadcaster;
  readonly dialBacks: AddressVerifier;
  readonly outputs: OutputSink<RendezvousOutput>;
  /** The mesh that classic members are in. */
  readonly classicMesh: () => Mesh;
}

/**
 * Where connections arrive: keeps them in bounds until it is known who they are, has what they say heard by the desk of
 * their dialect, and notices when they fall silent or end.
 */
export class ConnectionHandler {
  readonly classic: ClassicHandler;
  readonly native: NativeHandler;
  readonly partings: SessionCloser;
  readonly #options: ConnectionHandlerOptions;
  readonly #handshakes: PendingConnections;
  readonly #refusals: PendingRefusals;
  readonly #pulse: IdleMonitor<MemberSession>;
  /** Every accepted connection that is not gone. */
  readonly #sessions = new Map<ConnectionId, MemberSession>();

  constructor(options: ConnectionHandlerOptions) {
    const { rules, meshes, delivery, dialBacks, outputs, classicMesh } = options;
    this.#options = options;
    this.#handshakes = new PendingConnections(rules.limits);
    this.#refusals = new PendingRefusals(rules.limits);
    this.#pulse = new IdleMonitor(rules.limits);
    const leaving = (session: MemberSession, departure: CloseReason, now: number): void => {
      this.#leaving(session, departure, now);
    };
    const known = (session: MemberSession): void => void this.#handshakes.end(session.connection);
    this.partings = new SessionCloser({ rules, outputs, delivery, leaving });
    this.classic = new ClassicHandler({ rules, partings: this.partings, known, mesh: classicMesh });
    const pulse = this.#pulse;
    this.native = new NativeHandler({ rules, meshes, partings: this.partings, dialBacks, pulse, known });
  }

  get sessions(): ReadonlyMap<ConnectionId, MemberSession> {
    return this.#sessions;
  }

  /** Takes a new connection, if there is room. */
  accept(connection: ConnectionId, remote: Endpoint, now: number): void {
    const { rules, outputs, dialBacks } = this.#options;
    const session = new MemberSession(connection, remote, rules.limits, outputs);
    const room = rules.limits.connections - this.#sessions.size - dialBacks.connections;
    if (room <= 0) {
      this.partings.note(session, "NO_DESCRIPTORS", noDescriptors);
      outputs.push({ type: "abort", connection });
      return;
    }
    this.#sessions.set(connection, session);
    if (room <= Math.floor(rules.limits.connections * shareOfRefusals)) {
      this.#refuse(session, "NO_DESCRIPTORS", noDescriptors, now);
    } else if (!this.#handshakes.begin(connection, session.remote.host, now)) {
      this.#refuse(session, "BUSY", "too many connections have not yet registered", now);
    }
  }

  /** There is no room for this one, which is told as soon as its dialect is known. */
  #refuse(session: MemberSession, code: ErrorCode, message: string, now: number): void {
    // Where there is a secret, whoever is about to prove it is told so before.
    if (this.#options.rules.isKeyed) this.#tellRefusal(session, { code, message }, now);
    else this.#refusals.add({ connection: session.connection, code, message }, now);
    this.#refuseDue(now);
  }

  #refuseDue(now: number): void {
    for (let due = this.#refusals.takeDue(now); due !== undefined; due = this.#refusals.takeDue(now)) {
      const session = this.#sessions.get(due.connection);
      if (session !== undefined) this.#tellRefusal(session, due, now);
    }
  }

  #tellRefusal(session: MemberSession, { code, message }: Pick<PendingRefusal, "code" | "message">, now: number): void {
    this.partings.refuse(session, code, message, now);
    const connection = this.#refusals.told(session.connection);
    if (connection !== undefined && this.#sessions.has(connection)) {
      this.#options.outputs.push({ type: "abort", connection });
    }
  }

  /** Something has happened to a connection. Returns whether it is one of those accepted here. */
  handle(input: ConnectionProgress, now: number): boolean {
    const session = this.#sessions.get(input.connection);
    if (session === undefined) return false;
    if (input.type === "bytes") this.#read(session, input.bytes, now);
    else if (input.type === "flushed") this.#flushed(session, now);
    else if (input.type === "ended") this.#ended(session, now);
    else if (input.type === "closed") this.#closed(session, input.failure, now);
    else if (input.type === "proving") this.#handshakes.spoke(session.connection, now);
    else if (input.type === "secured") this.#secured(session, input, now);
    else if (input.type === "unproved") this.#unproved(session, input, now);
    return true;
  }

  nextTimeout(): number | undefined {
    return earliest(
      this.#handshakes.nextTimeout(),
      this.#refusals.nextTimeout(),
      this.classic.nextTimeout(),
      this.partings.nextTimeout(),
      this.#pulse.nextTimeout(),
    );
  }

  handleTimeout(now: number): void {
    for (let due = this.#handshakes.takeDue(now); due !== undefined; due = this.#handshakes.takeDue(now)) {
      const session = this.#sessions.get(due);
      if (session !== undefined)
        this.partings.refuse(session, "HANDSHAKE_TIMEOUT", "no registration came in time", now);
    }
    this.#refuseDue(now);
    for (let due = this.classic.takeDue(now); due !== undefined; due = this.classic.takeDue(now)) {
      due.door.quiet();
      this.#understand(due, now);
    }
    this.#feelPulses(now);
    this.partings.handleTimeout(now);
  }

  #secured(session: MemberSession, { identity }: Secured, now: number): void {
    session.identity = identity;
    // Whoever plays this machine without sockets may say only this.
    this.#handshakes.spoke(session.connection, now);
  }

  #unproved(session: MemberSession, { code, message }: Unproved, now: number): void {
    this.partings.note(session, code, message);
    this.partings.close(session, { type: "broken", reason: code }, now);
  }

  #read(session: MemberSession, bytes: Uint8Array, now: number): void {
    if (session.state === "closing") return;
    const isFirst = session.dialect === undefined;
    this.#handshakes.spoke(session.connection, now);
    this.#pulse.heard(session, now);
    session.door.push(bytes);
    const refusal = this.#refusals.take(session.connection);
    if (refusal !== undefined) this.#tellRefusal(session, refusal, now);
    else if (this.#options.rules.isKeyed && session.identity === undefined) this.#refusePlain(session, bytes, now);
    else if (isFirst && session.dialect === "native" && this.#options.rules.dialect === "classic") {
      this.partings.refuse(session, "WRONG_DIALECT", "only classic members may join here", now);
    } else {
      this.#understand(session, now);
    }
  }

  /** Plain text where the secret has to be proved first. */
  #refusePlain(session: MemberSession, bytes: Uint8Array, now: number): void {
    const [first = 0, second] = bytes;
    const caller = sniff(first, second);
    if (caller === "http" || caller === "tls") this.classic.turnAway(session, caller, now);
    else
      this.partings.refuse(session, "SECRET_REQUIRED", "this server takes nobody who does not prove the secret", now);
  }

  #flushed(session: MemberSession, now: number): void {
    if (session.dialect !== "native") {
      this.#options.delivery.flushed(session, now);
      return;
    }
    session.line.flushed();
    if (session.mesh !== undefined) this.#options.meshes.peek(session.mesh)?.updates.flushed(session);
  }

  #ended(session: MemberSession, now: number): void {
    if (session.state === "closing") {
      this.partings.ended(session, now);
      return;
    }
    session.door.finish();
    this.#understand(session, now);
    this.#noteSilence(session);
    const type = session.dialect === "native" ? "broken" : "left";
    this.partings.close(session, { type, reason: "closed its connection" }, now);
  }

  #closed(session: MemberSession, failure: string | undefined, now: number): void {
    if (session.state !== "closing") {
      // What a broken connection has said in part is not said.
      this.#noteSilence(session);
      const isClean = failure === undefined && session.dialect !== "native";
      const reason = failure ?? "closed its connection";
      this.#leaving(session, { type: isClean ? "left" : "broken", reason }, now);
    }
    this.partings.closed(session);
    this.#sessions.delete(session.connection);
  }

  /** Nothing of this session counts any more. */
  #leaving(session: MemberSession, { type, reason }: CloseReason, now: number): void {
    this.#handshakes.end(session.connection);
    this.#refusals.take(session.connection);
    this.#pulse.forget(session);
    this.classic.forget(session);
    this.native.forget(session, now);
    if (session.mesh === undefined) return;
    this.#options.meshes.find(session.mesh)?.depart(session, type === "left" ? "left" : "lost", reason, now);
  }

  #noteSilence(session: MemberSession): void {
    if (session.state === "reading") this.partings.note(session, "NOTHING_SAID", "closed before it had registered");
  }

  #feelPulses(now: number): void {
    for (let silence = this.#pulse.takeDue(now); silence !== undefined; silence = this.#pulse.takeDue(now)) {
      const { key: session, verdict } = silence;
      if (verdict === "probe") {
        session.line.owe("ping", ping);
      } else {
        this.partings.note(session, "SILENT", `nothing came for ${this.#options.rules.limits.silentMs / 1000} s`);
        this.partings.close(session, { type: "broken", reason: "SILENT" }, now);
      }
    }
  }

  #understand(session: MemberSession, now: number): void {
    for (let heard = session.door.poll(); heard !== undefined; heard = session.door.poll()) {
      if (session.state === "closing") break;
      if (heard.type === "registration") this.classic.hear(session, heard.event, now);
      else this.native.hear(session, heard, now);
    }
    this.classic.listen(session, now);
  }
}
