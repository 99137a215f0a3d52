import type { Candidate, Id } from "../protocol/directory.js";

/** The rank that a member gives in its meta; undefined if it gives none. */
function rankOf({ meta }: Pick<Candidate, "meta">): number | undefined {
  const rank = meta?.rank;
  return typeof rank === "number" && Number.isInteger(rank) && rank >= 0 ? rank : undefined;
}

/**
 * The order in which the copies of a gang are admitted: each rank for the first time after all lower ones, so that join
 * order is rank order. A copy that was restarted is admitted again as soon as its former incarnation is gone.
 */
export class RankOrder {
  /** How many copies the gang has. */
  readonly size: number;
  /** Who has each rank: a member, or a candidate whose append is under way. */
  readonly #holders = new Map<number, Id>();
  /** The lowest rank that has never been a member. */
  #next = 0;

  constructor(size: number) {
    this.size = size;
  }

  /** True for a rank of this gang. */
  isRank(candidate: Pick<Candidate, "meta">): boolean {
    const rank = rankOf(candidate);
    return rank !== undefined && rank < this.size;
  }

  /** True if the candidate may be admitted now; `replaces` is the member whose place it takes. */
  isDue(candidate: Pick<Candidate, "meta">, replaces?: Id): boolean {
    const rank = rankOf(candidate) ?? this.size;
    const holder = this.#holders.get(rank);
    return rank <= this.#next && (holder === undefined || holder === replaces);
  }

  /** The candidate has its rank from now on, until `free`. */
  take(candidate: Candidate): void {
    const rank = rankOf(candidate);
    if (rank !== undefined) this.#holders.set(rank, candidate.id);
  }

  /** The candidate has become a member: the next rank may follow. */
  entered(candidate: Candidate): void {
    this.take(candidate);
    if (rankOf(candidate) === this.#next) this.#next += 1;
  }

  /** The log has been read anew: whoever it lists was admitted after all lower ranks. */
  restore(members: readonly Candidate[]): void {
    for (const member of members) this.#next = Math.max(this.#next, (rankOf(member) ?? -1) + 1);
  }

  /** The candidate was not admitted, or is no member any more. */
  free(candidate: Candidate): void {
    const rank = rankOf(candidate);
    if (rank !== undefined && this.#holders.get(rank) === candidate.id) this.#holders.delete(rank);
  }
}
