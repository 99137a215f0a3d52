import type { ConnectionInput, ConnectionOutput, Endpoint, Identity } from "../../src/core/connections.js";
import type { FullmeshError } from "../../src/core/errors.js";
import type { Clocks, Machine } from "../../src/core/machine.js";
import type {
  Accept,
  ClockPort,
  ConnectionEvents,
  ConnectionPort,
  Listening,
  TransportPort,
} from "../../src/runtime/ports.js";

interface Timer {
  readonly at: number;
  readonly fire: () => void;
}

/** A clock that a test holds by the hand: nothing fires and nothing is polled unless the test says so. */
export class HandClock implements ClockPort {
  time = 0;
  readonly timers = new Set<Timer>();
  #afterTurn: (() => void)[] = [];
  #afterPoll: (() => void)[] = [];

  now(): number {
    return this.time;
  }

  /** By how much the wall clock is ahead. */
  wallOffsetMs = 0;

  wallTime(): number {
    return this.time + this.wallOffsetMs;
  }

  setTimer(at: number, fire: () => void): () => void {
    const timer = { at, fire };
    this.timers.add(timer);
    return () => this.timers.delete(timer);
  }

  afterTurn(run: () => void): void {
    this.#afterTurn.push(run);
  }

  afterPoll(run: () => void): void {
    this.#afterPoll.push(run);
  }

  /** The code that runs now has come to its end. Returns how much was to be done then. */
  endTurn(): number {
    const due = this.#afterTurn;
    this.#afterTurn = [];
    for (const run of due) run();
    return due.length;
  }

  /** Fires the timers that are due at this time, without polling. */
  fireAt(time: number): void {
    this.time = time;
    for (const timer of [...this.timers]) {
      if (timer.at > time || !this.timers.delete(timer)) continue;
      timer.fire();
    }
  }

  /** What has arrived from the network has been reported. */
  poll(): void {
    const due = this.#afterPoll;
    this.#afterPoll = [];
    for (const run of due) run();
  }

  /** Lets time come to this moment on schedule: each timer fires at its moment, and is followed by a poll. */
  runTo(time: number): void {
    for (let round = 0; ; round += 1) {
      if (round > 10_000) throw new Error(`timers fire again and again at ${this.time}`);
      const [next] = [...this.timers].toSorted((a, b) => a.at - b.at);
      if (next === undefined || next.at > time) break;
      this.fireAt(Math.max(this.time, next.at));
      this.poll();
    }
    this.time = time;
  }
}

/** One connection of the hand transport: what was done to it, and the events by which the test lets things happen. */
export class HandConnection implements ConnectionPort {
  queuedBytes = 0;
  readonly done: string[] = [];

  send(bytes: Uint8Array): void {
    this.done.push(`send ${new TextDecoder().decode(bytes)}`);
  }

  halfClose(): void {
    this.done.push("halfClose");
  }

  abort(): void {
    this.done.push("abort");
  }
}

export interface HandDial {
  readonly to: Endpoint;
  readonly identity: Identity;
  readonly events: ConnectionEvents;
  readonly connection: HandConnection;
}

/** A network on which nothing happens unless the test says so. */
export class HandTransport implements TransportPort {
  readonly dials: HandDial[] = [];
  accept: Accept | undefined;
  /** Lets the wish to listen come true, or fail. */
  listening: (failure?: FullmeshError) => void = () => {};
  isListening = false;
  /** Where listeners have been closed. */
  readonly closed: Endpoint[] = [];

  dial(to: Endpoint, identity: Identity, events: ConnectionEvents): ConnectionPort {
    const connection = new HandConnection();
    this.dials.push({ to, identity, events, connection });
    return connection;
  }

  listen(on: Endpoint, accept: Accept, done: Listening): void {
    this.accept = accept;
    this.listening = (failure) => {
      const address = on.path === undefined && on.port === 0 ? { host: on.host, port: 40_000 } : on;
      this.isListening = failure === undefined;
      done(failure ?? { address, close: () => this.stop(address) });
    };
  }

  stop(address: Endpoint): void {
    this.closed.push(address);
    this.isListening = false;
  }
}

export type ScriptInput = { readonly type: "wish"; readonly name: string };
export type ScriptOutput = { readonly type: "told"; readonly text: string };

type AnyInput = ScriptInput | ConnectionInput;
type AnyOutput = ScriptOutput | ConnectionOutput;

/** A machine that writes down what it is given, and answers as the test has written. */
export class ScriptMachine implements Machine<AnyInput, AnyOutput> {
  readonly heard: { readonly input: AnyInput; readonly now: number }[] = [];
  readonly outputs: AnyOutput[] = [];
  timeoutAt: number | undefined;
  /** What the test wants to happen at an input. */
  onInput: (input: AnyInput, now: number) => void = () => {};

  /** What the clocks of the computer said at the last input. */
  clocks: Clocks | undefined;

  handle(input: AnyInput, now: number, clocks: Clocks): void {
    this.clocks = { ...clocks };
    this.heard.push({ input, now });
    this.onInput(input, now);
  }

  poll(): AnyOutput | undefined {
    return this.outputs.shift();
  }

  nextTimeout(): number | undefined {
    return this.timeoutAt;
  }

  /** The types of the inputs heard so far, the names of the wishes, in order. */
  get story(): string[] {
    return this.heard.map(({ input }) => (input.type === "wish" ? input.name : input.type));
  }
}
