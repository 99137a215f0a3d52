import type { MemberMachine } from "../mesh/member-machine.js";
import type { Address } from "../protocol/address.js";

/** Where a node stands among the members, and who is the oldest of them. */
export class LeaderTracker {
  readonly #machine: MemberMachine<unknown>;
  #toldRank = -1;
  #toldLeader: Address | undefined;
  #hasEnded = false;

  constructor(machine: MemberMachine<unknown>) {
    this.#machine = machine;
  }

  /** See `MeshNode.rank`. */
  get rank(): number {
    return this.#machine.rank;
  }

  /** See `MeshNode.leader`. */
  get leader(): Address | undefined {
    return this.#hasEnded || !this.#machine.isInformed ? undefined : this.#machine.oldest;
  }

  /** The mesh has ended for this node: nobody leads it. */
  ended(): void {
    this.#hasEnded = true;
  }

  /** The rank, if it is another one than when it was last asked for in this way. */
  takeRank(): number | undefined {
    const { rank } = this;
    if (rank === this.#toldRank) return undefined;
    this.#toldRank = rank;
    return rank;
  }

  /** True if the leader is another one than when this was last asked. */
  takeLeaderChanged(): boolean {
    const { leader } = this;
    if (leader === this.#toldLeader) return false;
    this.#toldLeader = leader;
    return true;
  }
}
