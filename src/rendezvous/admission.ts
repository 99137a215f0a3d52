import { isLoopback } from "../core/connections.js";
import type { ErrorCode } from "../core/errors.js";
import { endpointOf } from "../protocol/address.js";
import { encodeList } from "../protocol/classic/list.js";
import type { Candidate, Directory, Entry, Id, Member } from "../protocol/directory.js";
import type { AddressHolder, AddressRegistry } from "./address-registry.js";
import type { MemberSession } from "./member-session.js";
import { RankOrder } from "./rank-order.js";
import type { AdmissionRules } from "./types.js";

/** A refusal: the code, and a sentence about the case. */
export interface AdmissionRefusal {
  readonly type: "refuse";
  readonly code: ErrorCode;
  readonly message: string;
}

/**
 * What becomes of a registration. `replaces`: the member of this mesh whose place it takes, with its slot. `evicts`: the
 * member of another mesh that had the address, and has no session.
 */
export type AdmissionVerdict =
  | { readonly type: "admit"; readonly replaces?: Id; readonly evicts?: AddressHolder }
  | { readonly type: "wait"; readonly evicts?: AddressHolder }
  | AdmissionRefusal;

/** Somebody who wants to join. */
export interface Applicant extends Candidate {
  /** Where its connection comes from, a canonical IP literal. */
  readonly observedHost: string;
  /** It has proved the secret, and may advertise any host. */
  readonly isTrusted: boolean;
  /** It keeps the slot that it has already. */
  readonly hasSlot?: boolean;
  /** It was called from the waiting line, and has proved its address again. */
  readonly isCalled?: boolean;
}

const emptyListBytes = encodeList([]).length;

/**
 * Decides who is admitted to one mesh.
 *
 * An append under way holds its slot and its address, or both could be given to somebody else before the log answers. All
 * counts are kept up to date, so a registration costs the same in a mesh of ten and of a thousand.
 */
export class Admission {
  readonly #mesh: string;
  readonly #rules: AdmissionRules;
  readonly #directory: Directory;
  readonly #addresses: AddressRegistry;
  /** The ids of candidates whose append is under way. */
  readonly #appending = new Set<Id>();
  /** The ids of members that are being replaced; their slots pass on. */
  readonly #replaced = new Set<Id>();
  readonly #line = new Map<MemberSession, Candidate>();
  /** Sessions that were called from the line, and prove their address again. The first to do so takes the slot. */
  readonly #called = new Set<MemberSession>();
  /** Appends under way that need a slot of their own. */
  #slotsAppending = 0;
  /** The addresses of members and appends under way, each with the byte that separates it from the next. */
  #addressBytes = 0;
  #classicMembers = 0;
  /** Present if the mesh is a gang, whose members are admitted in the order of their ranks. */
  readonly ranks: RankOrder | undefined;
  /** Candidates whose append is under way, and members with a session: whether each is on loopback. */
  readonly #living = new Map<Id, boolean>();
  #isSealed = false;

  constructor(mesh: string, rules: AdmissionRules, directory: Directory, addresses: AddressRegistry) {
    this.#mesh = mesh;
    this.#rules = rules;
    this.#directory = directory;
    this.#addresses = addresses;
    this.ranks = rules.gangSize === undefined ? undefined : new RankOrder(rules.gangSize);
  }

  /** Members and appends under way. */
  get used(): number {
    return this.#directory.size + this.#slotsAppending;
  }

  get isAppending(): boolean {
    return this.#appending.size > 0;
  }

  /** Members and appends under way that are classic. */
  get classicMembers(): number {
    return this.#classicMembers;
  }

  get hasFreeSlot(): boolean {
    return this.freeSlots > 0;
  }

  get freeSlots(): number {
    return this.#isSealed ? 0 : Math.max(0, this.#rules.capacity - this.used);
  }

  /** Those who wait for a slot, the first in line first. */
  get line(): ReadonlyMap<MemberSession, Candidate> {
    return this.#line;
  }

  /** The mesh has ended: nobody is admitted any more. */
  seal(): void {
    this.#isSealed = true;
  }

  /** Judges a registration. Judge it again once its address is proved: the mesh may have changed. */
  judge(applicant: Applicant): AdmissionVerdict {
    const { address, id, hasSlot = false, isCalled = false } = applicant;
    const refusal =
      this.judgeHost(applicant) ?? this.#judgeKind(applicant) ?? this.#judgeId(id) ?? this.#judgeRank(applicant);
    if (refusal !== undefined) return refusal;
    const replaces = this.#replaceableBy(applicant);
    const evicts = this.#evictableBy(applicant);
    const holder = this.#addresses.of(address);
    const isFree = holder === undefined || ((hasSlot || isCalled) && holder.id === id);
    if (!isFree && replaces === undefined && evicts === undefined) {
      return refuse("ADDRESS_IN_USE", `${address} belongs to a live member`);
    }
    if (!this.#fitsInList(applicant, replaces)) {
      return refuse("LIST_FULL", `the list would exceed ${this.#rules.limits.listBytes} bytes`);
    }
    if (replaces !== undefined && !this.#isSealed) return { type: "admit", replaces };
    const tooMany = this.#judgeCount(holder !== undefined, hasSlot);
    if (tooMany !== undefined) return tooMany;
    const verdict = this.#judgeSlot(applicant);
    return verdict.type === "refuse" || evicts === undefined ? verdict : { ...verdict, evicts };
  }

  /** Whether this host may be advertised; the only check for a member that resumes. */
  judgeHost({ address, observedHost, isTrusted }: Omit<Applicant, "id" | "dialect">): AdmissionRefusal | undefined {
    const { host } = endpointOf(address);
    if (host === observedHost || isTrusted || this.#rules.mayAdvertise(host)) return undefined;
    return refuse("FOREIGN_HOST", `${address} was registered from ${observedHost}`);
  }

  /** An append of this candidate is under way. */
  appending(candidate: Candidate, replaces?: Id): void {
    const { id, address, dialect } = candidate;
    this.#appending.add(id);
    this.#setLiving(candidate);
    this.ranks?.take(candidate);
    if (replaces === undefined) this.#slotsAppending += 1;
    else this.#replaced.add(replaces);
    this.#count(candidate, 1);
    this.#addresses.take(address, { mesh: this.#mesh, id, dialect, standing: "joining" });
  }

  /** The append of this candidate was rejected: its slot and address are free again, or those of whom it was to replace. */
  rejected(candidate: Candidate, replaced: Member | undefined): void {
    const { id, address } = candidate;
    this.#appending.delete(id);
    this.#living.delete(id);
    this.ranks?.free(candidate);
    if (replaced !== undefined) this.ranks?.take(replaced);
    if (replaced === undefined || !this.#replaced.delete(replaced.id)) this.#slotsAppending -= 1;
    this.#count(candidate, -1);
    if (this.#addresses.of(address)?.id !== id) return;
    this.#addresses.free(address, id);
    if (replaced === undefined) return;
    const standing = this.#living.has(replaced.id) ? "member" : "absent";
    const { id: oldId, address: oldAddress, dialect } = replaced;
    this.#addresses.take(oldAddress, { mesh: this.#mesh, id: oldId, dialect, standing });
  }

  /** An entry has been applied to the directory; `removed` is the member that it took out. */
  applied(entry: Entry, removed: Member | undefined): void {
    if (removed !== undefined) this.#removed(removed);
    if (entry.type === "joined" || entry.type === "replaced") this.#entered(entry);
  }

  /** A member has no session any more, or has one again. */
  setAbsent(member: Member, isAbsent: boolean): void {
    const { id, address, dialect } = member;
    if (isAbsent) this.#living.delete(id);
    else this.#setLiving(member);
    if (this.#addresses.of(address)?.id !== id) return;
    this.#addresses.take(address, { mesh: this.#mesh, id, dialect, standing: isAbsent ? "absent" : "member" });
  }

  /** Puts a session at the end of the line, or back to where it stands if it was called. */
  wait(session: MemberSession, candidate: Candidate): void {
    const { id, address, dialect } = candidate;
    this.#called.delete(session);
    this.#line.set(session, candidate);
    this.#addresses.take(address, { mesh: this.#mesh, id, dialect, standing: "waiting" });
  }

  /** Takes a session out of the line. Returns whether it stood there. */
  leaveLine(session: MemberSession): boolean {
    const candidate = this.#line.get(session);
    if (candidate !== undefined) this.#addresses.free(candidate.address, candidate.id);
    this.#called.delete(session);
    return this.#line.delete(session);
  }

  /** This session is called from the line, and has to prove its address. It keeps its place until then. */
  call(session: MemberSession): void {
    this.#called.add(session);
  }

  isCalled(session: MemberSession): boolean {
    return this.#called.has(session);
  }

  get calledCount(): number {
    return this.#called.size;
  }

  #entered(member: Member): void {
    const { id, address, dialect } = member;
    if (this.#appending.delete(id)) {
      this.#slotsAppending -= 1;
    } else {
      // Somebody else has appended it.
      this.#count(member, 1);
      this.#setLiving(member);
    }
    this.ranks?.entered(member);
    this.#addresses.take(address, { mesh: this.#mesh, id, dialect, standing: "member" });
  }

  #removed(member: Member): void {
    this.#count(member, -1);
    this.#living.delete(member.id);
    this.ranks?.free(member);
    this.#addresses.free(member.address, member.id);
    // Whoever was to replace it now takes a slot of its own.
    if (this.#replaced.delete(member.id)) this.#slotsAppending += 1;
  }

  #count({ address, dialect }: Candidate, by: 1 | -1): void {
    this.#addressBytes += by * (address.length + 1);
    if (dialect === "classic") this.#classicMembers += by;
  }

  /** The member at the applicant's address, if the applicant may take its place. */
  #replaceableBy(applicant: Applicant): Id | undefined {
    const { address, dialect } = applicant;
    const holder = this.#addresses.of(address);
    if (holder?.dialect !== "native" || dialect !== "native" || holder.mesh !== this.#mesh) return undefined;
    const isMember = holder.standing === "member" || holder.standing === "absent";
    return isMember && this.ranks?.isDue(applicant, holder.id) !== false ? holder.id : undefined;
  }

  /** The member of another mesh at the applicant's address, if it has no session: whoever proves the address gets it. */
  #evictableBy({ address, dialect }: Applicant): AddressHolder | undefined {
    const holder = this.#addresses.of(address);
    if (holder?.standing !== "absent" || dialect !== "native" || holder.mesh === this.#mesh) return undefined;
    return holder;
  }

  #setLiving({ id, address }: Candidate): void {
    this.#living.set(id, isLoopback(endpointOf(address).host));
  }

  /**
   * All members of one mesh are on loopback, or none is: the first with a session decides. Classic members are exempt,
   * because they could not be told what is wrong.
   */
  #judgeKind({ address, dialect }: Applicant): AdmissionRefusal | undefined {
    const isOnLoopback = isLoopback(endpointOf(address).host);
    const [isFirstOnLoopback] = this.#living.values();
    if (dialect === "classic" || isFirstOnLoopback === undefined || isFirstOnLoopback === isOnLoopback)
      return undefined;
    const [own, others] = isOnLoopback ? ["is on loopback", "are not"] : ["is not on loopback", "are"];
    return refuse("LOOPBACK_MIX", `${address} ${own}, and the members of this mesh ${others}`);
  }

  #judgeSlot(applicant: Applicant): AdmissionVerdict {
    const { hasSlot = false, isCalled = false } = applicant;
    const isNext = this.ranks?.isDue(applicant) ?? (isCalled || this.#line.size === 0);
    if (hasSlot || (this.hasFreeSlot && isNext)) return { type: "admit" };
    const mayWait = this.#rules.onFull === "hold" || this.ranks !== undefined;
    if (mayWait && !this.#isSealed) return { type: "wait" };
    return refuse("MESH_SEALED", `the mesh has reached its capacity of ${this.#rules.capacity}`);
  }

  #judgeRank(applicant: Applicant): AdmissionRefusal | undefined {
    if (this.ranks === undefined || this.ranks.isRank(applicant)) return undefined;
    const { size } = this.ranks;
    return refuse(
      "BAD_RANK",
      `${applicant.address} has no rank from 0 to ${size - 1}, and this mesh is a gang of ${size}`,
    );
  }

  /** Whether one more member would be too many. A capacity is a bound of its own, and raises that of the server. */
  #judgeCount(isCounted: boolean, hasSlot: boolean): AdmissionRefusal | undefined {
    const { capacity, limits } = this.#rules;
    const isBounded = Number.isFinite(capacity);
    if (!isBounded && !hasSlot && this.used >= limits.membersPerMesh) {
      return refuse("TOO_MANY_MEMBERS", `the mesh has ${limits.membersPerMesh} members, and may have no more`);
    }
    const most = isBounded ? Math.max(limits.members, capacity) : limits.members;
    if (isCounted || this.#addresses.size < most) return undefined;
    return refuse("TOO_MANY_MEMBERS", `the server has ${most} members in all its meshes, and may have no more`);
  }

  #judgeId(id: Id): AdmissionRefusal | undefined {
    if (this.#directory.member(id) === undefined && !this.#appending.has(id)) return undefined;
    return refuse("ID_IN_USE", `the id ${id} belongs to a member`);
  }

  #fitsInList({ address, dialect }: Applicant, replaces: Id | undefined): boolean {
    if (dialect !== "classic" && this.#classicMembers === 0) return true;
    const added = replaces === undefined ? address.length : -1;
    return emptyListBytes + this.#addressBytes + added <= this.#rules.limits.listBytes;
  }
}

function refuse(code: ErrorCode, message: string): AdmissionRefusal {
  return { type: "refuse", code, message };
}
