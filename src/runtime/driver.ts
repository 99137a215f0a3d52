import type { ConnectionId, ConnectionInput, ConnectionOutput, Endpoint } from "../core/connections.js";
import { doubleZero } from "../core/double-zero.js";
import { FullmeshError } from "../core/errors.js";
import type { Clocks, Machine } from "../core/machine.js";
import { ConnectionAdapter } from "./connection-adapter.js";
import type { Accept, ClockPort, ConnectionPort, ListenerPort, TransportPort } from "./ports.js";

/** A timer that fires later than this was held up by our own process, not by its coarse clock. */
const stallMs = 20;

/** What a driver does besides moving bytes. */
export interface DriverOptions<Input, Output> {
  readonly machine: Machine<Input | ConnectionInput, Output | ConnectionOutput>;
  readonly transport: TransportPort;
  readonly clock: ClockPort;
  /** Takes the outputs that are not about connections, in order. */
  readonly perform: (output: Exclude<Output, ConnectionOutput>) => void;
  /** The input that a machine gets at the end of a turn in which `wake` was called. */
  readonly onWake?: Input;
  /** Hears of every message sent, before it goes out; for traces. */
  readonly onSend?: (connection: ConnectionId, bytes: Uint8Array) => void;
}

/** An input that waits for its turn. */
interface Queued<Input> {
  readonly input: Input;
  readonly done: (() => void) | undefined;
}

/** The one timer that a driver has running, for the machine's next deadline. */
interface Timer {
  /** On the machine's time. */
  readonly at: number;
  /** When it can fire at the earliest, on the machine's time: a deadline may have passed before it was asked for. */
  readonly expected: number;
  hasFired: boolean;
  cancel: () => void;
}

/**
 * Pumps one machine: gives it what happens on its connections and what time it is, and does what it wants done.
 *
 * Two things about time. Node fires timers before it reads what has already arrived, so a due deadline reaches the machine
 * only after one further poll of the loop: whoever has answered in time is heard first. And while our own process is held
 * up, nobody else is late: the machine's clock stands still for as long as a timer fires late.
 */
export class Driver<Input, Output> {
  readonly #options: DriverOptions<Input, Output>;
  readonly #connections = new Map<ConnectionId, ConnectionPort>();
  readonly #inputs: Queued<Input | ConnectionInput>[] = [];
  #listener: ListenerPort | undefined;
  #hasStopped = false;
  #isPumping = false;
  #isAwake = false;
  #accepted = 0;
  #sentBytes = doubleZero;
  /** For how long our own process has been held up, in all. */
  #stalledMs = 0;
  /** The machine's time when it was last asked for. */
  #latest = Number.NEGATIVE_INFINITY;
  #timer: Timer | undefined;
  readonly #clocks = { monotonicMs: 0, wallMs: 0 };
  /** True while the deadlines are still to be looked at again. */
  #isMinding = false;

  constructor(options: DriverOptions<Input, Output>) {
    this.#options = options;
  }

  /** Bytes given to connections in all, before any encryption. */
  get sentBytes(): number {
    // It begins as -0, which is told as 0.
    return this.#sentBytes + 0;
  }

  /** Bytes sent on a connection that the kernel has not taken yet. */
  queuedBytes(connection: ConnectionId): number {
    return this.#connections.get(connection)?.queuedBytes ?? 0;
  }

  /** Listens, instead of where it has listened before, and reports what is accepted. `done` gets the address, in which port 0 has become a real one. */
  listen(on: Endpoint, done: (outcome: Endpoint | FullmeshError) => void): void {
    if (this.#hasStopped) {
      done(new FullmeshError("ENDED", "the end has come: nothing listens any more"));
      return;
    }
    const accept: Accept = (port, local, remote) => {
      this.#accepted += 1;
      const connection: ConnectionId = `in:${this.#accepted}`;
      this.#connections.set(connection, port);
      this.input({ type: "accepted", connection, local, remote });
      return new ConnectionAdapter(this, connection);
    };
    this.#options.transport.listen(on, accept, (outcome) => {
      if (outcome instanceof FullmeshError) {
        done(outcome);
        return;
      }
      // The machine may have come to its end while the socket was being opened.
      if (this.#hasStopped) {
        outcome.close();
        done(new FullmeshError("ENDED", "the end came before the listener did"));
      } else {
        this.#listener?.close();
        this.#listener = outcome;
        done(outcome.address);
      }
    });
  }

  /** The machine's time, in milliseconds. */
  now(): number {
    return this.#now();
  }

  /**
   * Something has been begun from outside of the machine. It gets its `onWake` once the code that runs now has come to its
   * end, so what is begun in one turn goes out together.
   */
  wake(): void {
    if (this.#isAwake) return;
    this.#isAwake = true;
    this.#options.clock.afterTurn(this.#woken);
  }

  readonly #woken = (): void => {
    this.#isAwake = false;
    if (this.#options.onWake !== undefined) this.input(this.#options.onWake);
  };

  /** Gives the machine an input, and does all that follows from it; then calls `done`. */
  input(input: Input | ConnectionInput, done?: () => void): void {
    this.#inputs.push({ input, done });
    // What an output brings about at once waits its turn: a machine is never entered while it is being served.
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      this.#pump();
    } finally {
      this.#isPumping = false;
      this.#mindTimer();
    }
  }

  #pump(): void {
    const { machine } = this.#options;
    for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) {
      machine.handle(next.input, this.#now(), this.#readClocks());
      for (let output = machine.poll(); output !== undefined; output = machine.poll()) {
        if (isConnectionOutput(output)) this.#move(output);
        else this.#options.perform(output as Exclude<Output, ConnectionOutput>);
      }
      next.done?.();
    }
  }

  #move(output: ConnectionOutput): void {
    switch (output.type) {
      case "dial": {
        const port = this.#options.transport.dial(
          output.to,
          output.identity,
          new ConnectionAdapter(this, output.connection),
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

  /** Nothing more is said of this connection. */
  forget(connection: ConnectionId): void {
    this.#connections.delete(connection);
  }

  /** One object for all steps: whoever keeps a reading copies it. */
  #readClocks(): Clocks {
    const { clock } = this.#options;
    this.#clocks.monotonicMs = clock.now();
    this.#clocks.wallMs = clock.wallTime();
    return this.#clocks;
  }

  /** The machine's time: the clock's, less our own stalls. A timer that is overdue before it has fired shows one. */
  #now(): number {
    const time = this.#options.clock.now() - this.#stalledMs;
    const lateMs = this.#timer === undefined || this.#timer.hasFired ? 0 : time - this.#timer.expected;
    if (lateMs > stallMs) this.#stalledMs += lateMs;
    this.#latest = Math.max(this.#latest, lateMs > stallMs ? time - lateMs : time);
    return this.#latest;
  }

  /**
   * Deadlines may have moved. To ask all parts of a machine for theirs costs about as much as an input, so while a timer
   * runs they are asked once for all that one poll of the loop brings.
   */
  #mindTimer(): void {
    if (this.#timer === undefined) {
      this.#setTimer();
      return;
    }
    if (this.#isMinding) return;
    this.#isMinding = true;
    this.#options.clock.afterPoll(() => {
      this.#isMinding = false;
      this.#setTimer();
    });
  }

  /**
   * Sees to it that a timer runs for the machine's next deadline. One that runs already and fires earlier stays, because
   * deadlines are moved with every byte that comes: it finds nothing due, and the next one is set then.
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
      this.#now();
      timer.hasFired = true;
      clock.afterPoll(() => {
        if (this.#timer !== timer) return;
        this.#timer = undefined;
        const due = this.#options.machine.nextTimeout();
        if (due !== undefined && due <= this.#now()) this.input({ type: "timeout" });
        else this.#setTimer();
      });
    });
    this.#timer = timer;
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
