import type { ConnectionId } from "../core/connections.js";
import { Deadlines, earliest } from "../core/deadlines.js";
import type { ErrorCode } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import { SeededRandom } from "../core/random.js";
import type { Address } from "../protocol/address.js";

type Target =
  /** Not linked; its time to be dialed stands in `#due`. */
  | { readonly state: "waiting"; readonly failures: number }
  | { readonly state: "dialing"; readonly failures: number; readonly connection: ConnectionId }
  | { readonly state: "linked"; readonly failures: number; readonly since: number };

/**
 * Whom to dial, and when. One rule: while the newest list has an address after mine with which I have no link, I dial it,
 * a few at a time, and after each failure a little later, with jitter, so that many nodes do not knock in step.
 */
export class Dialing {
  readonly #limits: Limits;
  readonly #random: SeededRandom;
  readonly #targets = new Map<Address, Target>();
  /** When a waiting target is to be dialed. */
  readonly #due = new Deadlines<Address>();
  /** When a dial under way is given up. */
  readonly #patience = new Deadlines<Address>();
  #inFlight = 0;

  constructor(limits: Limits, seed: number) {
    this.#limits = limits;
    this.#random = new SeededRandom(seed);
  }

  /**
   * The addresses to be linked with are these. New ones are due at once. Returns the dials under way to addresses that are
   * no longer wanted, to be aborted. A link to such an address stays.
   */
  want(addresses: ReadonlySet<Address>, now: number): ConnectionId[] {
    const unwanted: ConnectionId[] = [];
    for (const [address, target] of this.#targets) {
      if (addresses.has(address)) continue;
      if (target.state === "dialing") {
        unwanted.push(target.connection);
        this.#inFlight -= 1;
      }
      this.#patience.clear(address);
      this.#due.clear(address);
      this.#targets.delete(address);
    }
    for (const address of addresses) if (!this.#targets.has(address)) this.#wait(address, 0, now);
    return unwanted;
  }

  /** The next address to dial now, if one is due and there is room; `started` must follow. */
  next(now: number): Address | undefined {
    return this.#inFlight < this.#limits.dialsInFlight ? this.#due.takeDue(now) : undefined;
  }

  started(address: Address, connection: ConnectionId, now: number): void {
    const failures = this.#targets.get(address)?.failures ?? 0;
    this.#targets.set(address, { state: "dialing", failures, connection });
    this.#inFlight += 1;
    this.#patience.set(address, now + this.#limits.dialMs);
  }

  /** There is a link with this address now, whoever dialed. */
  linked(address: Address, now: number): void {
    const target = this.#targets.get(address);
    if (target === undefined || target.state === "linked") return;
    this.#leaveFlight(address, target);
    this.#due.clear(address);
    this.#targets.set(address, { state: "linked", failures: target.failures, since: now });
  }

  /** A dial did not come to a link. Returns how often in a row that has happened. */
  failed(address: Address, now: number): number {
    const target = this.#targets.get(address);
    if (target === undefined) return 0;
    this.#leaveFlight(address, target);
    const failures = target.failures + 1;
    this.#wait(address, failures, now + this.#backoff(failures));
    return failures;
  }

  /** A link with this address has ended. One that lived long starts afresh; one that did not counts as a failure. */
  unlinked(address: Address, now: number): void {
    const target = this.#targets.get(address);
    if (target?.state !== "linked") return;
    const isProven = now - target.since >= this.#limits.provenMs;
    const failures = isProven ? 0 : target.failures + 1;
    this.#wait(address, failures, now + Math.max(this.#limits.relinkMs, this.#backoff(failures)));
  }

  nextTimeout(): number | undefined {
    const hasRoom = this.#inFlight < this.#limits.dialsInFlight;
    return earliest(this.#patience.next(), hasRoom ? this.#due.next() : undefined);
  }

  /** Takes out one dial that has taken too long; `failed` must follow. */
  takeOverdue(now: number): { readonly address: Address; readonly connection: ConnectionId } | undefined {
    const address = this.#patience.takeDue(now);
    const target = address === undefined ? undefined : this.#targets.get(address);
    return address !== undefined && target?.state === "dialing"
      ? { address, connection: target.connection }
      : undefined;
  }

  #wait(address: Address, failures: number, at: number): void {
    this.#targets.set(address, { state: "waiting", failures });
    this.#due.set(address, at);
  }

  #leaveFlight(address: Address, target: Target): void {
    if (target.state !== "dialing") return;
    this.#inFlight -= 1;
    this.#patience.clear(address);
  }

  /** Doubling from the shortest pause to the longest, each between half and the whole of its value. */
  #backoff(failures: number): number {
    const { redialMinMs, redialMaxMs } = this.#limits;
    const whole = Math.min(redialMaxMs, redialMinMs * 2 ** Math.max(0, failures - 1));
    return whole * (0.5 + 0.5 * this.#random.next());
  }
}

/** Whose fault it is that a dial failed, told by the system's errno name: our own if we have no descriptor to dial with. */
export function dialFailureCode(errno: string | undefined): ErrorCode {
  return errno === "EMFILE" || errno === "ENFILE" ? "NO_DESCRIPTORS" : "DIAL_FAILED";
}
