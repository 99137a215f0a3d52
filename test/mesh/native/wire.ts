import type { ConnectionId, ConnectionInput } from "../../../src/core/connections.js";
import { decodeAcknowledgement } from "../../../src/protocol/native/acknowledgement.js";
import { type Control, decodeControl, encodeControl } from "../../../src/protocol/native/control.js";
import { FrameReader, frameKinds } from "../../../src/protocol/native/frames.js";
import { isNumbered, numberBytes, numberedKinds, readUint48 } from "../../../src/protocol/native/numbered-frames.js";
import { encodePreface } from "../../../src/protocol/native/preface.js";
import { textOf } from "./recording-handler.js";

/** What was sent on a wire, as a test reads it. */
export type Frame =
  | Control
  | { readonly type: "message"; readonly number: number; readonly topic: string; readonly text: string }
  | { readonly type: "acknowledgement"; readonly number: number }
  | { readonly type: "preface"; readonly lowest: number; readonly highest: number }
  | { readonly type: "ping" | "pong" | "bad" };

/** Bytes under way, and the memory that they were sent from. */
interface Sent {
  readonly bytes: Uint8Array;
  readonly memory: Uint8Array;
}

type Item = Sent | "end" | "reset";

/** Whoever stands at one end of a wire; nobody, if the test plays it. */
export interface Stand {
  handle(input: ConnectionInput): void;
}

/** One end of a wire: what it has sent and what has not arrived yet. */
class End {
  /** Copies: the memory that bytes are sent from is used again once they are known to have arrived. */
  readonly sent: Uint8Array[] = [];
  readonly onItsWay: Item[] = [];
  stand: { readonly node: Stand; readonly connection: ConnectionId } | undefined;
  /** What the other end may send is over, and what this end may send is. */
  hasHeardEnd = false;
  hasEnded = false;
  isClosed = false;

  tell(input: { readonly type: "bytes"; readonly bytes: Uint8Array } | { readonly type: "ended" | "flushed" }): void {
    if (this.stand !== undefined) this.stand.node.handle({ ...input, connection: this.stand.connection });
  }

  close(failure?: string): void {
    if (this.isClosed) return;
    this.isClosed = true;
    if (this.stand === undefined) return;
    const { node, connection } = this.stand;
    node.handle({ type: "closed", connection, ...(failure === undefined ? {} : { failure }) });
  }
}

export type Side = "dialer" | "acceptor";

/**
 * A TCP connection in the hand of the test: everything that one end sends is held until the test lets it arrive, and each
 * end can be cut for itself.
 */
export class Wire {
  readonly dialer = new End();
  readonly acceptor = new End();
  readonly to: string;
  readonly #reach: (wire: Wire) => void;
  isConnected = false;

  constructor(to: string, reach: (wire: Wire) => void) {
    this.to = to;
    this.#reach = reach;
  }

  /** Both ends are open. */
  get isOpen(): boolean {
    return this.isConnected && !this.dialer.isClosed && !this.acceptor.isClosed;
  }

  // What the network does.

  connect(): this {
    if (this.isConnected || this.dialer.isClosed) throw new Error("this dial is over");
    this.isConnected = true;
    this.#reach(this);
    return this;
  }

  /** Nobody listens there. */
  refuse(failure = "ECONNREFUSED"): void {
    this.dialer.close(failure);
  }

  /** Lets the next of what this end has sent arrive, or all of it. */
  from(side: Side, count = Number.POSITIVE_INFINITY): this {
    const { onItsWay } = this[side];
    for (let left = count; left > 0 && onItsWay.length > 0; left -= 1) this.#arrive(side, onItsWay.shift() as Item);
    return this;
  }

  /** Lets so many bytes of what this end has sent arrive, and no more. */
  trickle(side: Side, count: number): this {
    const { onItsWay } = this[side];
    for (let left = count; left > 0; ) {
      const [item] = onItsWay;
      if (item === undefined || typeof item === "string") return this;
      if (item.bytes.length > left) {
        onItsWay.splice(0, 1, cut(item, 0, left), cut(item, left));
      }
      left -= Math.min(left, item.bytes.length);
      this.from(side, 1);
    }
    return this;
  }

  /** Bytes that this end has sent and that have not arrived. */
  pending(side: Side): number {
    return this[side].onItsWay.reduce((sum, item) => sum + (typeof item === "string" ? 0 : item.bytes.length), 0);
  }

  /** Lets everything arrive, and what comes of it. */
  flow(): this {
    if (!this.isConnected) this.connect();
    while (this.dialer.onItsWay.length > 0 || this.acceptor.onItsWay.length > 0) this.from("dialer").from("acceptor");
    return this;
  }

  /** This end notices that the connection is broken; what it has sent may still arrive. */
  cut(side: Side, failure = "ECONNRESET"): this {
    this[side].close(failure);
    return this;
  }

  /** What this end has sent never arrives. */
  lose(side: Side): this {
    this[side].onItsWay.length = 0;
    return this;
  }

  /** The reset that this end has sent arrives before everything else: the rest never does. */
  overtake(side: Side): this {
    if (this[side].onItsWay.includes("reset")) this[side].onItsWay.splice(0, Number.POSITIVE_INFINITY, "reset");
    return this.from(side);
  }

  // What the ends do.

  send(side: Side, bytes: Uint8Array): void {
    const end = this[side];
    if (end.isClosed || end.hasEnded || !this.isConnected) throw new Error("sent on a connection that cannot carry it");
    const copy = Uint8Array.from(bytes);
    end.sent.push(copy);
    end.onItsWay.push({ bytes: copy, memory: bytes });
  }

  halfClose(side: Side): void {
    const end = this[side];
    if (end.isClosed || end.hasEnded) return;
    end.hasEnded = true;
    end.onItsWay.push("end");
    if (end.hasHeardEnd) end.close();
  }

  abort(side: Side): void {
    const end = this[side];
    if (end.isClosed) return;
    end.onItsWay.push("reset");
    end.close();
  }

  /** The test plays this end, and says this; it arrives at once. */
  say(side: Side, ...frames: readonly (Control | Uint8Array)[]): this {
    for (const frame of frames) {
      const bytes = frame instanceof Uint8Array ? frame : encodeControl(frame);
      this.send(side, this[side].sent.length === 0 ? Uint8Array.of(...encodePreface(), ...bytes) : bytes);
    }
    return this.from(side);
  }

  /** Everything that this end has ever sent, prefaces left out. */
  frames(side: Side): Frame[] {
    return read(this[side].sent).filter(({ type }) => type !== "preface");
  }

  /** The newest frame of this kind that this end has sent. */
  last<Type extends Frame["type"]>(side: Side, type: Type): Extract<Frame, { type: Type }> | undefined {
    return this.frames(side).findLast((frame): frame is Extract<Frame, { type: Type }> => frame.type === type);
  }

  #arrive(side: Side, item: Item): void {
    const other = this[side === "dialer" ? "acceptor" : "dialer"];
    if (other.isClosed) return;
    if (item === "reset") other.close("ECONNRESET");
    else if (item === "end") {
      other.hasHeardEnd = true;
      other.tell({ type: "ended" });
      if (other.hasEnded) other.close();
    } else {
      // A socket may hold on to what it was given until it has gone out.
      if (!this[side].isClosed && !hasEqual(item)) throw new Error("what is under way has been overwritten");
      other.tell({ type: "bytes", bytes: item.bytes });
    }
  }
}

function cut({ bytes, memory }: Sent, from: number, to?: number): Sent {
  return { bytes: bytes.subarray(from, to), memory: memory.subarray(from, to) };
}

function hasEqual({ bytes, memory }: Sent): boolean {
  return bytes.every((byte, index) => byte === memory[index]);
}

/** Reads a stream of ours. */
export function read(pieces: readonly Uint8Array[]): Frame[] {
  const frames: Frame[] = [];
  const bounds = { controlBytes: 1e6, messageBytes: 1e7 };
  const reader = new FrameReader(bounds, {
    preface: ({ lowest, highest }) => frames.push({ type: "preface", lowest, highest }),
    frame: (kind, body) => frames.push(frameOf(kind, body)),
    bad: () => frames.push({ type: "bad" }),
  });
  for (const piece of pieces) reader.push(piece);
  return frames;
}

function frameOf(kind: number, body: Uint8Array): Frame {
  if (kind === frameKinds.ping) return { type: "ping" };
  if (kind === frameKinds.pong) return { type: "pong" };
  if (kind === frameKinds.acknowledgement) {
    return { type: "acknowledgement", number: decodeAcknowledgement(body) ?? Number.NaN };
  }
  if (isNumbered(kind)) {
    const text = kind === numberedKinds.message ? textOf(body.subarray(numberBytes)) : undefined;
    return text === undefined ? { type: "bad" } : { type: "message", number: readUint48(body, 0), ...text };
  }
  const control = decodeControl(body);
  return control === undefined || control.type === "bad" ? { type: "bad" } : control;
}
