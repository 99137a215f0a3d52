import type { ConnectionInput, ConnectionOutput } from "../core/connections.js";
import type { LogEvent } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import type { Address } from "../protocol/address.js";
import type { Change, Claim, Dialect, Entry, Id, Member } from "../protocol/directory.js";
import type { MissingPair } from "../protocol/missing-pair.js";
import type { ControlOf } from "../protocol/native/control.js";

/** A change that is to be appended to the membership log of a mesh. */
export interface LogAppend {
  readonly mesh: string;
  /** Names this append in the answer. Opaque to the log. */
  readonly key: number;
  /** The entry's revision is above this one: that of the newest entry known here, or the one before the first. */
  readonly after: number;
  readonly change: Change;
  /**
   * What a removal or the end of a claim is about, in a log that several servers share: the attachment of the member that is
   * lost, or the token of the claim. It does not count if another one has come since.
   */
  readonly judges?: number;
}

/** What a server tells the others of one mesh, beside the entries of its log. */
export type LogFact =
  /** A member has a session at this server. */
  | { readonly type: "attached"; readonly id: Id }
  /** It has none there any more; `judges`: the attachment that is over. */
  | { readonly type: "detached"; readonly id: Id; readonly judges: number; readonly reason: string }
  /** The newest report of a member's links, whole; `attachment`: that of the session on which it came. */
  | {
      readonly type: "reported";
      readonly id: Id;
      readonly attachment: number;
      readonly report: Pick<ControlOf<"links">, "up" | "down" | "unlisted">;
    }
  /** A message for a member that has its session at another server. */
  | { readonly type: "relayed"; readonly to: Id; readonly control: ControlOf<"grant"> }
  /** So many members of an earlier log are awaited at this server. */
  | { readonly type: "awaiting"; readonly count: number }
  /**
   * The mesh ends, is left to its members, or is forgotten because nobody of it is there. Nothing counts behind it. `judges`: the
   * newest attachment of a member that its writer knew; one that is newer is the reason why it does not count.
   */
  | {
      readonly type: "ended";
      readonly kind: "teardown" | "release" | "tooLate" | "forgotten";
      readonly reason: string;
      readonly incomplete?: string;
      readonly judges?: number;
    };

/** Where a member of a shared log has its session. */
export interface Attachment {
  readonly id: Id;
  /** The life of the server, undefined if the member has no session. */
  readonly server: Id | undefined;
  /** Its number, higher for each one of a mesh. */
  readonly attachment: number;
}

/** The state of a shared log: what its entries and facts add up to. */
export interface LogState {
  /** The id of the log. */
  readonly log: Id;
  readonly revision: number;
  readonly members: readonly Member[];
  readonly claims: readonly Omit<Claim, "member">[];
  /** The newest ids that were removed, the oldest first. */
  readonly removed: readonly Id[];
  readonly attachments: readonly Attachment[];
  readonly reports: readonly Extract<LogFact, { type: "reported" }>[];
  readonly awaiting: readonly { readonly server: Id; readonly count: number }[];
  readonly ended?: Extract<LogFact, { type: "ended" }>;
}

/** Another server that shares the logs and is there. */
export interface SharingServer {
  /** One life of it. */
  readonly id: Id;
  /** Where members reach it; undefined if it has not been told. */
  readonly address: Address | undefined;
}

/** What is known of such a server at the moment. */
export interface ObservedServer extends SharingServer {
  /** Its sign of life has not come while three of this server's have: it may be gone. Never so during an outage of the store. */
  readonly isLate?: true;
}

/** What a log that several servers share tells beside the answers to appends. */
export type SharedLogInput =
  /**
   * The log of a mesh as it is now: before anything else of it, and whenever it had to be read anew. `answers`: what has become
   * of appends of this server that it covers.
   */
  | {
      readonly type: "restored";
      readonly mesh: string;
      readonly state: LogState;
      readonly answers: readonly { readonly key: number; readonly isAppended: boolean }[];
    }
  /** A fact that counts, of this server or another one. `attachment`: the number that an `attached` has got. */
  | {
      readonly type: "published";
      readonly mesh: string;
      readonly server: Id;
      readonly fact: LogFact;
      readonly attachment?: number;
    }
  /** The life of this server, and all others that are there. Whoever is not named any more is gone. */
  | { readonly type: "servers"; readonly self: Id; readonly others: readonly ObservedServer[] }
  /** What this server writes does not come back from the store in time; or it does again. */
  | { readonly type: "storeLost"; readonly reason: string }
  | { readonly type: "storeBack" }
  /** Keys of this mesh do not make sense: nothing more comes of its log. Without a mesh: a key is of none, and is left alone. */
  | { readonly type: "corrupt"; readonly mesh?: string; readonly reason: string }
  /** The keys of this mesh that did not make sense are gone. */
  | { readonly type: "repaired"; readonly mesh: string };

/**
 * Why a change was not appended:
 * - `conflict`: it does not count any more, because of an entry of another writer that came before it;
 * - `unavailable`: the log takes no changes at the moment.
 */
export type RejectionReason = "conflict" | "unavailable";

/** What a membership log answers. An entry without a key was appended by another writer. */
export type LogAnswer =
  | {
      readonly type: "appended";
      readonly mesh: string;
      readonly key?: number;
      readonly entry: Entry;
      /** In a log that several servers share: which of them has appended it, and the attachment of a member that it lists. */
      readonly server?: Id;
      readonly attachment?: number;
    }
  | { readonly type: "rejected"; readonly mesh: string; readonly key: number; readonly reason: RejectionReason };

/** What the server's machine takes: what happens to its connections, what its logs answer, and the commands of its owner. */
export type RendezvousInput =
  | ConnectionInput
  | LogAnswer
  | SharedLogInput
  /** Somebody looks at a pair: its ends are to measure their link for a while. */
  | { readonly type: "measure"; readonly mesh: string; readonly a: Address; readonly b: Address }
  /** End every mesh: send the end to every node, then close. */
  | { readonly type: "teardown"; readonly reason: string }
  /** Leave every mesh to its members, then close. Classic members take it for the end. */
  | { readonly type: "release"; readonly reason: string }
  /** Stop serving without a message of the end; classic nodes take the closing as the end. */
  | { readonly type: "close" };

/** Somebody of whom an event tells. */
interface EventSubject {
  readonly mesh: string;
  readonly address: Address;
  readonly dialect: Dialect;
}

/** A member that is not there though it should be: it has no live session, or it has gone and nobody has its slot. */
export type AbsentMemberRow = readonly [address: Address, reason: string];

/** What is worth telling about a mesh. Times are on the machine's clock. */
export type RendezvousEvent =
  /**
   * `replaces`: the id of the incarnation whose place it takes. `returned`: it has joined before. An earlier log of the mesh has
   * admitted it, or it was in the log of the servers that share it when this one read that for the first time.
   */
  | ({
      readonly type: "joined";
      readonly id: Id;
      readonly order: number;
      readonly name?: string;
      readonly replaces?: Id;
      readonly returned?: true;
    } & EventSubject)
  /** A member said that it goes (`left`), or it was found to be gone (`lost`). */
  | ({
      readonly type: "left" | "lost";
      readonly id: Id;
      readonly order: number;
      readonly reason: string;
    } & EventSubject)
  /**
   * A mesh of which nobody was heard for a lease is not kept: it has no members any more. None of them is judged; those
   * that come back are `joined` with `returned`.
   */
  | {
      readonly type: "forgotten";
      readonly mesh: string;
      readonly addresses: readonly Address[];
      readonly reason: string;
    }
  /** A newcomer stands in line; `place` 1 is the next to get in. Told again when the place changes, to the first ten. */
  | ({ readonly type: "waiting"; readonly place: number } & EventSubject)
  /** For the first time as many members as the capacity have a live session at once. */
  | { readonly type: "full"; readonly mesh: string; readonly members: number }
  /**
   * Every member has a live session, and every pair that can be attested is, by both ends. `unverified` counts the pairs that
   * only classic members could.
   */
  | {
      readonly type: "complete";
      readonly mesh: string;
      readonly members: number;
      readonly links: number;
      readonly unverified: number;
      readonly revision: number;
    }
  /**
   * Members of an earlier log are coming back (`back`), and others are still awaited (`expected`), for two leases at most; or
   * that is over, and these have not come.
   */
  | { readonly type: "gathering"; readonly mesh: string; readonly back: number; readonly expected: number }
  | { readonly type: "gathered"; readonly mesh: string; readonly back: number; readonly missing: readonly Address[] }
  /** So many pairs have been missing for a while; the first of them by name. */
  | {
      readonly type: "degraded";
      readonly mesh: string;
      readonly count: number;
      readonly missing: readonly MissingPair[];
    }
  /** The server leaves the mesh to its members, and goes. `absent` are members that it cannot tell so, `missing` pairs that are not linked. */
  | {
      readonly type: "released";
      readonly mesh: string;
      readonly reason: string;
      readonly members: number;
      readonly links: number;
      readonly unverified: number;
      readonly count: number;
      readonly missing: readonly MissingPair[];
      readonly absent: readonly AbsentMemberRow[];
    }
  /**
   * The end of a mesh has begun. `missing` names pairs that never came about, `absent` members that are not there. Where it
   * ends because it has not become whole in time, `incomplete` says in a sentence what it lacks.
   */
  | {
      readonly type: "teardown";
      readonly mesh: string;
      readonly reason: string;
      readonly members: number;
      readonly links: number;
      readonly unverified: number;
      readonly count: number;
      readonly missing: readonly MissingPair[];
      readonly absent: readonly AbsentMemberRow[];
      readonly incomplete?: string;
    }
  /** Every connection is gone. */
  | { readonly type: "closed" };

/** What the server's machine puts out: to its connections, to the membership logs, to its owner, and to the log file. */
export type RendezvousOutput =
  | ConnectionOutput
  /** Answered by `appended` or `rejected` with the same key; nothing is true before that. */
  | ({ readonly type: "append" } & LogAppend)
  /** Only where servers share the logs. Answered by `published`, here as well, if it counts. */
  | { readonly type: "publish"; readonly mesh: string; readonly fact: LogFact }
  /** The mesh has been forgotten, and its log with it. */
  | { readonly type: "forgetLog"; readonly mesh: string }
  | { readonly type: "event"; readonly event: RendezvousEvent }
  | { readonly type: "note"; readonly note: LogEvent };

/**
 * What a mesh waits for: its next update, the next `complete` or look at missing pairs, the next try of what the log has
 * rejected, the line, an answer of the log, the end of the time in which newcomers are held, the next look at who leads, a claim whose lease
 * runs out, the next try of a claim, its end, and that it is forgotten.
 */
export type MeshTimer =
  | "update"
  | "complete"
  | "look"
  | "log"
  | "line"
  | "answer"
  | "gathered"
  | "hold"
  | "leader"
  | "claimLease"
  | "claimRetry"
  | "end"
  | "forget";

/**
 * What happens at capacity: the mesh ends once it is whole, or is left to its members then, or it stays and newcomers wait
 * for a free slot.
 */
export type OnFull = "teardown" | "release" | "hold";

/** Who may join, and how many. */
export interface AdmissionRules {
  /** The most members of one mesh, at least 1; Infinity for no bound. */
  readonly capacity: number;
  readonly onFull: OnFull;
  /** Each mesh is a gang of so many members, which give their ranks in their meta and are admitted in that order. */
  readonly gangSize?: number;
  /** True if other servers may share the logs. Nobody is let in then before the first `servers`. */
  readonly isShared: boolean;
  /** Hosts that may be advertised though the registration comes from elsewhere. */
  readonly mayAdvertise: (host: string) => boolean;
  /** The longest list that classic readers accept, the most members of a mesh and of the server, and from when on a call is slow. */
  readonly limits: Readonly<Record<"listBytes" | "membersPerMesh" | "members" | "dialBackSlowMs", number>>;
}

/** How a rendezvous is to behave. */
export interface RendezvousRules extends AdmissionRules {
  /** Who may join: members of either dialect, or of one. */
  readonly dialect: Dialect | "any";
  /** True if every connection must have proved the secret. */
  readonly isKeyed: boolean;
  /** 128 random bits that nobody can guess, anew at each call. */
  readonly newId: () => Id;
  /** Milliseconds since the epoch, for those who compare clocks. */
  readonly wallTime: () => number;
  /** The revision before the first entry of any log; the server's start time in microseconds. */
  readonly firstRevision: number;
  /** The version of this program, for those who look. */
  readonly version: string;
  /** The machine's time at which the server starts. For one claim lease from then on it grants no claims. */
  readonly startedAtMs: number;
  readonly limits: Limits;
}
