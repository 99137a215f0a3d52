import { backoffMs } from "../core/backoff.js";
import type { ConnectionId } from "../core/connections.js";
import type { ErrorCode } from "../core/errors.js";
import { FairQueue } from "../core/fair-queue.js";
import type { Limits } from "../core/limits.js";
import { SeededRandom } from "../core/random.js";
import type { KeyedTimers, Timers } from "../core/timers.js";

type Target =
  /** Not linked; it has a timer until it is to be dialed, and then stands in one of the queues. */
  | { readonly state: "waiting"; readonly failures: number }
  /** Without a connection where the peer is to dial. */
  | { readonly state: "dialing"; readonly failures: number; readonly connection: ConnectionId | undefined }
  | { readonly state: "linked"; readonly failures: number; readonly since: number };

const never = Number.POSITIVE_INFINITY;

/** When a peer is dialed again whose connection has ended. Times in milliseconds. */
export interface RedialPolicy {
  readonly provenMs: number;
  readonly pauseMs: number;
}

/** A dial that is to be given up, and why. */
export interface OverdueDial<Peer> {
  readonly peer: Peer;
  readonly connection: ConnectionId | undefined;
  readonly reason: string;
}

/**
 * Whom to dial, and when. One rule: while there is a member after me with which I have no link, I dial it, a few at a
 * time, and after each failure a little later, with jitter, so that many nodes do not knock in step.
 *
 * Peers that never answer must not hold up those that do. So a dial that has had no answer for `dialSlowMs` goes on, but
 * no longer takes one of the few places, and the more slow dials there are, the more places there are; repeated dials wait
 * for all first ones; and hosts take turns.
 */
export class DialQueue<Peer> {
  readonly #limits: Limits;
  readonly #random: SeededRandom;
  readonly #hostOf: (peer: Peer) => string;
  readonly #targets = new Map<Peer, Target>();
  /** When a waiting target is to be dialed, if that is later. */
  readonly #due: KeyedTimers<Peer>;
  /** When a dial gets slow or overdue, or there is room for another one. */
  readonly #wake: KeyedTimers<"wake">;
  /** Targets that may be dialed now: for the first time since they last answered, and after a failure. */
  readonly #first = new FairQueue<Peer>();
  readonly #repeated = new FairQueue<Peer>();
  /** When the latest of them came into its queue. */
  #queuedAt = 0;
  /** Dials under way that take a place, with the moment when they began, the oldest first. */
  readonly #prompt = new Map<Peer, number>();
  /** Dials under way that have been slow, the same way. */
  readonly #slow = new Map<Peer, number>();
  /** Those in `#prompt` that are dialed after a failure. */
  #repeating = 0;

  /** `hostOf` names the host of a peer. `wake` is called when there may be something to give up, or to dial. */
  constructor(
    limits: Limits,
    seed: number,
    timers: Timers,
    hostOf: (peer: Peer) => string,
    wake: (now: number) => void,
  ) {
    this.#limits = limits;
    this.#random = new SeededRandom(seed);
    this.#hostOf = hostOf;
    this.#due = timers.keyed((peer, now) => {
      this.#enqueue(peer, now);
      this.#arm();
    });
    this.#wake = timers.keyed((_, now) => wake(now));
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
    if (this.#targets.has(peer)) return;
    this.#targets.set(peer, { state: "waiting", failures: 0 });
    this.#enqueue(peer, now);
    this.#arm();
  }

  /** This peer is to be linked with no longer. Returns the dial under way to it, to be aborted. */
  drop(peer: Peer): ConnectionId | undefined {
    const target = this.#targets.get(peer);
    if (target === undefined) return undefined;
    this.#leave(peer, target);
    this.#targets.delete(peer);
    this.#arm();
    return target.state === "dialing" ? target.connection : undefined;
  }

  /** The next peer to dial now, if one is due and there is room; `started` must follow. */
  next(now: number): Peer | undefined {
    this.#slowDown(now);
    const peer = this.#hasRoom ? (this.#first.take() ?? this.#repeated.take()) : undefined;
    this.#arm();
    return peer;
  }

  /** It is being dialed; without a connection if it has been asked to dial itself. */
  started(peer: Peer, connection: ConnectionId | undefined, now: number): void {
    const failures = this.#targets.get(peer)?.failures ?? 0;
    this.#targets.set(peer, { state: "dialing", failures, connection });
    this.#prompt.set(peer, now);
    if (failures > 0) this.#repeating += 1;
    this.#arm();
  }

  /** There is a link with this peer now, whoever dialed. */
  linked(peer: Peer, now: number): void {
    const target = this.#targets.get(peer);
    if (target === undefined || target.state === "linked") return;
    this.#leave(peer, target);
    this.#targets.set(peer, { state: "linked", failures: target.failures, since: now });
    this.#arm();
  }

  /** A dial did not come to a link. Returns how often in a row that has happened. */
  failed(peer: Peer, now: number): number {
    const target = this.#targets.get(peer);
    if (target === undefined) return 0;
    this.#leave(peer, target);
    const failures = target.failures + 1;
    this.#wait(peer, failures, now + this.#backoff(failures));
    return failures;
  }

  /**
   * The connection under a link with this peer has ended. One that lived for `provenMs` starts afresh; one that did not
   * counts as a failure. It is not dialed again before `pauseMs` have passed.
   */
  unlinked(peer: Peer, now: number, { provenMs, pauseMs }: RedialPolicy): void {
    const target = this.#targets.get(peer);
    if (target?.state !== "linked") return;
    const isProven = now - target.since >= provenMs;
    const failures = isProven ? 0 : target.failures + 1;
    this.#wait(peer, failures, now + Math.max(pauseMs, this.#backoff(failures)));
  }

  /** Takes out one dial that has taken too long; `failed` must follow. */
  takeOverdue(now: number): OverdueDial<Peer> | undefined {
    this.#slowDown(now);
    const { dialMs } = this.#limits;
    for (const [peer, since] of [first(this.#slow), first(this.#prompt)].filter((dial) => dial !== undefined)) {
      const target = this.#targets.get(peer);
      const isOld = now >= since + dialMs;
      if (target?.state !== "dialing" || !(isOld || (this.#isCrowded && this.#slow.has(peer)))) continue;
      const waited = Math.round(now - since);
      const reason = isOld ? `no answer within ${dialMs} ms` : `no answer after ${waited} ms, and others wait for room`;
      this.#leave(peer, target);
      this.#arm();
      return { peer, connection: target.connection, reason };
    }
    return undefined;
  }

  /** How many dials may be under way that are not slow. */
  get #places(): number {
    const { dialsInFlight, dialsWidened } = this.#limits;
    return Math.max(dialsInFlight, Math.min(this.#slow.size, dialsWidened));
  }

  /** Peers that did not answer get half of the places, so that whoever comes next finds one. */
  get #hasRoom(): boolean {
    const mayRepeat = this.#first.size > 0 || this.#repeating < Math.ceil(this.#places / 2);
    return mayRepeat && this.#prompt.size < this.#places;
  }

  /** More slow dials than may be kept: the oldest one is given up. */
  get #isCrowded(): boolean {
    return this.#slow.size > Math.min(this.#limits.dialsSlow, this.#limits.connections / 4);
  }

  /** Sets the timer for what comes next of itself, if anything does. */
  #arm(): void {
    const { dialMs, dialSlowMs } = this.#limits;
    const [oldest] = this.#prompt.values();
    const isWaiting = this.#first.size + this.#repeated.size > 0;
    const freeAt = this.#hasRoom ? this.#queuedAt : (oldest ?? never) + dialSlowMs;
    const at = Math.min(isWaiting ? freeAt : never, this.#overdueAt(), (oldest ?? never) + dialMs);
    if (at === never) this.#wake.clear("wake");
    else this.#wake.set("wake", at);
  }

  /** When the oldest slow dial is given up. */
  #overdueAt(): number {
    const [oldest = never] = this.#slow.values();
    return this.#isCrowded ? oldest : oldest + this.#limits.dialMs;
  }

  #wait(peer: Peer, failures: number, at: number): void {
    this.#targets.set(peer, { state: "waiting", failures });
    this.#due.set(peer, at);
    this.#arm();
  }

  #enqueue(peer: Peer, now: number): void {
    this.#queueOf(peer).add(peer, [this.#hostOf(peer)]);
    this.#queuedAt = now;
  }

  #queueOf(peer: Peer): FairQueue<Peer> {
    return (this.#targets.get(peer)?.failures ?? 0) > 0 ? this.#repeated : this.#first;
  }

  /** Dials that have taken long enough to be slow give their places to others. */
  #slowDown(now: number): void {
    for (const [peer, since] of this.#prompt) {
      if (now < since + this.#limits.dialSlowMs) return;
      this.#leavePlace(peer);
      this.#slow.set(peer, since);
    }
  }

  /** This target is neither waiting nor being dialed any more. */
  #leave(peer: Peer, { state }: Target): void {
    if (state === "waiting") {
      this.#due.clear(peer);
      this.#queueOf(peer).delete(peer, [this.#hostOf(peer)]);
    } else if (state === "dialing" && !this.#slow.delete(peer)) this.#leavePlace(peer);
  }

  #leavePlace(peer: Peer): void {
    if (this.#prompt.delete(peer) && (this.#targets.get(peer)?.failures ?? 0) > 0) this.#repeating -= 1;
  }

  #backoff(failures: number): number {
    const { redialMinMs, redialMaxMs } = this.#limits;
    return backoffMs(Math.max(1, failures), redialMinMs, redialMaxMs, this.#random);
  }
}

function first<Key, Value>(map: ReadonlyMap<Key, Value>): readonly [Key, Value] | undefined {
  for (const entry of map) return entry;
  return undefined;
}

/** Whose fault it is that a dial failed, by the system's errno name: our own if we have no descriptor to dial with. */
export function dialFailureCode(errno: string | undefined): ErrorCode {
  return errno === "EMFILE" || errno === "ENFILE" ? "NO_DESCRIPTORS" : "DIAL_FAILED";
}
