import type { ConnectionId } from "../../core/connections.js";
import { type ErrorCode, isErrorCode, type LogEvent } from "../../core/errors.js";
import type { OutputSink } from "../../core/machine.js";
import type { KeyedTimers } from "../../core/timers.js";
import { type Address, isOfOneKind } from "../../protocol/address.js";
import type { Claim, Entry, Id, Member, Meta } from "../../protocol/directory.js";
import type { Control, ControlOf } from "../../protocol/native/control.js";
import { notTheServer } from "../acceptor.js";
import { ServerSession } from "../server-session.js";
import type { MemberOutput, MemberRules, SessionEvent } from "../types.js";
import { NativeConnection, type NativeConnectionContext, type NativeConnectionOwner } from "./connection.js";
import type { DirectoryView } from "./directory-view.js";

/** The states of a native member's session with its server. What a row does not allow is a fault of the machine. */
export const nativeSessionTransitions = {
  /** No connection. */
  idle: { dialing: "connecting", over: "over" },
  /** A dial is under way. */
  connecting: { connected: "connected", lost: "idle", postponed: "postponed", over: "over" },
  /** Connected; nothing has been registered yet, for as long as the caller likes. */
  connected: { registering: "registering", lost: "idle", over: "over" },
  /** The registration is sent; the server dials back, or lets us wait in line. */
  registering: { admitted: "listed", postponed: "postponed", over: "over" },
  /** The server is not there, or has refused for now: it is dialed again after a pause. */
  postponed: { dialing: "connecting", over: "over" },
  /** In the directory. */
  listed: { lost: "away", fenced: "away", released: "released", over: "over" },
  /** Without a connection; the server is dialed again after a pause. Who was fenced has nothing to go back to. */
  away: { dialing: "returning", fenced: "away", over: "over" },
  /** A dial is under way, or the resume is sent; or the registration of the next incarnation. */
  returning: { admitted: "listed", lost: "away", fenced: "away", released: "released", over: "over" },
  /** The server has gone for good, and has left the mesh to its members. */
  released: { over: "over" },
  /** The end: told by the server, wished by the owner, or a failure. */
  over: { over: "over" },
} as const;

type State = keyof typeof nativeSessionTransitions;
type Trigger =
  | "dialing"
  | "connected"
  | "registering"
  | "postponed"
  | "admitted"
  | "lost"
  | "fenced"
  | "released"
  | "over";

/** Failures of a connection that say nothing about the server, but that it has no room now, or this computer. */
const ofMoment: ReadonlySet<ErrorCode> = new Set<ErrorCode>(["BUSY", "NO_DESCRIPTORS"]);

/** A part of what is known has so many bytes at most: a server that has not seen the proof reads no longer frame. */
const knownPartBytes = 3_500;

/** Refusals that say nothing about this member: it tries again for as long as it likes. */
const ofServer: ReadonlySet<string> = new Set(["BUSY", "HANDSHAKE_TIMEOUT"]);

/** Refusals of its address, which may be over in a moment: a member that has been one before tries again. */
const ofAddress: ReadonlySet<string> = new Set(["ADDRESS_UNPROVED", "ADDRESS_IN_USE", "FOREIGN_HOST"]);

/** Refusals because of what the store of the servers holds: until somebody has put that right, the mesh goes on without them. */
const ofStore: ReadonlySet<string> = new Set(["STORE_CORRUPT", "STORE_ROLLED_BACK"]);

/** Messages to whoever has the session: from the server, or from a caller that takes this node for the server. */
export type SessionCall =
  | ControlOf<"challenge">
  | ControlOf<"check">
  | ControlOf<"register">
  | ControlOf<"resume">
  | ControlOf<"probe">;

/**
 * The session with the rendezvous server: registers, proves the address when the server dials back, receives the log, and
 * resumes when the connection breaks.
 */
export class NativeSession extends ServerSession<State, Trigger> implements NativeConnectionOwner {
  readonly #context: NativeConnectionContext;
  readonly #view: DirectoryView;
  readonly #timers: KeyedTimers<"answer">;
  #connection: NativeConnection | undefined;
  /** The log that this incarnation was admitted to, and its order; undefined before it was. */
  #admission: { readonly log: Id; readonly order: number } | undefined;
  /** The lease of the server that has admitted it last. */
  #leaseMs: number;
  /** Since when the session is broken. */
  #lostAt: number | undefined;
  /** True once this node stands in the waiting line. */
  #hasWaited = false;
  /** True once a server was not there, or has not let this node in: it comes back as its members do. */
  #hasLooked = false;
  /** The parts of a directory that have come, while more are to come. */
  #parts = noParts();
  /** Since when the server refuses to take this member back, if it does, and the codes that have been logged. */
  #refusedSince: number | undefined;
  readonly #refusals = new Set<ErrorCode>();
  /** When the server has let this member in, or in again, last. */
  #listedAt = Number.NEGATIVE_INFINITY;
  /** When this incarnation was first admitted. */
  #admittedAt: number | undefined;
  /** Incarnations in a row that were removed soon after they had been admitted. */
  #shortLives = 0;

  constructor(
    rules: MemberRules,
    outputs: OutputSink<MemberOutput>,
    context: NativeConnectionContext,
    view: DirectoryView,
    emit: (event: SessionEvent, now: number) => void,
  ) {
    super(nativeSessionTransitions, "idle", rules, context.timers, outputs, emit);
    this.#context = context;
    this.#view = view;
    this.#leaseMs = rules.limits.leaseMs;
    this.#timers = context.timers.keyed((_, now) => this.#unanswered(now));
  }

  override get connectionId(): ConnectionId | undefined {
    return this.#connection?.id;
  }

  /** The server's lease, as it has said. */
  get leaseMs(): number {
    return this.#leaseMs;
  }

  get isListed(): boolean {
    return this.state === "listed";
  }

  /** When the server was surely alive: it has let this member in then, or has answered what was asked then. */
  get answeredAt(): number {
    return Math.max(this.#listedAt, this.#connection?.answeredAt ?? this.#listedAt);
  }

  // What the member wants.

  /** Asks the server whether it lives. */
  probe(now: number): void {
    if (this.isListed) this.#connection?.probe(now);
  }

  override register(own: Address, now: number): void {
    this.own = own;
    if (this.state === "connected") this.#register(now);
    else if (this.state === "idle") this.dial(now);
  }

  /** Sends a message to the server, if this node is listed there now. */
  send(control: Control): void {
    if (this.isListed) this.#connection?.send(control);
  }

  /** This incarnation is over: the next one registers on a new connection, at once unless it has not lasted several times. */
  restart(now: number): void {
    const { admissionProvenMs, sharedAddressTimes } = this.rules.limits;
    const wasListed = this.isListed;
    this.step("fenced");
    this.#connection?.close(now);
    if (this.#admittedAt !== undefined) {
      this.#shortLives = now - this.#admittedAt >= admissionProvenMs ? 0 : this.#shortLives + 1;
    }
    // A member with a session is removed only by somebody else who has proved its address.
    if (wasListed && this.#shortLives >= sharedAddressTimes) {
      const times = `${this.#shortLives} times in a row somebody else has answered there`;
      const within = `within ${admissionProvenMs / 1000} s after this member had got in`;
      this.note("ADDRESS_SHARED", `${this.own}: ${times}, ${within}`);
    }
    this.#connection = undefined;
    this.#admission = undefined;
    this.#admittedAt = undefined;
    this.#parts = noParts();
    this.#clearWaits();
    if (!this.serverRedial.pauseAfter(this.#shortLives, now)) this.dial(now);
  }

  override end(now: number, leaving?: string): void {
    const isTalking = this.state === "listed" || this.state === "registering";
    this.step("over");
    this.#clearWaits();
    if (!isTalking) this.#connection?.abort();
    else if (leaving !== undefined) this.#connection?.send({ type: "leave", reason: leaving });
    this.#connection?.close(now);
  }

  // What happens on its connection.

  connected(connection: NativeConnection, now: number): void {
    this.local = connection.local;
    if (this.state === "returning") {
      this.#resume(connection, now);
      return;
    }
    this.#timers.clear("answer");
    this.step("connected");
    const { local, remote } = connection;
    if (local !== undefined) this.report({ type: "connected", local, server: remote });
    if (this.own !== undefined) this.#register(now);
  }

  control(connection: NativeConnection, control: Control, now: number): void {
    // What was on its way when the end came is of no use any more.
    if (this.state === "over") return;
    if (control.type === "refuse") this.#refused(control, now);
    else if (control.type === "admitted" && this.#awaitsChallenge) this.#admitted(connection, control, now);
    else if (control.type === "waiting" && this.#awaitsChallenge) {
      this.#timers.clear("answer");
      this.#hasWaited = true;
      this.serverRedial.pause(now);
      this.report({ type: "waiting", place: control.place });
    } else if (control.type === "teardown") this.#tornDown(control, now);
    else if (control.type === "release" && this.#admission !== undefined) this.#released(connection, control, now);
    else if (this.isListed) this.#listedMessage(connection, control, now);
    else connection.unexpected(control.type, now);
  }

  gone(connection: NativeConnection, reason: string, now: number): void {
    const { failure } = connection;
    const isFinal = failure !== undefined && !ofMoment.has(failure);
    const goesOn = this.serverRedial.goesOn(isFinal);
    this.#connection = undefined;
    this.#timers.clear("answer");
    switch (this.state) {
      case "connecting": {
        const code = failure ?? "SERVER_UNREACHABLE";
        if (goesOn || failure === "BUSY") {
          this.#postpone({ code, message: reason }, now, 0, isFinal);
          break;
        }
        this.serverRedial.note({ code, message: reason });
        this.#hasLooked = true;
        const message = this.serverRedial.failures;
        if (this.own !== undefined || this.serverRedial.isAllowed) this.over(message, code, now);
        else {
          this.step("lost");
          this.serverRedial.stop();
          this.report({ type: "unreachable", message, failure: code });
        }
        break;
      }
      case "connected":
        this.note("SERVER_IDLE_CLOSED", "nothing had been registered");
        this.step("lost");
        break;
      case "registering": {
        const code = failure ?? "SERVER_VANISHED";
        const message = `closed before it had let this node in: ${reason}`;
        if (goesOn) this.#postpone({ code, message }, now, 0, isFinal);
        else {
          this.serverRedial.note({ code, message });
          this.over(this.serverRedial.failures, code, now);
        }
        break;
      }
      case "listed":
      case "returning":
        this.#away({ code: failure ?? "SERVER_UNREACHABLE", message: reason }, now);
        break;
      default:
        break;
    }
  }

  /** The server has dialed back, or somebody who says so; or somebody takes this node for the server. */
  called(dialBack: NativeConnection, control: SessionCall, now: number): void {
    const { id } = this.#view;
    if (control.type === "register" || control.type === "resume" || control.type === "probe") {
      const message = notTheServer(this.serverRedial.server && this.serverName);
      this.#context.note("REGISTRATION_AT_NODE", `refused ${control.address}`, dialBack.remoteAddress);
      dialBack.refuse("REGISTRATION_AT_NODE", message, now);
      return;
    }
    const isMine = control.id === id && control.mesh === this.rules.mesh;
    if (control.type === "check") {
      dialBack.send({ type: "here", id });
      dialBack.close(now);
      // The server may have lost our session without our noticing. A probe finds out, whoever it is that asks.
      // Only members are asked for, so this may also be the first sign that an admission was lost on its way.
      if (isMine && (this.isListed || this.state === "registering")) this.#connection?.doubt(now);
    } else if (isMine && this.#awaitsChallenge) {
      dialBack.send({ type: "here", id });
      dialBack.close(now);
      this.#connection?.send({ type: "proof", nonce: control.nonce });
      if (this.#connection !== undefined && this.#admission !== undefined) this.#sendKnown(this.#connection);
    } else {
      this.#context.note("UNAWAITED_CHALLENGE", `a dial-back for ${control.id}`, dialBack.remoteAddress);
      dialBack.refuse("UNAWAITED_CHALLENGE", "this member has not asked for that", now);
    }
  }

  /** Not before the resume has been sent, or the proof would come first. */
  get #awaitsChallenge(): boolean {
    return this.state === "registering" || (this.state === "returning" && this.#connection?.local !== undefined);
  }

  #unanswered(now: number): void {
    if (this.#connection === undefined) return;
    this.#connection.abort();
    this.gone(this.#connection, "no answer in time", now);
  }

  protected override givenUp(now: number): void {
    if (this.state === "away" || this.state === "returning") {
      const { failures } = this.serverRedial;
      const why = failures === "" ? "" : `: ${failures}`;
      this.over(`no server for ${this.rules.serverLostMs} ms${why}`, "SERVER_VANISHED", now);
    } else super.givenUp(now);
  }

  protected override dial(now: number): void {
    const { server } = this.serverRedial;
    if (server === undefined) return;
    this.step("dialing");
    this.#connection = NativeConnection.dial(this.#context, server, "rendezvous", this);
    this.#timers.set("answer", now + this.serverRedial.dialMs);
  }

  #register(now: number): void {
    if (this.own === undefined || this.#connection === undefined) return;
    this.step("registering");
    this.#sendRegistration(this.#connection, this.own);
    this.#watch(this.#connection, now);
  }

  /** Where there are several servers, one that accepts and says nothing bars the way to the others for no longer than a probe. */
  #watch(connection: NativeConnection, now: number): void {
    connection.watch(now);
    if (this.serverRedial.hasSeveral) connection.doubt(now);
  }

  /** Goes on where the last session broke off; an incarnation that was fenced is followed by a new one. */
  #resume(connection: NativeConnection, now: number): void {
    if (this.own === undefined) return;
    const { id, revision, highest } = this.#view;
    const { mesh, limits } = this.rules;
    this.#timers.set("answer", now + limits.handshakeMs);
    if (this.#admission === undefined) this.#sendRegistration(connection, this.own);
    else
      connection.send({
        type: "resume",
        mesh,
        id,
        address: this.own,
        ...this.#about,
        ...this.#admission,
        revision,
        highest,
      });
    this.#watch(connection, now);
  }

  #sendRegistration(connection: NativeConnection, address: Address): void {
    const waited = this.#hasWaited ? { waited: true as const } : {};
    const looked = this.#hasLooked ? { looked: true as const } : {};
    connection.send({
      type: "register",
      mesh: this.rules.mesh,
      id: this.#view.id,
      address,
      ...this.#about,
      ...waited,
      ...looked,
    });
  }

  /** What this member publishes about itself. */
  get #about(): { readonly name?: string; readonly meta?: Meta } {
    const { name, meta } = this.rules;
    return { ...(name === undefined ? {} : { name }), ...(meta === undefined ? {} : { meta }) };
  }

  /** A server with another log learns from its members who is in the mesh; one that has this member needs none of it. */
  #sendKnown(connection: NativeConnection): void {
    const { members, gone } = this.#view.known;
    let part: { readonly members: Member[]; readonly gone: Id[] } = { members: [], gone: [] };
    let bytes = 0;
    const makeRoomFor = (row: unknown): void => {
      const rowBytes = new TextEncoder().encode(JSON.stringify(row)).length + 1;
      if (bytes + rowBytes > knownPartBytes) {
        connection.send({ type: "known", ...part, more: true });
        part = { members: [], gone: [] };
        bytes = 0;
      }
      bytes += rowBytes;
    };
    for (const member of members) {
      makeRoomFor(member);
      part.members.push(member);
    }
    for (const id of gone) {
      makeRoomFor(id);
      part.gone.push(id);
    }
    connection.send({ type: "known", ...part });
  }

  #admitted(
    connection: NativeConnection,
    { log, order, leaseMs, servers = [] }: ControlOf<"admitted">,
    now: number,
  ): void {
    if (this.#isMixed(connection, servers, now)) return;
    const isAgain = this.#admission !== undefined;
    this.step("admitted");
    this.#clearWaits();
    this.serverRedial.learn(servers);
    this.#admittedAt ??= now;
    this.#listedAt = now;
    this.#admission = { log, order };
    this.#leaseMs = leaseMs;
    this.#hasWaited = false;
    this.#hasLooked = false;
    if (isAgain && this.#lostAt !== undefined) {
      this.report({ type: "serverBack", awayMs: now - this.#lostAt, server: this.serverName });
    }
    this.#lostAt = undefined;
    connection.watch(now);
    this.emit({ type: "admitted", log, order, isAgain }, now);
  }

  // What the server says to a listed member.

  #listedMessage(connection: NativeConnection, control: Control, now: number): void {
    switch (control.type) {
      case "directory":
        this.#directoryPart(connection, control, now);
        break;
      case "entries":
        if (this.#isTooMany(this.#view.size + control.entries.length)) this.#tooMany(connection, now);
        else if (!this.#isMixed(connection, addressesOf(control.entries), now)) this.emit(control, now);
        break;
      case "servers":
        if (!this.#isMixed(connection, control.servers, now)) this.serverRedial.learn(control.servers);
        break;
      case "complete":
      case "degraded":
      case "leader":
      case "grant":
      case "measure":
      case "renewed":
      case "unclaimable":
        this.emit(control, now);
        break;
      default:
        connection.unexpected(control.type, now);
    }
  }

  /** A long directory comes in several parts, and counts when the last one has come. */
  #directoryPart(connection: NativeConnection, part: ControlOf<"directory">, now: number): void {
    const { members, claims, gone } = this.#parts;
    for (const member of part.members) members.push(member);
    for (const claim of part.claims ?? []) claims.push(claim);
    for (const id of part.gone ?? []) gone.push(id);
    if (this.#isTooMany(members.length + claims.length) || this.#isTooMany(gone.length)) this.#tooMany(connection, now);
    else if (part.more !== true) {
      const twice = namedTwice(members);
      const directory = { ...this.#parts, type: "directory", revision: part.revision } as const;
      this.#parts = noParts();
      if (twice !== undefined) connection.fail("BAD_FRAME", `the directory names ${twice} twice`, now);
      else if (!this.#isMixed(connection, addressesOf(members), now)) this.emit(directory, now);
    }
  }

  /** Ends the session with a server that names an address of the other kind: no mesh has both, and nobody here dials it. */
  #isMixed(connection: NativeConnection, addresses: readonly Address[], now: number): boolean {
    const other = addresses.find((address) => !isOfOneKind(address, connection.remote));
    if (other !== undefined) connection.fail("LOCAL_MIX", `this server names ${other}`, now);
    return other !== undefined;
  }

  #isTooMany(count: number): boolean {
    return count > this.rules.limits.directoryMembers;
  }

  #tooMany(connection: NativeConnection, now: number): void {
    const detail = `the directory names more than ${this.rules.limits.directoryMembers} members and claims`;
    connection.fail("BAD_FRAME", detail, now);
  }

  /** The mesh ends; `incomplete` says what it lacks, if it has not become whole in time. */
  #tornDown({ reason, incomplete }: ControlOf<"teardown">, now: number): void {
    if (incomplete === undefined) this.over(reason, undefined, now);
    else this.over(`${reason}: ${incomplete}`, "INCOMPLETE", now);
  }

  /** The server leaves the mesh to its members: it is not looked for any more. */
  #released(connection: NativeConnection, control: ControlOf<"release">, now: number): void {
    this.step("released");
    connection.close(now);
    this.#connection = undefined;
    this.#parts = noParts();
    this.#clearWaits();
    this.emit(control, now);
  }

  // Refusals, and the search for a server that is gone.

  #refused({ code, message, retryMs }: ControlOf<"refuse">, now: number): void {
    this.#connection?.close(now);
    this.#connection = undefined;
    this.#timers.clear("answer");
    const isReturning = this.state === "returning";
    if (retryMs !== undefined && this.state === "registering") {
      this.#postpone({ code: "BUSY", message: `${code}: ${message}` }, now, retryMs);
    } else if (code === "FENCED" && (this.isListed || isReturning)) {
      this.emit({ type: "fenced", reason: message }, now);
    } else if (
      (this.isListed && retryMs !== undefined) ||
      (isReturning && (retryMs !== undefined || ofServer.has(code)))
    ) {
      this.#away({ code: "BUSY", message: `${code}: ${message}` }, now, retryMs);
    } else if (isReturning && (this.#admission !== undefined || ofAddress.has(code))) {
      this.#refusedAgain(code, message, now);
    } else this.over(`${code}: ${message}`, "REFUSED", now);
  }

  /**
   * The server is not there, or cannot take this member in now. A registration that it has not answered may have counted all
   * the same, with an order that this member does not know: the next one has another id.
   */
  #postpone(failure: LogEvent, now: number, retryMs = 0, isFinal = false): void {
    const { code, message } = failure;
    const hasRegistered = this.state === "registering";
    this.#hasLooked = true;
    this.noteAwaited(failure);
    if (code === "BUSY") this.note("SERVER_BUSY", message);
    const namedMs = code === "BUSY" && retryMs === 0 ? this.rules.limits.serverRedialMaxMs : retryMs;
    this.step("postponed");
    this.serverRedial.failed(failure, now, namedMs, isFinal);
    if (hasRegistered) this.emit({ type: "unanswered" }, now);
  }

  /**
   * Who has been a member is not taken back: that may pass, or its address may have changed. It is tried for one lease, or for as
   * long as it takes if it is not the member that something is wrong with.
   */
  #refusedAgain(code: string, message: string, now: number): void {
    if (ofStore.has(code)) this.#refusedSince = undefined;
    else this.#refusedSince ??= now;
    if (this.#refusedSince !== undefined && now - this.#refusedSince >= this.#leaseMs) {
      this.over(`${code}: ${message}`, "REFUSED", now);
      return;
    }
    const known = isErrorCode(code) ? code : "REFUSED";
    if (!this.#refusals.has(known)) this.note(known, `not taken back: ${code} ${message}`);
    this.#refusals.add(known);
    this.#away({ code: known, message: `${code}: ${message}` }, now);
    this.emit({ type: "refused" }, now);
  }

  #away(failure: LogEvent, now: number, retryMs?: number): void {
    const wasListed = this.isListed;
    const hasRegistered = this.state === "returning" && this.#admission === undefined;
    if (wasListed) {
      const { serverName } = this.serverRedial;
      const broke = `the connection to the server at ${serverName} broke (${failure.message})`;
      this.note("SERVER_AWAY", `${broke}; looking for it`);
      this.#lostAt = now;
      this.report({ type: "serverLost", reason: failure.message });
    } else if (this.serverRedial.hasSeveral) this.noteAwaited(failure);
    this.#hasLooked = true;
    this.#connection?.abort();
    this.#connection = undefined;
    this.#parts = noParts();
    this.step("lost");
    if (wasListed) this.serverRedial.lost(failure, now, retryMs);
    else this.serverRedial.failed(failure, now, retryMs);
    if (hasRegistered) this.emit({ type: "unanswered" }, now);
  }

  /** Nothing is waited for any more. From now on the server may be away for as long as the rules allow. */
  #clearWaits(): void {
    this.#timers.clearAll();
    this.serverRedial.allow(this.rules.serverLostMs);
    this.#refusedSince = undefined;
    this.#refusals.clear();
  }
}

function noParts(): { readonly members: Member[]; readonly claims: Omit<Claim, "member">[]; readonly gone: Id[] } {
  return { members: [], claims: [], gone: [] };
}

function addressesOf(rows: readonly (Member | Entry)[]): Address[] {
  return rows.flatMap((row) => ("address" in row ? [row.address] : []));
}

/** The first id that stands there a second time. */
function namedTwice(members: readonly Member[]): string | undefined {
  const ids = new Set<string>();
  for (const { id } of members) {
    if (ids.has(id)) return id;
    ids.add(id);
  }
  return undefined;
}
