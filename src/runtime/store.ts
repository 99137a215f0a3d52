import type { FullmeshError } from "../core/errors.js";

/**
 * The port to a replicated key-value store with one order for all changes, leases, transactions, and watches from a revision:
 * what etcd gives. `src/etcd/` implements it for production, and the simulator as an adversary.
 *
 * Keys and values are text. Revisions are integers below 2^53, and rise with each transaction that changes something. All keys
 * are below one prefix, which the implementation adds and removes.
 *
 * A request that fails may have been performed all the same: only a repeat that its own conditions make harmless is safe. It fails
 * with `STORE_UNAVAILABLE`, after which it may be repeated, or, at every endpoint, with `STORE_REFUSED` or `STORE_TOO_OLD`. Once the
 * store is seen to have been rolled back, this and every later outcome is `STORE_ROLLED_BACK`, and so is the end of each watch.
 */
export interface StorePort {
  /**
   * Performs the operations if every condition holds, else the ones for that case; `done` is called once, and never before this has
   * returned. A put under a lease that has run out fails: let a condition ask for a key that is under that lease.
   */
  transact(transaction: Transaction, done: (outcome: TransactionResult | FullmeshError) => void): void;
  /** Grants a lease of so many milliseconds, rounded up to whole seconds. */
  grantLease(leaseMs: number, done: (outcome: GrantedLease | FullmeshError) => void): void;
  /** Renews a lease; false if it has run out. */
  renewLease(lease: LeaseId, done: (outcome: boolean | FullmeshError) => void): void;
  /** Ends a lease, and deletes the keys under it. */
  revokeLease(lease: LeaseId, done: (outcome: FullmeshError | undefined) => void): void;
  /** Reports every change from this revision on, in order, until it is closed or has ended. It may end as soon as this has returned. */
  watch(from: number, events: WatchEvents): StoreWatch;
  /**
   * The endpoint of the newest watch is late: the next request, and the next watch, go to another one. Nothing is done if another
   * one is in use already: a request that fails because of its endpoint changes it, too.
   */
  switchEndpoint(): void;
  /** Ends all that is under way; nothing more is called back. */
  close(): void;
}

/** A lease, as the store names it. */
export type LeaseId = string;

export interface GrantedLease {
  readonly lease: LeaseId;
  /** How long it is, as the store has it. */
  readonly leaseMs: number;
}

/** What must be true of a key, or of every key from it up to `end`, not included. A key that does not exist has 0 for both. */
export interface Condition {
  readonly key: string;
  readonly end?: string;
  /** The revision at which it was created, or last changed. */
  readonly of: "created" | "modified";
  readonly is: "equal" | "above";
  readonly revision: number;
}

/** Reading, writing or deleting a key, or all keys from it up to `end`, not included. */
export type StoreOperation =
  | { readonly type: "put"; readonly key: string; readonly value: string; readonly lease?: LeaseId }
  | { readonly type: "delete"; readonly key: string; readonly end?: string }
  /** In the order of the keys, at most `limit`; `at`: as of this revision. */
  | {
      readonly type: "read";
      readonly key: string;
      readonly end?: string;
      readonly limit?: number;
      readonly at?: number;
    };

/** At most 128 operations. */
export interface Transaction {
  readonly conditions: readonly Condition[];
  /** Not `then`: that would make a promise of it. */
  readonly operations: readonly StoreOperation[];
  readonly otherwise: readonly StoreOperation[];
}

/** A key with its value. */
export interface StoredValue {
  readonly key: string;
  readonly value: string;
  readonly created: number;
  readonly modified: number;
}

export interface TransactionResult {
  /** True if every condition held. */
  readonly succeeded: boolean;
  /** The revision of the store after it. */
  readonly revision: number;
  /** What each read of the branch that was performed has found, in order; `more`: the limit has cut it off. */
  readonly reads: readonly { readonly values: readonly StoredValue[]; readonly more: boolean }[];
}

/** A change of a key. What a delete says is not relied upon: some versions of etcd lose one. */
export type StoreEvent =
  | ({ readonly type: "put" } & StoredValue)
  | { readonly type: "delete"; readonly key: string; readonly modified: number };

/** What a watch reports. */
export interface WatchEvents {
  /** Changes of one or more revisions, in order; those of one transaction come in the order of its operations. */
  changed(events: readonly StoreEvent[], revision: number): void;
  /**
   * It is over: the history before `compacted` is gone, or the connection to the endpoint, or the endpoint's to its cluster.
   * `isTooLong`: one message is longer than this server takes, and would be again.
   */
  ended(why: { readonly compacted?: number; readonly isTooLong?: true; readonly failure: FullmeshError }): void;
}

export interface StoreWatch {
  /** Ends it; nothing more is reported. */
  close(): void;
}
