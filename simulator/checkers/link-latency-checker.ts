import type { SimulatedMember } from "../member.js";
import type { SimulationContext } from "../simulation-context.js";

/** Checks that members without faults are linked soon, whoever else does not answer. */
export class LinkLatencyChecker {
  readonly #context: SimulationContext;
  readonly #withinMs: number;
  /** Since when both of a pair have been listed without a link. */
  readonly #since = new Map<string, number>();

  constructor(context: SimulationContext, withinMs: number) {
    this.#context = context;
    this.#withinMs = withinMs;
  }

  /** Checks every pair of these. */
  check(members: readonly SimulatedMember[]): void {
    const listed = members.filter(({ isRegistered, isOver }) => isRegistered && !isOver);
    for (const [index, one] of listed.entries()) {
      for (const other of listed.slice(index + 1)) this.#checkPair(one, other);
    }
  }

  #checkPair(one: SimulatedMember, other: SimulatedMember): void {
    const { linkChecker, network, invariantChecker, count } = this.#context;
    const pair = `${one.address} - ${other.address}`;
    if (linkChecker.areLinked(one, other)) {
      if (this.#since.delete(pair)) count("linked beside those who do not answer");
      return;
    }
    const { now } = network.engine;
    const since = this.#since.get(pair) ?? now;
    this.#since.set(pair, since);
    if (now - since < this.#withinMs) return;
    this.#since.set(pair, Number.POSITIVE_INFINITY);
    invariantChecker.violate("L3", `${pair} is not linked within ${this.#withinMs} ms`);
  }
}
