import { type Endpoint, isOnThisMachine } from "../core/connections.js";
import type { ErrorCode } from "../core/errors.js";
import { endpointOf, isLocal, isOfOneKind } from "../protocol/address.js";
import { encodeList } from "../protocol/classic/list.js";
import type { Candidate, Id } from "../protocol/directory.js";
import type { AddressHolder, AddressRegistry } from "./address-registry.js";
import type { Members } from "./members.js";
import { RankOrder } from "./rank-order.js";
import { releasedText } from "./session-closer.js";
import { storedBytes, storedMembersBytes } from "./stored-members.js";
import type { AdmissionRules } from "./types.js";
import { WaitingLine } from "./waiting-line.js";

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
  /** Where its connection comes from; a host is a canonical IP literal. */
  readonly remote: Endpoint;
  /** It has proved the secret, and may advertise any host. */
  readonly isTrusted: boolean;
  /** It keeps the slot that it has already. */
  readonly hasSlot?: boolean;
  /** It was called from the waiting line, and has proved its address again. */
  readonly isCalled?: boolean;
  /** Others come first, also while a slot is free. */
  readonly mustWait?: boolean;
}

const emptyListBytes = encodeList([]).length;

/**
 * Decides who is admitted to one mesh, and keeps its waiting line.
 *
 * A registration whose append is under way holds its slot and its address, or both could be given to somebody else before
 * the log answers.
 */
export class Admission {
  /** Present if the mesh is a gang, whose members are admitted in the order of their ranks. */
  readonly ranks: RankOrder | undefined;
  readonly line: WaitingLine;
  readonly #rules: AdmissionRules;
  readonly #members: Members;
  readonly #addresses: AddressRegistry;
  #isSealed = false;
  #isReleased = false;

  constructor(rules: AdmissionRules, members: Members, addresses: AddressRegistry) {
    this.#rules = rules;
    this.#members = members;
    this.#addresses = addresses;
    this.ranks = rules.gangSize === undefined ? undefined : new RankOrder(rules.gangSize);
    this.line = new WaitingLine(members.mesh, addresses, this.ranks, rules.limits.dialBackSlowMs);
  }

  get freeSlots(): number {
    return this.#isSealed ? 0 : Math.max(0, this.#rules.capacity - this.#members.slots);
  }

  /** The mesh has ended, or is left to its members: nobody is admitted any more. */
  seal(isReleased = false): void {
    this.#isSealed = true;
    this.#isReleased = isReleased;
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
    if (holder?.standing === "unanswered") return unanswered(address);
    if (!isFree && replaces === undefined && evicts === undefined) {
      return refuse("ADDRESS_IN_USE", `${address} belongs to a live member`);
    }
    if (!this.#fitsInList(applicant, replaces)) {
      return refuse("LIST_FULL", `the list would exceed ${this.#rules.limits.listBytes} bytes`);
    }
    if (!this.#fitsInStore(applicant, replaces)) {
      const message = "the names and meta of all members would take more than a store can hold of one mesh";
      return refuse("TOO_MANY_MEMBERS", `${message}, ${storedMembersBytes} bytes`);
    }
    if (replaces !== undefined && !this.#isSealed) return { type: "admit", replaces };
    const tooMany = this.#judgeCount(holder !== undefined, hasSlot);
    if (tooMany !== undefined) return tooMany;
    const verdict = this.#judgeSlot(applicant);
    return verdict.type === "refuse" || evicts === undefined ? verdict : { ...verdict, evicts };
  }

  /** Whether a member of an earlier log gets its address, which it has proved. It needs no slot that is free. */
  judgeRecovery(candidate: Candidate): AdmissionVerdict {
    const { address, id } = candidate;
    const holder = this.#addresses.of(address);
    if (holder === undefined || holder.id === id) return { type: "admit" };
    if (holder.standing === "unanswered") return unanswered(address);
    const replaces = this.#replaceableBy(candidate);
    if (replaces !== undefined) return { type: "admit", replaces };
    const evicts = this.#evictableBy(candidate);
    if (evicts !== undefined) return { type: "admit", evicts };
    return refuse("ADDRESS_IN_USE", `${address} belongs to a live member`);
  }

  /**
   * Whether this host may be advertised; the only check for a member that resumes. Who is at a local socket may advertise
   * every local one, and nobody else may: a stranger could make this server dial any socket of its machine.
   */
  judgeHost({ address, remote, isTrusted }: Omit<Applicant, "id" | "dialect">): AdmissionRefusal | undefined {
    const { host } = endpointOf(address);
    if (!isOfOneKind(address, remote)) {
      const [how, where] = isLocal(address) ? ["TCP", "local sockets"] : ["a local socket", "TCP"];
      return refuse("LOCAL_MIX", `${address} was registered over ${how}, and listens on ${where}`);
    }
    if (host === remote.host || isTrusted || (host !== undefined && this.#rules.mayAdvertise(host))) return undefined;
    return refuse("FOREIGN_HOST", `${address} was registered from ${remote.host}`);
  }

  /** The member at the applicant's address, if the applicant may take its place. */
  #replaceableBy(applicant: Candidate): Id | undefined {
    const { address, dialect } = applicant;
    const holder = this.#addresses.of(address);
    if (holder?.dialect !== "native" || dialect !== "native" || holder.mesh !== this.#members.mesh) return undefined;
    const isMember = ["member", "absent", "expected"].includes(holder.standing);
    return isMember && this.ranks?.isDue(applicant, holder.id) !== false ? holder.id : undefined;
  }

  /** The member of another mesh at the applicant's address, if it has no session: whoever proves the address gets it. */
  #evictableBy({ address, dialect }: Candidate): AddressHolder | undefined {
    const holder = this.#addresses.of(address);
    if (holder?.standing !== "absent" && holder?.standing !== "expected") return undefined;
    if (dialect !== "native" || holder.mesh === this.#members.mesh) return undefined;
    return holder;
  }

  /**
   * All members of one mesh are on loopback, or none is: the first that is there decides. Classic members are exempt,
   * because they could not be told what is wrong.
   */
  #judgeKind({ address, dialect }: Applicant): AdmissionRefusal | undefined {
    if (dialect === "classic") return undefined;
    const isOnLoopback = isOnThisMachine(endpointOf(address));
    let first: boolean | undefined;
    for (const record of this.#members.all) {
      if (["absent", "unanswered", "expected"].includes(record.standing)) continue;
      first = record.isOnLoopback;
      break;
    }
    if (first === undefined || first === isOnLoopback) return undefined;
    const [own, others] = isOnLoopback ? ["is on loopback", "are not"] : ["is not on loopback", "are"];
    return refuse("LOOPBACK_MIX", `${address} ${own}, and the members of this mesh ${others}`);
  }

  #judgeSlot(applicant: Applicant): AdmissionVerdict {
    const { hasSlot = false, isCalled = false } = applicant;
    const mayWait = this.#rules.onFull === "hold" || this.ranks !== undefined;
    // Where there is no line nobody can be made to wait.
    const isBehind = this.line.size > 0 || (mayWait && applicant.mustWait === true);
    const isNext = this.ranks?.isDue(applicant) ?? (isCalled || !isBehind);
    if (hasSlot || (this.freeSlots > 0 && isNext)) return { type: "admit" };
    if (mayWait && !this.#isSealed) return { type: "wait" };
    if (this.#isReleased) return refuse("RELEASED", releasedText);
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
    if (!isBounded && !hasSlot && this.#members.slots >= limits.membersPerMesh) {
      return refuse("TOO_MANY_MEMBERS", `the mesh has ${limits.membersPerMesh} members, and may have no more`);
    }
    const most = isBounded ? Math.max(limits.members, capacity) : limits.members;
    if (isCounted || this.#addresses.size < most) return undefined;
    return refuse("TOO_MANY_MEMBERS", `the server has ${most} members in all its meshes, and may have no more`);
  }

  #judgeId(id: Id): AdmissionRefusal | undefined {
    const holder = this.#members.get(id);
    if (holder === undefined) return undefined;
    return holder.standing === "unanswered" ? unanswered(id) : refuse("ID_IN_USE", `the id ${id} belongs to a member`);
  }

  #fitsInList({ address, dialect }: Applicant, replaces: Id | undefined): boolean {
    if (dialect !== "classic" && this.#members.classics === 0) return true;
    const added = replaces === undefined ? address.length : -1;
    return emptyListBytes + this.#members.addressBytes + added <= this.#rules.limits.listBytes;
  }

  #fitsInStore(applicant: Applicant, replaces: Id | undefined): boolean {
    if (!this.#rules.isShared || this.#members.get(applicant.id) !== undefined) return true;
    const replaced = replaces === undefined ? undefined : this.#members.get(replaces)?.candidate;
    const freed = replaced === undefined ? 0 : storedBytes(replaced);
    return this.#members.storedBytes - freed + storedBytes(applicant) <= storedMembersBytes;
  }
}

/** Somebody with this address or id has gone. What the log answers decides whether it is free. */
function unanswered(what: string): AdmissionRefusal {
  return refuse("STORE_UNAVAILABLE", `the membership log has not answered yet whether ${what} is free`);
}

function refuse(code: ErrorCode, message: string): AdmissionRefusal {
  return { type: "refuse", code, message };
}
