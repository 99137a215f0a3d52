import { FullmeshError } from "../src/core/errors.js";
import { SeededRandom } from "../src/core/random.js";
import type {
  Condition,
  GrantedLease,
  LeaseId,
  StoredValue,
  StoreEvent,
  StoreOperation,
  StorePort,
  StoreWatch,
  Transaction,
  TransactionResult,
  WatchEvents,
} from "../src/runtime/store.js";
import type { Engine, SimulatedProcess } from "./engine.js";

/** How a simulated store behaves. Shares are from 0 to 1, and hold before `healsAt`. */
export interface StoreConditions {
  /** How long a request takes each way, at most, and an event. */
  readonly delayMs: number;
  /** Requests that get lost on the way there, or their answers on the way back. */
  readonly loses: number;
  /** Requests that are performed a second time, up to 30 s later, as if a proxy had kept them. */
  readonly repeats: number;
  /** Watches that end, that say nothing more, and that go back and report some changes again; of each change. */
  readonly endsWatch: number;
  readonly silencesWatch: number;
  readonly turnsWatchBack: number;
  /** Revisions that one watch does not report (etcd#17529), and deletes (etcd#18089). */
  readonly losesEvents: number;
  readonly losesDeletes: number;
  /** Transactions after which the history is compacted. */
  readonly compacts: number;
  /** Leases that end long before they have run out, and by how much later than that others end. */
  readonly endsLeases: number;
  readonly leaseLateMs: number;
  readonly healsAt: number;
}

export const calmStore: StoreConditions = {
  delayMs: 5,
  loses: 0,
  repeats: 0,
  endsWatch: 0,
  silencesWatch: 0,
  turnsWatchBack: 0,
  losesEvents: 0,
  losesDeletes: 0,
  compacts: 0,
  endsLeases: 0,
  leaseLateMs: 0,
  healsAt: 0,
};

/** Everything that may happen without a change being kept from a watch. */
export const adverseStore: StoreConditions = {
  delayMs: 200,
  loses: 0.05,
  repeats: 0.05,
  endsWatch: 0.01,
  silencesWatch: 0.005,
  turnsWatchBack: 0.02,
  losesEvents: 0,
  losesDeletes: 0.2,
  compacts: 0.01,
  endsLeases: 0.05,
  leaseLateMs: 10_000,
  healsAt: Number.POSITIVE_INFINITY,
};

interface Lease {
  readonly id: LeaseId;
  readonly leaseMs: number;
  endsAt: number;
}

interface Kept extends StoredValue {
  readonly lease: LeaseId | undefined;
}

/** All changes of one transaction, or of a lease that has ended. */
export interface StoreRevision {
  readonly revision: number;
  readonly events: readonly StoreEvent[];
}

/** A replicated store that several clients share, as an adversary. Nothing that it does is impossible for etcd 3.4. */
export class SimulatedStore {
  readonly #engine: Engine;
  readonly #random: SeededRandom;
  readonly #conditions: StoreConditions;
  #values = new Map<string, Kept>();
  readonly #leases = new Map<LeaseId, Lease>();
  /** What was written, from the compaction on. */
  #history: StoreRevision[] = [];
  /** The state as it was at some revisions, for reads of the past. */
  readonly #past = new Map<number, Map<string, Kept>>();
  readonly #watches = new Set<SimulatedWatch>();
  #revision = 1;
  #compacted = 0;
  #leaseCount = 0;
  readonly #committed: (revision: StoreRevision) => void;
  /** No request gets through until then. */
  #awayUntil = 0;

  /** `committed`: told of every change as it happens, which no client is. */
  constructor(engine: Engine, conditions: StoreConditions, committed: (revision: StoreRevision) => void = () => {}) {
    this.#engine = engine;
    this.#conditions = conditions;
    this.#committed = committed;
    this.#random = new SeededRandom(engine.seed + 2 ** 47);
  }

  get revision(): number {
    return this.#revision;
  }

  /** The keys with their values. */
  get values(): ReadonlyMap<string, StoredValue> {
    return this.#values;
  }

  /** Nobody reaches it for so long. */
  leave(durationMs: number): void {
    this.#awayUntil = Math.max(this.#awayUntil, this.#engine.now + durationMs);
    for (const watch of this.#watches) if (this.chance(0.5)) watch.end();
  }

  /** Forgets everything behind this moment, as a store does that is restored from a backup. */
  save(): () => void {
    const values = new Map(this.#values);
    const revision = this.#revision;
    return () => {
      this.#values = new Map(values);
      this.#revision = revision;
      this.#history = [];
      this.#compacted = revision;
      this.#past.clear();
      for (const watch of this.#watches) watch.end();
    };
  }

  /** A client in this process. */
  connect(process: SimulatedProcess): SimulatedStoreClient {
    return new SimulatedStoreClient(this, this.#engine, process);
  }

  /** True with this probability, while it is an adversary. */
  chance(share: number): boolean {
    return share > 0 && this.#engine.now < this.#conditions.healsAt && this.#random.chance(share);
  }

  /** How long something takes on its way. */
  get delayMs(): number {
    return this.#random.next() * this.#conditions.delayMs;
  }

  get conditions(): StoreConditions {
    return this.#conditions;
  }

  get isAway(): boolean {
    return this.#engine.now < this.#awayUntil;
  }

  perform({ conditions, operations, otherwise }: Transaction): TransactionResult | FullmeshError {
    if (Math.max(operations.length, otherwise.length) > 128) throw new Error("too many operations");
    const succeeded = conditions.every((condition) => this.#holds(condition));
    const branch = succeeded ? operations : otherwise;
    if (
      branch.some(
        (operation) => operation.type === "put" && operation.lease !== undefined && !this.#leases.has(operation.lease),
      )
    )
      return unavailable("requested lease not found");
    const past = branch.flatMap((operation) => (operation.type === "read" ? [operation.at ?? this.#revision] : []));
    if (past.some((at) => at < this.#compacted)) return unavailable("the revision has been compacted");
    const events: StoreEvent[] = [];
    const reads = branch.flatMap((operation) => {
      if (operation.type === "read") return [this.#read(operation)];
      if (operation.type === "put") this.#put(operation, events);
      else this.#delete(operation, events);
      return [];
    });
    this.#commit(events);
    return { succeeded, revision: this.#revision, reads };
  }

  grant(leaseMs: number): GrantedLease {
    this.#leaseCount += 1;
    const id = String(this.#leaseCount);
    const seconds = Math.ceil(leaseMs / 1_000) * 1_000;
    this.#leases.set(id, { id, leaseMs: seconds, endsAt: 0 });
    this.renew(id);
    return { lease: id, leaseMs: seconds };
  }

  renew(id: LeaseId): boolean {
    const lease = this.#leases.get(id);
    if (lease === undefined) return false;
    const isEarly = this.chance(this.#conditions.endsLeases);
    const lateMs = this.#random.next() * this.#conditions.leaseLateMs;
    lease.endsAt = this.#engine.now + (isEarly ? this.#random.next() * lease.leaseMs : lease.leaseMs + lateMs);
    this.#engine.at(lease.endsAt, () => {
      if (this.#leases.get(id) === lease && this.#engine.now >= lease.endsAt) this.revoke(id);
    });
    return true;
  }

  revoke(id: LeaseId): void {
    this.#leases.delete(id);
    const events: StoreEvent[] = [];
    for (const { key, lease } of [...this.#values.values()]) if (lease === id) this.#delete({ key }, events);
    this.#commit(events);
  }

  watch(from: number, client: SimulatedStoreClient, events: WatchEvents): SimulatedWatch {
    const watch = new SimulatedWatch(this, this.#engine, client, events);
    this.#watches.add(watch);
    if (from <= this.#compacted) watch.end(this.#compacted);
    else for (const revision of this.#history) if (revision.revision >= from) watch.report(revision);
    return watch;
  }

  /** What a watch that goes back reports again: the last changes up to this one. */
  lastBefore(revision: number, count: number): readonly StoreRevision[] {
    return this.#history.filter((each) => each.revision < revision).slice(-count);
  }

  forget(watch: SimulatedWatch): void {
    this.#watches.delete(watch);
  }

  #holds({ key, end, of, is, revision }: Condition): boolean {
    const values =
      end === undefined
        ? [this.#values.get(key)]
        : [...this.#values.values()].filter((value) => isIn(value.key, key, end));
    return values.every((value) => (is === "equal" ? (value?.[of] ?? 0) === revision : (value?.[of] ?? 0) > revision));
  }

  #read({ key, end, limit, at }: Extract<StoreOperation, { type: "read" }>): TransactionResult["reads"][number] {
    const values = (at === undefined ? undefined : this.#past.get(at)) ?? this.#values;
    if (limit !== undefined) {
      this.#past.set(this.#revision, new Map(this.#values));
      for (const oldest of this.#past.keys()) {
        if (this.#past.size <= 8) break;
        this.#past.delete(oldest);
      }
    }
    const found = [...values.values()]
      .filter((value) => (end === undefined ? value.key === key : isIn(value.key, key, end)))
      .sort((a, b) => (a.key < b.key ? -1 : 1))
      .map(({ lease: _, ...value }) => value);
    return { values: found.slice(0, limit), more: limit !== undefined && found.length > limit };
  }

  #put({ key, value, lease }: Extract<StoreOperation, { type: "put" }>, events: StoreEvent[]): void {
    const modified = this.#revision + 1;
    const stored = { key, value, created: this.#values.get(key)?.created ?? modified, modified };
    this.#values.set(key, { ...stored, lease });
    if (events.some((event) => event.key === key && event.type === "put"))
      throw new Error("duplicate key in a transaction");
    events.push({ type: "put", ...stored });
  }

  #delete({ key, end }: { readonly key: string; readonly end?: string }, events: StoreEvent[]): void {
    for (const name of [...this.#values.keys()]) {
      if (end === undefined ? name !== key : !isIn(name, key, end)) continue;
      this.#values.delete(name);
      events.push({ type: "delete", key: name, modified: this.#revision + 1 });
    }
  }

  #commit(events: readonly StoreEvent[]): void {
    if (events.length === 0) return;
    this.#revision += 1;
    const revision = { revision: this.#revision, events };
    this.#history.push(revision);
    this.#committed(revision);
    for (const watch of [...this.#watches]) watch.report(revision);
    if (!this.chance(this.#conditions.compacts)) return;
    this.#compacted = this.#revision - this.#random.integer(0, 3);
    this.#history = this.#history.filter((each) => each.revision > this.#compacted);
    for (const at of this.#past.keys()) if (at < this.#compacted) this.#past.delete(at);
  }
}

/** A watch of one client. */
class SimulatedWatch implements StoreWatch {
  readonly #store: SimulatedStore;
  readonly #engine: Engine;
  readonly #client: SimulatedStoreClient;
  readonly #events: WatchEvents;
  #isOver = false;
  #isSilent = false;
  #newestAt = 0;

  constructor(store: SimulatedStore, engine: Engine, client: SimulatedStoreClient, events: WatchEvents) {
    this.#store = store;
    this.#engine = engine;
    this.#client = client;
    this.#events = events;
  }

  report(revision: StoreRevision): void {
    const { endsWatch, silencesWatch, turnsWatchBack, losesEvents } = this.#store.conditions;
    if (this.#store.chance(endsWatch)) this.end();
    if (this.#store.chance(silencesWatch)) this.#isSilent = true;
    if (this.#store.chance(losesEvents)) return;
    const again = this.#store.chance(turnsWatchBack) ? this.#store.lastBefore(revision.revision, 3) : [];
    for (const each of [...again, revision]) this.#deliver(each);
  }

  end(compacted?: number): void {
    const failure = unavailable(compacted === undefined ? "the watch has ended" : `compacted at ${compacted}`);
    this.#later(() => {
      this.close();
      this.#events.ended({ ...(compacted === undefined ? {} : { compacted }), failure });
    });
  }

  close(): void {
    this.#isOver = true;
    this.#store.forget(this);
  }

  #deliver({ revision, events }: StoreRevision): void {
    if (this.#isSilent) return;
    const kept = events.filter(
      ({ type }) => type === "put" || !this.#store.chance(this.#store.conditions.losesDeletes),
    );
    this.#later(() => this.#events.changed(kept, revision));
  }

  /** In their order. */
  #later(run: () => void): void {
    this.#newestAt = Math.max(this.#newestAt, this.#engine.now + this.#store.delayMs);
    this.#engine.at(
      this.#newestAt,
      () => {
        if (this.#isOver || this.#client.isClosed) return;
        // What cannot be delivered is lost, with everything behind it.
        if (this.#client.isCut || this.#store.isAway) this.#isSilent = true;
        else if (!this.#isSilent) run();
      },
      this.#client.process,
    );
  }
}

/** One process that uses the store. */
export class SimulatedStoreClient implements StorePort {
  readonly #store: SimulatedStore;
  readonly #engine: Engine;
  readonly process: SimulatedProcess;
  /** It does not reach the store, though others do. */
  isCut = false;
  isClosed = false;
  #highest = 0;

  constructor(store: SimulatedStore, engine: Engine, process: SimulatedProcess) {
    this.#store = store;
    this.#engine = engine;
    this.process = process;
  }

  /** A store that has gone back behind what it had answered before this was sent has lost something. */
  transact(transaction: Transaction, done: (outcome: TransactionResult | FullmeshError) => void): void {
    const seen = this.#highest;
    this.#request<TransactionResult | FullmeshError>(
      () => this.#store.perform(transaction),
      (outcome) => {
        if (outcome instanceof FullmeshError) done(outcome);
        else if (outcome.revision < seen) {
          done(
            new FullmeshError("STORE_ROLLED_BACK", `the store was at revision ${seen}, and is at ${outcome.revision}`),
          );
        } else {
          this.#highest = Math.max(this.#highest, outcome.revision);
          done(outcome);
        }
      },
    );
  }

  grantLease(leaseMs: number, done: (outcome: GrantedLease | FullmeshError) => void): void {
    this.#request(() => this.#store.grant(leaseMs), done);
  }

  renewLease(lease: LeaseId, done: (outcome: boolean | FullmeshError) => void): void {
    this.#request(() => this.#store.renew(lease), done);
  }

  revokeLease(lease: LeaseId, done: (outcome: FullmeshError | undefined) => void): void {
    this.#request<FullmeshError | undefined>(() => this.#store.revoke(lease) ?? undefined, done);
  }

  watch(from: number, events: WatchEvents): StoreWatch {
    return this.#store.watch(from, this, events);
  }

  switchEndpoint(): void {}

  close(): void {
    this.isClosed = true;
  }

  /** There and back; each way may be lost, and what was lost on the way may come later all the same. */
  #request<Outcome>(perform: () => Outcome, done: (outcome: Outcome | FullmeshError) => void): void {
    if (this.isClosed) return;
    const { loses, repeats } = this.#store.conditions;
    const answer = (outcome: Outcome | FullmeshError): void => {
      this.#engine.after(
        this.#store.delayMs,
        () => {
          if (!this.isClosed) done(outcome);
        },
        this.process,
      );
    };
    const isLate = this.#store.chance(repeats);
    if (isLate) this.#engine.after(this.#store.delayMs * 150, perform);
    this.#engine.after(this.#store.delayMs, () => {
      const isHindered = this.isCut || this.#store.isAway;
      if (isHindered || this.#store.chance(loses)) {
        // It fails at once, or is never answered.
        if (this.#store.chance(0.5) || isHindered) answer(unavailable("connection reset"));
        return;
      }
      const outcome = perform();
      if (!this.#store.chance(loses)) answer(outcome);
      else if (this.#store.chance(0.5)) answer(unavailable("request timed out"));
    });
  }
}

function isIn(name: string, key: string, end: string): boolean {
  return name >= key && name < end;
}

function unavailable(why: string): FullmeshError {
  return new FullmeshError("STORE_UNAVAILABLE", `the store cannot be reached: ${why}`);
}
