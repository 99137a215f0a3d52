import type { ConnectionInput, ConnectionOutput, Endpoint } from "../core/connections.js";
import type { ErrorCode, LogEvent } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import type { Address } from "../protocol/address.js";
import type { Claim, Dialect, Entry, Id, Member, Meta } from "../protocol/directory.js";
import type { MissingPair } from "../protocol/missing-pair.js";
import type { ControlOf } from "../protocol/native/control.js";

/** What a member takes: what happens to its connections, and its owner's steps and wishes. */
export type MemberInput =
  | ConnectionInput
  /**
   * The server is at one of these addresses, which take turns. With `lookMs`, it is looked for so long until it has taken this node in, Infinity for ever, the waiting line not
   * counted; without it, a server that is at none of them ends the step, or what follows from it.
   */
  | { readonly type: "connectToServer"; readonly servers: readonly Endpoint[]; readonly lookMs?: number }
  /** The driver listens here now; `isDefault`: where this machine reaches the server, because the owner named no place. */
  | { readonly type: "listening"; readonly on: Endpoint; readonly isDefault?: boolean }
  | { readonly type: "register" }
  /** Bytes for a classic peer. */
  | { readonly type: "write"; readonly peer: Address; readonly bytes: Uint8Array }
  /** Something has been begun on links from outside, and is to go out. */
  | { readonly type: "flush" }
  /** The owner waits until the mesh is whole with so many members, and wants to know. */
  | { readonly type: "watch"; readonly size: number }
  /**
   * The owner wants a key; with `waits` it waits for its turn. The answer is `claimBegun` or `claimRefused`, with the same
   * number.
   */
  | { readonly type: "claim"; readonly key: string; readonly number: number; readonly waits: boolean }
  /** The owner gives up a key, or the wait for it. */
  | { readonly type: "unclaim"; readonly key: string }
  | { readonly type: "leave" };

/** Who dialed whom, seen from here. */
export type Direction = "dialed" | "accepted";

/** Which link an event is about. */
export interface LinkDescription {
  readonly peer: Address;
  readonly dialect: Dialect;
  readonly direction: Direction;
  /** The native peer as the directory has it. */
  readonly member?: Member;
  /** How the present connection is encrypted, if it is. */
  readonly cipher?: string;
}

/** A member as a list or the log has it; a list has nothing but its address. */
export type ListedMember = Pick<Member, "address" | "dialect"> & Partial<Member>;

/** What a member reports to its owner. Times are on the machine's clock. */
export type MemberEvent =
  /** `server`: the address that was dialed. */
  | { readonly type: "connected"; readonly local: Endpoint; readonly server: Endpoint }
  /** The server could not be reached; the step may be tried again. */
  | { readonly type: "unreachable"; readonly message: string; readonly failure: ErrorCode }
  /** The server has taken this node in. `order` is null in the classic dialect, which does not have it. */
  | { readonly type: "registered"; readonly address: Address; readonly order: number | null }
  /** It stands in line for a slot. */
  | { readonly type: "waiting"; readonly place: number }
  /** The newest members, in join order. */
  | { readonly type: "directory"; readonly members: readonly ListedMember[] }
  /** A link is up for the first time. */
  | ({ readonly type: "link" } & LinkDescription)
  /** The connection under a link is gone; messages wait for the next one. */
  | ({ readonly type: "broken"; readonly reason: string } & LinkDescription)
  /** The link has been down for `brokenMs`, or has not come up for so long, and the directory lists the peer still. */
  | ({
      readonly type: "outage";
      readonly reason: string;
      readonly since: number;
      readonly wasUp: boolean;
    } & LinkDescription)
  /** The link has a new connection. */
  | ({ readonly type: "relink" } & LinkDescription)
  /**
   * A link has ended for good, with so many messages of ours not known to have been delivered. `wasUp`: false if it was
   * never up, so that none of them was sent.
   */
  | ({
      readonly type: "unlink";
      readonly reason: string;
      readonly unacknowledged: number;
      readonly wasUp: boolean;
    } & LinkDescription)
  /** Bytes from a classic peer. */
  | { readonly type: "bytes"; readonly peer: Address; readonly bytes: Uint8Array }
  /** Everything written to the classic peer has been handed to the kernel. */
  | { readonly type: "drained"; readonly peer: Address }
  /** The mesh is whole, as the server says (`mesh`), or this node is linked with every other member that it knows (`own`). */
  | CompletenessReport
  /** The server says which pairs are missing, the first of them by name. */
  | {
      readonly type: "degraded";
      readonly revision: number;
      readonly count: number;
      readonly missing: readonly MissingPair<Member>[];
    }
  /** A member holds a key; or it holds it no more. */
  | { readonly type: "claimed"; readonly key: string; readonly token: number; readonly holder: Member }
  | {
      readonly type: "unclaimed";
      readonly key: string;
      readonly token: number;
      readonly holder: Member;
      readonly reason: string;
    }
  /** This node holds a key that its owner wants; or it does not surely hold it any more. */
  | { readonly type: "claimBegun"; readonly number: number; readonly key: string; readonly token: number }
  | { readonly type: "claimEnded"; readonly number: number; readonly key: string; readonly reason: string }
  /** It neither gets a key nor waits for it; `holder` has it, if that is known. */
  | {
      readonly type: "claimRefused";
      readonly number: number;
      readonly key: string;
      readonly code: ErrorCode;
      readonly message: string;
      readonly holder?: Member;
    }
  /** Who leads has changed, as far as this node knows; undefined when it cannot know. */
  | { readonly type: "leader"; readonly leader: ListedMember | undefined }
  /**
   * This machine reaches the server by another address than the one that the member listens on: it wants to listen there,
   * and goes on once it does.
   */
  | { readonly type: "moved"; readonly host: string }
  /** This incarnation is over, removed while it was away or given up: its links have ended, and it joins anew. */
  | { readonly type: "fenced"; readonly reason: string }
  /** The session with the server has broken. Links go on, and the server is looked for. */
  | { readonly type: "serverLost"; readonly reason: string }
  /** A server has let this incarnation in again, after so many milliseconds: the one that it was with, or another one of its log. */
  | { readonly type: "serverBack"; readonly awayMs: number; readonly server: string }
  /** The server has gone, and has left the mesh to its members: links go on, and nobody joins. */
  | { readonly type: "released"; readonly reason: string }
  /** The end has begun: by the server or the owner; with `failure`, gone wrong, and because of what. */
  | ({ readonly type: "ended" } & MeshEnd)
  /** Every connection is gone. */
  | { readonly type: "closed" };

/** Why a mesh has ended for this node. */
export interface MeshEnd {
  readonly reason: string;
  /** What has gone wrong, if something has, and what that came from. */
  readonly failure?: ErrorCode;
  readonly cause?: LogEvent;
}

/** How whole the mesh is. */
export interface CompletenessReport {
  readonly type: "complete";
  readonly members: number;
  /** Pairs attested by both ends, or for `own` this node's own links. */
  readonly links: number;
  /** Pairs that only classic members could attest. */
  readonly unverified: number;
  /** The server's revision; null for `own`. */
  readonly revision: number | null;
  readonly scope: "mesh" | "own";
}

/** What a member wants done, reported to its owner, or written to the log. */
export type MemberOutput =
  | ConnectionOutput
  | { readonly type: "event"; readonly event: MemberEvent }
  | { readonly type: "note"; readonly note: LogEvent };

/** How a member is to behave. */
export interface MemberRules {
  readonly dialect: Dialect;
  /** The name of the mesh; a classic member's is `default`. */
  readonly mesh: string;
  readonly name?: string;
  readonly meta?: Meta;
  /** True if every connection must have proved the secret. */
  readonly isKeyed: boolean;
  /** 128 random bits that nobody can guess, anew at each call. */
  readonly draw: () => Id;
  /** Gives memory of so many bytes, whatever is in it: all of it is written before anybody reads it. */
  readonly allocate: (bytes: number) => Uint8Array;
  /** A native member looks for a server that has gone for so many milliseconds before it ends; Infinity for ever. */
  readonly serverLostMs: number;
  /** The address to register, if it differs from where the node listens. */
  readonly advertise?: Address;
  /** Any number; jitter comes from it. */
  readonly seed: number;
  readonly limits: Limits;
}

/** What the rest of the member must know of its session with the server. */
export type SessionEvent =
  /** A classic list has come, or more of one. */
  | { readonly type: "list"; readonly members: readonly Address[]; readonly isSettled: boolean }
  /** The server has let this incarnation in, or in again. */
  | { readonly type: "admitted"; readonly log: Id; readonly order: number; readonly isAgain: boolean }
  /** The whole directory. */
  | {
      readonly type: "directory";
      readonly members: readonly Member[];
      readonly claims: readonly Omit<Claim, "member">[];
      /** Ids that the log has removed without having listed them. */
      readonly gone: readonly Id[];
      readonly revision: number;
    }
  /** The server has gone before it had let this incarnation in: nobody knows whether it has. */
  | { readonly type: "unanswered" }
  /** What has happened since. */
  | { readonly type: "entries"; readonly entries: readonly Entry[] }
  /** How whole the mesh is, as the server sees it. */
  | ControlOf<"complete">
  | ControlOf<"degraded">
  /** The oldest member that the server has heard within a lease. */
  | ControlOf<"leader">
  /** The owner of a link cannot reach this member, and asks it to dial. */
  | ControlOf<"grant">
  /** Somebody looks at links of this member. */
  | ControlOf<"measure">
  /** What the server says of this member's claims. */
  | ControlOf<"renewed">
  | ControlOf<"unclaimable">
  /** The server goes, and leaves the mesh to its members. */
  | ControlOf<"release">
  /** The server does not take this member back, for now. */
  | { readonly type: "refused" }
  /** This incarnation has been removed from the mesh. */
  | { readonly type: "fenced"; readonly reason: string }
  /** The server has ended the mesh for this node, or is gone. */
  | ({ readonly type: "over" } & MeshEnd);
