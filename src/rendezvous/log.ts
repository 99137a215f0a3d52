import type { Address } from "../protocol/address.js";

/** Which protocol a member speaks. */
export type Dialect = "classic";

/** A member as the directory has it. */
export interface Member {
  readonly address: Address;
  /** Unique in the mesh, given at admission and kept for life, larger for whoever joins later. */
  readonly order: number;
  readonly dialect: Dialect;
}

/** A change that the server wants in the log. It is true only once the log has given it a revision. */
export type Change =
  | { readonly type: "joined"; readonly address: Address; readonly dialect: Dialect }
  | { readonly type: "left" | "lost"; readonly order: number; readonly reason: string };

/** A change that has happened. The revision of a `joined` entry is the order of the member. */
export type LogEntry = Change & { readonly revision: number };

/**
 * The fold of the membership log: who is a member now, in join order.
 *
 * The log itself lives behind a seam, so that several servers can later share one: the machine asks for an append and
 * believes nothing until the entry comes back.
 */
export class Directory {
  readonly #members = new Map<number, Member>();
  #revision = 0;

  /** The revision of the newest entry applied; 0 before the first. */
  get revision(): number {
    return this.#revision;
  }

  get size(): number {
    return this.#members.size;
  }

  /** In join order: entries come by rising revision, and a Map keeps the order of insertion. */
  get members(): Iterable<Member> {
    return this.#members.values();
  }

  get addresses(): Address[] {
    return Array.from(this.#members.values(), (member) => member.address);
  }

  member(order: number): Member | undefined {
    return this.#members.get(order);
  }

  /** Takes the next entry of the log. Entries at or below the present revision have been applied and change nothing. */
  apply(entry: LogEntry): void {
    if (entry.revision <= this.#revision) return;
    this.#revision = entry.revision;
    if (entry.type === "joined") {
      const { address, dialect, revision: order } = entry;
      this.#members.set(order, { address, order, dialect });
    } else {
      this.#members.delete(entry.order);
    }
  }
}
