import { Heap } from "../src/core/heap.js";
import { Queue } from "../src/core/queue.js";
import { SeededRandom } from "../src/core/random.js";
import type { Id } from "../src/protocol/directory.js";
import type { ClockPort } from "../src/runtime/ports.js";

interface ScheduledEvent {
  readonly at: number;
  readonly sequence: number;
  readonly run: () => void;
  /** It happens in this process: while it runs, or never. */
  readonly process: SimulatedProcess | undefined;
}

/** More events than these within a millisecond are a run that does not go on. */
const mostInMillisecond = 100_000;

/** Of the last of them it is said who they are. */
const namedEvents = 1_000;

/**
 * A discrete-event engine: one thread, seeded random numbers, and a clock that jumps from one event to the next, so that an
 * idle hour costs nothing, and the same seed always gives the same history.
 */
export class Engine {
  readonly seed: number;
  readonly random: SeededRandom;
  /** Ids have random numbers of their own, so that a run does not depend on how many are drawn. */
  readonly #ids: SeededRandom;
  readonly #later = new Heap<ScheduledEvent>(isBefore);
  /** What was scheduled for the present moment, behind what was scheduled for it earlier: half of all events. */
  readonly #present = new Queue<ScheduledEvent>();
  readonly #onStep: ((now: number) => void) | undefined;
  #now = 0;
  #sequence = 0;
  #steps = 0;
  /** When the present millisecond has begun, and how many events have happened since. */
  #beganAt = 0;
  #inMillisecond = 0;
  /** How often each process was among the last of them. */
  readonly #busy = new Map<string, number>();

  /** `onStep` is called before each event, with its moment. */
  constructor(seed: number, onStep?: (now: number) => void) {
    this.#onStep = onStep;
    this.seed = seed;
    this.random = new SeededRandom(seed);
    this.#ids = new SeededRandom(seed + 2 ** 45);
  }

  /** 128 bits that no other call has given. */
  draw(): Id {
    const word = (): string =>
      this.#ids
        .integer(0, 2 ** 32 - 1)
        .toString(16)
        .padStart(8, "0");
    return word() + word() + word() + word();
  }

  /** Milliseconds since the beginning of this engine. */
  get now(): number {
    return this.#now;
  }

  /** How many events have happened. */
  get steps(): number {
    return this.#steps;
  }

  /** Schedules an event, perhaps in a process. Events of one moment happen in the order in which they were scheduled. */
  at(moment: number, run: () => void, process?: SimulatedProcess): void {
    if (moment <= this.#now) {
      this.#present.push({ at: this.#now, sequence: 0, run, process });
      return;
    }
    this.#sequence += 1;
    this.#later.push({ at: moment, sequence: this.#sequence, run, process });
  }

  /** Schedules an event in `delayMs`. */
  after(delayMs: number, run: () => void, process?: SimulatedProcess): void {
    this.at(this.#now + delayMs, run, process);
  }

  /** Runs all events before `until`; stops early when none is left or `isDone` returns true. Throws if the clock stands still. */
  run(until: number, isDone?: () => boolean): void {
    for (let next = this.#next(until); next !== undefined; next = this.#next(until)) {
      if (isDone?.() === true) return;
      if (next === this.#present.first) this.#present.poll();
      else this.#later.pop();
      this.#now = next.at;
      this.#steps += 1;
      this.#inMillisecond += 1;
      if (next.at >= this.#beganAt + 1) {
        this.#beganAt = next.at;
        this.#inMillisecond = 0;
        if (this.#busy.size > 0) this.#busy.clear();
      } else if (this.#inMillisecond > mostInMillisecond - namedEvents) this.#noteBusy(next.process?.name ?? "nobody");
      this.#onStep?.(next.at);
      if (next.process === undefined) next.run();
      else next.process.do(next.run);
    }
    if (isDone?.() !== true) this.#now = Math.max(this.#now, until);
  }

  #noteBusy(name: string): void {
    this.#busy.set(name, (this.#busy.get(name) ?? 0) + 1);
    if (this.#inMillisecond <= mostInMillisecond) return;
    const rows = [...this.#busy].sort(([, a], [, b]) => b - a).map(([who, count]) => `${who} ${count}`);
    const last = `of the last ${namedEvents}, by whom they are: ${rows.slice(0, 5).join(", ")}`;
    throw new Error(`the clock stands still at ${this.#now} ms, after ${mostInMillisecond} events; ${last}`);
  }

  #next(until: number): ScheduledEvent | undefined {
    const later = this.#later.peek();
    const present = this.#present.first;
    if (present === undefined || (later !== undefined && later.at <= this.#now))
      return later !== undefined && later.at <= until ? later : undefined;
    return this.#now <= until ? present : undefined;
  }
}

function isBefore(a: ScheduledEvent, b: ScheduledEvent): boolean {
  return a.at < b.at || (a.at === b.at && a.sequence < b.sequence);
}

/** After running for so long since its last pause, everybody has received something from a process. */
const breathMs = 20_000;

/**
 * A process of the engine: what happens to it happens only while it runs, and waits while it is suspended.
 */
export class SimulatedProcess {
  /** Where it listens, or what it is. Another one once its machine has another address. */
  name: string;
  /** All names that it has had. */
  readonly names = new Set<string>();
  /** The IP address of the machine that it runs on. */
  host: string;
  /** It never pings. */
  readonly isClassic: boolean;
  /** By how much the wall clock of its machine differs from the engine's time. */
  wallOffsetMs = 0;
  readonly #engine: Engine;
  readonly #held: (() => void)[] = [];
  #state: "running" | "suspended" | "dead" = "running";
  #resumedAt = Number.NEGATIVE_INFINITY;
  /** For how long it was away, pauses close to one another taken together. */
  #absentMs = 0;

  constructor(engine: Engine, name: string, host: string, isClassic = false) {
    this.#engine = engine;
    this.name = name;
    this.names.add(name);
    this.isClassic = isClassic;
    this.host = host;
  }

  get isDead(): boolean {
    return this.#state === "dead";
  }

  /** Its machine has another address. */
  moveTo(name: string, host: string): void {
    this.name = name;
    this.names.add(name);
    this.host = host;
  }

  /** Runs this in the process: now, when it is resumed, or never. */
  do(run: () => void): void {
    if (this.#state === "running") run();
    else if (this.#state === "suspended") this.#held.push(run);
  }

  get isSuspended(): boolean {
    return this.#state === "suspended";
  }

  /** When it was last resumed, or will be. */
  get resumedAt(): number {
    return this.#resumedAt;
  }

  /** For how long it was away, if that was recent; otherwise 0. */
  absentMs(withinMs: number): number {
    return this.#engine.now < this.#resumedAt + withinMs ? this.#absentMs : 0;
  }

  kill(): void {
    this.#state = "dead";
    this.#held.length = 0;
  }

  /** Suspends the process for a while, as SIGSTOP and SIGCONT would. */
  suspend(durationMs: number): void {
    if (this.#state !== "running") return;
    this.#state = "suspended";
    this.#absentMs = durationMs + this.absentMs(breathMs);
    this.#resumedAt = this.#engine.now + durationMs;
    this.#engine.after(durationMs, () => {
      if (this.#state !== "suspended") return;
      this.#state = "running";
      // Node fires timers before it reads what has arrived; held events come in their order.
      for (const run of this.#held.splice(0)) this.do(run);
    });
  }

  /** The clock port of this process. */
  get clock(): ClockPort {
    return {
      now: () => this.#engine.now,
      wallTime: () => this.#engine.now + this.wallOffsetMs,
      setTimer: (at, fire) => {
        let isSet = true;
        this.#engine.at(
          at,
          () => {
            if (isSet) fire();
          },
          this,
        );
        return () => {
          isSet = false;
        };
      },
      afterTurn: (run) => this.#engine.after(0, run, this),
      afterPoll: (run) => this.#engine.after(0, run, this),
    };
  }
}
