import type { ErrorCode } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import type { OutputSink } from "../core/machine.js";
import type { KeyedTimers } from "../core/timers.js";
import { claimContactMs, claimLeaseMs } from "../protocol/claims.js";
import type { Claim, ClaimChange, ClaimEntry, Directory, Id, MemberEntry } from "../protocol/directory.js";
import type { ControlOf } from "../protocol/native/control.js";
import type { ClaimStatus } from "../protocol/status.js";
import type { SharingServers } from "./sharing-servers.js";
import type { MeshTimer, RejectionReason, RendezvousOutput } from "./types.js";

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

/** A member that does not get a key, and what it is told. */
export interface RefusedClaim {
  readonly id: Id;
  readonly refused: ControlOf<"unclaimable">;
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
 * Nothing is true before the log has answered. Where servers share the log, a holder at another server that is there is judged
 * by that one. While the store is away nothing is granted, and no lease runs out.
 */
export class ClaimRegistry {
  readonly #mesh: string;
  readonly #limits: Limits;
  readonly #servers: SharingServers;
  readonly #directory: Directory;
  readonly #totals: ClaimTotals;
  readonly #outputs: OutputSink<RendezvousOutput>;
  readonly #timers: KeyedTimers<MeshTimer>;
  /** Who waits for each key, first come first served. */
  readonly #lines = new Map<string, Set<Id>>();
  #places = 0;
  /** When each member was last heard that may hold or want something; Infinity while it is at another server. */
  readonly #heardAt = new Map<Id, number>();
  /** When each key that is held was granted here. */
  readonly #grantedAt = new Map<string, number>();
  /** Appends under way that grant a key, each to whom. */
  readonly #granting = new Map<string, Id>();
  readonly #releasing = new Map<string, Release>();
  /** The appends that the log has not answered, by their keys. */
  readonly #appends = new Map<number, ClaimChange>();
  /** Members that do not wait for the key that they are being granted. */
  readonly #impatient = new Map<string, Id>();
  /** Since when the leases of keys are known to have run out, where an outdated view of a shared log may show that. */
  readonly #overdueSince = new Map<string, number>();
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
    servers: SharingServers,
    directory: Directory,
    totals: ClaimTotals,
    outputs: OutputSink<RendezvousOutput>,
    timers: KeyedTimers<MeshTimer>,
  ) {
    this.#mesh = mesh;
    this.#limits = limits;
    this.#servers = servers;
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
    if (waits) return undefined;
    if (this.#lines.get(key)?.has(id) !== true) {
      this.#impatient.set(key, id);
      return undefined;
    }
    this.#leaveLine(id, key);
    if (!this.#servers.isStoreThere) return refusal(key, "CLAIMS_UNSETTLED", "the store of the claims is not there");
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

  // What other servers say.

  /** The member has its session at another server, which judges what it holds. */
  leave(id: Id): void {
    this.departed(id);
    this.#heardAt.set(id, Number.POSITIVE_INFINITY);
  }

  /** The member is not at another server any more: what it holds is judged here too, a lease from now at the earliest. */
  return(id: Id, now: number): void {
    if (this.#heardAt.get(id) !== Number.POSITIVE_INFINITY) return;
    this.#heardAt.set(id, now);
    this.#checkBy(now + claimLeaseMs);
  }

  /** The store is there again: all leases begin anew. */
  resume(now: number): void {
    for (const [id, at] of this.#heardAt) if (at < now) this.#heardAt.set(id, now);
    this.#overdueSince.clear();
    this.#checkBy(now + claimLeaseMs);
    this.#grantAll(now);
  }

  // What the log says.

  /** The membership has changed. Whoever has left has given up; whoever is lost may live and hold. */
  memberEntry(entry: MemberEntry, now: number): void {
    if (entry.type === "joined") return;
    const id = entry.type === "replaced" ? entry.replaces : entry.id;
    this.departed(id);
    this.return(id, now);
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
      if (this.#impatient.get(key) === entry.holder) this.#impatient.delete(key);
      // A holder that another server has let in is heard by that server; here it has one lease.
      if (!this.#heardAt.has(entry.holder)) this.#heardAt.set(entry.holder, now);
      this.#checkBy(this.#leaseEnd(entry.holder));
    } else {
      this.#grantedAt.delete(key);
      this.#releasing.delete(key);
      this.#overdueSince.delete(key);
      this.#grant(key, now);
    }
    this.#count();
  }

  /**
   * The log has not taken an append. What it was for is tried again, unless another server has been first (`conflict`). Returns the
   * refusal, and to whom, if a member does not wait.
   */
  rejected(appendKey: number, reason: RejectionReason, now: number): RefusedClaim | undefined {
    const change = this.#appends.get(appendKey);
    this.#appends.delete(appendKey);
    if (change === undefined) return undefined;
    if (!this.#timers.has("claimRetry")) this.#timers.set("claimRetry", now + this.#limits.logRetryMs);
    const isDecided = this.#servers.isShared && reason === "conflict";
    const { key } = change;
    if (change.type === "unclaimed") {
      const release = this.#releasing.get(key);
      if (isDecided) this.#releasing.delete(key);
      else if (release !== undefined) release.isAppending = false;
      return undefined;
    }
    const { holder } = change;
    if (change.token !== undefined && !isDecided) {
      this.#rejected.push(change);
      return undefined;
    }
    this.#granting.delete(key);
    const isImpatient = this.#impatient.get(key) === holder;
    this.#impatient.delete(key);
    const by = this.#directory.claims.get(key)?.holder;
    if (change.token !== undefined || (isDecided && isImpatient)) {
      this.#count();
      return { id: holder, refused: refusal(key, "CLAIMED", "another member has it", by) };
    }
    // It was the first in line.
    if (this.#directory.member(holder) !== undefined) this.#enqueue(holder, key, true);
    this.#count();
    return undefined;
  }

  /** The log has been read anew, and covers this append. */
  settle(appendKey: number): void {
    this.#appends.delete(appendKey);
  }

  /** Another mesh of this name comes after this one: its appends are numbered on. */
  get newestKey(): number {
    return this.#newestKey;
  }

  set newestKey(key: number) {
    this.#newestKey = key;
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
    if (!this.#servers.isStoreThere) return;
    for (const { key, holder } of this.#directory.claims.values()) {
      const until = this.#confirmedEnd(key, this.#leaseEnd(holder), now);
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

  /**
   * A process that was stopped finds that leases have run out before it reads what has happened meanwhile. Where servers share the
   * log it looks a second time, after what has happened would have come.
   */
  #confirmedEnd(key: string, leaseEnd: number, now: number): number {
    if (leaseEnd > now) this.#overdueSince.delete(key);
    if (leaseEnd > now || !this.#servers.isShared) return leaseEnd;
    const since = this.#overdueSince.get(key) ?? now;
    this.#overdueSince.set(key, since);
    return since + this.#limits.storeAnswerMs;
  }

  #checkBy(at: number): void {
    if (at === Number.POSITIVE_INFINITY) return;
    this.#checkAt = Math.min(this.#checkAt ?? at, at);
    this.#timers.set("claimLease", this.#checkAt);
  }

  // Granting and freeing.

  /** Gives a free key to the first in line who was heard of late. */
  #grant(key: string, now: number): void {
    const line = this.#lines.get(key);
    const isFree = !this.#directory.claims.has(key) && !this.#granting.has(key);
    if (line === undefined || !isFree || !this.#servers.isStoreThere) return;
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
    this.#append({ type: "unclaimed", key, reason: release.reason }, this.#directory.claims.get(key)?.token);
  }

  /** Appends are numbered downwards, those of the membership upwards: so their answers are told apart. */
  #append(change: ClaimChange, token?: number): void {
    this.#newestKey -= 1;
    const key = this.#newestKey;
    this.#appends.set(key, change);
    const judges = this.#servers.isShared && token !== undefined ? { judges: token } : {};
    this.#outputs.push({ type: "append", mesh: this.#mesh, key, after: this.#directory.revision, change, ...judges });
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

/** True if an append with this key is about a claim. */
export function isClaimAnswer(key: number): boolean {
  return key < 0;
}
