import type { ConnectionId, Endpoint, NetworkEndpoint } from "../src/core/connections.js";
import { formatAddress } from "../src/protocol/address.js";
import type { Accept, ConnectionEvents, ConnectionPort, TransportPort } from "../src/runtime/ports.js";
import { ConnectionEnd, type ConnectionPaths, type CutNotice } from "./connection-end.js";
import type { Engine, SimulatedProcess } from "./engine.js";
import type { NetworkConditions } from "./network-conditions.js";

/** Names the connections of one process as its driver does: in the order in which they were made. */
interface Counts {
  dialed: number;
  accepted: number;
  readonly ends: Map<ConnectionId, ConnectionEnd>;
}

interface SimulatedListener {
  readonly process: SimulatedProcess;
  readonly accept: Accept;
}

/** The range from which Linux takes the ports of outgoing connections. */
const firstEphemeralPort = 32_768;
const lastEphemeralPort = 60_999;

/**
 * A network of simulated processes. Connections deliver bytes in order, and guarantee nothing else: pieces are cut, merged
 * and delayed, wait while a path is stalled, and are lost when a connection breaks. The two ends learn of a break at
 * different times, or never.
 */
export class SimulatedNetwork implements ConnectionPaths {
  readonly engine: Engine;
  /** May change while the engine runs. */
  conditions: NetworkConditions;
  readonly #listeners = new Map<string, SimulatedListener>();
  /** Who has listened at an address last, by name: a dial may be lost while nobody does. */
  readonly #lastListeners = new Map<string, string>();
  /** Where a process listened that was killed, and nobody has since. */
  readonly #deadSockets = new Set<string>();
  readonly #open = new Set<ConnectionEnd>();
  readonly #counts = new Map<SimulatedProcess, Counts>();
  /** Until when a path from one name to another is stalled. */
  readonly #stalls = new Map<string, number>();
  /** Until when dials from one name to another do not get through, and whether they are refused. */
  readonly #firewalls = new Map<string, { readonly until: number; readonly refuses: boolean }>();
  /**
   * When something last went wrong on the path between two names, either way; a stall does so to its end. Without a second
   * name: when the process moved.
   */
  readonly #hindered = new Map<string, number>();
  #nextPort = firstEphemeralPort;

  constructor(engine: Engine, conditions: NetworkConditions) {
    this.engine = engine;
    this.conditions = conditions;
  }

  /** The ends that are not closed, each connection having two. */
  get open(): Iterable<ConnectionEnd> {
    return this.#open;
  }

  /** All ends that a process has had, in the order in which they were made. */
  endsOf(process: SimulatedProcess): Iterable<ConnectionEnd> {
    return this.#counts.get(process)?.ends.values() ?? [];
  }

  /** The transport port of one process. */
  transportOf(process: SimulatedProcess): TransportPort {
    this.#counts.set(process, { dialed: 0, accepted: 0, ends: new Map() });
    return {
      dial: (to, _identity, events) => this.#dial(process, to, events),
      listen: (on, accept, done) => {
        const key = formatAddress(on);
        this.#listeners.set(key, { process, accept });
        this.#deadSockets.delete(key);
        this.#lastListeners.set(key, process.name);
        const close = (): void => {
          if (this.#listeners.get(key)?.accept === accept) this.#listeners.delete(key);
        };
        done({ address: on, close });
      },
    };
  }

  /** The end that has this name in the machine of a process. */
  endOf(process: SimulatedProcess, connection: ConnectionId): ConnectionEnd | undefined {
    return this.#counts.get(process)?.ends.get(connection);
  }

  /** kill -9: the process is gone, and the kernel closes its connections; with a notice, its machine is gone as well. */
  kill(process: SimulatedProcess, notice?: CutNotice): void {
    process.kill();
    for (const [key, listener] of this.#listeners) {
      if (listener.process !== process) continue;
      this.#listeners.delete(key);
      this.#deadSockets.add(key);
    }
    for (const end of [...this.#open]) {
      if (end.process !== process) continue;
      if (notice === undefined) end.abort();
      else {
        end.other?.cut(notice);
        end.vanish();
      }
    }
  }

  /** The machine of a process has another address: nobody reaches it at the one before, and its connections are cut. */
  move(process: SimulatedProcess, to: NetworkEndpoint, notice: CutNotice): void {
    for (const [key, listener] of this.#listeners) if (listener.process === process) this.#listeners.delete(key);
    for (const end of [...this.#open]) if (end.process === process) this.cut(end, notice, notice);
    process.moveTo(formatAddress(to), to.host);
    this.#hindered.set(`${process.name}>`, this.engine.now);
  }

  /** A connection breaks; each end learns of it in its own time, at the latest after `withinMs`. */
  reset(end: ConnectionEnd, withinMs: number): void {
    for (const side of [end, end.other]) {
      if (side === undefined) continue;
      side.isTouched = true;
      this.engine.after(this.engine.random.next() * withinMs, () => side.fail("ECONNRESET"));
    }
  }

  /** The path under a connection is cut: nothing arrives any more, and each end learns of it as given here. */
  cut(end: ConnectionEnd, here: CutNotice, there: CutNotice): void {
    end.cut(here);
    end.other?.cut(there);
  }

  /** Delays what one process sends to another, as retransmissions do; then it arrives. */
  stall(from: string, to: string, forMs: number): void {
    const until = this.engine.now + forMs;
    this.#stalls.set(`${from}>${to}`, Math.max(until, this.#stalls.get(`${from}>${to}`) ?? 0));
    this.#hinder(from, to, until);
  }

  /** Keeps one process from dialing another. Connections that there are stay. */
  block(from: string, to: string, forMs: number, refuses: boolean): void {
    this.#firewalls.set(`${from}>${to}`, { until: this.engine.now + forMs, refuses });
  }

  /** Until when what is sent now waits on its way. */
  heldUntil(from: string, to: string): number {
    if (this.#stalls.size === 0) return 0;
    return this.#stalls.get(`${from}>${to}`) ?? 0;
  }

  /** When something last went wrong between the two, other than to a connection that they had; or one of them moved. */
  hinderedAt(a: string, b: string): number {
    const paths = [`${a}>${b}`, `${b}>${a}`, `${a}>`, `${b}>`];
    // eslint-disable-next-line no-restricted-syntax -- four numbers
    return Math.max(...paths.map((path) => this.#hindered.get(path) ?? -1e9));
  }

  forget(end: ConnectionEnd): void {
    this.#open.delete(end);
  }

  /** How long one piece takes. */
  delay(): number {
    return this.engine.random.next() * this.conditions.delayMs;
  }

  /** Sends a packet that belongs to no stream from one name to another. */
  travel(from: string, to: string, arrive: () => void): void {
    this.engine.at(Math.max(this.engine.now, this.heldUntil(from, to)) + this.delay(), arrive);
  }

  #hinder(from: string, to: string, at: number): void {
    this.#hindered.set(`${from}>${to}`, Math.max(at, this.#hindered.get(`${from}>${to}`) ?? 0));
  }

  #begin(process: SimulatedProcess, kind: "dialed" | "accepted", events: ConnectionEvents | undefined): ConnectionEnd {
    const counts = this.#counts.get(process) ?? { dialed: 0, accepted: 0, ends: new Map() };
    counts[kind] += 1;
    const connection: ConnectionId = kind === "dialed" ? `out:${counts.dialed}` : `in:${counts.accepted}`;
    const end = new ConnectionEnd(this, process, connection, events);
    counts.ends.set(connection, end);
    this.#open.add(end);
    return end;
  }

  #dial(process: SimulatedProcess, to: Endpoint, events: ConnectionEvents): ConnectionPort {
    this.#nextPort = this.#nextPort === lastEphemeralPort ? firstEphemeralPort : this.#nextPort + 1;
    const from: Endpoint = to.path === undefined ? { host: process.host, port: this.#nextPort } : { path: "" };
    const key = formatAddress(to);
    const name = this.#listeners.get(key)?.process.name ?? key;
    const called = this.#lastListeners.get(key) ?? key;
    const dialer = this.#begin(process, "dialed", events);
    const firewall = this.#firewalls.get(`${process.name}>${name}`);
    if (firewall !== undefined && firewall.until > this.engine.now) {
      this.#hinder(process.name, called, this.engine.now);
      if (firewall.refuses) this.travel(process.name, name, () => dialer.fail("ECONNREFUSED"));
      return dialer;
    }
    if (this.engine.random.chance(this.conditions.dialLoss)) {
      this.#hinder(process.name, called, this.engine.now);
      return dialer;
    }
    dialer.isTouched = this.heldUntil(process.name, name) > this.engine.now;
    this.travel(process.name, name, () => this.#knock(dialer, from, to, name));
    return dialer;
  }

  #slow(dialer: ConnectionEnd, acceptor: ConnectionEnd): void {
    const { lag } = this.conditions;
    const { random, now } = this.engine;
    if (lag === undefined || !random.chance(lag.chance)) return;
    const end = random.chance(0.5) ? dialer : acceptor;
    end.heldUntil = now + random.next() * lag.forMs;
    this.#hinder(dialer.process.name, acceptor.process.name, end.heldUntil);
  }

  /** A dial has arrived at its address. */
  #knock(dialer: ConnectionEnd, from: Endpoint, to: Endpoint, name: string): void {
    // Its process has moved meanwhile: what would accept the dial does not reach it.
    if (dialer.isCut) return;
    const listener = this.#listeners.get(formatAddress(to));
    if (listener === undefined) {
      // The file of a local socket is left behind by a process that was killed, and removed by one that has ended.
      const isRefused = to.path === undefined || this.#deadSockets.has(formatAddress(to));
      this.travel(name, dialer.process.name, () => dialer.fail(isRefused ? "ECONNREFUSED" : "ENOENT"));
      return;
    }
    const acceptor = this.#begin(listener.process, "accepted", undefined);
    dialer.other = acceptor;
    acceptor.other = dialer;
    acceptor.isTouched = this.heldUntil(name, dialer.process.name) > this.engine.now;
    this.#slow(dialer, acceptor);
    listener.process.do(() => {
      acceptor.events = listener.accept(acceptor, to, from);
    });
    if (dialer.isClosed) acceptor.fail("ECONNRESET");
    else this.travel(name, dialer.process.name, () => dialer.notify((heard) => heard.connected(from, to)));
  }
}
