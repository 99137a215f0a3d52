import type { ErrorCode } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import type { OutputSink } from "../core/machine.js";
import type { KeyedTimers } from "../core/timers.js";
import { claimContactMs, claimLeaseMs } from "../protocol/claims.js";
import type { Claim, ClaimChange, ClaimEntry, Directory, Id, MemberEntry } from "../protocol/directory.js";
import type { ControlOf } from "../protocol/native/control.js";
import type { ClaimStatus } from "../protocol/status.js";
import type { LogAnswer, MeshTimer, RendezvousOutput } from "./types.js";

/** What the claims of all meshes of a server have in common. */
export interface ClaimTotals {
  /** Keys that are held or being granted, and places in lines. */
  count: number;
  /**
   * Nothing is granted before. A server that starts does not know who holds what; nor does one that has forgotten a mesh
   * whose members held something.
   */
  grantsFrom: number;
}

/** An append of this server that frees a key. */
interface Release {
  readonly reason: string;
  isAppending: boolean;
}

/**
 * The claims of one mesh: which member holds which key, and who waits for it.
 *
 * A holder that was not heard for one claim lease loses its claim; one that gives up or leaves loses it at once. Being
 * lost or replaced frees nothing, because such a member may live and go on with what it does. Only renewals and messages
 * about claims count as heard: a holder counts from when it has sent a renewal, and this server from when it reads one,
 * which is later, so the holder gives up first. Renewals that lay in a buffer only make the lease longer.
 *
 * Nothing is true before the log has answered.
 */
export class ClaimRegistry {
  readonly #mesh: string;
  readonly #limits: Limits;
  readonly #directory: Directory;
  readonly #totals: ClaimTotals;
  readonly #outputs: OutputSink<RendezvousOutput>;
  readonly #timers: KeyedTimers<MeshTimer>;
  /** Who waits for each key, first come first served. */
  readonly #lines = new Map<string, Set<Id>>();
  #places = 0;
  /** When each member was last heard that may hold or want something. */
  readonly #heardAt = new Map<Id, number>();
  /** When each key that is held was granted here. */
  readonly #grantedAt = new Map<string, number>();
  /** Appends under way that grant a key, each to whom. */
  readonly #granting = new Map<string, Id>();
  readonly #releasing = new Map<string, Release>();
  /** The appends that the log has not answered, by their keys. */
  readonly #appends = new Map<number, ClaimChange>();
  #newestKey = 0;
  /** Not after the earliest moment at which a lease runs out: renewals do not move it. */
  #checkAt: number | undefined;
  /** Claims of an earlier log that this one has rejected. */
  #rejected: ClaimChange[] = [];
  /** What this mesh adds to the totals. */
  #counted = 0;

  constructor(
    mesh: string,
    limits: Limits,
    directory: Directory,
    totals: ClaimTotals,
    outputs: OutputSink<RendezvousOutput>,
    timers: KeyedTimers<MeshTimer>,
  ) {
    this.#mesh = mesh;
    this.#limits = limits;
    this.#directory = directory;
    this.#totals = totals;
    this.#outputs = outputs;
    this.#timers = timers;
  }

  // What it tells.

  /** How much is kept. */
  get size(): number {
    return this.#held + this.#places + this.#heardAt.size + this.#appends.size;
  }

  /** True while the log has not answered everything that was appended. */
  get isAppending(): boolean {
    return this.#appends.size > 0;
  }

  /** What is held, for those who look. */
  get status(): ClaimStatus[] {
    return Array.from(this.#directory.claims.values(), ({ key, holder, token, member }) => ({
      key,
      holder: member?.address ?? holder,
      token,
      since: this.#grantedAt.get(key) ?? 0,
      waiting: this.#lines.get(key)?.size ?? 0,
    }));
  }

  // What members say.

  /** A member has renewed, or said something about claims. */
  heard(id: Id, now: number): void {
    const before = this.#heardAt.get(id);
    this.#heardAt.set(id, now);
    // It may have been passed over because it was silent.
    if (before !== undefined && now >= before + claimContactMs) this.#grantAll(now);
  }

  /** A member wants a key. Returns the refusal, if it neither gets it nor waits. */
  claim(id: Id, key: string, waits: boolean, now: number): ControlOf<"unclaimable"> | undefined {
    this.heard(id, now);
    const claim = this.#directory.claims.get(key);
    const isItsOwn = claim?.holder === id && !this.#releasing.has(key);
    if (isItsOwn || this.#granting.get(key) === id || this.#lines.get(key)?.has(id) === true) return undefined;
    if (!waits && now < this.#totals.grantsFrom) {
      const inMs = Math.ceil(this.#totals.grantsFrom - now);
      return refusal(key, "CLAIMS_UNSETTLED", `the server has just begun, and grants the first keys in ${inMs} ms`);
    }
    const holder = claim?.holder ?? this.#granting.get(key) ?? [...(this.#lines.get(key) ?? [])][0];
    if (!waits && holder !== undefined) return refusal(key, "CLAIMED", "another member has it", holder);
    const full = this.#fullness(id, key, holder !== undefined || now < this.#totals.grantsFrom);
    if (full !== undefined) return full;
    this.#enqueue(id, key);
    this.#grant(key, now);
    if (waits || this.#lines.get(key)?.has(id) !== true) return undefined;
    this.#leaveLine(id, key);
    return refusal(key, "CLAIMS_UNSETTLED", "this member has not renewed of late");
  }

  /** A member gives up a key with its token, or without one the wait for it. */
  unclaim(id: Id, key: string, token: number | undefined, now: number): void {
    this.heard(id, now);
    const claim = this.#directory.claims.get(key);
    // A grant that crosses the message is given up by its token later.
    if (token === undefined) this.#leaveLine(id, key);
    else if (claim?.holder === id && claim.token === token) this.#release(key, "given up");
  }

  /**
   * A member that is back holds these. What this log does not know it takes over in the first lease, when earlier holders
   * come back; later such a claim has run out. Returns the refusals.
   */
  present(id: Id, held: readonly (readonly [key: string, token: number])[], now: number): ControlOf<"unclaimable">[] {
    this.heard(id, now);
    const refusals: ControlOf<"unclaimable">[] = [];
    for (const [key, token] of held) {
      const claim = this.#directory.claims.get(key);
      if (claim?.holder === id && claim.token === token && !this.#releasing.has(key)) continue;
      const isNewest = now < this.#totals.grantsFrom && (claim?.token ?? 0) < token;
      const full = isNewest ? this.#fullness(id, key, false) : undefined;
      if (isNewest && full === undefined) {
        this.#granting.set(key, id);
        this.#append({ type: "claimed", key, holder: id, token });
      } else refusals.push(full ?? refusal(key, "CLAIMED", "it has been passed on, or has run out", claim?.holder));
    }
    return refusals;
  }

  /** The session of a member is over: it waits no more, and holds for the rest of its lease. */
  departed(id: Id): void {
    for (const key of [...this.#lines.keys()]) this.#leaveLine(id, key);
  }

  // What the log says.

  /** The membership has changed. Whoever has left has given up; whoever is lost may live and hold. */
  memberEntry(entry: MemberEntry): void {
    if (entry.type === "joined") return;
    const id = entry.type === "replaced" ? entry.replaces : entry.id;
    this.departed(id);
    const held = [...this.#directory.claims.values()].filter(({ holder }) => holder === id);
    if (held.length === 0) this.#heardAt.delete(id);
    if (entry.type === "left") for (const { key } of held) this.#release(key, "its holder has left");
  }

  /** An entry about a claim has been applied to the directory; before that, `before` was the claim of its key. */
  appended(entry: ClaimEntry, appendKey: number | undefined, now: number): void {
    if (appendKey !== undefined) this.#appends.delete(appendKey);
    const { key } = entry;
    if (entry.type === "claimed") {
      this.#grantedAt.set(key, now);
      if (this.#granting.get(key) === entry.holder) this.#granting.delete(key);
      // A holder that another server has let in is heard by that server; here it has one lease.
      if (!this.#heardAt.has(entry.holder)) this.#heardAt.set(entry.holder, now);
      this.#checkBy((this.#heardAt.get(entry.holder) ?? now) + claimLeaseMs);
    } else {
      this.#grantedAt.delete(key);
      this.#releasing.delete(key);
      this.#grant(key, now);
    }
    this.#count();
  }

  /** The log has not taken an append. What it was for is tried again. */
  rejected(appendKey: number, now: number): void {
    const change = this.#appends.get(appendKey);
    this.#appends.delete(appendKey);
    if (change === undefined) return;
    if (!this.#timers.has("claimRetry")) this.#timers.set("claimRetry", now + this.#limits.logRetryMs);
    if (change.type === "unclaimed") {
      const release = this.#releasing.get(change.key);
      if (release !== undefined) release.isAppending = false;
      return;
    }
    if (change.token !== undefined) {
      this.#rejected.push(change);
      return;
    }
    this.#granting.delete(change.key);
    // It was the first in line.
    if (this.#directory.member(change.holder) !== undefined) this.#enqueue(change.holder, change.key, true);
    this.#count();
  }

  // Time.

  /** Tries again what the log has rejected. */
  retry(now: number): void {
    for (const [key, release] of this.#releasing) if (!release.isAppending) this.#appendRelease(key, release);
    for (const change of this.#rejected.splice(0)) this.#append(change);
    this.#grantAll(now);
  }

  /** A lease may have run out. */
  checkLeases(now: number): void {
    this.#checkAt = undefined;
    for (const { key, holder } of this.#directory.claims.values()) {
      const until = this.#leaseEnd(holder);
      if (until <= now) this.#release(key, `its holder was not heard for ${claimLeaseMs / 1000} s`);
      else this.#checkBy(until);
    }
    this.#grantAll(now);
    for (const [id, at] of this.#heardAt) {
      if (at + claimLeaseMs <= now && this.#directory.member(id) === undefined) this.#heardAt.delete(id);
    }
  }

  /** A holder that was not heard yet by this server counts as heard when it started. */
  #leaseEnd(holder: Id): number {
    return Math.max((this.#heardAt.get(holder) ?? Number.NEGATIVE_INFINITY) + claimLeaseMs, this.#totals.grantsFrom);
  }

  #checkBy(at: number): void {
    this.#checkAt = Math.min(this.#checkAt ?? at, at);
    this.#timers.set("claimLease", this.#checkAt);
  }

  // Granting and freeing.

  /** Gives a free key to the first in line who was heard of late. */
  #grant(key: string, now: number): void {
    const line = this.#lines.get(key);
    const isFree = !this.#directory.claims.has(key) && !this.#granting.has(key);
    if (line === undefined || !isFree) return;
    if (now < this.#totals.grantsFrom) {
      this.#checkBy(this.#totals.grantsFrom);
      return;
    }
    for (const id of line) {
      const isRecent = (this.#heardAt.get(id) ?? Number.NEGATIVE_INFINITY) + claimContactMs > now;
      if (!isRecent || this.#directory.member(id) === undefined) continue;
      this.#leaveLine(id, key);
      this.#granting.set(key, id);
      this.#append({ type: "claimed", key, holder: id });
      return;
    }
  }

  #grantAll(now: number): void {
    for (const key of [...this.#lines.keys()]) this.#grant(key, now);
  }

  #release(key: string, reason: string): void {
    if (this.#releasing.has(key)) return;
    const release = { reason, isAppending: false };
    this.#releasing.set(key, release);
    this.#appendRelease(key, release);
  }

  #appendRelease(key: string, release: Release): void {
    release.isAppending = true;
    this.#append({ type: "unclaimed", key, reason: release.reason });
  }

  /** Appends are numbered downwards, those of the membership upwards: so their answers are told apart. */
  #append(change: ClaimChange): void {
    this.#newestKey -= 1;
    const key = this.#newestKey;
    this.#appends.set(key, change);
    this.#outputs.push({ type: "append", mesh: this.#mesh, key, after: this.#directory.revision, change });
    this.#count();
  }

  #enqueue(id: Id, key: string, isFirst = false): void {
    const line = this.#lines.get(key) ?? new Set();
    this.#lines.set(key, isFirst ? new Set([id, ...line]) : line.add(id));
    this.#places += 1;
    this.#count();
  }

  #leaveLine(id: Id, key: string): void {
    const line = this.#lines.get(key);
    if (line?.delete(id) !== true) return;
    if (line.size === 0) this.#lines.delete(key);
    this.#places -= 1;
    this.#count();
  }

  // Bounds.

  get #held(): number {
    return this.#directory.claims.size + this.#granting.size;
  }

  /** What this mesh holds counts against the bound of all meshes. */
  #count(): void {
    const count = this.#held + this.#places;
    this.#totals.count += count - this.#counted;
    this.#counted = count;
  }

  /** The mesh is forgotten. Who held something may hold it still for one lease. */
  forget(now: number): void {
    if (this.#held > 0) this.#totals.grantsFrom = Math.max(this.#totals.grantsFrom, now + claimLeaseMs);
    this.#totals.count -= this.#counted;
    this.#counted = 0;
  }

  /** The refusal, if one more claim is too much; undefined if there is room. */
  #fullness(id: Id, key: string, hasToWait: boolean): ControlOf<"unclaimable"> | undefined {
    const { claimsPerMember, claimsPerMesh, claimPlacesPerMesh, claims } = this.#limits;
    let own = 0;
    for (const { holder } of this.#directory.claims.values()) if (holder === id) own += 1;
    for (const line of this.#lines.values()) if (line.has(id)) own += 1;
    if (own >= claimsPerMember) return refusal(key, "TOO_MANY_CLAIMS", `this member has ${own} claims`);
    if (this.#totals.count >= claims) return refusal(key, "TOO_MANY_CLAIMS", `the server has ${claims} claims`);
    const isNew = !this.#directory.claims.has(key) && !this.#lines.has(key);
    if (isNew && this.#held + this.#lines.size >= claimsPerMesh) {
      return refusal(key, "TOO_MANY_CLAIMS", `the mesh has ${claimsPerMesh} keys`);
    }
    if (hasToWait && this.#places >= claimPlacesPerMesh) {
      return refusal(key, "TOO_MANY_WAITING", `${claimPlacesPerMesh} wait for keys of the mesh`);
    }
    return undefined;
  }
}

function refusal(key: string, code: ErrorCode, message: string, holder?: Claim["holder"]): ControlOf<"unclaimable"> {
  return { type: "unclaimable", key, code, message, ...(holder === undefined ? {} : { holder }) };
}

/** True if an answer of the log is about a claim. */
export function isClaimAnswer(answer: LogAnswer): boolean {
  return (answer.key ?? 0) < 0;
}
