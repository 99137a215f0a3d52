import { Deferred } from "../api/deferred.js";
import type { Log } from "../api/log.js";
import { type WaitOptions, waitWithin } from "../api/waiting.js";
import { type ErrorCode, FullmeshError } from "../core/errors.js";
import type { MemberMachine } from "../mesh/member-machine.js";
import type { CompletenessReport, MemberEvent } from "../mesh/types.js";
import { missingPairText, renamedPair } from "../protocol/missing-pair.js";

/** Pairs that are named when a wait runs out; the rest is counted. */
const mostNamed = 10;

/** A wait that takes longer is logged: without `timeoutMs` it may go on for ever. */
const quietMs = 10_000;

const noServer = "complete: the server has left the mesh to its members, and nobody says that it is whole";

type DegradedEvent = Extract<MemberEvent, { type: "degraded" }>;

/** Somebody who waits until the mesh is whole with at least so many members. */
interface CompletenessWait {
  readonly size: number;
  readonly done: Deferred<void>;
}

/**
 * Whether the mesh is whole, as far as this node knows, and what is missing if it is not.
 */
export class CompletenessWaiter {
  readonly #machine: MemberMachine<unknown>;
  readonly #watch: (size: number) => void;
  readonly #log: Log;
  readonly #waiters = new Set<CompletenessWait>();
  /** The newest word that it is whole, until something happens that makes it doubtful. */
  #whole: CompletenessReport | undefined;
  #degraded: DegradedEvent | undefined;
  /** There is no server any more that could say so. */
  #isReleased = false;

  /** `watch`: asks to be told when the mesh is whole with so many members. */
  constructor(machine: MemberMachine<unknown>, watch: (size: number) => void, log: Log) {
    this.#machine = machine;
    this.#watch = watch;
    this.#log = log;
  }

  /** Takes every event of the machine. */
  handle(event: MemberEvent): void {
    switch (event.type) {
      case "complete":
        this.#whole = event;
        this.#degraded = undefined;
        for (const waiter of this.#waiters) if (event.members >= waiter.size) this.#resolve(waiter);
        this.#ask();
        break;
      case "degraded":
        this.#degraded = event;
        this.#whole = undefined;
        break;
      case "broken":
      case "unlink":
        // Without a server nobody would say that it is whole again: a link that may be back takes it away only when it ends.
        if (event.type === "unlink" || !this.#isReleased) this.#whole = undefined;
        break;
      case "released":
        this.#isReleased = true;
        this.#rejectAll("RELEASED", noServer);
        break;
      case "directory":
        // A server's word may come before the entries that it speaks of; a classic node's own word never does.
        if (this.#whole?.revision !== this.#machine.revision || this.#whole.scope === "own") this.#whole = undefined;
        break;
      case "ended":
        this.#rejectAll(event.failure === "INCOMPLETE" ? event.failure : "ENDED", `the mesh ended: ${event.reason}`);
        break;
      default:
        break;
    }
  }

  /** Resolves when the mesh is whole and has `size` members or more. */
  async wait(size: number, wait: WaitOptions): Promise<void> {
    if (this.#whole !== undefined && this.#whole.members >= size) return;
    if (this.#isReleased) throw new FullmeshError("RELEASED", noServer);
    const waiter = { size, done: new Deferred<void>() };
    this.#waiters.add(waiter);
    this.#ask();
    const logTimer = setTimeout(() => {
      this.#log.write({ code: "STILL_WAITING", message: `complete: still waiting, ${this.#explain(size)}` });
    }, quietMs);
    try {
      await waitWithin(waiter.done.promise, wait, () => this.#explain(size));
    } finally {
      clearTimeout(logTimer);
      this.#waiters.delete(waiter);
    }
  }

  /** The server tells once; whoever wants more members is served when it is asked again. */
  #ask(): void {
    let least = Number.POSITIVE_INFINITY;
    for (const { size } of this.#waiters) least = Math.min(least, size);
    if (this.#waiters.size > 0) this.#watch(least);
  }

  #rejectAll(code: ErrorCode, message: string): void {
    for (const { done } of this.#waiters) done.reject(new FullmeshError(code, message));
  }

  #resolve(waiter: CompletenessWait): void {
    this.#waiters.delete(waiter);
    waiter.done.resolve();
  }

  #explain(size: number): string {
    const { members, own, missing } = this.#machine;
    const mine = missing.map(({ address, reason }) => `${own} - ${address} (${reason})`);
    const others = (this.#degraded?.missing ?? [])
      .filter(({ a, b }) => a.address !== own && b.address !== own)
      .map((pair) =>
        missingPairText(
          renamedPair(pair, ({ address }) => address),
          Date.now(),
        ),
      );
    const pairs = [...mine, ...others];
    const named = pairs.slice(0, mostNamed).join("; ");
    const more = pairs.length > mostNamed ? ` and ${pairs.length - mostNamed} more` : "";
    const pairsText = pairs.length === 0 ? "" : `; missing pairs: ${named}${more}`;
    return `${members.length} of ${size} members are in the mesh${pairsText}`;
  }
}
