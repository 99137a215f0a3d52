import type { ConnectionId, Endpoint } from "../../core/connections.js";
import { type ErrorCode, isErrorCode } from "../../core/errors.js";
import type { OutputSink } from "../../core/machine.js";
import { nextState } from "../../core/transitions.js";
import type { Address } from "../../protocol/address.js";
import type { Id } from "../../protocol/directory.js";
import type { Control, ControlOf } from "../../protocol/native/control.js";
import { type ServerSession, type SessionEvent, SessionOutput } from "../server-session.js";
import type { MemberOutput, MemberRules } from "../types.js";
import { NativeConnection, type NativeConnectionContext, type NativeConnectionOwner } from "./connection.js";
import { DirectoryAssembler } from "./directory-assembler.js";
import { ReconnectTimers } from "./reconnect-timers.js";
import { type NativeSessionState, type NativeSessionTrigger, nativeSessionTransitions } from "./session-states.js";

/** What the session must know of the member it speaks for. */
interface SessionSubject {
  /** This incarnation. */
  readonly id: Id;
  /** The newest revision that it has applied. */
  readonly revision: number;
  /** How many members it knows. */
  readonly size: number;
}

/** Refusals that say nothing about this member: it tries again for as long as it likes. */
const ofServer: ReadonlySet<string> = new Set(["BUSY", "HANDSHAKE_TIMEOUT"]);

/** Refusals of its address, which may be over in a moment: a member that has been one before tries again. */
const ofAddress: ReadonlySet<string> = new Set(["ADDRESS_UNPROVED", "ADDRESS_IN_USE", "FOREIGN_HOST"]);

/**
 * The conversation with the rendezvous server: registers, proves the address when the server dials back, hears the log, and
 * comes back when the connection breaks.
 */
export class NativeSession implements ServerSession, NativeConnectionOwner {
  readonly #rules: MemberRules;
  readonly #voice: SessionOutput;
  readonly #ports: NativeConnectionContext;
  readonly #subject: SessionSubject;
  readonly #patience: ReconnectTimers;
  readonly #hearing: DirectoryAssembler;
  #state: NativeSessionState = "idle";
  #channel: NativeConnection | undefined;
  #local: Endpoint | undefined;
  /** The address to register, from the moment it is to be registered. */
  #own: Address | undefined;
  #log: Id | undefined;
  /** What the server has said since it last took this member in, so that each code is said once. */
  readonly #refusals = new Set<ErrorCode>();

  constructor(
    rules: MemberRules,
    outputs: OutputSink<MemberOutput>,
    ports: NativeConnectionContext,
    subject: SessionSubject,
  ) {
    this.#rules = rules;
    this.#voice = new SessionOutput(outputs);
    this.#ports = ports;
    this.#subject = subject;
    this.#hearing = new DirectoryAssembler(rules.limits, subject);
    this.#patience = new ReconnectTimers(rules.limits, rules.serverLostMs, rules.seed);
  }

  get connection(): ConnectionId | undefined {
    return this.#channel?.connection;
  }

  get local(): Endpoint | undefined {
    return this.#local;
  }

  nextTimeout(): number | undefined {
    return this.#patience.nextTimeout();
  }

  poll(): SessionEvent | undefined {
    return this.#voice.poll();
  }

  // What the owner wants.

  connect(to: Endpoint, now: number): void {
    this.#voice.server = to;
    this.#step("dialing");
    this.#dial(to, now);
  }

  register(own: Address, now: number): void {
    this.#own = own;
    if (this.#state === "connected") this.#register(now);
    else if (this.#state === "idle" && this.#voice.server !== undefined) this.connect(this.#voice.server, now);
  }

  end(now: number, leaving?: string): void {
    const isTalking = this.#state === "listed" || this.#state === "registering";
    this.#step("over");
    this.#patience.clear();
    if (!isTalking) this.#channel?.abort();
    else if (leaving !== undefined) this.#channel?.send({ type: "leave", reason: leaving });
    this.#channel?.close(now);
  }

  /** Tells the server something, if it listens. */
  tell(control: Control): void {
    if (this.#state === "listed") this.#channel?.send(control);
  }

  get isListed(): boolean {
    return this.#state === "listed";
  }

  /** The server has dialed back, or somebody who says so. */
  challenged(dialBack: NativeConnection, control: ControlOf<"challenge"> | ControlOf<"check">, now: number): void {
    const { id } = this.#subject;
    const isMine = control.id === id && control.mesh === this.#rules.mesh;
    if (control.type === "check") {
      dialBack.send({ type: "here", id });
      dialBack.close(now);
      // The server may have lost our session without our noticing. A probe will tell, whoever it is that asks.
      // Only members are asked for, so this may also be the first sign that an admission was lost on its way.
      if (isMine && (this.#state === "listed" || this.#state === "registering")) this.#channel?.doubt(now);
    } else if (isMine && this.#awaitsChallenge) {
      dialBack.send({ type: "here", id });
      dialBack.close(now);
      this.#channel?.send({ type: "proof", nonce: control.nonce });
    } else {
      this.#ports.note("UNAWAITED_CHALLENGE", `a dial-back for ${control.id}`, dialBack.remoteAddress);
      dialBack.refuse("UNAWAITED_CHALLENGE", "this member has not asked for that", now);
    }
  }

  /** Not before the resume has been sent, or the proof would come first. */
  get #awaitsChallenge(): boolean {
    return this.#state === "registering" || (this.#state === "returning" && this.#channel?.local !== undefined);
  }

  // What happens on the connection.

  connected(channel: NativeConnection, now: number): void {
    this.#local = channel.local;
    if (this.#state === "returning") {
      this.#comeBack(channel, now);
      return;
    }
    this.#patience.answered();
    this.#step("connected");
    if (channel.local !== undefined) this.#voice.tell({ type: "connected", local: channel.local });
    if (this.#own !== undefined) this.#register(now);
  }

  control(channel: NativeConnection, control: Control, now: number): void {
    // What was on its way when the end came is of no use any more.
    if (this.#state === "over") return;
    if (control.type === "refuse") this.#refused(control, now);
    else if (control.type === "admitted" && this.#awaitsChallenge) this.#admitted(control, now);
    else if (control.type === "waiting" && this.#awaitsChallenge) {
      this.#patience.answered();
      this.#voice.tell({ type: "waiting", place: control.place });
    } else if (control.type === "teardown") this.#tornDown(control);
    else if (this.#state !== "listed" || !this.#hear(channel, control, now)) channel.unexpected(control.type, now);
  }

  gone(channel: NativeConnection, reason: string, now: number): void {
    const server = this.#voice.serverName;
    const message = `${server}: ${reason}`;
    this.#channel = undefined;
    this.#patience.answered();
    switch (this.#state) {
      case "connecting":
        if (channel.failure === "BUSY") this.#postpone(message, this.#rules.limits.serverRedialMaxMs, now);
        else if (this.#own !== undefined) this.#voice.over(message, channel.failure ?? "SERVER_UNREACHABLE");
        else {
          this.#step("lost");
          this.#voice.tell({ type: "unreachable", message, failure: channel.failure ?? "SERVER_UNREACHABLE" });
        }
        break;
      case "connected":
        this.#voice.note("SERVER_IDLE_CLOSED", "nothing had been registered");
        this.#step("lost");
        break;
      case "registering":
        this.#voice.over(
          `${server} closed before it had let this node in: ${reason}`,
          channel.failure ?? "SERVER_VANISHED",
        );
        break;
      case "listed":
      case "returning":
        this.#away(reason, now);
        break;
      default:
        break;
    }
  }

  handleTimeout(now: number): void {
    for (let due = this.#patience.takeDue(now); due !== undefined; due = this.#patience.takeDue(now)) {
      if (due === "answer") this.#unanswered(now);
      else if (due === "redial") this.#redial(now);
      else if (due === "serverLost") {
        this.#voice.over(`no server for ${this.#rules.serverLostMs} ms`, "SERVER_VANISHED");
      }
    }
  }

  #unanswered(now: number): void {
    const channel = this.#channel;
    channel?.abort();
    if (channel !== undefined) this.gone(channel, "no answer in time", now);
  }

  #redial(now: number): void {
    if (this.#voice.server === undefined) return;
    this.#step("dialing");
    this.#dial(this.#voice.server, now);
  }

  #dial(to: Endpoint, now: number): void {
    this.#channel = NativeConnection.dial(this.#ports, to, "rendezvous", this);
    this.#patience.awaitAnswer(this.#rules.limits.dialMs, now);
  }

  #register(now: number): void {
    if (this.#own === undefined || this.#channel === undefined) return;
    this.#step("registering");
    this.#channel.watch(now);
    this.#sendRegistration(this.#channel, this.#own);
  }

  /** Goes on where the last session broke off; an incarnation that was fenced is followed by a new one. */
  #comeBack(channel: NativeConnection, now: number): void {
    if (this.#own === undefined) return;
    const { id, revision } = this.#subject;
    const { mesh, limits } = this.#rules;
    this.#patience.awaitAnswer(limits.handshakeMs, now);
    channel.watch(now);
    if (this.#log === undefined) this.#sendRegistration(channel, this.#own);
    else channel.send({ type: "resume", mesh, id, address: this.#own, log: this.#log, revision });
  }

  #sendRegistration(channel: NativeConnection, address: Address): void {
    const { mesh, name, meta } = this.#rules;
    const said = { ...(name === undefined ? {} : { name }), ...(meta === undefined ? {} : { meta }) };
    channel.send({ type: "register", mesh, id: this.#subject.id, address, ...said });
  }

  #admitted({ log, order }: ControlOf<"admitted">, now: number): void {
    const isAgain = this.#log !== undefined;
    this.#step("admitted");
    this.#patience.admitted(now);
    this.#refusals.clear();
    this.#log = log;
    this.#channel?.watch(now);
    this.#voice.bring({ type: "admitted", log, order, isAgain });
  }

  /** Hears what a listed member may be told; false if it is something else. */
  #hear(channel: NativeConnection, control: Control, now: number): boolean {
    const news = this.#hearing.take(control);
    if (news === undefined || news === "more") return news === "more";
    if (news.type === "impossible") channel.fail("BAD_FRAME", news.detail, now);
    else this.#voice.bring(news);
    return true;
  }

  /** The mesh ends; `incomplete` says what it lacks, if it has not become whole in time. */
  #tornDown({ reason, incomplete }: ControlOf<"teardown">): void {
    if (incomplete === undefined) this.#voice.over(reason);
    else this.#voice.over(`${reason}: ${incomplete}`, "INCOMPLETE");
  }

  #refused({ code, message, retryMs }: ControlOf<"refuse">, now: number): void {
    this.#channel?.close(now);
    this.#channel = undefined;
    this.#patience.answered();
    if (retryMs !== undefined && this.#state === "registering") {
      this.#postpone(`${code}: ${message}`, retryMs, now);
    } else if (code === "FENCED" && (this.#state === "listed" || this.#state === "returning")) {
      this.#voice.bring({ type: "fenced", reason: message });
    } else if (this.#state === "returning" && (retryMs !== undefined || ofServer.has(code))) {
      this.#away(`${code} ${message}`, now, retryMs);
    } else if (this.#state === "returning" && (this.#log !== undefined || ofAddress.has(code))) {
      this.#refusedAgain(code, message, now);
    } else this.#voice.over(`${code}: ${message}`, "REFUSED");
  }

  /** The server cannot take this member in now. */
  #postpone(reason: string, retryMs: number, now: number): void {
    this.#voice.note("SERVER_BUSY", reason);
    this.#step("postponed");
    this.#patience.retryAfter(retryMs, now);
  }

  /** Who has been a member is not taken back: that may pass, or its address may have changed. It is tried for one lease. */
  #refusedAgain(code: string, message: string, now: number): void {
    if (this.#patience.refused(now) >= this.#rules.limits.leaseMs) {
      this.#voice.over(`${code}: ${message}`, "REFUSED");
      return;
    }
    const known = isErrorCode(code) ? code : "REFUSED";
    if (!this.#refusals.has(known)) this.#voice.note(known, `not taken back: ${code} ${message}`);
    this.#refusals.add(known);
    this.#away(`${code} ${message}`, now);
    this.#voice.bring({ type: "refused" });
  }

  /** This incarnation is over: the next one registers on a new connection, for as long as it takes. */
  restart(now: number): void {
    const wasListed = this.#state === "listed";
    this.#step("fenced");
    this.#channel?.close(now);
    this.#channel = undefined;
    this.#voice.forget();
    const shortLives = this.#patience.restart(now);
    const { sharedAddressTimes, admissionProvenMs } = this.#rules.limits;
    // Nobody is removed while the server hears it, but by somebody else who has proved its address.
    if (wasListed && shortLives >= sharedAddressTimes) {
      const times = `${shortLives} times in a row somebody else has answered there`;
      const within = `within ${admissionProvenMs / 1000} s after this member had got in`;
      this.#voice.note("ADDRESS_SHARED", `${this.#own}: ${times}, ${within}`);
    }
    this.#log = undefined;
    this.#refusals.clear();
    this.#hearing.reset();
    this.handleTimeout(now);
  }

  #away(reason: string, now: number, retryMs?: number): void {
    const isFirst = this.#state === "listed";
    if (isFirst) this.#voice.note("SERVER_AWAY", reason);
    this.#channel?.abort();
    this.#channel = undefined;
    this.#hearing.reset();
    this.#step("lost");
    this.#patience.away(isFirst, now, retryMs);
  }

  #step(event: NativeSessionTrigger): void {
    this.#state = nextState(nativeSessionTransitions, this.#state, event, "session with the server");
  }
}
