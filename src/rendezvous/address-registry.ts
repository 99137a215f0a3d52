import type { Address } from "../protocol/address.js";
import type { Dialect, Id } from "../protocol/directory.js";

/** Who has an address. */
export interface AddressHolder {
  readonly mesh: string;
  readonly id: Id;
  readonly dialect: Dialect;
  /**
   * In the directory with a session, in the directory without one, on the way into it, or in line for a slot. Who is still
   * to prove its address has none.
   */
  readonly standing: "member" | "absent" | "joining" | "waiting";
}

/**
 * Which addresses are taken, on the whole server: a process listens for one member, so an address in two meshes would be
 * two members at one door.
 */
export class AddressRegistry {
  readonly #claims = new Map<Address, AddressHolder>();

  get size(): number {
    return this.#claims.size;
  }

  of(address: Address): AddressHolder | undefined {
    return this.#claims.get(address);
  }

  take(address: Address, claim: AddressHolder): void {
    this.#claims.set(address, claim);
  }

  /** Frees the address, unless it has passed to somebody else by now. */
  free(address: Address, id: Id): void {
    if (this.#claims.get(address)?.id === id) this.#claims.delete(address);
  }
}
