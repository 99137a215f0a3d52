import type { ConnectionId } from "../src/core/connections.js";
import type { ConnectionEvents, ConnectionPort } from "../src/runtime/ports.js";
import type { Engine, SimulatedProcess } from "./engine.js";
import type { NetworkConditions } from "./network-conditions.js";

/**
 * How the process at one end learns that the path was cut: after so many milliseconds, by the reset that answers its next
 * write, or not at all.
 */
export type CutNotice = number | "write" | "never";

/** When the kernel gives up an idle connection whose other end has vanished. */
const keepaliveMs = 9_000;

/** The network, as the ends of its connections see it. */
export interface ConnectionPaths {
  readonly engine: Engine;
  readonly conditions: NetworkConditions;
  /** How long one piece takes, in milliseconds. */
  delay(): number;
  /** Until when what one name sends another waits on its way. */
  heldUntil(from: string, to: string): number;
  /** Carries a packet that belongs to no stream from one name to another. */
  travel(from: string, to: string, arrive: () => void): void;
  /** The end is closed. */
  forget(end: ConnectionEnd): void;
}

/** One direction of a connection: pieces on their way, in order. */
interface PacketQueue {
  readonly pieces: { readonly at: number; readonly bytes: Uint8Array }[];
  /** When the newest piece arrives; nothing overtakes it. */
  lastAt: number;
}

/** One end of a connection. */
export class ConnectionEnd implements ConnectionPort {
  readonly process: SimulatedProcess;
  /** Its name in the machine that has it. */
  readonly connection: ConnectionId;
  readonly queuedBytes = 0;
  events: ConnectionEvents | undefined;
  other: ConnectionEnd | undefined;
  /** True once anything has gone wrong with this connection, at either end. */
  isTouched = false;
  /** Until when all that it sends is held up. */
  heldUntil = 0;
  /** A returning member has resumed on it, and has not been sent entries yet. */
  isResuming = false;
  /** Its process has sent goodbye on it. */
  hasSaidGoodbye = false;
  /** The step of the engine in which bytes were last read at this end. */
  readAtStep = -1;
  readonly #paths: ConnectionPaths;
  readonly #outgoing: PacketQueue = { pieces: [], lastAt: 0 };
  #cut: CutNotice | undefined;
  #hasSpoken = false;
  #hasSentFin = false;
  #hasReadFin = false;
  #isClosed = false;
  #isKnownClosed = false;

  constructor(
    paths: ConnectionPaths,
    process: SimulatedProcess,
    connection: ConnectionId,
    events: ConnectionEvents | undefined,
  ) {
    this.#paths = paths;
    this.process = process;
    this.connection = connection;
    this.events = events;
  }

  readonly #flushed = (): void => {
    if (!this.#isClosed) this.events?.flushed();
  };

  readonly #arriveUnlessCut = (): void => {
    if (this.#cut === undefined) this.#arrive();
  };

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** True once it is closed and its process knows: a suspended process learns of a broken connection when it is resumed. */
  get isKnownClosed(): boolean {
    return this.#isKnownClosed;
  }

  /** True if nothing that it sends arrives any more. */
  get isCut(): boolean {
    return this.#cut !== undefined;
  }

  /** True while its process may still send on it. */
  get isSpeaking(): boolean {
    return !this.#isClosed && !this.#hasSentFin;
  }

  send(bytes: Uint8Array): void {
    if (this.#isClosed || this.#hasSentFin) return;
    this.#hasSpoken = true;
    const { engine, conditions } = this.#paths;
    const isSplit = bytes.length > 1 && engine.random.chance(conditions.split);
    const cut = isSplit ? engine.random.integer(1, bytes.length - 1) : bytes.length;
    // The sender may write on this memory again once it has been acknowledged, and readers keep what they read.
    this.#deliver(bytes.slice(0, cut), 0);
    if (isSplit) this.#deliver(bytes.slice(cut), engine.random.next() * conditions.splitGapMs);
    engine.after(engine.random.next(), this.#flushed, this.process);
    if (this.#cut === "write") engine.after(2 * this.#paths.delay(), () => this.fail("ECONNRESET"));
  }

  halfClose(): void {
    if (this.#isClosed || this.#hasSentFin) return;
    this.#hasSentFin = true;
    this.#inOrder(0, () => {
      if (this.#cut === undefined) this.other?.readFin();
    });
    this.#closeIfDone();
  }

  abort(): void {
    if (this.#isClosed) return;
    const { other } = this;
    // Either the last bytes still arrive and a FIN follows, or a reset overtakes them.
    if (this.#paths.engine.random.chance(0.5))
      this.#inOrder(0, () => {
        if (this.#cut === undefined) other?.readFin();
      });
    else if (other !== undefined) this.#paths.travel(this.process.name, other.process.name, () => this.#reset(other));
    else this.#paths.delay();
    this.#close(undefined);
  }

  /** The connection is broken, seen from this end. */
  fail(errno: string): void {
    if (!this.#isClosed) this.#close(errno);
  }

  /** The path is cut: from now on nothing that this end sends, or has sent, arrives. */
  cut(notice: CutNotice): void {
    this.isTouched = true;
    this.#cut ??= notice;
    this.#outgoing.pieces.length = 0;
    // Where no ping asks whether the other end runs, TCP keepalive does: under classic members, and before a caller is known.
    const isAsked = this.#hasSpoken && !this.process.isClassic && this.other?.process.isClassic !== true;
    const withinMs = typeof notice === "number" ? notice : isAsked ? undefined : keepaliveMs;
    if (withinMs !== undefined) this.#paths.engine.after(withinMs, () => this.fail("ECONNRESET"));
  }

  /** The process is gone, and nobody is notified. */
  vanish(): void {
    if (!this.#isClosed) this.#close(undefined);
  }

  /** Gives the process an event, unless the connection is closed for it. */
  notify(say: (events: ConnectionEvents) => void): void {
    this.process.do(() => {
      if (!this.#isClosed && this.events !== undefined) say(this.events);
    });
  }

  /** The other side has half-closed. */
  readFin(): void {
    if (this.#isClosed || this.#hasReadFin) return;
    this.notify((events) => {
      this.#hasReadFin = true;
      events.ended();
      this.#closeIfDone();
    });
  }

  #reset(other: ConnectionEnd): void {
    if (this.#cut === undefined) other.fail("ECONNRESET");
  }

  #deliver(bytes: Uint8Array, lagMs: number): void {
    this.#inOrder(lagMs, this.#arriveUnlessCut);
    if (this.#cut === undefined) this.#outgoing.pieces.push({ at: this.#outgoing.lastAt, bytes });
  }

  /** Sends something to the other end, behind all that is on its way; `arrive` looks whether the path was cut meanwhile. */
  #inOrder(lagMs: number, arrive: () => void): void {
    const { engine } = this.#paths;
    const { other } = this;
    const { name } = this.process;
    const stalledUntil = other === undefined ? 0 : this.#paths.heldUntil(name, other.process.name);
    const heldUntil = Math.max(this.heldUntil, stalledUntil);
    if (heldUntil > engine.now && other !== undefined) {
      this.isTouched = true;
      other.isTouched = true;
    }
    const at = Math.max(this.#outgoing.lastAt, Math.max(engine.now, heldUntil) + this.#paths.delay()) + lagMs;
    this.#outgoing.lastAt = at;
    engine.at(at, arrive);
  }

  /** A piece is there; it may be read together with others that are there too. */
  #arrive(): void {
    const { pieces } = this.#outgoing;
    const { other } = this;
    const { engine, conditions } = this.#paths;
    const first = pieces[0];
    // What has been read together with an earlier piece is not read again.
    if (first === undefined || first.at > engine.now || other === undefined) return;
    pieces.shift();
    let bytes = first.bytes;
    const next = pieces[0];
    if (next !== undefined && next.at <= engine.now && engine.random.chance(conditions.merge)) {
      pieces.shift();
      bytes = new Uint8Array(first.bytes.length + next.bytes.length);
      bytes.set(first.bytes);
      bytes.set(next.bytes, first.bytes.length);
    }
    if (other.isClosed) engine.after(this.#paths.delay(), () => this.fail("ECONNRESET"));
    else other.notify((events) => other.#read(events, bytes));
  }

  #read(events: ConnectionEvents, bytes: Uint8Array): void {
    this.readAtStep = this.#paths.engine.steps;
    events.bytes(bytes);
  }

  #closeIfDone(): void {
    if (this.#hasSentFin && this.#hasReadFin) this.#close(undefined);
  }

  #close(errno: string | undefined): void {
    this.#isClosed = true;
    // A process is notified only of what it has not closed itself.
    this.#isKnownClosed = errno === undefined;
    this.#paths.forget(this);
    // Reported later, as Node does, never from within the call that closed it.
    this.#paths.engine.after(0, () =>
      this.process.do(() => {
        this.#isKnownClosed = true;
        this.events?.closed(errno);
      }),
    );
  }
}
