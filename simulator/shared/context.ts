import type { Limits } from "../../src/core/limits.js";
import type { ListedMember, MemberEvent } from "../../src/mesh/types.js";
import type { Address } from "../../src/protocol/address.js";
import type { Entry, Id } from "../../src/protocol/directory.js";
import type { invariants } from "../checkers/invariant-checker.js";
import type { SimulatedProcess } from "../engine.js";
import type { SimulatedNetwork } from "../network.js";
import type { SimulatedStore } from "../store.js";
import type { SharedScenario } from "./scenario.js";

/** One run of a member, as the checker sees it. */
export interface SharedMemberRun {
  readonly process: SimulatedProcess;
  readonly address: Address;
  /** The present incarnation. */
  readonly id: Id;
  /** Undefined while it is not in the mesh. */
  readonly order: number | undefined;
  readonly isWaiting: boolean;
  /** It is dead, or its mesh has ended for it. */
  readonly isOver: boolean;
  /** Whom it lists. */
  readonly listed: readonly ListedMember[];
  /** Ids of peers with whom it has a link that has been up. */
  readonly links: ReadonlyMap<Address, Id>;
  /** When each of them was last seen to go up or down here. */
  readonly changedAt: ReadonlyMap<Id, number>;
  /** The token of each key that it believes to hold. */
  readonly held: ReadonlyMap<string, number>;
}

/** One life of a server, as the checker sees it. */
export interface SharedServerRun {
  readonly name: string;
  readonly process: SimulatedProcess;
  readonly memberIds: readonly Id[];
  readonly isComplete: boolean;
}

/** What happens to members and servers, for the checker. */
export interface SharedChecks {
  /** A member has drawn this id. */
  drawn(id: Id, member: SharedMemberRun): void;
  /** A server has read its log anew. */
  restored(server: string, log: Id, revision: number, members: readonly Id[]): void;
  /** A server has read an entry, after which these are listed. */
  appended(server: string, log: Id, entry: Entry, members: readonly Id[]): void;
  /** A member has ended a link that it had as this one. */
  unlinked(member: SharedMemberRun, self: Id, peer: Id, reason: string): void;
  fenced(member: SharedMemberRun, reason: string): void;
  holds(member: SharedMemberRun, key: string, token: number): void;
  told(member: SharedMemberRun, event: Extract<MemberEvent, { type: "complete" }>): void;
}

/** What all parts of a simulation with several servers share. */
export interface SharedContext {
  readonly network: SimulatedNetwork;
  readonly scenario: SharedScenario;
  readonly limits: Limits;
  readonly store: SimulatedStore;
  readonly checker: SharedChecks;
  /** The newest life of each server, and the newest run of each member. */
  readonly servers: readonly SharedServerRun[];
  readonly members: readonly SharedMemberRun[];
  /** Counts a situation that runs should meet now and then. */
  readonly count: (label: string) => void;
  /** Adds a line to the history. It is made only if that is kept. */
  readonly record: (line: () => string) => void;
  readonly violate: (invariant: keyof typeof invariants, detail: string) => void;
  /** True if this life of a server has begun within so many milliseconds. */
  wasStarted(process: SimulatedProcess, withinMs: number): boolean;
}
