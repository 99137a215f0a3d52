import type { StepKind, WireStep } from "./wire-step.js";

/** A step that has happened, with both ends as addresses, or `server`; undefined for a process that has no address yet. */
export interface Step {
  readonly number: number;
  readonly kind: StepKind;
  readonly from: string | undefined;
  readonly to: string;
  readonly detail: string;
}

/** Whoever has a socket. A process has an address as soon as it listens, which may be later. */
interface Owner {
  readonly address: string | undefined;
}

interface HeldStep {
  readonly from: string | undefined;
  readonly step: WireStep;
  readonly go: () => void;
}

/**
 * What has begun is brought to its end before anything new begins: a link before the next one, a registration before the
 * others are told of it. So one thing happens at a time, and nobody waits so long for an answer that it gives up.
 */
const precedence: readonly StepKind[] = [
  "refuse",
  "answer",
  "hello",
  "grant",
  "failed",
  "proof",
  "here",
  "check",
  "challenge",
  "dial",
  "register",
  "resume",
  "directory",
  "entries",
  "list",
];

/** Holds the steps of all processes of `up --slow`, and lets one at a time happen. */
export class StepPacer {
  readonly #intervalMs: number;
  readonly #onStep: (step: Step) => void;
  readonly #onIdle: () => void;
  readonly #held: HeldStep[] = [];
  /** Who has the sockets with these addresses. */
  readonly #sockets = new Map<string, Owner>();
  readonly #timer: NodeJS.Timeout;
  #count = 0;
  #isPaused = false;

  /** `onStep`: this happens now. `onIdle`: nobody waits to take a step; called again and again while that is so. */
  constructor(intervalMs: number, onStep: (step: Step) => void, onIdle: () => void) {
    this.#intervalMs = intervalMs;
    this.#onStep = onStep;
    this.#onIdle = onIdle;
    this.#timer = setInterval(() => this.#next(), this.#intervalMs);
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Nothing happens until the next call. */
  pauseOrGoOn(): void {
    this.#isPaused = !this.#isPaused;
  }

  /** A socket of this process, or of the server, has this address; others see it as that of their caller. */
  connected(socket: string, owner: Owner): void {
    this.#sockets.set(socket, owner);
  }

  hold(from: string | undefined, step: WireStep, go: () => void): void {
    this.#held.push({ from, step, go });
  }

  /** Lets all happen at once, from now on. */
  close(): void {
    clearInterval(this.#timer);
    for (const { go } of this.#held.splice(0)) go();
  }

  #next(): void {
    if (this.#isPaused) return;
    const [first] = this.#held.toSorted((a, b) => placeOf(a) - placeOf(b));
    if (first === undefined) {
      this.#onIdle();
      return;
    }
    this.#held.splice(this.#held.indexOf(first), 1);
    const { kind, remote, isDialed, detail } = first.step;
    this.#count += 1;
    const to = isDialed ? remote : (this.#sockets.get(remote)?.address ?? remote);
    this.#onStep({ number: this.#count, kind, from: first.from, to, detail });
    first.go();
  }
}

function placeOf({ step }: HeldStep): number {
  return precedence.indexOf(step.kind);
}
