import type { ConnectionId } from "../core/connections.js";
import { Deadlines, earliest } from "../core/deadlines.js";
import type { ErrorCode } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import { SeededRandom } from "../core/random.js";

type Target =
  /** Not linked; its time to be dialed stands in `#due`. */
  | { readonly state: "waiting"; readonly failures: number }
  | { readonly state: "dialing"; readonly failures: number; readonly connection: ConnectionId }
  | { readonly state: "linked"; readonly failures: number; readonly since: number };

/** When a peer is dialed again whose connection has ended. Times in milliseconds. */
export interface Comeback {
  readonly provenMs: number;
  readonly pauseMs: number;
}

/**
 * Whom to dial, and when. One rule: while there is a member after me with which I have no link, I dial it, a few at a
 * time, and after each failure a little later, with jitter, so that many nodes do not knock in step.
 */
export class Dialing<Peer> {
  readonly #limits: Limits;
  readonly #random: SeededRandom;
  readonly #targets = new Map<Peer, Target>();
  /** When a waiting target is to be dialed. */
  readonly #due = new Deadlines<Peer>();
  /** When a dial under way is given up. */
  readonly #patience = new Deadlines<Peer>();
  /** When one is to be dialed that did not answer the last time. */
  readonly #retries = new Deadlines<Peer>();
  #inFlight = 0;
  /** Those of them that are dialed after a failure. */
  #retrying = 0;

  constructor(limits: Limits, seed: number) {
    this.#limits = limits;
    this.#random = new SeededRandom(seed);
  }

  /**
   * The peers to be linked with are these. New ones are due at once. Returns the dials under way to peers that are no
   * longer wanted, to be aborted. A link with such a peer stays.
   */
  want(peers: ReadonlySet<Peer>, now: number): ConnectionId[] {
    const unwanted: ConnectionId[] = [];
    for (const peer of [...this.#targets.keys()]) {
      const connection = peers.has(peer) ? undefined : this.drop(peer);
      if (connection !== undefined) unwanted.push(connection);
    }
    for (const peer of peers) this.add(peer, now);
    return unwanted;
  }

  /** One more peer to be linked with, due at once. */
  add(peer: Peer, now: number): void {
    if (!this.#targets.has(peer)) this.#wait(peer, 0, now);
  }

  /** This peer is to be linked with no longer. Returns the dial under way to it, to be aborted. */
  drop(peer: Peer): ConnectionId | undefined {
    const target = this.#targets.get(peer);
    this.#patience.clear(peer);
    this.#due.clear(peer);
    this.#retries.clear(peer);
    this.#targets.delete(peer);
    if (target?.state !== "dialing") return undefined;
    this.#leaveFlight(peer, target);
    return target.connection;
  }

  /** The next peer to dial now, if one is due and there is room; `started` must follow. */
  next(now: number): Peer | undefined {
    if (this.#inFlight >= this.#limits.dialsInFlight) return undefined;
    return this.#due.takeDue(now) ?? (this.#mayRetry ? this.#retries.takeDue(now) : undefined);
  }

  /** Peers that do not answer get half of the dials, so that they never keep the others waiting. */
  get #mayRetry(): boolean {
    return this.#retrying < Math.ceil(this.#limits.dialsInFlight / 2);
  }

  started(peer: Peer, connection: ConnectionId, now: number): void {
    const failures = this.#targets.get(peer)?.failures ?? 0;
    this.#targets.set(peer, { state: "dialing", failures, connection });
    this.#inFlight += 1;
    if (failures > 0) this.#retrying += 1;
    this.#patience.set(peer, now + this.#limits.dialMs);
  }

  /** There is a link with this peer now, whoever dialed. */
  linked(peer: Peer, now: number): void {
    const target = this.#targets.get(peer);
    if (target === undefined || target.state === "linked") return;
    this.#leaveFlight(peer, target);
    this.#due.clear(peer);
    this.#retries.clear(peer);
    this.#targets.set(peer, { state: "linked", failures: target.failures, since: now });
  }

  /** A dial did not come to a link. Returns how often in a row that has happened. */
  failed(peer: Peer, now: number): number {
    const target = this.#targets.get(peer);
    if (target === undefined) return 0;
    this.#leaveFlight(peer, target);
    const failures = target.failures + 1;
    this.#wait(peer, failures, now + this.#backoff(failures));
    return failures;
  }

  /**
   * The connection under a link with this peer has ended. One that lived for `provenMs` starts afresh; one that did not
   * counts as a failure. It is not dialed again before `pauseMs` have passed.
   */
  unlinked(peer: Peer, now: number, { provenMs, pauseMs }: Comeback): void {
    const target = this.#targets.get(peer);
    if (target?.state !== "linked") return;
    const isProven = now - target.since >= provenMs;
    const failures = isProven ? 0 : target.failures + 1;
    this.#wait(peer, failures, now + Math.max(pauseMs, this.#backoff(failures)));
  }

  nextTimeout(): number | undefined {
    const hasRoom = this.#inFlight < this.#limits.dialsInFlight;
    const retry = hasRoom && this.#mayRetry ? this.#retries.next() : undefined;
    return earliest(this.#patience.next(), hasRoom ? this.#due.next() : undefined, retry);
  }

  /** Takes out one dial that has taken too long; `failed` must follow. */
  takeOverdue(now: number): { readonly peer: Peer; readonly connection: ConnectionId } | undefined {
    const peer = this.#patience.takeDue(now);
    const target = peer === undefined ? undefined : this.#targets.get(peer);
    return peer !== undefined && target?.state === "dialing" ? { peer, connection: target.connection } : undefined;
  }

  #wait(peer: Peer, failures: number, at: number): void {
    this.#targets.set(peer, { state: "waiting", failures });
    (failures > 0 ? this.#retries : this.#due).set(peer, at);
  }

  #leaveFlight(peer: Peer, target: Target): void {
    if (target.state !== "dialing") return;
    this.#inFlight -= 1;
    if (target.failures > 0) this.#retrying -= 1;
    this.#patience.clear(peer);
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
