import { defaultLimits } from "../../src/core/limits.js";
import { type Entry, type Id, isClaimEntry, type MemberEntry } from "../../src/protocol/directory.js";
import type { ListedMember, LogFacts, NativeRun, SimulationContext } from "../simulation-context.js";
import { memoryMs, wasMissed } from "../simulation-context.js";

/**
 * Keeps the log as it was answered, folds it in its own way, and compares: what members make of it, and whether an entry
 * was right when it came.
 */
export class LogChecker implements LogFacts {
  readonly #context: SimulationContext;
  readonly #members = new Map<Id, ListedMember>();
  readonly #orders = new Set<number>();
  /** The directories that logs have had at each revision, as text: what an earlier one has sent may be read late. */
  readonly #directories = new Map<number, string[]>([[0, [""]]]);
  readonly #departures = new Map<Id, { readonly type: Entry["type"]; readonly at: number }>();
  /** All that have ever been listed, with their orders. */
  readonly #known = new Map<Id, number>();
  /** Those of earlier logs: members may remember them whom the present one does not list. */
  readonly #earlier = new Set<Id>();
  /** Those of them that the present log has listed. */
  readonly #relisted = new Set<Id>();
  /** Those of earlier logs that have not come back, with their orders. */
  readonly #forgotten = new Map<Id, number>();
  /** Native members of the log before this one of which this one has said nothing, nor that before: for others they go on. */
  readonly #unheard = new Set<Id>();
  /** Those of them that were looking for the server when this one was started, and find it without delay, with their orders. */
  readonly #prompt = new Map<Id, number>();
  /** Ids that a wrong witness has made up. */
  readonly madeUp = new Set<Id>();
  #revision = 0;
  /** The revisions of this log, the newest last, and when each came. */
  #revisions: { readonly revision: number; readonly at: number }[] = [];

  constructor(context: SimulationContext) {
    this.#context = context;
  }

  get revision(): number {
    return this.#revision;
  }

  /** True if this is the newest revision, or was it so lately that the entries since then may be on their way. */
  isCurrent(revision: number): boolean {
    const since = this.#context.network.engine.now - reportLagMs(this.#context);
    const settledAt = this.#revisions.findLastIndex(({ at }) => at <= since);
    return this.#revisions.slice(Math.max(0, settledAt)).some((one) => one.revision === revision);
  }

  /** In join order. */
  get members(): readonly ListedMember[] {
    return [...this.#members.values()].sort((a, b) => a.order - b.order || (a.id < b.id ? -1 : 1));
  }

  /** A member of an earlier log that the present one has listed. */
  isBack(id: Id): boolean {
    return this.#earlier.has(id) && this.#relisted.has(id);
  }

  /** A member of an earlier log that the present one has not listed. */
  isOnlyRemembered(id: Id): boolean {
    return this.#earlier.has(id) && !this.#relisted.has(id);
  }

  /** The log before listed this native member, and the present one has neither listed nor removed it. */
  isUnheard(id: Id): boolean {
    return this.#unheard.has(id);
  }

  has(id: Id): boolean {
    return this.#members.has(id);
  }

  /** How this id was taken out of the directory, if it was. */
  departure(id: Id): { readonly type: Entry["type"]; readonly at: number } | undefined {
    return this.#departures.get(id);
  }

  /** The log has accepted this entry: it is true from now on. */
  append(entry: Entry): void {
    const { now } = this.#context.network.engine;
    this.#revision = entry.revision;
    this.#revisions.push({ revision: entry.revision, at: now });
    if (isClaimEntry(entry)) {
      const isPresented = entry.type === "claimed" && entry.token !== undefined && entry.token < entry.revision;
      if (isPresented) this.#context.count("key held through a restart");
    } else if (entry.type === "left" || entry.type === "lost") {
      if (entry.type === "lost") this.#checkLost(entry.id, entry.reason);
      this.#remove(entry.id, entry.type, now);
    } else {
      // Whom it replaces may have been removed while the entry was under way.
      if (entry.type === "replaced" && !this.#departures.has(entry.replaces)) {
        if (!this.#members.has(entry.replaces)) this.#context.count("replaced though never listed");
        this.#remove(entry.replaces, entry.type, now);
      }
      this.#enter(entry);
    }
    this.#keepDirectory();
  }

  #enter(entry: Extract<MemberEntry, { type: "joined" | "replaced" }>): void {
    const { invariantChecker, scenario, count } = this.#context;
    const { id, order, address, dialect, type } = entry;
    this.#checkNew({ id, order, address, dialect });
    if (!this.#forgotten.has(id)) this.#checkLast(id, order);
    const isBack = this.#forgotten.delete(id);
    if (isBack) count("back in a new log");
    this.#unheard.delete(id);
    this.#prompt.delete(id);
    this.#relisted.add(id);
    this.#departures.delete(id);
    this.#members.set(id, { id, order, address, dialect });
    this.#orders.add(order);
    this.#known.set(id, order);
    // A member of an earlier log is never refused for lack of room, nor is who takes its place.
    if (this.#members.size > scenario.capacity && !isBack && type === "joined")
      invariantChecker.violate("S7", `${this.#members.size} members`);
  }

  #keepDirectory(): void {
    const known = this.#directories.get(this.#revision) ?? [];
    this.#directories.set(this.#revision, [...known, textOf(this.members)]);
  }

  /** The server was started again, and knows nothing of the log before. */
  restarted(): void {
    this.#orders.clear();
    this.#revisions = [];
    const before = this.members;
    this.#beginLog();
    this.#prompt.clear();
    for (const { id, order } of before) if (this.#finds(id)) this.#prompt.set(id, order);
  }

  /** True of a member that has lost its session, and that nothing keeps from the server. */
  #finds(id: Id): boolean {
    const { memberRuns, network, serverProcess } = this.#context;
    const memberRun = memberRuns.get(id);
    if (memberRun?.id !== id || memberRun.isOver || !memberRun.isRegistered) return false;
    const { process, session } = memberRun;
    const isFree = network.hinderedAt(process.name, serverProcess.name) < network.engine.now - memoryMs;
    return isFree && process.absentMs(memoryMs) === 0 && session?.isClosed === true;
  }

  /** S6: whoever was looking for the server comes behind members that could be back before, also if its clock has gone back. */
  #checkLast(id: Id, order: number): void {
    const { scenario, memberRuns, network, serverProcess, invariantChecker, count } = this.#context;
    const { delayMs, splitGapMs } = scenario.conditions;
    const memberRun = memberRuns.get(id);
    // A member says who it is in eight steps, of which four may come in two parts; and the log answers.
    const isSlow = 8 * delayMs + 4 * splitGapMs + scenario.logDelayMs > promptMs || scenario.logRejects > 0;
    if (isSlow || memberRun?.hasLooked !== true || serverProcess.absentMs(memoryMs) > 0) return;
    for (const [earlier, itsOrder] of this.#prompt) {
      // An order that was made up is above what a server can give.
      if (invariantChecker.liars.has(earlier)) continue;
      const other = memberRuns.get(earlier);
      const wasHindered =
        other === undefined || other.isOver || other.id !== earlier || other.process.absentMs(memoryMs) > 0;
      if (wasHindered || network.hinderedAt(other.process.name, serverProcess.name) > network.engine.now - memoryMs)
        continue;
      count("newcomer beside members that come back");
      if (order > itsOrder) continue;
      invariantChecker.violate("S6", `${memberRun.address} has order ${order}, below that of ${other.address}`);
    }
  }

  /** The server has begun a new log: the one before has ended without an entry. */
  forgotten(): void {
    const { invariantChecker, memberRuns, serverProcess } = this.#context;
    for (const { id, address } of this.members) {
      const memberRun = memberRuns.get(id);
      const isWell = memberRun !== undefined && !memberRun.isOver && memberRun.id === id && this.#isWell(memberRun);
      if (isWell && !wasMissed(serverProcess, this.#context.limits)) {
        invariantChecker.violate("N26", `the mesh was forgotten, and ${address} lives`);
      }
    }
    this.#beginLog();
  }

  #beginLog(): void {
    const { now } = this.#context.network.engine;
    for (const [id, order] of this.#known) {
      this.#earlier.add(id);
      this.#forgotten.set(id, order);
    }
    for (const { id, dialect } of this.#members.values()) if (dialect === "native") this.#unheard.add(id);
    for (const id of this.#members.keys()) this.#departures.set(id, { type: "lost", at: now });
    this.#members.clear();
    this.#relisted.clear();
  }

  /** S5: a member holds what the log holds at that revision, and perhaps members of a log that was forgotten. */
  read(memberRun: NativeRun): void {
    const { revision, entries } = memberRun.machine;
    // Without a log members only become fewer.
    if (memberRun.releasedAt !== undefined && entries.every(({ id }) => this.#known.has(id))) return;
    const isHeld = (directory: string): boolean => {
      return directory === textOf(entries.filter(({ id }) => !this.#earlier.has(id) || directory.includes(id)));
    };
    if (this.#directories.get(revision)?.some(isHeld) === true) return;
    this.#context.invariantChecker.violate("S5", `${memberRun.address} has at revision ${revision} ${textOf(entries)}`);
  }

  /** S5: the server holds what the log holds. */
  held(addresses: readonly string[]): void {
    const own = this.members.map(({ address }) => address).join(" ");
    if (own !== addresses.join(" "))
      this.#context.invariantChecker.violate("S5", `the server has ${addresses.join(" ")}`);
  }

  #remove(id: Id, type: Entry["type"], at: number): void {
    const wasForgotten = this.#forgotten.delete(id);
    this.#unheard.delete(id);
    if (!this.#members.delete(id) && !wasForgotten && !this.madeUp.has(id))
      this.#context.invariantChecker.violate("S6", `${type} tells of ${id}, which is no member`);
    this.#departures.set(id, { type, at });
  }

  /** S6, and S4: a member that is listed as native listens at its address. */
  #checkNew({ id, order, address, dialect }: ListedMember): void {
    const { invariantChecker, memberRuns } = this.#context;
    const isBack = this.#forgotten.get(id) === order;
    // A wrong witness has the order that it likes.
    if (this.#orders.has(order) && !isBack && !this.#context.invariantChecker.liars.has(id))
      invariantChecker.violate("S6", `order ${order} of ${address} is not new`);
    if (
      this.#members.has(id) ||
      (this.#departures.has(id) && !isBack && !this.#context.invariantChecker.liars.has(id))
    ) {
      invariantChecker.violate("S6", `the id ${id} is not new`);
    }
    for (const other of this.#members.values()) {
      if (other.address === address) invariantChecker.violate("S6", `${address} is listed twice`);
    }
    const memberRun = memberRuns.get(id);
    if (dialect === "native" && memberRun?.process.names.has(address) !== true) {
      invariantChecker.violate("S4", `${memberRun?.address} is listed as ${address}, which is not proved`);
    }
  }

  /** N13: no member is lost that runs and can be reached, or that has a witness. */
  #checkLost(id: Id, reason: string): void {
    const { memberRuns, invariantChecker, limits, serverProcess } = this.#context;
    const memberRun = memberRuns.get(id);
    if (!this.#members.has(id)) this.#context.count("lost though never listed");
    if (reason.includes("nobody else has")) this.#context.count("wrong witness lost");
    this.#context.count(reason.includes("not back within") ? "lost by lease" : "lost by dial-back");
    if (memberRun === undefined || this.#context.invariantChecker.liars.has(id)) return;
    const isWell = !memberRun.isOver && memberRun.id === id && this.#isWell(memberRun);
    // A server that was suspended during a lease counts its own absence as the member's.
    if (wasMissed(serverProcess, limits)) return;
    if (isWell) invariantChecker.violate("N13", `${memberRun.address} was lost, and lives: ${reason}`);
    // After goodbye nobody reports a link with it any more; and one that has moved makes links anew while its removal is under way.
    const hasLeft = memberRun.isOver && !memberRun.process.isDead;
    const hasMoved = memberRun.process.names.size > 1;
    if (hasLeft || hasMoved || serverProcess.absentMs(memoryMs) > 0) return;
    for (const [witnessId, witness] of memberRuns) {
      if (witness.id === witnessId && witnessId !== id && this.#vouches(witness, id)) {
        invariantChecker.violate(
          "N13",
          `${memberRun.address} was lost, and ${witness.address} holds a link with it: ${reason}`,
        );
      }
    }
  }

  /** Its process was not away, and the path to the server was free. */
  #isWell({ process }: NativeRun): boolean {
    const { network, limits, serverProcess } = this.#context;
    const isReachable = network.hinderedAt(process.name, serverProcess.name) < network.engine.now - memoryMs;
    return isReachable && !wasMissed(process, limits);
  }

  /** A witness: a member with a session that has had a link with this one for so long that the server must know. */
  #vouches(witness: NativeRun, id: Id): boolean {
    const { network, linkChecker, logChecker } = this.#context;
    const { now } = network.engine;
    const { session, reportsSince } = witness;
    if (witness.isOver || !logChecker.has(witness.id) || session === undefined || reportsSince === undefined)
      return false;
    if (session.isTouched || session.isClosed || session.other?.isSpeaking !== true) return false;
    if (network.hinderedAt(witness.process.name, this.#context.serverProcess.name) > now - memoryMs) return false;
    if (witness.process.absentMs(memoryMs) > 0) return false;
    const since = linkChecker.upSince(witness, id);
    return since !== undefined && Math.max(since, reportsSince) < now - reportLagMs(this.#context);
  }
}

/** What `newcomerHoldMs` gives a member beyond its pause. */
const promptMs = defaultLimits.newcomerHoldMs - defaultLimits.serverRedialMaxMs;

/** How long a report may be on its way to the server, and the server's answer through the log. */
export function reportLagMs({ scenario, limits }: SimulationContext): number {
  const { delayMs, splitGapMs } = scenario.conditions;
  return limits.reportMs + 2 * (delayMs + splitGapMs) + scenario.logDelayMs + 500;
}

function textOf(members: readonly ListedMember[]): string {
  return members.map(({ id, order, address, dialect }) => `${order} ${id} ${address} ${dialect}`).join("\n");
}
