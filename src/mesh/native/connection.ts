import {
  type ConnectionId,
  type ConnectionProgress,
  type Endpoint,
  type Identity,
  isOutOfResources,
  isSelfConnection,
  type Role,
} from "../../core/connections.js";
import type { ErrorCode, LogEvent } from "../../core/errors.js";
import type { Histogram } from "../../core/histogram.js";
import { IdleMonitor } from "../../core/idle-monitor.js";
import type { Limits } from "../../core/limits.js";
import type { OutputSink } from "../../core/machine.js";
import type { Timers } from "../../core/timers.js";
import { type Address, formatAddress } from "../../protocol/address.js";
import { decodeFrame } from "../../protocol/native/content.js";
import { type Control, type ControlOf, encodeControl } from "../../protocol/native/control.js";
import { FrameReader, type FrameSink } from "../../protocol/native/frames.js";
import { numberBytes } from "../../protocol/native/numbered-frames.js";
import { encodePreface, isSupported, type Preface, withPreface } from "../../protocol/native/preface.js";
import type { UnidentifiedConnection } from "../acceptor.js";
import type { ConnectionListener, Connections } from "../connections.js";
import { PingTracker } from "./ping-tracker.js";

/** The part of a member that a native connection belongs to. It may change: a greeting becomes a link. */
export interface NativeConnectionOwner {
  /** A dialed connection is there. */
  connected?(connection: NativeConnection, now: number): void;
  control(connection: NativeConnection, control: Control, now: number): void;
  /** A numbered frame, or its first part; see `FrameSink`. */
  numbered?(
    connection: NativeConnection,
    kind: number,
    bytes: Uint8Array,
    from: number,
    to: number,
    rest: number,
    now: number,
  ): void;
  /** The next part of it. */
  more?(connection: NativeConnection, bytes: Uint8Array, from: number, to: number, rest: number, now: number): void;
  /** The other side has taken every frame up to this number. */
  acknowledged?(connection: NativeConnection, number: number, now: number): void;
  /** Nothing more comes from the other side, and why; called once, and not after `close`, `refuse` or `abort`. */
  gone(connection: NativeConnection, reason: string, now: number): void;
  /** Everything sent has left this process; called while `awaitsFlush`, and otherwise perhaps. */
  flushed?(connection: NativeConnection): void;
  readonly awaitsFlush?: boolean;
}

/** What a connection needs of its member. */
export interface NativeConnectionContext {
  readonly connections: Connections;
  readonly timers: Timers;
  readonly limits: Limits;
  /** Asks those who are silent, and gives them up. */
  readonly idleMonitor: IdleMonitor<NativeConnection>;
  /** Gives memory of so many bytes, whatever is in it. */
  readonly allocate: (bytes: number) => Uint8Array;
  /** Counts the round trips to members, in milliseconds. */
  readonly roundTrips?: Histogram;
  /** Something was noticed about the other side. */
  note(code: ErrorCode, message: string, remote: Address): void;
}

/** The same for a machine whose notes go out with all else: a silent connection is asked, and given up. */
export function connectionContext(
  connections: Connections,
  timers: Timers,
  limits: Limits,
  outputs: OutputSink<{ readonly type: "note"; readonly note: LogEvent }>,
  allocate: NativeConnectionContext["allocate"] = (bytes) => new Uint8Array(bytes),
  roundTrips?: Histogram,
): NativeConnectionContext {
  const idleMonitor = new IdleMonitor<NativeConnection>(limits, timers, (connection, verdict, now) => {
    if (verdict === "probe") connection.probe(now);
    else connection.giveUp(now);
  });
  const note = (code: ErrorCode, message: string, remote: Address): void =>
    outputs.push({ type: "note", note: { code, message, remote } });
  return {
    connections,
    timers,
    limits,
    idleMonitor,
    allocate,
    note,
    ...(roundTrips === undefined ? {} : { roundTrips }),
  };
}

/**
 * One native connection: prefaces, frames in and out, pings answered, refusals sent so that they arrive. Its owner
 * handles the messages.
 */
export class NativeConnection implements ConnectionListener, FrameSink {
  readonly id: ConnectionId;
  owner: NativeConnectionOwner;
  /** The other end, as far as it is known. */
  remote: Endpoint;
  /** What the secret has proved of an accepted connection; undefined in the open. */
  readonly identity: Identity | undefined;
  cipher: string | undefined;
  /** Our end of a dialed connection. */
  local: Endpoint | undefined;
  /** Why it is gone, if the other side has not proved the secret or not kept to the protocol. */
  failure: ErrorCode | undefined;
  readonly #context: NativeConnectionContext;
  readonly #reader: FrameReader;
  readonly #pings: PingTracker;
  /** Our preface goes out with our first frame. */
  #isPrefaceDue = true;
  #isFinished = false;
  #isOver = false;
  /** The machine's time of the input that is being handled. */
  #now = 0;

  private constructor(
    ports: NativeConnectionContext,
    owner: NativeConnectionOwner,
    remote: Endpoint,
    connection: ConnectionId | undefined,
    role: Role,
    identity: Identity | undefined,
  ) {
    this.#context = ports;
    this.#pings = new PingTracker(this, role === "member" ? ports.roundTrips : undefined);
    this.owner = owner;
    this.remote = remote;
    this.identity = identity;
    const { firstFrameBytes } = ports.limits;
    this.#reader = new FrameReader(
      { controlBytes: firstFrameBytes, messageBytes: firstFrameBytes },
      this,
      ports.allocate,
    );
    this.id = connection ?? ports.connections.dial(remote, role, this);
  }

  /** Dials; `connected` or `gone` follows. */
  static dial(
    ports: NativeConnectionContext,
    to: Endpoint,
    role: Role,
    owner: NativeConnectionOwner,
  ): NativeConnection {
    const connection = new NativeConnection(ports, owner, to, undefined, role, undefined);
    connection.trust();
    return connection;
  }

  /** Takes over an accepted connection. Until `trust`, only a short first frame is read from it. */
  static accept(
    ports: NativeConnectionContext,
    pending: UnidentifiedConnection,
    owner: NativeConnectionOwner,
  ): NativeConnection {
    const connection = new NativeConnection(
      ports,
      owner,
      pending.remote,
      pending.connection,
      "member",
      pending.identity,
    );
    connection.cipher = pending.cipher;
    return connection;
  }

  /** The shortest round trip that was measured, in milliseconds. */
  get roundTripMs(): number | undefined {
    return this.#pings.roundTripMs;
  }

  /** When the newest ping that was answered was sent; undefined before the first answer. */
  get answeredAt(): number | undefined {
    return this.#pings.answeredAt;
  }

  get remoteAddress(): Address {
    return formatAddress(this.remote);
  }

  /** True when it has been closed, refused, aborted, or is gone. */
  get isOver(): boolean {
    return this.#isOver;
  }

  get awaitsFlush(): boolean {
    return this.#pings.awaitsFlush || this.owner.awaitsFlush === true;
  }

  /** It is known who is at the other end: frames may be as long as frames may be. */
  trust(): void {
    this.#reader.limits = this.#context.limits;
  }

  send(control: Control): void {
    this.sendFrame(encodeControl(control));
  }

  sendFrame(frame: Uint8Array): void {
    if (this.#isOver || this.#isFinished) return;
    const bytes = this.#isPrefaceDue ? withPreface(frame) : frame;
    this.#isPrefaceDue = false;
    this.#context.connections.send(this.id, bytes);
  }

  /** From now on silence is measured: the other side is asked whether it lives, and given up in the end. */
  watch(now: number): void {
    this.#context.idleMonitor.watch(this, now);
  }

  probe(now: number): void {
    this.#pings.ping(now);
  }

  /** Measures the round trip, unless that is under way. */
  measure(now: number): void {
    this.#pings.measure(now);
  }

  /** The other side must give a sign of life soon. */
  doubt(now: number): void {
    this.#context.idleMonitor.doubt(this, now);
    this.probe(now);
  }

  /** The other side has been silent for too long. */
  giveUp(now: number): void {
    this.#context.note("SILENT", "nothing came in time", this.remoteAddress);
    this.#context.connections.abort(this.id);
    this.#gone("SILENT", now);
  }

  /** Sends nothing more after what was sent, and reads on until the other side closes too. */
  finish(now: number): void {
    if (this.#isOver || this.#isFinished) return;
    this.#isFinished = true;
    this.#context.connections.finish(this.id, now, this.#context.limits.drainMs);
  }

  /** Says why it is of no use, and closes so that the reason arrives. */
  refuse(code: ErrorCode, message: string, now: number, highest?: number): void {
    const refusal: ControlOf<"refuse"> = { type: "refuse", code, message };
    this.send(highest === undefined ? refusal : { ...refusal, highest });
    this.close(now);
  }

  /** Closes behind all that was sent, and reads nothing more. */
  close(now: number): void {
    if (this.#isOver) return;
    this.#over();
    this.#context.connections.dismiss(this.id, now);
  }

  /** Closes at once, and reads nothing more. */
  abort(): void {
    if (this.#isOver) return;
    this.#over();
    this.#context.connections.abort(this.id);
  }

  handle(input: ConnectionProgress, now: number): void {
    if (this.#isOver) return;
    this.#now = now;
    switch (input.type) {
      case "connected":
        this.#connected(input.local, input.remote, input.cipher, now);
        break;
      case "bytes":
        this.#context.idleMonitor.heard(this, now);
        this.#reader.push(input.bytes);
        break;
      case "unproved":
        this.failure = input.code;
        this.#context.note(input.code, input.message, this.remoteAddress);
        this.#gone(input.message, now);
        break;
      case "ended":
        this.#context.connections.dismiss(this.id, now);
        this.#gone("closed by the other side", now);
        break;
      case "closed":
        if (isOutOfResources(input.failure)) this.failure = "NO_DESCRIPTORS";
        this.#gone(input.failure ?? "closed by the other side", now);
        break;
      case "flushed":
        this.#pings.flushed();
        this.owner.flushed?.(this);
        break;
      case "proving":
      case "secured":
        break;
    }
  }

  // What the reader has understood.

  preface(preface: Preface): void {
    if (isSupported(preface) || this.#isOver) return;
    // Our preface is the whole answer: the other side cannot read a frame of this version.
    if (this.#isPrefaceDue) this.#context.connections.send(this.id, encodePreface());
    this.#giveUp("VERSION_MISMATCH", `the other side speaks ${preface.lowest} to ${preface.highest}`);
  }

  frame(kind: number, body: Uint8Array): void {
    const content = decodeFrame(kind, body);
    if (content === undefined) return;
    switch (content.type) {
      case "pong":
        this.#pings.pongRead(this.#now);
        break;
      case "ping":
        this.#pings.pingRead();
        break;
      case "bad":
        this.#fail(content.code, content.detail);
        break;
      case "acknowledgement":
        if (this.owner.acknowledged === undefined) this.#failUnexpected(content.type);
        else this.owner.acknowledged(this, content.number, this.#now);
        break;
      default:
        this.owner.control(this, content, this.#now);
    }
  }

  numbered(kind: number, bytes: Uint8Array, from: number, to: number, rest: number): void {
    if (to - from < numberBytes) this.#fail("BAD_FRAME", `a frame of kind ${kind} has no number`);
    else if (this.owner.numbered === undefined) this.#failUnexpected(`frame of kind ${kind}`);
    else this.owner.numbered(this, kind, bytes, from, to, rest, this.#now);
  }

  more(bytes: Uint8Array, from: number, to: number, rest: number): void {
    this.owner.more?.(this, bytes, from, to, rest, this.#now);
  }

  bad(code: "BAD_PREFACE" | "FRAME_TOO_LARGE", detail: string): void {
    this.#fail(code, detail);
  }

  /** A message came that does not belong here. */
  unexpected(what: string, now: number): void {
    this.#now = now;
    this.#failUnexpected(what);
  }

  /** The other side has broken the protocol. */
  fail(code: ErrorCode, detail: string, now: number): void {
    this.#now = now;
    this.#fail(code, detail);
  }

  #failUnexpected(what: string): void {
    this.#fail("UNEXPECTED_MESSAGE", `"${what}" does not belong here`);
  }

  #connected(local: Endpoint, remote: Endpoint, cipher: string | undefined, now: number): void {
    if (isSelfConnection(local, remote)) {
      // TCP has met its own outgoing port.
      this.#context.connections.abort(this.id);
      this.#gone("SELF_CONNECT nobody listens there", now);
      return;
    }
    this.local = local;
    this.cipher = cipher;
    this.owner.connected?.(this, now);
  }

  /** The other side has broken the protocol: it is refused, and the owner is informed that it is gone. */
  #fail(code: ErrorCode, detail: string): void {
    if (this.#isOver) return;
    this.send({ type: "refuse", code, message: detail });
    this.#giveUp(code, detail);
  }

  #giveUp(code: ErrorCode, detail: string): void {
    this.failure = code;
    this.#context.note(code, detail, this.remoteAddress);
    this.#context.connections.dismiss(this.id, this.#now);
    this.#gone(detail, this.#now);
  }

  #gone(reason: string, now: number): void {
    if (this.#isOver) return;
    this.#over();
    this.owner.gone(this, reason, now);
  }

  #over(): void {
    this.#isOver = true;
    this.#context.idleMonitor.forget(this);
    this.#reader.close();
  }
}
