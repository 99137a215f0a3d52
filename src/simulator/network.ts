import type { Endpoint } from "../core/connections.js";
import { formatAddress } from "../protocol/address.js";
import type { Accept, ConnectionEvents, ConnectionPort, TransportPort } from "../runtime/ports.js";
import type { SimulatedProcess, World } from "./world.js";

/** How the network behaves. Chances are from 0 to 1, times in milliseconds. */
export interface Weather {
  readonly delayMs: number;
  /** That a message is cut in two on its way. */
  readonly split: number;
  /** How long its second part may lag behind. */
  readonly splitGapMs: number;
  /** That what arrives while something waits to be read is read in one piece with it. */
  readonly merge: number;
  /** That a connection attempt is lost without a word. */
  readonly dialLoss: number;
}

/** One direction of a connection: pieces on their way, in order. */
interface Pipe {
  readonly pieces: { readonly at: number; readonly bytes: Uint8Array }[];
  /** When the newest piece arrives; nothing overtakes it. */
  lastAt: number;
}

const firstEphemeralPort = 32_768;

/**
 * A network of simulated processes. Connections deliver bytes in order and nothing else is promised: pieces are cut and
 * merged, delayed, and lost when a connection breaks, and the two ends learn of a break at different times.
 */
export class Network {
  readonly world: World;
  /** May change while the world runs. */
  weather: Weather;
  readonly #listeners = new Map<string, { readonly process: SimulatedProcess; readonly accept: Accept }>();
  readonly #open = new Set<End>();
  #nextPort = firstEphemeralPort;

  constructor(world: World, weather: Weather) {
    this.world = world;
    this.weather = weather;
  }

  /** The ends that are not closed, each connection having two. */
  get open(): Iterable<End> {
    return this.#open;
  }

  /** The transport port of one process. */
  transportOf(process: SimulatedProcess): TransportPort {
    return {
      dial: (to, events) => this.#dial(process, to, events),
      listen: (on, accept, done) => {
        const key = formatAddress(on);
        this.#listeners.set(key, { process, accept });
        const close = (): void => {
          if (this.#listeners.get(key)?.accept === accept) this.#listeners.delete(key);
        };
        done({ address: on, close });
      },
    };
  }

  /** kill -9: the process is gone, and the kernel closes what it had. */
  kill(process: SimulatedProcess): void {
    process.kill();
    for (const [key, listener] of this.#listeners) if (listener.process === process) this.#listeners.delete(key);
    for (const end of [...this.#open]) if (end.process === process) end.abort();
  }

  /** A connection breaks; each end learns of it in its own time, at the latest after `withinMs`. */
  reset(end: End, withinMs: number): void {
    for (const side of [end, end.other]) {
      if (side !== undefined) this.world.after(this.world.random.next() * withinMs, () => side.fail("ECONNRESET"));
    }
  }

  forget(end: End): void {
    this.#open.delete(end);
  }

  /** How long one piece takes. */
  delay(): number {
    return this.world.random.next() * this.weather.delayMs;
  }

  #dial(process: SimulatedProcess, to: Endpoint, events: ConnectionEvents): ConnectionPort {
    this.#nextPort += 1;
    const from: Endpoint = { host: process.host, port: this.#nextPort };
    const dialer = new End(this, process, events);
    this.#open.add(dialer);
    if (this.world.random.chance(this.weather.dialLoss)) return dialer;
    this.world.after(this.delay(), () => {
      const listener = this.#listeners.get(formatAddress(to));
      if (listener === undefined) {
        this.world.after(this.delay(), () => dialer.fail("ECONNREFUSED"));
        return;
      }
      const acceptor = new End(this, listener.process, undefined);
      this.#open.add(acceptor);
      dialer.other = acceptor;
      acceptor.other = dialer;
      listener.process.do(() => {
        acceptor.events = listener.accept(acceptor, to, from);
      });
      if (dialer.isClosed) acceptor.fail("ECONNRESET");
      else this.world.after(this.delay(), () => dialer.tell((heard) => heard.connected(from, to)));
    });
    return dialer;
  }
}

/** One end of a connection. */
export class End implements ConnectionPort {
  readonly process: SimulatedProcess;
  readonly queuedBytes = 0;
  events: ConnectionEvents | undefined;
  other: End | undefined;
  readonly #network: Network;
  readonly #outgoing: Pipe = { pieces: [], lastAt: 0 };
  #hasSentFin = false;
  #hasReadFin = false;
  #isClosed = false;

  constructor(network: Network, process: SimulatedProcess, events: ConnectionEvents | undefined) {
    this.#network = network;
    this.process = process;
    this.events = events;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  send(bytes: Uint8Array): void {
    if (this.#isClosed || this.#hasSentFin) return;
    const { world, weather } = this.#network;
    const isSplit = bytes.length > 1 && world.random.chance(weather.split);
    const cut = isSplit ? world.random.integer(1, bytes.length - 1) : bytes.length;
    this.#deliver(bytes.subarray(0, cut), 0);
    if (isSplit) this.#deliver(bytes.subarray(cut), world.random.next() * weather.splitGapMs);
    world.after(world.random.next(), () => this.tell((events) => events.flushed()));
  }

  halfClose(): void {
    if (this.#isClosed || this.#hasSentFin) return;
    this.#hasSentFin = true;
    this.#inOrder(0, () => this.other?.readFin());
    this.#closeIfDone();
  }

  abort(): void {
    if (this.#isClosed) return;
    const { other } = this;
    // With luck the last bytes still arrive and a FIN follows; else a reset overtakes them.
    if (this.#network.world.random.chance(0.5)) this.#inOrder(0, () => other?.readFin());
    else this.#network.world.after(this.#network.delay(), () => other?.fail("ECONNRESET"));
    this.#close(undefined);
  }

  /** The connection is broken, seen from this end. */
  fail(errno: string): void {
    if (!this.#isClosed) this.#close(errno);
  }

  /** Lets the process hear something, unless the connection is closed for it. */
  tell(say: (events: ConnectionEvents) => void): void {
    this.process.do(() => {
      if (!this.#isClosed && this.events !== undefined) say(this.events);
    });
  }

  /** The other side has half-closed. */
  readFin(): void {
    if (this.#isClosed || this.#hasReadFin) return;
    this.tell((events) => {
      this.#hasReadFin = true;
      events.ended();
      this.#closeIfDone();
    });
  }

  #deliver(bytes: Uint8Array, lagMs: number): void {
    this.#inOrder(lagMs, () => this.#arrive());
    this.#outgoing.pieces.push({ at: this.#outgoing.lastAt, bytes });
  }

  /** Something travels to the other end, behind all that travels already. */
  #inOrder(lagMs: number, arrive: () => void): void {
    const { world } = this.#network;
    const at = Math.max(this.#outgoing.lastAt, world.now + this.#network.delay()) + lagMs;
    this.#outgoing.lastAt = at;
    world.at(at, arrive);
  }

  /** A piece is there; it may be read together with others that are there too. */
  #arrive(): void {
    const { pieces } = this.#outgoing;
    const { other } = this;
    const { world, weather } = this.#network;
    const first = pieces[0];
    // What has been read together with an earlier piece is not read again.
    if (first === undefined || first.at > world.now || other === undefined) return;
    pieces.shift();
    let bytes = first.bytes;
    const next = pieces[0];
    if (next !== undefined && next.at <= world.now && world.random.chance(weather.merge)) {
      pieces.shift();
      bytes = Uint8Array.of(...bytes, ...next.bytes);
    }
    if (other.isClosed) world.after(this.#network.delay(), () => this.fail("ECONNRESET"));
    else other.tell((events) => events.bytes(bytes));
  }

  #closeIfDone(): void {
    if (this.#hasSentFin && this.#hasReadFin) this.#close(undefined);
  }

  #close(errno: string | undefined): void {
    this.#isClosed = true;
    this.#network.forget(this);
    // Reported later, as Node does, never from within the call that closed it.
    this.#network.world.after(0, () => this.process.do(() => this.events?.closed(errno)));
  }
}
