import { FullmeshError } from "../../core/errors.js";
import type { Limits } from "../../core/limits.js";
import type { Address } from "../../protocol/address.js";
import type { Id } from "../../protocol/directory.js";
import type {
  LogAnswer,
  LogAppend,
  LogFact,
  LogState,
  ObservedServer,
  RejectionReason,
  SharedLogInput,
} from "../../rendezvous/types.js";
import type { SharedMembershipLog } from "../membership-log.js";
import type { ClockPort } from "../ports.js";
import type { StoreEvent, StorePort, StoreWatch } from "../store.js";
import { LogFold } from "./log-fold.js";
import { snapshotOf } from "./log-snapshot.js";
import { ServerTracker } from "./server-tracker.js";
import { ImageReader, type MeshImage, type StoredEntry, type StoreImage } from "./store-image.js";
import {
  allKeys,
  type BadItem,
  below,
  differencesOf,
  headKey,
  type LogHead,
  meshKey,
  meshNameOf,
  readItem,
  rulesKey,
  type StoreItem,
  type StoreRules,
  serverKeys,
  snapshotKey,
} from "./store-keys.js";
import { type Step, StoreWriter } from "./store-writer.js";

/** After which none of them, tried again, would do better. */
const lastingFailures: readonly string[] = ["STORE_REFUSED", "STORE_TOO_OLD", "STORE_ROLLED_BACK"];

/** The keys of a log that is over are deleted after so many leases of a server: all others have read its end by then. */
const endedLeases = 10;

type ReplicatedLimits = Pick<
  Limits,
  "storeLeaseMs" | "storeBeatMs" | "storeAnswerMs" | "storeQueueMs" | "snapshotEntries" | "tombstones"
>;

type MeshEnd = Extract<LogFact, { readonly type: "ended" }>;

/** One mesh of the store. */
interface MeshLog {
  readonly name: string;
  /** Undefined: the store has no log of it. */
  fold: LogFold | undefined;
  /** The revision at which the head was written, 0 without one. */
  headModified: number;
  /** A log that has been begun, whose head has not come back. */
  begun?: { readonly log: Id; readonly modified: number };
  /** How many of its entries the newest snapshot covers. */
  snapshotPlace: number;
  isSnapshotDue: boolean;
  readonly awaiting: Map<Id, number>;
  /** The machine has it: since it has last forgotten the mesh, `restored` has come. */
  isKnownToMachine: boolean;
  /** When its end was seen here. */
  endedAt?: number;
  corrupt?: string;
}

/**
 * The membership logs of all meshes in a store that several servers share.
 *
 * Each server writes what it wants, and reads what all have written: nothing has happened before it comes back on the watch,
 * in the one order of the store, and the fold decides what it counts for. All its values are numbered, so that one that the
 * store has not reported shows; then everything is read anew.
 */
export class ReplicatedLog implements SharedMembershipLog {
  readonly #store: StorePort;
  readonly #clock: ClockPort;
  readonly #answer: (input: LogAnswer | SharedLogInput) => void;
  readonly #rules: StoreRules;
  readonly #limits: ReplicatedLimits;
  readonly #newId: () => Id;
  readonly #baseRevision: () => number;
  readonly #fatal: (error: FullmeshError) => void;
  readonly #address: Address | undefined;
  readonly #writer: StoreWriter;
  readonly #reader: ImageReader;
  readonly #snapshots: ImageReader;
  readonly #tracker: ServerTracker;
  readonly #meshes = new Map<string, MeshLog>();
  /** The newest beat of each writer, and the number of its newest value. */
  readonly #writers = new Map<Id, { beat: number; number: number }>();
  #started: (() => void) | undefined;
  /** It has entered the store for the first time; and its entry has come back, so all that was before it is known. */
  #hasEntered = false;
  #isStarted = false;
  #isClosed = false;
  /** All changes up to this revision are known. */
  #revision = 0;
  #watch: StoreWatch | undefined;
  #watchCount = 0;
  #watchedAt = 0;
  #isLost = false;
  /** A key that is of no mesh has been reported. */
  #isForeignReported = false;
  #servers: { readonly self: Id; readonly others: readonly ObservedServer[] } | undefined;
  #failure: FullmeshError | undefined;
  #cancelTick: (() => void) | undefined;

  /**
   * `rules`: what all servers must agree on; one that finds others ends with `fatal`. `address`: where members reach this
   * server. `baseRevision`: the revision before the first of a log that is begun now.
   */
  constructor(
    store: StorePort,
    clock: ClockPort,
    answer: (input: LogAnswer | SharedLogInput) => void,
    settings: {
      readonly rules: StoreRules;
      readonly limits: ReplicatedLimits;
      readonly newId: () => Id;
      readonly address?: Address;
      readonly baseRevision: () => number;
    },
    fatal: (error: FullmeshError) => void,
  ) {
    const { rules, limits, newId, address, baseRevision } = settings;
    this.#store = store;
    this.#clock = clock;
    this.#answer = answer;
    this.#rules = rules;
    this.#limits = limits;
    this.#newId = newId;
    this.#baseRevision = baseRevision;
    this.#fatal = fatal;
    this.#address = address;
    const failed = (error: FullmeshError): void => this.#failed(error);
    this.#writer = new StoreWriter(store, limits, newId, address, clock, {
      logOf: (mesh) => this.#logOf(mesh),
      begin: (mesh) => this.#begin(mesh),
      ended: () => this.#readAll(),
      failed,
    });
    this.#reader = new ImageReader(store, limits.storeAnswerMs, failed);
    this.#snapshots = new ImageReader(store, limits.storeAnswerMs, failed);
    this.#tracker = new ServerTracker(limits, address);
  }

  /** Why the store cannot be used, while it cannot. */
  get failure(): FullmeshError | undefined {
    return this.#failure;
  }

  /** How old the newest sign of life of this server is that has come back. */
  get beatAgeMs(): number {
    return this.#writer.beatAgeMs(this.#clock.now());
  }

  /** Reads the store and enters it, however long that takes. Then `restored` comes for each mesh, `servers`, and `done`. */
  start(done: () => void): void {
    this.#started = done;
    this.#readAll();
    this.#tick();
  }

  append({ mesh: name, key, after, change, judges }: LogAppend): void {
    if (this.#isClosed) return;
    const mesh = this.#meshes.get(name);
    if (mesh?.corrupt !== undefined) this.#reject(name, key, "unavailable");
    // What ends a mesh, ends what was wanted of it.
    else if (mesh?.isKnownToMachine === true && mesh.endedAt !== undefined) this.#reject(name, key, "conflict");
    else {
      const content = { change, after, ...(judges === undefined ? {} : { judges }) };
      this.#writer.write({ type: "entry", mesh: name, queuedAt: this.#clock.now(), content, key });
      this.#writer.pump();
    }
  }

  publish(mesh: string, fact: LogFact): void {
    if (this.#isClosed || this.#meshes.get(mesh)?.corrupt !== undefined) return;
    const at = { mesh, queuedAt: this.#clock.now() };
    if (fact.type === "awaiting") this.#writer.write({ type: "awaiting", ...at, count: fact.count });
    else if (fact.type === "reported") {
      const { id, attachment, report } = fact;
      this.#writer.write({ type: "report", ...at, member: id, report: { attachment, ...report } });
    } else this.#writer.write({ type: "entry", ...at, content: { fact } });
    this.#writer.pump();
  }

  /** Nothing comes of the mesh until something new is in its log; then `restored` comes first. */
  forget(name: string): void {
    const mesh = this.#meshes.get(name);
    if (mesh !== undefined) mesh.isKnownToMachine = false;
  }

  close(): void {
    this.#end();
    this.#writer.cancel();
    this.#store.close();
  }

  /** Tells the other servers that this one goes, then closes; waits no longer than the store may take to answer. */
  stop(done: () => void): void {
    if (this.#isClosed) {
      done();
      return;
    }
    this.#end();
    let isDone = false;
    const finish = (): void => {
      if (isDone) return;
      isDone = true;
      this.#store.close();
      done();
    };
    this.#clock.setTimer(this.#clock.now() + this.#limits.storeAnswerMs, finish);
    this.#writer.leave(finish);
  }

  #end(): void {
    this.#isClosed = true;
    this.#cancelTick?.();
    this.#closeWatch();
    this.#reader.cancel();
    this.#snapshots.cancel();
  }

  // The store.

  #failed(error: FullmeshError): void {
    this.#failure = error;
    if (lastingFailures.includes(error.code)) this.#giveUp(error);
  }

  #giveUp(error: FullmeshError): void {
    if (this.#isClosed) return;
    this.#end();
    this.#writer.cancel();
    this.#fatal(error);
  }

  /** Several times in a beat: everything that is late. */
  #tick(): void {
    if (this.#isClosed) return;
    const now = this.#clock.now();
    this.#cancelTick = this.#clock.setTimer(now + this.#limits.storeBeatMs / 4, () => this.#tick());
    this.#reader.tick(now);
    this.#snapshots.tick(now);
    this.#writer.tick(now);
    this.#rejectLate(now);
    const isSilent = Math.min(this.#writer.silentMs(now), now - this.#watchedAt) > this.#limits.storeAnswerMs;
    if (this.#watch !== undefined && isSilent) {
      this.#store.switchEndpoint();
      this.#closeWatch();
    }
    if (this.#hasEntered && this.#watch === undefined && !this.#reader.isUnderWay) this.#openWatch();
    if (this.#isStarted) this.#judge(now);
    this.#deleteEnded(now);
  }

  /** A change that could not be sent in time is rejected, and a message is not passed on. */
  #rejectLate(now: number): void {
    const late = this.#writer.takeQueued(({ queuedAt, ...write }) => {
      if (write.type !== "entry" || now - queuedAt < this.#limits.storeQueueMs) return false;
      return write.key !== undefined || ("fact" in write.content && write.content.fact.type === "relayed");
    });
    for (const write of late) {
      if (write.type === "entry" && write.key !== undefined) this.#reject(write.mesh, write.key, "unavailable");
    }
  }

  /** What this server has written has come back, and so everything that was written before. */
  #returned(beat: number, now: number): void {
    // A failure that is over is not the reason for the next one.
    this.#failure = undefined;
    this.#writer.returned(beat);
    this.#tracker.returned(now);
  }

  /** Whether what is written here comes back, and which other servers are there. */
  #judge(now: number): void {
    const { storeLeaseMs } = this.#limits;
    const ageMs = this.#writer.beatAgeMs(now);
    const isLost = ageMs > storeLeaseMs / 2;
    if (isLost && !this.#isLost) {
      this.#isLost = true;
      const why = this.#failure === undefined ? "" : `: ${this.#failure.message}`;
      this.#answer({
        type: "storeLost",
        reason: `the store has shown nothing of this server for ${Math.round(ageMs) / 1000} s${why}`,
      });
    } else if (!isLost && this.#isLost) {
      this.#isLost = false;
      this.#tracker.steady(now);
      // Who this server is now, comes first.
      this.#outputServers(now);
      this.#answer({ type: "storeBack" });
    } else if (!isLost) this.#outputServers(now);
  }

  #outputServers(now: number): void {
    const self = this.#writer.id;
    if (!this.#writer.isRegistered) return;
    if (this.#tracker.isIntruder(self)) {
      const message = `another server of the store is reached at ${this.#address}, and was there before this one`;
      // The members of the other one are not to wait until this one is missed.
      this.stop(() => this.#fatal(new FullmeshError("STORE_ADDRESS_IN_USE", message)));
      return;
    }
    const others = this.#tracker.judge(self, now);
    const known = this.#servers;
    if (known?.self !== self || !areSame(known.others, others)) this.#answerServers({ self, others });
    // What a life wrote last may not have been reported, and no later beat of it shows that: all is read once.
    if (known?.others.some(({ id }) => others.every((other) => other.id !== id)) === true) this.#readAll();
  }

  #answerServers(servers: { readonly self: Id; readonly others: readonly ObservedServer[] }): void {
    this.#servers = servers;
    this.#answer({ type: "servers", ...servers });
  }

  /** Deletes logs that are over for long, so that the store does not grow with each name that there ever was. */
  #deleteEnded(now: number): void {
    if (this.#isLost) return;
    for (const mesh of this.#meshes.values()) {
      const { name, headModified, endedAt } = mesh;
      if (endedAt === undefined || now - endedAt < endedLeases * this.#limits.storeLeaseMs) continue;
      mesh.endedAt = now;
      this.#writer.perform({
        conditions: [{ key: headKey(name), of: "modified", is: "equal", revision: headModified }],
        operations: [{ type: "delete", ...below(meshKey(name)) }],
      });
    }
  }

  // Reading anew.

  /** A read that is under way is given up: it may be from before the reason for this one. */
  #readAll(): void {
    if (this.#isClosed) return;
    this.#closeWatch();
    this.#reader.read(allKeys, (image) => this.#install(image), this.#clock.now());
  }

  #install(image: StoreImage): void {
    if (image.bad !== undefined && !this.#isStarted) {
      this.#giveUp(new FullmeshError("STORE_CORRUPT", describeBad(image.bad.key, image.bad.reason)));
      return;
    }
    if (image.bad !== undefined) this.#foreign(image.bad);
    const now = this.#clock.now();
    this.#writers.clear();
    for (const [writer, { presence }] of image.servers) {
      this.#writers.set(writer, { beat: presence.beat, number: presence.number });
    }
    this.#tracker.restore(image.servers, now);
    const own = image.servers.get(this.#writer.id);
    if (own !== undefined) this.#returned(own.presence.beat, now);
    for (const name of new Set([...this.#meshes.keys(), ...image.meshes.keys()])) {
      this.#installMesh(name, image.meshes.get(name), image.revision);
    }
    this.#revision = image.revision;
    if (own !== undefined) this.#beginServing(now);
    if (this.#isClosed) return;
    if (this.#writer.isRegistered) this.#openWatch();
    else this.#register(image);
  }

  /** Enters the store by the rules that it has, or gives it these if no server is there. */
  #register({ rules, servers }: StoreImage): void {
    const differences = rules === undefined ? [] : differencesOf(rules.rules, this.#rules);
    if (rules !== undefined && differences.length > 0 && servers.size > 0) {
      const [inStore, here] = [rules.rules, this.#rules].map((each) =>
        differences.map((name) => ruleText(each, name as keyof StoreRules)).join(", "),
      );
      const message = `the servers that share the store have ${inStore}, and this one has ${here}`;
      this.#giveUp(new FullmeshError("STORE_MISMATCH", message));
      return;
    }
    const known = { key: rulesKey, of: "modified", is: "equal", revision: rules?.modified ?? 0 } as const;
    const nobody = { ...serverKeys, of: "created", is: "equal", revision: 0 } as const;
    const isReplaced = rules === undefined || differences.length > 0;
    this.#writer.register({
      conditions: differences.length > 0 ? [known, nobody] : [known],
      operations: isReplaced ? [{ type: "put", key: rulesKey, value: JSON.stringify(this.#rules) }] : [],
      done: () => this.#entered(),
    });
  }

  #entered(): void {
    this.#hasEntered = true;
    // Before anything that this life writes comes back.
    if (this.#servers !== undefined) this.#answerServers({ self: this.#writer.id, others: this.#servers.others });
    this.#openWatch();
    // Before anything of an earlier life goes out again.
    this.#rejectLate(this.#clock.now());
  }

  /** Its entry has come back for the first time: what other servers had written by then is known here. */
  #beginServing(now: number): void {
    if (this.#isStarted || !this.#writer.isRegistered) return;
    this.#isStarted = true;
    this.#tracker.steady(now);
    this.#outputServers(now);
    this.#started?.();
  }

  #installMesh(name: string, image: MeshImage | undefined, revision: number): void {
    const mesh = this.#meshOf(name);
    if (image?.bad !== undefined) {
      this.#corrupt(mesh, image.bad.key, image.bad.reason);
      return;
    }
    if (mesh.corrupt !== undefined) this.#answer({ type: "repaired", mesh: name });
    delete mesh.corrupt;
    // A writer that has died has not made it.
    if (!this.#writer.isRegistered) mesh.isSnapshotDue = false;
    mesh.headModified = image?.head?.modified ?? 0;
    mesh.snapshotPlace = image?.snapshot?.snapshot.place ?? 0;
    const { begun } = mesh;
    if (begun !== undefined && begun.modified <= Math.max(mesh.headModified, revision)) delete mesh.begun;
    if (image?.head === undefined) this.#lostLog(mesh);
    else this.#installLog(mesh, image, image.head.head);
  }

  /** The store has no log of this mesh. One that there was has ended, and its keys have been deleted. */
  #lostLog(mesh: MeshLog): void {
    const { fold } = mesh;
    if (fold !== undefined && mesh.isKnownToMachine && mesh.endedAt === undefined) {
      this.#outputRestored(mesh, fold, {
        type: "ended",
        kind: "forgotten",
        reason: "the store has no log of it any more",
      });
    }
    for (const { key } of this.#settled(mesh, undefined)) this.#reject(mesh.name, key, "conflict");
    mesh.fold = undefined;
    delete mesh.endedAt;
    if (mesh.begun === undefined) this.#meshes.delete(mesh.name);
  }

  #installLog(mesh: MeshLog, image: MeshImage, head: LogHead): void {
    const { snapshot, entries, reports, awaiting } = image;
    const known = mesh.fold;
    const fold = new LogFold(head, this.#limits, snapshot?.snapshot);
    const fresh: StoredEntry[] = [];
    for (const entry of entries) {
      if (entry.modified > this.#revision) fresh.push(entry);
      else fold.add(entry.writer, entry.number, entry.content);
    }
    const isCovered = (snapshot?.snapshot.covers ?? 0) <= this.#revision;
    if (isCovered && known?.head.log === head.log && known.place === fold.place) {
      this.#goOn(mesh, fresh, image);
      return;
    }
    for (const { writer, number, content } of fresh) fold.add(writer, number, content);
    for (const { member, writer, report } of reports) fold.report(member, writer, report);
    mesh.awaiting.clear();
    for (const [server, { count }] of awaiting) mesh.awaiting.set(server, count);
    this.#restore(mesh, fold);
  }

  /** Everything that had come before was known: what is new goes on from there. */
  #goOn(mesh: MeshLog, fresh: readonly StoredEntry[], { reports, awaiting }: MeshImage): void {
    for (const entry of fresh) this.#entry(mesh, entry);
    for (const item of reports) this.#report(mesh, item);
    for (const [server, { count }] of awaiting) this.#awaits(mesh, server, count);
  }

  /** A log that is over is of no interest to a machine that had nothing to do with it. */
  #restore(mesh: MeshLog, fold: LogFold): void {
    const { isKnownToMachine, endedAt } = mesh;
    const isForeign = differencesOf(fold.head.rules, this.#rules).length > 0;
    const foreign: MeshEnd = { type: "ended", kind: "forgotten", reason: "its log was begun by other rules" };
    const ended = isForeign ? foreign : fold.ended;
    mesh.fold = fold;
    if (ended === undefined) delete mesh.endedAt;
    else mesh.endedAt = endedAt ?? this.#clock.now();
    const isAwaited = this.#writer.sent.some(({ write }) => write.mesh === mesh.name);
    if (ended === undefined || isAwaited || (isKnownToMachine && endedAt === undefined))
      this.#outputRestored(mesh, fold, ended);
  }

  /** What has become of own entries that were sent, by what was read. Those that are not in it may still come. */
  #settled(mesh: MeshLog, fold: LogFold | undefined): { readonly key: number; readonly isAppended: boolean }[] {
    const answers: { readonly key: number; readonly isAppended: boolean }[] = [];
    for (const { write, log, writer, number } of [...this.#writer.sent]) {
      if (write.mesh !== mesh.name || log === mesh.begun?.log) continue;
      const isAppended = fold?.head.log === log ? fold.outcomeOf(writer, number) : false;
      if (isAppended === undefined) continue;
      this.#writer.settle(writer, number);
      if (write.key !== undefined) answers.push({ key: write.key, isAppended });
    }
    return answers;
  }

  // The watch.

  #openWatch(): void {
    this.#closeWatch();
    const count = this.#watchCount;
    this.#watchedAt = this.#clock.now();
    const watch = this.#store.watch(this.#revision + 1, {
      changed: (events, revision) => {
        if (count === this.#watchCount) this.#changed(events, revision);
      },
      ended: ({ compacted, isTooLong, failure }) => {
        if (count !== this.#watchCount) return;
        this.#closeWatch();
        this.#failed(failure);
        if (compacted !== undefined || isTooLong === true) this.#readAll();
      },
    });
    if (count === this.#watchCount) this.#watch = watch;
    else watch.close();
  }

  #closeWatch(): void {
    this.#watchCount += 1;
    this.#watch?.close();
    this.#watch = undefined;
  }

  #changed(events: readonly StoreEvent[], revision: number): void {
    const count = this.#watchCount;
    for (const event of events) {
      // A watch may go back, and report again what is known.
      if (event.modified <= this.#revision) continue;
      this.#event(event);
      if (count !== this.#watchCount || this.#isClosed) return;
    }
    this.#revision = Math.max(this.#revision, revision);
    this.#writer.pump();
  }

  #event(event: StoreEvent): void {
    if (event.type === "delete") {
      this.#deleted(event.key);
      return;
    }
    const item = readItem(event.key, event.value);
    if (item.type === "server") {
      const { writer, presence } = item;
      // Each transaction has the next beat, the first of a life 0; the last one may have been sent twice.
      const known = this.#writers.get(writer) ?? { beat: -1, number: 0 };
      const isNext = presence.beat === known.beat + 1 || presence.leaving === true;
      if (!isNext || presence.number !== known.number) {
        this.#readAll();
        return;
      }
      this.#writers.set(writer, { beat: presence.beat, number: presence.number });
      const now = this.#clock.now();
      this.#tracker.seen(writer, { presence, created: event.created }, now);
      if (writer !== this.#writer.id) return;
      this.#returned(presence.beat, now);
      this.#beginServing(now);
      if (this.#isStarted) this.#judge(now);
    } else if (item.type === "bad" && item.mesh === undefined) this.#foreign(item);
    else if (item.type !== "rules" && item.mesh !== undefined)
      this.#meshEvent(this.#meshOf(item.mesh), item, event.modified);
  }

  /** Somebody else writes below the prefix: that is reported once. */
  #foreign({ key, reason }: BadItem): void {
    if (this.#isForeignReported) return;
    this.#isForeignReported = true;
    this.#answer({ type: "corrupt", reason: describeBad(key, reason) });
  }

  #deleted(key: string): void {
    const [folder, name = "", kind, writer = ""] = key.split("/");
    if (folder === "server") {
      this.#tracker.deleted(name);
      this.#writers.delete(name);
      return;
    }
    const mesh = this.#meshes.get(meshNameOf(name) ?? "");
    if (mesh === undefined) return;
    if (mesh.corrupt !== undefined) {
      // Somebody puts it right.
      this.#readAll();
      return;
    }
    if (kind === "awaiting") mesh.awaiting.delete(writer);
    // Only the log of a mesh that has ended is deleted.
    if (kind === "log" && mesh.endedAt !== undefined) {
      mesh.fold = undefined;
      mesh.headModified = 0;
      delete mesh.endedAt;
      if (mesh.begun === undefined) this.#meshes.delete(mesh.name);
    }
  }

  #meshEvent(mesh: MeshLog, item: Exclude<StoreItem, { type: "rules" | "server" }> | BadItem, modified: number): void {
    switch (item.type) {
      case "bad":
        this.#corrupt(mesh, item.key, item.reason);
        break;
      case "head":
        if (mesh.corrupt === undefined) this.#head(mesh, item.head, modified);
        break;
      case "snapshot":
        if (mesh.fold?.head.log !== item.snapshot.log) break;
        mesh.snapshotPlace = item.snapshot.place;
        mesh.fold.forgetWriters(item.snapshot);
        break;
      case "entry":
        if (this.#isNext(item.writer, item.number)) this.#entry(mesh, item);
        break;
      case "report":
        if (this.#isNext(item.writer, item.report.number)) this.#report(mesh, item);
        break;
      case "awaiting":
        if (this.#isNext(item.writer, item.awaiting.number)) this.#awaits(mesh, item.writer, item.awaiting.count);
        break;
    }
  }

  /** False if a value of this writer is missing: then all is read anew. */
  #isNext(writer: Id, number: number): boolean {
    const known = this.#writers.get(writer);
    if (number !== (known?.number ?? 0) + 1 || known === undefined) {
      this.#readAll();
      return false;
    }
    known.number = number;
    return true;
  }

  // One mesh.

  #meshOf(name: string): MeshLog {
    const known = this.#meshes.get(name);
    if (known !== undefined) return known;
    const mesh: MeshLog = {
      name,
      fold: undefined,
      headModified: 0,
      snapshotPlace: 0,
      isSnapshotDue: false,
      awaiting: new Map(),
      isKnownToMachine: false,
    };
    this.#meshes.set(name, mesh);
    return mesh;
  }

  /** The log that entries of this mesh are written to. */
  #logOf(name: string): Id | undefined {
    const mesh = this.#meshes.get(name);
    if (mesh?.begun !== undefined) return mesh.begun.log;
    return mesh?.endedAt === undefined ? mesh?.fold?.head.log : undefined;
  }

  /** Begins the log of a mesh, above what the one before has reached. */
  #begin(name: string): Step {
    const mesh = this.#meshOf(name);
    const key = headKey(name);
    const clock = this.#baseRevision();
    const base = Math.max(clock, mesh.fold?.revision ?? 0);
    const head: LogHead = { log: this.#newId(), base, clock, rules: this.#rules };
    const leftovers = [below(meshKey(name, "entry")), below(meshKey(name, "report")), { key: snapshotKey(name) }];
    return {
      conditions: [{ key, of: "modified", is: "equal", revision: mesh.headModified }],
      operations: [
        ...leftovers.map((range) => ({ type: "delete", ...range }) as const),
        { type: "put", key, value: JSON.stringify(head) },
      ],
      reads: [key],
      done: (modified, [found]) => {
        // Another server was faster.
        const item = found === undefined ? undefined : readItem(key, found.value);
        const at = modified ?? found?.modified ?? 0;
        const log = item === undefined ? head.log : item.type === "head" ? item.head.log : undefined;
        if (modified === undefined && found === undefined) mesh.headModified = 0;
        // It may have come back before this was answered.
        else if (log !== undefined && at > Math.max(mesh.headModified, this.#revision))
          mesh.begun = { log, modified: at };
      },
    };
  }

  #head(mesh: MeshLog, head: LogHead, modified: number): void {
    const fold = new LogFold(head, this.#limits);
    mesh.fold = fold;
    mesh.headModified = modified;
    mesh.snapshotPlace = 0;
    delete mesh.endedAt;
    if (mesh.begun !== undefined && mesh.begun.modified <= modified) delete mesh.begun;
    this.#outputRestored(mesh, fold, undefined);
  }

  #entry(mesh: MeshLog, { log, writer, number, content }: Extract<StoreItem, { readonly type: "entry" }>): void {
    const sent = this.#writer.settle(writer, number);
    const key = sent?.write.key;
    const { fold } = mesh;
    const isCurrent = fold !== undefined && fold.head.log === log && mesh.corrupt === undefined;
    // What there was before this comes first.
    if (isCurrent && !mesh.isKnownToMachine && mesh.endedAt === undefined) this.#outputRestored(mesh, fold, undefined);
    const result = isCurrent ? fold.add(writer, number, content) : ({ type: "rejected" } as const);
    if (result === undefined || result.type === "rejected") {
      if (key !== undefined) this.#reject(mesh.name, key, "conflict");
      return;
    }
    const { name } = mesh;
    const attachment = result.attachment === undefined ? {} : { attachment: result.attachment };
    if (result.type === "appended") {
      const own = key === undefined ? {} : { key };
      this.#answer({ type: "appended", mesh: name, ...own, entry: result.entry, server: writer, ...attachment });
    } else {
      this.#answer({ type: "published", mesh: name, server: writer, fact: result.fact, ...attachment });
      if (result.fact.type === "ended") this.#ended(mesh);
    }
    this.#considerSnapshot(mesh, sent !== undefined);
  }

  /** What is still wanted of a mesh that has ended does not begin a new one. */
  #ended(mesh: MeshLog): void {
    mesh.endedAt = this.#clock.now();
    for (const write of this.#writer.takeQueued((each) => each.mesh === mesh.name)) {
      if (write.type === "entry" && write.key !== undefined) this.#reject(mesh.name, write.key, "conflict");
    }
  }

  #report(mesh: MeshLog, { member, writer, report }: Extract<StoreItem, { readonly type: "report" }>): void {
    const before = mesh.fold?.reportOf(member);
    const fact = mesh.isKnownToMachine ? mesh.fold?.report(member, writer, report) : undefined;
    if (fact === undefined || JSON.stringify(fact) === JSON.stringify(before)) return;
    this.#answer({ type: "published", mesh: mesh.name, server: writer, fact });
  }

  #awaits(mesh: MeshLog, server: Id, count: number): void {
    if (mesh.awaiting.get(server) === count) return;
    mesh.awaiting.set(server, count);
    if (mesh.isKnownToMachine && mesh.fold !== undefined) {
      this.#answer({ type: "published", mesh: mesh.name, server, fact: { type: "awaiting", count } });
    }
  }

  #corrupt(mesh: MeshLog, key: string, why: string): void {
    if (mesh.corrupt !== undefined) return;
    const reason = describeBad(key, why);
    mesh.corrupt = reason;
    const { name } = mesh;
    this.#answer({ type: "corrupt", mesh: name, reason });
    for (const write of this.#writer.takeQueued((each) => each.mesh === name)) {
      if (write.type === "entry" && write.key !== undefined) this.#reject(name, write.key, "unavailable");
    }
  }

  #reject(mesh: string, key: number, reason: RejectionReason): void {
    this.#answer({ type: "rejected", mesh, key, reason });
  }

  #outputRestored(mesh: MeshLog, fold: LogFold, ended: MeshEnd | undefined): void {
    const answers = this.#settled(mesh, fold);
    mesh.isKnownToMachine = true;
    const awaiting = Array.from(mesh.awaiting, ([server, count]) => ({ server, count }));
    const state: LogState = { ...fold.state, awaiting, ...(ended === undefined ? {} : { ended }) };
    this.#answer({ type: "restored", mesh: mesh.name, state, answers });
    if (ended !== undefined) this.#ended(mesh);
  }

  // Snapshots.

  /** Whoever has written the entry that makes one due makes it; another server does if that one does not. */
  #considerSnapshot(mesh: MeshLog, isOwn: boolean): void {
    const count = (mesh.fold?.place ?? 0) - mesh.snapshotPlace;
    const due = this.#limits.snapshotEntries * (isOwn ? 1 : 2);
    if (count < due || this.#snapshots.isUnderWay || mesh.isSnapshotDue) return;
    mesh.isSnapshotDue = true;
    // From what the store has, not from what the watch has reported of it: that may lack something.
    this.#snapshots.read(
      below(meshKey(mesh.name)),
      ({ meshes, revision }) => {
        const image = meshes.get(mesh.name);
        const step = image === undefined ? undefined : snapshotOf(mesh.name, image, revision, this.#limits);
        if (step === undefined) mesh.isSnapshotDue = false;
        else {
          const done = (): void => {
            mesh.isSnapshotDue = false;
          };
          this.#writer.perform({ ...step, done });
        }
        this.#writer.pump();
      },
      this.#clock.now(),
    );
  }
}

function areSame(known: readonly ObservedServer[], others: readonly ObservedServer[]): boolean {
  return (
    known.length === others.length &&
    others.every(({ id, address, isLate }, index) => {
      const before = known[index];
      return before?.id === id && before.address === address && before.isLate === isLate;
    })
  );
}

function describeBad(key: string, reason: string): string {
  return `the key "${key}" of the store: ${reason}`;
}

/** One rule, for people. Nobody is shown what a secret could be tried against. */
function ruleText(rules: StoreRules, name: keyof StoreRules): string {
  if (name === "secret") return rules.secret === undefined ? "no secret" : "a secret that differs";
  return `${name} ${JSON.stringify(rules[name] ?? null)}`;
}
