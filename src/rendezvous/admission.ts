import type { ErrorCode } from "../core/errors.js";
import { type Address, endpointOf } from "../protocol/address.js";
import { encodeList } from "../protocol/classic/list.js";
import type { Directory } from "./log.js";
import type { Session } from "./session.js";

/** What happens at capacity: the mesh ends for good, or it stays and newcomers wait for a free slot. */
export type OnFull = "teardown" | "hold";

/** Who may join, and how many. */
export interface AdmissionRules {
  /** The most members there may be, at least 1; Infinity for no bound. */
  readonly capacity: number;
  readonly onFull: OnFull;
  /** Hosts that may be advertised though the registration comes from elsewhere. */
  readonly mayAdvertise: (host: string) => boolean;
  /** The longest list that readers accept. */
  readonly listBytes: number;
}

/** What becomes of a registration. */
export type Verdict =
  | { readonly type: "admit" }
  | { readonly type: "wait" }
  | { readonly type: "refuse"; readonly code: ErrorCode; readonly message: string };

/**
 * Decides who gets in.
 *
 * An append that is under way counts as a member: the log may answer late, and by then the slot and the address that it
 * takes would have been given away a second time.
 */
export class Admission {
  readonly #rules: AdmissionRules;
  readonly #directory: Directory;
  readonly #appending = new Set<Address>();
  readonly #line = new Map<Session, Address>();
  #isSealed = false;

  constructor(rules: AdmissionRules, directory: Directory) {
    this.#rules = rules;
    this.#directory = directory;
  }

  /** Members and appends under way. */
  get used(): number {
    return this.#directory.size + this.#appending.size;
  }

  /** True when the members have reached the capacity and the mesh is to end. Reached once is reached for good. */
  get hasReachedCapacity(): boolean {
    return this.#rules.onFull === "teardown" && this.#directory.size >= this.#rules.capacity;
  }

  get hasFreeSlot(): boolean {
    return this.used < this.#rules.capacity && !this.#isSealed;
  }

  /** Those who wait for a slot, the first in line first. */
  get line(): Iterable<[Session, Address]> {
    return this.#line;
  }

  /** From now on nobody is taken in any more. */
  seal(): void {
    this.#isSealed = true;
  }

  /**
   * Judges a registration of `address` that comes from `observedHost`, a canonical IP literal. One that corrects a member's
   * address takes over its slot (`hasSlot`), and needs none of its own.
   */
  judge(address: Address, observedHost: string, hasSlot = false): Verdict {
    const { host } = endpointOf(address);
    if (host !== observedHost && !this.#rules.mayAdvertise(host)) {
      return refuse("FOREIGN_HOST", `${address} was registered from ${observedHost}`);
    }
    if (this.#isTaken(address)) return refuse("ADDRESS_IN_USE", `${address} belongs to a live member`);
    if (encodeList([...this.#directory.addresses, ...this.#appending, address]).length > this.#rules.listBytes) {
      return refuse("LIST_FULL", `the list would exceed ${this.#rules.listBytes} bytes`);
    }
    if (hasSlot || (this.hasFreeSlot && this.#line.size === 0)) return { type: "admit" };
    if (this.#rules.onFull === "hold" && !this.#isSealed) return { type: "wait" };
    return refuse("MESH_SEALED", `the mesh has reached its capacity of ${this.#rules.capacity}`);
  }

  /** An append of this address is under way. */
  appending(address: Address): void {
    this.#appending.add(address);
  }

  /** The append has come back. */
  appended(address: Address): void {
    this.#appending.delete(address);
  }

  wait(session: Session, address: Address): void {
    this.#line.set(session, address);
  }

  /** Takes a session out of the line. Returns whether it stood there. */
  leaveLine(session: Session): boolean {
    return this.#line.delete(session);
  }

  #isTaken(address: Address): boolean {
    if (this.#appending.has(address)) return true;
    for (const member of this.#directory.members) if (member.address === address) return true;
    for (const waiting of this.#line.values()) if (waiting === address) return true;
    return false;
  }
}

function refuse(code: ErrorCode, message: string): Verdict {
  return { type: "refuse", code, message };
}
