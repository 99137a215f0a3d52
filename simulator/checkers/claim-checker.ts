import { claimLeaseMs } from "../../src/protocol/claims.js";
import type { Id } from "../../src/protocol/directory.js";
import type { SimulatedProcess } from "../engine.js";
import type { SimulationContext } from "../simulation-context.js";

/** A member that claims keys. */
export interface Claimant {
  readonly address: string;
  readonly process: SimulatedProcess;
  readonly isOver: boolean;
  /** The keys that it wants, each with the token with which it holds it, by its own belief, and since when it wants it. */
  readonly claims: ReadonlyMap<string, { readonly token: number | undefined; readonly since: number }>;
}

/** A free key is granted so soon after its holder's lease and the first lease of the server. */
const longestIdleMs = claimLeaseMs + 2_000;

/** After a fault the sessions of all members work again within this time: they notice it, and come back. */
const recoveryMs = 40_000;

/** Checks S11: a key has one holder at a time by what members believe, tokens rise, and no key is idle for long. */
export class ClaimChecker {
  readonly #context: SimulationContext;
  /** The highest token of each key. */
  readonly #tokens = new Map<string, number>();
  /** When somebody last held each key. */
  readonly #heldAt = new Map<string, number>();
  /** Who was a member when each key was last granted. */
  readonly #witnesses = new Map<string, readonly Id[]>();
  #isClockBack = false;

  constructor(context: SimulationContext) {
    this.#context = context;
  }

  /** The server was started again. */
  serverRestarted(isClockBack: boolean): void {
    this.#isClockBack = isClockBack;
  }

  begun(claimant: Claimant, key: string, token: number): void {
    const highest = this.#tokens.get(key) ?? 0;
    this.#tokens.set(key, token);
    this.#context.count("key held");
    if (highest > 0) this.#context.count("key passed on");
    const { logChecker, invariantChecker } = this.#context;
    const witnesses = this.#witnesses.get(key) ?? [];
    const listed = logChecker.members.map(({ id }) => id);
    this.#witnesses.set(key, listed);
    // Nothing is left of an earlier log if the clock has gone back and nobody has come back who has read it.
    const isUnknown = !witnesses.some((id) => listed.includes(id));
    const mayFall = invariantChecker.hasFalseRevision || (this.#isClockBack && isUnknown);
    if (token <= highest && !mayFall)
      this.#violate(`"${key}" has the token ${token} at ${claimant.address}, after ${highest}`);
  }

  /** Called again and again, and while nothing else happens. A process that is suspended does nothing with what it holds. */
  check(claimants: readonly Claimant[]): void {
    const running = claimants.filter(({ process, isOver }) => !process.isDead && !process.isSuspended && !isOver);
    const keys = new Set(running.flatMap(({ claims }) => [...claims.keys()]));
    for (const key of keys) {
      const holders = running.filter(({ claims }) => claims.get(key)?.token !== undefined);
      if (holders.length > 1) {
        this.#violate(`${holders.map(({ address }) => address).join(" and ")} hold "${key}"`);
      }
      const isHeld = claimants.some(({ claims }) => claims.get(key)?.token !== undefined);
      if (isHeld) this.#heldAt.set(key, this.#context.network.engine.now);
      else if (running.some(({ claims }) => this.#hasWaited(claims.get(key)?.since))) this.#checkIdle(key);
    }
  }

  #hasWaited(since: number | undefined): boolean {
    return since !== undefined && this.#context.network.engine.now - since > longestIdleMs;
  }

  #checkIdle(key: string): void {
    const { scenario, network } = this.#context;
    const { now } = network.engine;
    const struck = scenario.faults
      .filter(({ at }) => at <= now)
      .map((fault) => {
        const forMs = "forMs" in fault && Number.isFinite(fault.forMs) ? fault.forMs : 0;
        return fault.at + forMs + recoveryMs;
      });
    // eslint-disable-next-line no-restricted-syntax -- a scenario has few faults
    const since = Math.max(claimLeaseMs, this.#heldAt.get(key) ?? 0, ...struck);
    if (now - since > longestIdleMs)
      this.#violate(`nobody has held "${key}" since ${since}, and somebody waits for it`);
  }

  #violate(detail: string): void {
    this.#context.invariantChecker.violate("S11", detail);
  }
}
