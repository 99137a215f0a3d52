import type { Candidate } from "../protocol/directory.js";
import type { AddressRegistry } from "./address-registry.js";
import type { MemberSession } from "./member-session.js";
import type { RankOrder } from "./rank-order.js";

/** Whoever has left so many calls in a row without an answer is refused: its address cannot be reached. */
const mostMissedCalls = 3;

/**
 * Those who wait for a slot of a full mesh, the first in line first.
 *
 * Whoever's turn it is gets called: it has to prove its address again, and keeps its place until then. One that is slow to
 * do so must not hold up those behind it: twice as many are called then, and the first to answer takes the slot.
 */
export class WaitingLine {
  readonly #mesh: string;
  readonly #addresses: AddressRegistry;
  /** In a gang those who wait are called in the order of their ranks. */
  readonly #ranks: RankOrder | undefined;
  /** After so long a call counts as slow. */
  readonly #slowMs: number;
  #sessions = new Set<MemberSession>();
  #newestNumber = 0;
  /** How many were called and prove their address. */
  #called = 0;
  /** When the newest calls count as slow. */
  #slowAt = 0;

  constructor(mesh: string, addresses: AddressRegistry, ranks: RankOrder | undefined, slowMs: number) {
    this.#mesh = mesh;
    this.#addresses = addresses;
    this.#ranks = ranks;
    this.#slowMs = slowMs;
  }

  get size(): number {
    return this.#sessions.size;
  }

  [Symbol.iterator](): IterableIterator<MemberSession> {
    return this.#sessions.values();
  }

  /** Puts a session at the end of the line, or back to where it stood before. */
  add(session: MemberSession, { id, address, dialect }: Candidate): void {
    this.#endCall(session);
    if (session.lineNumber === undefined) {
      this.#newestNumber += 1;
      session.lineNumber = this.#newestNumber;
      this.#sessions.add(session);
    } else if (!this.#sessions.has(session)) {
      this.#sessions = new Set([...this.#sessions, session].sort((a, b) => (a.lineNumber ?? 0) - (b.lineNumber ?? 0)));
    }
    this.#addresses.take(address, { mesh: this.#mesh, id, dialect, standing: "waiting" });
  }

  /** Takes a session out. Returns whether it stood there. */
  remove(session: MemberSession): boolean {
    this.#endCall(session);
    if (!this.#sessions.delete(session)) return false;
    const { address, id } = session.candidate ?? {};
    if (address !== undefined && id !== undefined) this.#addresses.free(address, id);
    return true;
  }

  /**
   * Whose turn it is, one after the other: the caller lets each in, or calls it. Those who stood in the line of a server that
   * is gone let its members pass while these may come (`mustYield`).
   */
  *due(freeSlots: () => number, mustYield: boolean, now: number): Generator<MemberSession> {
    // In a gang nobody may pass those who were called.
    const isSlow = this.#ranks === undefined && this.#called > 0 && now >= this.#slowAt;
    const count = isSlow ? 2 * this.#called : freeSlots();
    if (this.#called >= Math.min(count, this.size)) return;
    for (const session of this.#sessions) {
      if (freeSlots() === 0 || this.#called >= count || (mustYield && session.mustWait)) return;
      const { candidate } = session;
      if (session.isCalled || candidate === undefined || this.#ranks?.isDue(candidate) === false) continue;
      yield session;
    }
  }

  /** This session has to prove its address. */
  call(session: MemberSession, now: number): void {
    session.isCalled = true;
    this.#called += 1;
    this.#slowAt = now + this.#slowMs;
  }

  /**
   * When others are called as well, because those who were called are slow; undefined if nobody is held up, or if that moment has
   * come and the others must let members pass: then their turn comes with the end of that.
   */
  callsMoreAt(freeSlots: number, now: number): number | undefined {
    const isHeldUp = this.#ranks === undefined && freeSlots > 0 && this.#called > 0 && this.#called < this.size;
    return isHeldUp && this.#slowAt > now ? this.#slowAt : undefined;
  }

  /** It has not answered its call: it may hang. Returns whether it may stand in line again. */
  missCall(session: MemberSession): boolean {
    if (!this.#sessions.has(session)) return false;
    session.missedCalls += 1;
    return session.missedCalls < mostMissedCalls;
  }

  #endCall(session: MemberSession): void {
    if (session.isCalled) this.#called -= 1;
    session.isCalled = false;
  }
}
