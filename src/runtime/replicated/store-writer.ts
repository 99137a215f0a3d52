import type { FullmeshError } from "../../core/errors.js";
import type { Limits } from "../../core/limits.js";
import type { Address } from "../../protocol/address.js";
import type { Id } from "../../protocol/directory.js";
import type { ClockPort } from "../ports.js";
import type {
  Condition,
  GrantedLease,
  LeaseId,
  StoredValue,
  StoreOperation,
  StorePort,
  TransactionResult,
} from "../store.js";
import { rememberedNumbers } from "./log-fold.js";
import { RepeatedRequest } from "./repeated-request.js";
import {
  awaitingKey,
  type EntryContent,
  entryKey,
  type Presence,
  reportKey,
  type StoredReport,
  serverKey,
} from "./store-keys.js";

/** Values of one transaction, and their bytes before the last one of them: a store takes 128 operations, and 1.5 MB. */
const batchValues = 40;
const batchBytes = 262_144;

/** Something to be written below a mesh. */
export type Write = { readonly mesh: string; readonly queuedAt: number } & (
  | { readonly type: "entry"; readonly content: EntryContent; readonly key?: number }
  | { readonly type: "report"; readonly member: Id; readonly report: Omit<StoredReport, "number"> }
  | { readonly type: "awaiting"; readonly count: number }
);

/** An entry that was sent, and has not come back. */
export interface SentEntry {
  readonly write: Extract<Write, { readonly type: "entry" }>;
  readonly log: Id;
  readonly writer: Id;
  readonly number: number;
}

/**
 * One transaction of a writer. `done` is called once, unless the writer dies: with the revision at which it was performed, or,
 * if its conditions did not hold, with what is at the keys of `reads`.
 */
export interface Step {
  readonly conditions: readonly Condition[];
  readonly operations: readonly StoreOperation[];
  readonly reads?: readonly string[];
  readonly done?: (performedAt: number | undefined, reads: readonly (StoredValue | undefined)[]) => void;
}

/** What a writer asks, and what it reports. */
export interface WriterEvents {
  /** The log that is written to; undefined: there is none, and `begin` gives the transaction that begins one. */
  logOf(mesh: string): Id | undefined;
  begin(mesh: string): Step;
  /** It has no presence: that is gone, and nothing that it has sent is performed any more, or its registration did not hold. */
  ended(): void;
  failed(error: FullmeshError): void;
}

/**
 * Writes to the store as one life of a server: a random id, and a presence key under its lease.
 *
 * Each of its transactions writes the presence key, and demands that nothing has written it since the one before. So they
 * are performed in their order, each at most once, however often they are sent and however late one arrives; and none once
 * the lease has run out. Each is at the same time a sign of life.
 */
export class StoreWriter {
  readonly #store: StorePort;
  readonly #limits: Pick<Limits, "storeLeaseMs" | "storeBeatMs" | "storeAnswerMs">;
  readonly #newId: () => Id;
  readonly #address: Address | undefined;
  readonly #clock: Pick<ClockPort, "now">;
  readonly #events: WriterEvents;
  readonly #request: RepeatedRequest;
  readonly #renewal: RepeatedRequest;
  #id: Id;
  #lease: LeaseId | undefined;
  /** The revision at which the presence key was last written; undefined while there is none. */
  #modified: number | undefined;
  #beat = 0;
  #number = 0;
  /** Transactions whose conditions did not hold. The next one has the same beat, and is told from them by this. */
  #skipped = 0;
  /** Since when it tries to enter the store with its lease. */
  #enteringSince: number | undefined;
  #sentAt = 0;
  #renewedAt = 0;
  /** Since when each beat that has not come back is under way, and since when it is in the store. */
  #beats: { readonly beat: number; readonly sentAt: number; performedAt?: number }[] = [];
  /** When the newest beat that has come back was sent. */
  #returnedAt: number;
  #queue: Write[] = [];
  readonly #steps: Step[] = [];
  #sent: SentEntry[] = [];
  /** In which meshes this server awaits somebody, and how many: it is written anew with each life. */
  readonly #awaiting = new Map<string, number>();

  constructor(
    store: StorePort,
    limits: Pick<Limits, "storeLeaseMs" | "storeBeatMs" | "storeAnswerMs">,
    newId: () => Id,
    address: Address | undefined,
    clock: Pick<ClockPort, "now">,
    events: WriterEvents,
  ) {
    this.#store = store;
    this.#limits = limits;
    this.#newId = newId;
    this.#address = address;
    this.#events = events;
    this.#request = new RepeatedRequest(store, limits.storeAnswerMs, (error) => events.failed(error));
    this.#renewal = new RepeatedRequest(store, limits.storeAnswerMs, (error) => events.failed(error));
    this.#id = newId();
    this.#clock = clock;
    this.#returnedAt = clock.now();
  }

  get id(): Id {
    return this.#id;
  }

  get isRegistered(): boolean {
    return this.#modified !== undefined;
  }

  /** Entries that were sent and have not come back, in their order. */
  get sent(): readonly SentEntry[] {
    return this.#sent;
  }

  /** How old the newest beat is that has come back. */
  beatAgeMs(now: number): number {
    return now - this.#returnedAt;
  }

  /** A beat is in the store for so long, and has not come back. */
  silentMs(now: number): number {
    const performedAt = this.#beats[0]?.performedAt;
    return performedAt === undefined ? 0 : now - performedAt;
  }

  /** Begins a new life. `step`: what must hold and is written with it. What the former life has sent and is not settled goes out again. */
  register(step: Step): void {
    this.#enteringSince = undefined;
    this.#id = this.#newId();
    this.#request.start<GrantedLease>(
      (done) => this.#store.grantLease(this.#limits.storeLeaseMs, done),
      ({ lease }) => this.#enter(lease, step),
      this.#clock.now(),
    );
  }

  #enter(lease: LeaseId, step: Step): void {
    const now = this.#clock.now();
    this.#enteringSince = now;
    const key = serverKey(this.#id);
    const presence: Presence = this.#presence(0, 0);
    this.#request.start<TransactionResult>(
      (done) =>
        this.#store.transact(
          {
            conditions: [{ key, of: "created", is: "equal", revision: 0 }, ...step.conditions],
            operations: [...step.operations, { type: "put", key, value: JSON.stringify(presence), lease }],
            otherwise: [{ type: "read", key }],
          },
          done,
        ),
      ({ succeeded, revision, reads: [found] }) => {
        this.#enteringSince = undefined;
        // It may have been performed, and not been answered.
        const modified = succeeded ? revision : found?.values[0]?.modified;
        if (modified === undefined) {
          this.#events.ended();
          return;
        }
        this.#lease = lease;
        this.#modified = modified;
        this.#beat = 0;
        this.#skipped = 0;
        this.#number = 0;
        this.#sentAt = now;
        this.#renewedAt = now;
        this.#beats = [{ beat: 0, sentAt: now, performedAt: now }];
        this.#queue = [...this.#sent.map(({ write }) => write), ...this.#queue];
        this.#sent = [];
        step.done?.(modified, []);
        for (const [mesh, count] of this.#awaiting) this.write({ mesh, queuedAt: now, type: "awaiting", count });
        this.pump();
      },
      now,
    );
  }

  /** Writes this when it is its turn. A newer report, or count, takes the place of an older one. */
  write(write: Write): void {
    if (write.type === "awaiting" && write.count > 0) this.#awaiting.set(write.mesh, write.count);
    else if (write.type === "awaiting") this.#awaiting.delete(write.mesh);
    const older = write.type === "entry" ? -1 : this.#queue.findIndex((each) => isSame(each, write));
    if (older < 0) this.#queue.push(write);
    else this.#queue[older] = write;
  }

  /** Performs this before all that is to be written. */
  perform(step: Step): void {
    this.#steps.push(step);
  }

  /** Takes out of the queue what is not wanted any more. */
  takeQueued(isUnwanted: (write: Write) => boolean): Write[] {
    const unwanted = this.#queue.filter(isUnwanted);
    if (unwanted.length > 0) this.#queue = this.#queue.filter((write) => !unwanted.includes(write));
    return unwanted;
  }

  /** An own entry has come back, or is known to have counted or not. */
  settle(writer: Id, number: number): SentEntry | undefined {
    const index = this.#sent.findIndex((each) => each.writer === writer && each.number === number);
    return index < 0 ? undefined : this.#sent.splice(index, 1)[0];
  }

  /** An own beat has come back. */
  returned(beat: number): void {
    for (let first = this.#beats[0]; first !== undefined && first.beat <= beat; first = this.#beats[0]) {
      this.#returnedAt = first.sentAt;
      this.#beats.shift();
    }
  }

  /** Sends the next transaction, unless one is under way. */
  pump(): void {
    const now = this.#clock.now();
    if (this.#modified === undefined || this.#request.isUnderWay) return;
    const isSettling = this.#sent.length + batchValues > rememberedNumbers;
    const step = this.#steps.shift() ?? (isSettling ? undefined : this.#nextBatch());
    if (step !== undefined) this.#send(step, now);
    else if (now - this.#sentAt >= this.#limits.storeBeatMs) this.#send({ conditions: [], operations: [] }, now);
  }

  tick(now: number): void {
    if (this.#enteringSince !== undefined && now - this.#enteringSince > this.#limits.storeLeaseMs / 2) {
      // The lease may have run out meanwhile: without it this would never be performed.
      this.#enteringSince = undefined;
      this.#request.cancel();
      this.#events.ended();
    }
    this.#request.tick(now);
    this.#renewal.tick(now);
    this.pump();
    const lease = this.#lease;
    if (lease === undefined || this.#renewal.isUnderWay || now - this.#renewedAt < this.#limits.storeLeaseMs / 4)
      return;
    this.#renewedAt = now;
    // That it has run out is learned from the next beat: only then nothing is performed any more for certain.
    this.#renewal.start<boolean>(
      (done) => this.#store.renewLease(lease, done),
      () => {},
      now,
    );
  }

  /** The last beat says that this server goes; then its lease ends. A transaction under way is not waited for. */
  leave(done: () => void): void {
    const lease = this.#lease;
    const key = serverKey(this.#id);
    this.cancel();
    if (lease === undefined) {
      done();
      return;
    }
    const value = JSON.stringify({ ...this.#presence(this.#beat + 1, this.#number), leaving: true } satisfies Presence);
    const exists: Condition = { key, of: "created", is: "above", revision: 0 };
    this.#store.transact(
      { conditions: [exists], operations: [{ type: "put", key, value, lease }], otherwise: [] },
      () => this.#store.revokeLease(lease, done),
    );
  }

  cancel(): void {
    this.#request.cancel();
    this.#renewal.cancel();
    this.#modified = undefined;
    this.#lease = undefined;
  }

  #presence(beat: number, number: number): Presence {
    const skipped = this.#skipped === 0 ? {} : { skipped: this.#skipped };
    return { ...(this.#address === undefined ? {} : { address: this.#address }), beat, number, ...skipped };
  }

  #send({ conditions, operations, reads = [], done }: Step, now: number): void {
    const key = serverKey(this.#id);
    const modified = this.#modified ?? 0;
    const beat = this.#beat + 1;
    const value = JSON.stringify(this.#presence(beat, this.#number));
    const transaction = {
      conditions: [{ key, of: "modified", is: "equal", revision: modified } as const, ...conditions],
      operations: [
        ...operations,
        { type: "put", key, value, ...(this.#lease === undefined ? {} : { lease: this.#lease }) } as const,
      ],
      otherwise: [key, ...reads].map((each) => ({ type: "read", key: each }) as const),
    };
    this.#beat = beat;
    this.#sentAt = now;
    this.#beats.push({ beat, sentAt: now });
    this.#request.start<TransactionResult>(
      (answered) => this.#store.transact(transaction, answered),
      ({ succeeded, revision, reads: [own, ...others] }) => {
        const found = own?.values[0];
        if (succeeded) this.#performed(beat, revision);
        else if (found?.modified === modified) this.#notPerformed(beat);
        else if (found?.value === value) this.#performed(beat, found.modified);
        else {
          this.#modified = undefined;
          this.#lease = undefined;
          this.#renewal.cancel();
          this.#steps.length = 0;
          this.#events.ended();
          return;
        }
        done?.(
          this.#modified === modified ? undefined : this.#modified,
          others.map(({ values }) => values[0]),
        );
        this.pump();
      },
      now,
    );
  }

  #performed(beat: number, modified: number): void {
    this.#modified = modified;
    const sent = this.#beats.find((each) => each.beat === beat);
    // A beat that came back before it was answered is not among them any more.
    if (sent !== undefined) sent.performedAt = this.#clock.now();
  }

  #notPerformed(beat: number): void {
    this.#beat = beat - 1;
    this.#skipped += 1;
    this.#beats = this.#beats.filter((each) => each.beat !== beat);
  }

  /** The next values, or the beginning of the log that the first of them needs. */
  #nextBatch(): Step | undefined {
    const operations: StoreOperation[] = [];
    let bytes = 0;
    let taken = 0;
    for (const write of this.#queue) {
      const log = this.#events.logOf(write.mesh);
      const isFull = operations.length >= batchValues || bytes >= batchBytes;
      if (isFull || (log === undefined && beginsLog(write))) break;
      taken += 1;
      // A fact about a log that is over says nothing.
      if (log === undefined) continue;
      const operation = this.#operation(write, log);
      bytes += new TextEncoder().encode(operation.value).length;
      operations.push(operation);
    }
    const first = this.#queue[taken];
    this.#queue = this.#queue.slice(taken);
    if (operations.length > 0) return { conditions: [], operations };
    return first === undefined ? undefined : this.#events.begin(first.mesh);
  }

  /** With the next number. */
  #operation(write: Write, log: Id): Extract<StoreOperation, { readonly type: "put" }> {
    const { mesh } = write;
    this.#number += 1;
    const number = this.#number;
    const writer = this.#id;
    switch (write.type) {
      case "entry":
        this.#sent.push({ write, log, writer, number });
        return { type: "put", key: entryKey(mesh, log, writer, number), value: JSON.stringify(write.content) };
      case "report":
        return {
          type: "put",
          key: reportKey(mesh, write.member, writer),
          value: JSON.stringify({ number, ...write.report } satisfies StoredReport),
        };
      case "awaiting": {
        const value = JSON.stringify({ number, count: write.count });
        return {
          type: "put",
          key: awaitingKey(mesh, writer),
          value,
          ...(this.#lease === undefined ? {} : { lease: this.#lease }),
        };
      }
    }
  }
}

function beginsLog(write: Write): boolean {
  return write.type === "awaiting" || (write.type === "entry" && "change" in write.content);
}

function isSame(a: Write, b: Write): boolean {
  if (a.mesh !== b.mesh || a.type !== b.type) return false;
  return a.type !== "report" || (b.type === "report" && a.member === b.member);
}
