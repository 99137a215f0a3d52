import type { FullmeshError } from "../../src/core/errors.js";
import { defaultLimits } from "../../src/core/limits.js";
import { SeededRandom } from "../../src/core/random.js";
import { type Change, Directory, type Id } from "../../src/protocol/directory.js";
import type { LogAnswer, LogFact, LogState, SharedLogInput } from "../../src/rendezvous/types.js";
import { LogFold } from "../../src/runtime/replicated/log-fold.js";
import { ReplicatedLog } from "../../src/runtime/replicated/replicated-log.js";
import {
  type EntryContent,
  type LogHead,
  readItem,
  type StoreItem,
  type StoreRules,
} from "../../src/runtime/replicated/store-keys.js";
import type { Violation } from "../checkers/invariant-checker.js";
import { Engine, SimulatedProcess } from "../engine.js";
import type { SimulationResult } from "../run.js";
import {
  adverseStore,
  SimulatedStore,
  type SimulatedStoreClient,
  type StoreConditions,
  type StoreRevision,
} from "../store.js";

const capacity = 6;
const sharedRules: StoreRules = { format: 1, capacity, onFull: "hold", dialect: "any", leaseMs: 20_000 };
/** Above the number of every append, which is so named in `after`. */
const base = 1_000_000_000;
const limits = { ...defaultLimits, snapshotEntries: 12 };

/** How long servers want something, and how long it then takes until all has settled. */
const wantingMs = 15_000;
const settlingMs = 45_000;

function idOf(number: number): Id {
  return number.toString(16).padStart(32, "0");
}

/** Plays a seed over an adverse store, which keeps changes from watches in every fourth play. The same seed gives the same result. */
export function runLogs(seed: number): SimulationResult {
  const losesEvents = seed % 4 === 0 ? 0.01 : 0;
  const simulation = new SharedLogSimulation(seed, { ...adverseStore, losesEvents, healsAt: wantingMs });
  const violations: Violation[] = [];
  try {
    simulation.run(wantingMs);
  } catch (error) {
    const detail = String(error instanceof Error ? error.stack : error);
    violations.push({ invariant: "S5", at: simulation.engine.now, detail });
  }
  const { labels, engine } = simulation;
  return { seed, violations, labels, steps: engine.steps, messages: [], history: [] };
}

/** What is true of one log of a mesh, by all that the store has ever taken. */
interface TrueLog {
  readonly mesh: string;
  readonly fold: LogFold;
  /** What the log said at each revision. */
  readonly states: Map<number, LogFold["state"]>;
  /** The entries, and by which append. */
  readonly entries: Map<number, { readonly entry: object; readonly append: number }>;
}

/** Folds everything that the store takes, as it takes it. */
class Truth {
  readonly logs = new Map<Id, TrueLog>();
  readonly current = new Map<string, TrueLog>();
  /** Appends that have counted, and in which log. */
  readonly appended = new Map<number, Id>();
  readonly #buried = new Map<Id, Set<Id>>();

  committed({ events }: StoreRevision): void {
    for (const event of events) {
      if (event.type === "delete") continue;
      const item = readItem(event.key, event.value);
      if (item.type === "bad") throw new Error(`${item.key}: ${item.reason}`);
      if (item.type === "head") this.#begin(item.mesh, item.head);
      if (item.type === "report") this.current.get(item.mesh)?.fold.report(item.member, item.writer, item.report);
      if (item.type === "entry") this.#entry(item);
    }
  }

  #begin(mesh: string, head: LogHead): void {
    const before = this.current.get(mesh);
    if (before !== undefined && before.fold.ended === undefined)
      throw new Error("a log is replaced that has not ended");
    const fold = new LogFold(head, limits);
    const log: TrueLog = { mesh, fold, states: new Map([[fold.revision, fold.state]]), entries: new Map() };
    this.logs.set(head.log, log);
    this.current.set(mesh, log);
  }

  #entry({ mesh, log: id, writer, number, content }: Extract<StoreItem, { readonly type: "entry" }>): void {
    const log = this.current.get(mesh);
    if (log?.fold.head.log !== id) return;
    const judged = judgedOf(log.fold.state, content);
    const result = log.fold.add(writer, number, content);
    this.#check(log);
    if (result?.type === "appended" && judged !== undefined && "judges" in content && judged !== content.judges)
      throw new Error("a member is lost by a server that has judged an older session");
    if (result?.type !== "appended" || !("after" in content)) return;
    if (this.appended.has(content.after)) throw new Error("an append has become two entries");
    this.appended.set(content.after, id);
    log.entries.set(result.entry.revision, { entry: result.entry, append: content.after });
    log.states.set(log.fold.revision, log.fold.state);
  }

  #check({ fold }: TrueLog): void {
    const { members, removed, log } = fold.state;
    if (members.length > capacity) throw new Error("the capacity is exceeded");
    const buried = this.#buried.get(log) ?? new Set();
    this.#buried.set(log, buried);
    for (const id of removed) buried.add(id);
    if (members.some(({ id }) => buried.has(id))) throw new Error("an id has come back");
  }
}

/** What the machine of one server would know. */
class View {
  readonly directory = new Directory();
  readonly attachments = new Map<Id, { readonly server: Id | undefined; readonly attachment: number }>();
  readonly reports = new Map<Id, LogFact>();
  readonly awaiting = new Map<Id, number>();
  log = "";
  isEnded = false;

  restore(state: LogState): void {
    this.log = state.log;
    this.isEnded = state.ended !== undefined;
    this.directory.restore(state.members, state.revision, state.claims);
    this.attachments.clear();
    for (const { id, server, attachment } of state.attachments) this.attachments.set(id, { server, attachment });
    this.reports.clear();
    for (const report of state.reports) this.reports.set(report.id, report);
    this.awaiting.clear();
    for (const { server, count } of state.awaiting) this.awaiting.set(server, count);
  }

  publish(server: Id, fact: LogFact, attachment: number | undefined): void {
    if (fact.type === "attached" && attachment !== undefined) this.#attach(fact.id, server, attachment);
    if (fact.type === "detached") {
      this.attachments.set(fact.id, { server: undefined, attachment: fact.judges });
      this.reports.delete(fact.id);
    }
    if (fact.type === "reported") this.reports.set(fact.id, fact);
    if (fact.type === "awaiting") this.awaiting.set(server, fact.count);
    if (fact.type === "ended") this.isEnded = true;
  }

  append({ entry, server, attachment }: Extract<LogAnswer, { type: "appended" }>): void {
    const gone =
      entry.type === "replaced" ? entry.replaces : entry.type === "left" || entry.type === "lost" ? entry.id : "";
    this.attachments.delete(gone);
    this.reports.delete(gone);
    this.directory.apply(entry);
    if ("address" in entry && attachment !== undefined) this.#attach(entry.id, server, attachment);
  }

  #attach(id: Id, server: Id | undefined, attachment: number): void {
    this.attachments.set(id, { server, attachment });
    this.reports.delete(id);
  }
}

/** A server with its log, which wants something again and again. */
class Server {
  readonly views = new Map<string, View>();
  readonly process: SimulatedProcess;
  readonly client: SimulatedStoreClient;
  readonly log: ReplicatedLog;
  /** Appends that are not answered, in their order. */
  readonly pending = new Map<number, string>();
  isStarted = false;
  isLost = false;
  /** Beginnings and ends of times in which it does not reach the store. */
  cuts = 0;
  isOver = false;
  self = "";
  others: readonly Id[] = [];
  readonly #truth: Truth;
  readonly #isLossy: boolean;
  readonly #count: (label: string) => void;

  constructor(
    engine: Engine,
    store: SimulatedStore,
    truth: Truth,
    isLossy: boolean,
    count: (label: string) => void,
    fatal: (error: FullmeshError) => void,
  ) {
    this.#count = count;
    this.#truth = truth;
    this.#isLossy = isLossy;
    this.process = new SimulatedProcess(engine, "server", "10.0.0.1");
    this.client = store.connect(this.process);
    const settings = { rules: sharedRules, limits, newId: () => engine.draw(), baseRevision: () => base };
    this.log = new ReplicatedLog(this.client, this.process.clock, (input) => this.#take(input), settings, fatal);
    this.log.start(() => {
      this.isStarted = true;
    });
  }

  append(mesh: string, number: number, change: Change, judges?: number): void {
    this.pending.set(number, mesh);
    this.log.append({ mesh, key: number, after: number, change, ...(judges === undefined ? {} : { judges }) });
  }

  view(mesh: string): View {
    const known = this.views.get(mesh) ?? new View();
    this.views.set(mesh, known);
    return known;
  }

  #take(input: LogAnswer | SharedLogInput): void {
    if (this.isOver) throw new Error("something comes after the end");
    this.#count(input.type);
    if (input.type === "servers" && input.others.some(({ isLate }) => isLate)) this.#count("a server is late");
    switch (input.type) {
      case "appended":
        this.#appended(input);
        break;
      case "rejected":
        // What was not sent may be rejected before its turn.
        this.#answered(input.key, false, true);
        break;
      case "restored":
        this.#restored(input);
        break;
      case "published":
        this.#viewOf(input.mesh).publish(input.server, input.fact, input.attachment);
        // The machine ends the mesh, and forgets it.
        if (input.fact.type === "ended") this.#forget(input.mesh);
        break;
      case "servers":
        this.self = input.self;
        this.others = input.others.map(({ id }) => id);
        break;
      case "storeLost":
      case "storeBack":
        if (this.isLost === (input.type === "storeLost")) throw new Error(`${input.type} twice`);
        this.isLost = input.type === "storeLost";
        break;
      case "corrupt":
        throw new Error(input.reason);
    }
  }

  #viewOf(mesh: string): View {
    const view = this.views.get(mesh);
    if (view === undefined || view.isEnded) throw new Error("something comes of a mesh that was not restored");
    return view;
  }

  #appended(answer: Extract<LogAnswer, { type: "appended" }>): void {
    const view = this.#viewOf(answer.mesh);
    const { entry, key } = answer;
    if (!this.#isLossy) {
      const log = this.#truth.logs.get(view.log);
      const known = log?.entries.get(entry.revision);
      const next = [...(log?.entries.keys() ?? [])].find((revision) => revision > view.directory.revision);
      if (next !== entry.revision) throw new Error(`entry ${entry.revision} comes, and ${next} is next`);
      if (!isSame(known?.entry, entry)) throw new Error("an entry says something else");
      if (key !== undefined && known?.append !== key)
        throw new Error("the entry of somebody else is taken for an own one");
      if (key === undefined && known !== undefined && this.pending.has(known.append))
        throw new Error("an own entry has no key");
    }
    if (entry.revision <= view.directory.revision) throw new Error("revisions do not rise");
    view.append(answer);
    if (key !== undefined) this.#answered(key, true);
  }

  #restored({ mesh, state, answers }: Extract<SharedLogInput, { type: "restored" }>): void {
    const view = this.view(mesh);
    view.restore(state);
    if (!this.#isLossy) {
      const known = this.#truth.logs.get(state.log)?.states.get(state.revision);
      const shown = ({ members, claims, removed }: Pick<LogState, "members" | "claims" | "removed">): object => {
        return { members, claims: claims.toSorted((a, b) => (a.key < b.key ? -1 : 1)), removed };
      };
      if (known === undefined) throw new Error("a state is restored that never was");
      if (!isSame(shown(known), shown(state))) throw new Error("another state is restored than there was");
    }
    for (const { key, isAppended } of answers) {
      // What has become of it in a log that is over is not known any more.
      const log = this.#truth.appended.get(key);
      this.#answered(key, isAppended || (log !== undefined && log !== state.log));
    }
    if (view.isEnded) this.#forget(mesh);
  }

  #forget(mesh: string): void {
    this.views.delete(mesh);
    this.log.forget(mesh);
  }

  #answered(key: number, isAppended: boolean, mayOvertake = false): void {
    if (!this.pending.has(key)) throw new Error(`append ${key} is answered twice`);
    const [first] = this.pending.keys();
    const mesh = this.pending.get(key);
    const isFirst = first === key || [...this.pending].find(([, each]) => each === mesh)?.[0] === key;
    if (!isFirst && !mayOvertake) throw new Error("answers are out of order");
    this.pending.delete(key);
    if (!this.#isLossy && isAppended !== this.#truth.appended.has(key)) {
      throw new Error(
        `append ${key} is said to be ${isAppended ? "an entry, and is none" : "rejected, and is an entry"}`,
      );
    }
  }
}

/**
 * Some servers on one store, all of which want something at random, and go wrong at random: what each of them is told must be
 * what all that the store has ever taken adds up to.
 */
export class SharedLogSimulation {
  readonly engine: Engine;
  readonly truth = new Truth();
  /** What has happened, and how often. */
  readonly labels = new Map<string, number>();
  readonly #store: SimulatedStore;
  readonly #random: SeededRandom;
  readonly #servers: Server[] = [];
  readonly #isLossy: boolean;
  #appends = 0;
  #ids = 0;

  constructor(seed: number, conditions: StoreConditions) {
    this.engine = new Engine(seed);
    this.#random = new SeededRandom(seed + 2 ** 40);
    this.#isLossy = conditions.losesEvents > 0;
    this.#store = new SimulatedStore(this.engine, conditions, (revision) => this.truth.committed(revision));
  }

  #count = (label: string): void => {
    this.labels.set(label, (this.labels.get(label) ?? 0) + 1);
  };

  /** Runs for so long, then until everything has settled. The store heals before. */
  run(durationMs: number): void {
    for (let count = 0; count < 3; count += 1) this.#startServer();
    for (let at = 0; at < durationMs; at += this.#random.integer(1, 400)) {
      this.engine.run(at);
      this.#act();
    }
    this.engine.run(durationMs + settlingMs);
    this.#checkEnd();
  }

  #startServer(): void {
    this.#servers.push(
      new Server(this.engine, this.#store, this.truth, this.#isLossy, this.#count, (error) => {
        throw error;
      }),
    );
  }

  #act(): void {
    const server = this.#pick(this.#servers.filter(({ isStarted }) => isStarted));
    if (server === undefined) return;
    const dice = this.#random.integer(0, 199);
    if (dice === 0) this.#replaceServer(server);
    else if (dice === 1) {
      this.#count("fault: suspendServer");
      server.process.suspend(this.#random.integer(100, 15_000));
    } else if (dice === 2) {
      this.#count("fault: storeAway");
      this.#store.leave(this.#random.integer(100, 20_000));
    } else if (dice < 5) {
      this.#count("fault: cutServerFromStore");
      this.#cut(server);
    } else server.process.do(() => this.#want(server, this.#random.chance(0.7) ? "one" : "two"));
  }

  #cut(server: Server): void {
    server.client.isCut = true;
    server.cuts += 1;
    const { cuts } = server;
    this.engine.after(this.#random.integer(100, 20_000), () => {
      server.client.isCut = false;
      server.cuts += 1;
    });
    this.engine.after(limits.storeLeaseMs, () => {
      const wasCut = server.cuts === cuts && !server.isOver && server.process.absentMs(limits.storeLeaseMs) === 0;
      if (wasCut && !server.isLost) throw new Error("a server does not know that it has no store");
    });
  }

  #replaceServer(server: Server): void {
    const isClean = this.#random.chance(0.5);
    this.#count(isClean ? "fault: stopServer" : "fault: killServer");
    server.isOver = true;
    if (isClean) server.log.stop(() => {});
    else server.process.kill();
    this.#servers.splice(this.#servers.indexOf(server), 1);
    this.#startServer();
  }

  #want(server: Server, mesh: string): void {
    const view = server.views.get(mesh);
    const dice = this.#random.integer(0, 100);
    const count = this.#random.chance(0.1) ? 12 : 1;
    for (let index = 0; index < count; index += 1) {
      if (view === undefined || dice < 60) this.#wantChange(server, mesh);
      else this.#wantFact(server, mesh, view);
    }
  }

  #wantChange(server: Server, mesh: string): void {
    this.#appends += 1;
    const { change, judges } = this.#change(server.views.get(mesh));
    server.append(mesh, this.#appends, change, judges);
  }

  #change(view: View | undefined): { readonly change: Change; readonly judges?: number } {
    const key = this.#pick(["k", "l"]) ?? "k";
    const member = this.#pick(view?.directory.members ?? []);
    const id = member?.id ?? idOf(this.#random.integer(1, Math.max(1, this.#ids)));
    const attachment = view?.attachments.get(id)?.attachment;
    const judges = attachment === undefined ? {} : { judges: attachment };
    const token = view?.directory.claims.get(key)?.token;
    const dice = this.#random.integer(0, 9);
    if (dice === 0) return { change: { type: "left", id, reason: "wants" } };
    if (dice === 1) return { change: { type: "lost", id, reason: "gone" }, ...judges };
    if (dice === 2 && member !== undefined)
      return { change: { ...this.#newcomer(), type: "replaced", replaces: id, address: member.address } };
    if (dice < 5) return { change: { type: "claimed", key, holder: id } };
    if (dice === 5)
      return { change: { type: "unclaimed", key, reason: "over" }, ...(token === undefined ? {} : { judges: token }) };
    return { change: { type: "joined", ...this.#newcomer() } };
  }

  /** Mostly somebody new. */
  #newcomer(): { readonly id: Id; readonly address: `${string}:${number}`; readonly dialect: "native" } {
    if (this.#ids === 0 || this.#random.chance(0.7)) this.#ids += 1;
    const id = this.#random.chance(0.8) ? this.#ids : this.#random.integer(1, this.#ids);
    return { id: idOf(id), address: `10.0.0.1:${this.#random.integer(4_000, 4_020)}`, dialect: "native" };
  }

  #wantFact(server: Server, mesh: string, view: View): void {
    const id = this.#pick(view.directory.members)?.id;
    const { attachment = 0, server: at } = (id === undefined ? undefined : view.attachments.get(id)) ?? {};
    const dice = this.#random.integer(0, 19);
    if (dice === 0 && this.#random.chance(0.2))
      server.log.publish(mesh, { type: "ended", kind: "teardown", reason: "test" });
    else if (dice < 3) server.log.publish(mesh, { type: "awaiting", count: this.#random.integer(0, 3) });
    else if (id === undefined || attachment === 0) return;
    else if (dice < 8) server.log.publish(mesh, { type: "attached", id });
    else if (dice < 12) server.log.publish(mesh, { type: "detached", id, judges: attachment, reason: "test" });
    else if (at === server.self) {
      const report = { up: [[id, this.#random.integer(1, 99)] as [Id, number]], down: [] };
      server.log.publish(mesh, { type: "reported", id, attachment, report });
    }
  }

  #pick<Item>(items: readonly Item[]): Item | undefined {
    return items[this.#random.integer(0, items.length - 1)];
  }

  #checkEnd(): void {
    for (const server of this.#servers) {
      if (!server.isStarted) throw new Error("a server has not started");
      if (server.isLost) throw new Error("a server has no store");
      if (server.pending.size > 0) throw new Error(`${server.pending.size} appends have no answer`);
      const others = this.#servers.filter((each) => each !== server).map(({ self }) => self);
      if (!isSame([...server.others], others.toSorted()))
        throw new Error("a server knows other servers than there are");
      for (const log of this.truth.current.values()) this.#checkView(server, log);
    }
  }

  #checkView(server: Server, { mesh, fold }: TrueLog): void {
    const view = server.views.get(mesh);
    if (fold.ended !== undefined) {
      if (view !== undefined) throw new Error("a server was not told of an end");
      return;
    }
    if (view === undefined) throw new Error("a server was not told of a log");
    const { log, revision, members, attachments, reports, claims } = fold.state;
    const shown = {
      log: view.log,
      revision: view.directory.revision,
      members: view.directory.members,
      claims: Array.from(view.directory.claims.values(), ({ key, token }) => [key, token]).toSorted(),
      attachments: new Map([...view.attachments].toSorted()),
      reports: new Map([...view.reports].toSorted()),
    };
    const known = {
      log,
      revision,
      members,
      claims: claims.map(({ key, token }) => [key, token]).toSorted(),
      attachments: new Map(attachments.map(({ id, ...rest }) => [id, rest] as const).toSorted()),
      reports: new Map(reports.map((report) => [report.id, report] as const).toSorted()),
    };
    for (const part of Object.keys(known) as (keyof typeof known)[]) {
      if (!isSame(shown[part], known[part])) throw new Error(`a server knows other ${part} than there are`);
    }
  }
}

/** The attachment that an entry which says that a member is lost has to be about; undefined if it is none. */
function judgedOf({ attachments }: LogFold["state"], content: EntryContent): number | undefined {
  if ("fact" in content || content.change.type !== "lost" || content.judges === undefined) return undefined;
  const { id } = content.change;
  return attachments.find((each) => each.id === id)?.attachment;
}

/** Of anything that JSON could hold, and of maps in their order. */
function isSame(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (a instanceof Map && b instanceof Map) return isSame([...a], [...b]);
  const [mine, others] = [Object.entries(a), new Map(Object.entries(b))];
  return mine.length === others.size && mine.every(([key, value]) => others.has(key) && isSame(value, others.get(key)));
}
