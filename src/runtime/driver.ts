import type { ConnectionId, ConnectionInput, ConnectionOutput, Endpoint, Identity } from "../core/connections.js";
import { doubleZero } from "../core/double-field.js";
import { type ErrorCode, FullmeshError } from "../core/errors.js";
import type { Clocks, Machine } from "../core/machine.js";
import type { Accept, ClockPort, ConnectionEvents, ConnectionPort, ListenerPort, TransportPort } from "./ports.js";

/** A timer that fires later than this was delayed by a stall of this process, not by its coarse clock. */
const stallMs = 20;

/** The options of a driver. */
export interface DriverOptions<Input, Output> {
  readonly machine: Machine<Input | ConnectionInput, Output | ConnectionOutput>;
  readonly transport: TransportPort;
  readonly clock: ClockPort;
  /** Gets the outputs that do not concern connections, in order. */
  readonly perform: (output: Exclude<Output, ConnectionOutput>) => void;
  /** The input for the machine at the end of a turn in which `wake` was called. */
  readonly onWake?: Input;
  /** Called with everything that is sent, before it is; for traces. */
  readonly onSend?: (connection: ConnectionId, bytes: Uint8Array) => void;
}

/** An input in the queue. */
interface Queued<Input> {
  readonly input: Input;
  readonly done: (() => void) | undefined;
}

/** The one running timer of a driver, for the next deadline of the machine. */
interface Timer {
  /** On the machine's time. */
  readonly at: number;
  /** When it can fire at the earliest, on the machine's time: a deadline may have been in the past. */
  readonly expected: number;
  hasFired: boolean;
  cancel: () => void;
}

/**
 * Runs one machine: passes it the events of its connections and the time, and performs its outputs.
 *
 * Two rules about time. Node fires timers before it reads what has arrived, so a due deadline reaches the machine only after one
 * more poll of the event loop: an answer that arrived in time counts first. And while this process is stalled, nobody else is
 * late: the clock of the machine stands still for as long as a timer fires late.
 */
export class Driver<Input, Output> {
  readonly #options: DriverOptions<Input, Output>;
  readonly #connections = new Map<ConnectionId, ConnectionPort>();
  readonly #inputs: Queued<Input | ConnectionInput>[] = [];
  #listener: ListenerPort | undefined;
  #hasStopped = false;
  #isRunning = false;
  #isWakeScheduled = false;
  #accepted = 0;
  #sentBytes = doubleZero;
  #receivedBytes = doubleZero;
  /** The total time of stalls of this process. */
  #stalledMs = 0;
  /** The latest result of `now`. */
  #latest = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  readonly #clocks = { monotonicMs: 0, wallMs: 0 };
  /** True while the timer is to be updated after this poll. */
  #isTimerStale = false;
  /** What `push` has polled and left: it is not about a connection. */
  #left: Output | ConnectionOutput | undefined;

  constructor(options: DriverOptions<Input, Output>) {
    this.#options = options;
  }

  /** Bytes given to connections in all, before any encryption. */
  get sentBytes(): number {
    // It begins as -0, which must read as 0.
    return this.#sentBytes + 0;
  }

  /** Bytes received on connections in all, after any decryption. */
  get receivedBytes(): number {
    return this.#receivedBytes + 0;
  }

  /** Bytes sent on a connection that the kernel has not taken yet. */
  queuedBytes(connection: ConnectionId): number {
    return this.#connections.get(connection)?.queuedBytes ?? 0;
  }

  /** Listens here instead of at the address before. `done` gets the address with its actual port, or the error. */
  listen(on: Endpoint, done: (outcome: Endpoint | FullmeshError) => void): void {
    if (this.#hasStopped) {
      done(new FullmeshError("ENDED", "the machine has ended, so it does not listen"));
      return;
    }
    const accept: Accept = (port, local, remote) => {
      this.#accepted += 1;
      const connection: ConnectionId = `in:${this.#accepted}`;
      this.#connections.set(connection, port);
      this.input({ type: "accepted", connection, local, remote });
      return new ConnectionInputs(this, connection);
    };
    this.#options.transport.listen(on, accept, (outcome) => {
      if (outcome instanceof FullmeshError) {
        done(outcome);
        return;
      }
      // The machine may have ended while the socket was being opened.
      if (this.#hasStopped) {
        outcome.close();
        done(new FullmeshError("ENDED", "the machine ended before it listened"));
      } else {
        this.#listener?.close();
        this.#listener = outcome;
        done(outcome.address);
      }
    });
  }

  /** Gives the machine its `onWake` after the code that runs now, so that everything begun in one turn goes out together. */
  wake(): void {
    if (this.#isWakeScheduled) return;
    this.#isWakeScheduled = true;
    this.#options.clock.afterTurn(this.#handleWake);
  }

  /**
   * Gives the machine its `onWake` at once, and performs what follows as far as it concerns connections: for code of the
   * application, which does not expect to be called meanwhile. The rest follows as with `wake`.
   */
  push(): void {
    const { machine, onWake } = this.#options;
    if (this.#isRunning || onWake === undefined || this.#left !== undefined) {
      this.wake();
      return;
    }
    this.#isRunning = true;
    try {
      const time = this.#options.clock.now();
      machine.handle(onWake, this.#machineTime(time), this.#readClocks(time));
      for (let output = machine.poll(); output !== undefined; output = machine.poll()) {
        if (isConnectionOutput(output)) this.#performOnConnection(output);
        else {
          this.#left = output;
          break;
        }
      }
    } finally {
      this.#isRunning = false;
    }
    this.wake();
  }

  readonly #handleWake = (): void => {
    this.#isWakeScheduled = false;
    if (this.#options.onWake !== undefined) this.input(this.#options.onWake);
  };

  /** Gives the machine bytes that a connection has received. */
  receive(connection: ConnectionId, bytes: Uint8Array): void {
    this.#receivedBytes += bytes.length;
    this.input({ type: "bytes", connection, bytes });
  }

  /** Gives the machine the word that everything sent has left this process, if it waits for that. */
  flushed(connection: ConnectionId): void {
    // What waits in the queue may change what the machine waits for.
    if (this.#isRunning || this.#options.machine.awaitsFlush?.(connection) !== false)
      this.input({ type: "flushed", connection });
  }

  /** Gives the machine an input, performs all outputs that follow, and then calls `done`. */
  input(input: Input | ConnectionInput, done?: () => void): void {
    this.#inputs.push({ input, done });
    // An input that an output causes at once waits in the queue: a machine is never entered while it is being polled.
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      this.#run();
    } finally {
      this.#isRunning = false;
      this.#updateTimer();
    }
  }

  #run(): void {
    if (this.#left !== undefined) this.#performAll();
    for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) {
      const time = this.#options.clock.now();
      this.#options.machine.handle(next.input, this.#machineTime(time), this.#readClocks(time));
      this.#performAll();
      next.done?.();
    }
  }

  #performAll(): void {
    const { machine, perform } = this.#options;
    let output = this.#left ?? machine.poll();
    this.#left = undefined;
    for (; output !== undefined; output = machine.poll()) {
      if (isConnectionOutput(output)) this.#performOnConnection(output);
      else perform(output as Exclude<Output, ConnectionOutput>);
    }
  }

  #performOnConnection(output: ConnectionOutput): void {
    switch (output.type) {
      case "dial": {
        const port = this.#options.transport.dial(
          output.to,
          output.identity,
          new ConnectionInputs(this, output.connection),
        );
        this.#connections.set(output.connection, port);
        break;
      }
      case "send":
        this.#options.onSend?.(output.connection, output.bytes);
        this.#sentBytes += output.bytes.length;
        this.#connections.get(output.connection)?.send(output.bytes);
        break;
      case "halfClose":
        this.#connections.get(output.connection)?.halfClose();
        break;
      case "abort":
        this.#connections.get(output.connection)?.abort();
        break;
      case "stopListening":
        this.#hasStopped = true;
        this.#listener?.close();
        this.#listener = undefined;
        break;
    }
  }

  /** Removes a closed connection. */
  forget(connection: ConnectionId): void {
    this.#connections.delete(connection);
  }

  /** One object for all steps: whoever keeps a reading copies it. */
  #readClocks(time: number): Clocks {
    this.#clocks.monotonicMs = time;
    this.#clocks.wallMs = this.#options.clock.wallTime();
    return this.#clocks;
  }

  /** The machine's time, in milliseconds: that of the clock less stalls. A timer that is overdue before it has fired shows a stall. */
  now(): number {
    return this.#machineTime(this.#options.clock.now());
  }

  #machineTime(clockTime: number): number {
    const time = clockTime - this.#stalledMs;
    const lateMs = this.#timer === undefined || this.#timer.hasFired ? 0 : time - this.#timer.expected;
    if (lateMs > stallMs) this.#stalledMs += lateMs;
    this.#latest = Math.max(this.#latest, lateMs > stallMs ? time - lateMs : time);
    return this.#latest;
  }

  /**
   * Updates the timer after deadlines may have moved. While one runs that is too late by now, or for nothing, that is once for all
   * inputs of one poll of the event loop.
   */
  #updateTimer(): void {
    if (this.#timer === undefined) {
      this.#setTimer();
      return;
    }
    if (this.#isTimerStale) return;
    const at = this.#options.machine.nextTimeout();
    if (at !== undefined && this.#timer.at <= at) return;
    this.#isTimerStale = true;
    this.#options.clock.afterPoll(() => {
      this.#isTimerStale = false;
      this.#setTimer();
    });
  }

  /**
   * Sets a timer for the next deadline of the machine. A running one that fires earlier stays, because every byte that arrives
   * moves deadlines: it will find nothing due, and the next one is set then.
   */
  #setTimer(): void {
    const at = this.#options.machine.nextTimeout();
    if (this.#timer !== undefined) {
      if (at !== undefined && this.#timer.at <= at) return;
      this.#timer.cancel();
      this.#timer = undefined;
    }
    if (at === undefined) return;
    const { clock } = this.#options;
    const expected = Math.max(at, clock.now() - this.#stalledMs);
    const timer: Timer = { at, expected, hasFired: false, cancel: () => {} };
    timer.cancel = clock.setTimer(at + this.#stalledMs, () => {
      this.now();
      timer.hasFired = true;
      clock.afterPoll(() => {
        if (this.#timer !== timer) return;
        this.#timer = undefined;
        const due = this.#options.machine.nextTimeout();
        const now = this.now();
        // The stalls added to a moment and taken away again may leave a little less than it.
        const isDue = due !== undefined && (due <= now || due + this.#stalledMs <= clock.now());
        if (isDue) {
          this.#latest = Math.max(now, due);
          this.input({ type: "timeout" });
        } else this.#setTimer();
      });
    });
    this.#timer = timer;
  }
}

/** Turns the events of one connection into inputs of the machine. */
class ConnectionInputs implements ConnectionEvents {
  readonly #driver: Pick<Driver<never, never>, "input" | "receive" | "flushed" | "forget">;
  readonly #connection: ConnectionId;

  constructor(
    driver: Pick<Driver<never, never>, "input" | "receive" | "flushed" | "forget">,
    connection: ConnectionId,
  ) {
    this.#driver = driver;
    this.#connection = connection;
  }

  connected(local: Endpoint, remote: Endpoint, cipher?: string): void {
    const encryption = cipher === undefined ? {} : { cipher };
    this.#driver.input({ type: "connected", connection: this.#connection, local, remote, ...encryption });
  }

  proving(): void {
    this.#driver.input({ type: "proving", connection: this.#connection });
  }

  secured(identity: Identity, cipher: string): void {
    this.#driver.input({ type: "secured", connection: this.#connection, identity, cipher });
  }

  unproved(code: ErrorCode, message: string): void {
    this.#driver.input({ type: "unproved", connection: this.#connection, code, message });
  }

  bytes(bytes: Uint8Array): void {
    this.#driver.receive(this.#connection, bytes);
  }

  flushed(): void {
    this.#driver.flushed(this.#connection);
  }

  ended(): void {
    this.#driver.input({ type: "ended", connection: this.#connection });
  }

  closed(failure: string | undefined): void {
    const reason = failure === undefined ? {} : { failure };
    this.#driver.forget(this.#connection);
    this.#driver.input({ type: "closed", connection: this.#connection, ...reason });
  }
}

function isConnectionOutput<Output>(output: Output | ConnectionOutput): output is ConnectionOutput {
  switch ((output as ConnectionOutput).type) {
    case "dial":
    case "send":
    case "halfClose":
    case "abort":
    case "stopListening":
      return true;
    default:
      return false;
  }
}
