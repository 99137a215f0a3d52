import type { Limits } from "../core/limits.js";
import type { OutputSink } from "../core/machine.js";
import type { KeyedTimers, Timers } from "../core/timers.js";
import type { Id } from "../protocol/directory.js";
import type { ControlOf } from "../protocol/native/control.js";
import type { MemberRecord } from "./member-record.js";
import type { Members } from "./members.js";
import type { SharingServers } from "./sharing-servers.js";
import type { LogFact, LogState, RendezvousOutput } from "./types.js";

/**
 * Where the members of a mesh have their sessions, among the servers that share its log, and what this server tells the others
 * of its own: who has a session here, what they report, and how many members of an earlier log are awaited here.
 *
 * A server that keeps its log for itself publishes nothing.
 */
export class Attachments {
  readonly #limits: Limits;
  readonly #servers: SharingServers;
  readonly #members: Members;
  readonly #outputs: OutputSink<RendezvousOutput>;
  /** When the newest report of a member is published. */
  readonly #reportTimers: KeyedTimers<MemberRecord>;
  /** How many members of an earlier log each other server awaits. */
  readonly #awaited = new Map<Id, number>();
  /** How many of them this server has published. */
  #published = 0;

  constructor(
    limits: Limits,
    servers: SharingServers,
    members: Members,
    outputs: OutputSink<RendezvousOutput>,
    timers: Pick<Timers, "keyed">,
  ) {
    this.#limits = limits;
    this.#servers = servers;
    this.#members = members;
    this.#outputs = outputs;
    this.#reportTimers = timers.keyed((record) => this.#publishReport(record));
  }

  publish(fact: LogFact): void {
    if (this.#servers.isShared) this.#outputs.push({ type: "publish", mesh: this.#members.mesh, fact });
  }

  /** The log says where the newest session of a member is, or was. Returns whether that changes by whom it is judged. */
  locate(record: MemberRecord, server: Id | undefined, attachment: number, isDetached = false): boolean {
    const { isElsewhere, isServerThere, isServerLate } = record;
    const [isThere, isLate] = [this.#servers.has(server), this.#servers.isLate(server)];
    record.locate(server, attachment, isDetached, isThere, isLate);
    return isElsewhere !== record.isElsewhere || isServerThere !== isThere || isServerLate !== isLate;
  }

  /** Other servers are there. Returns whether that changes where the member is, or by whom it is judged. */
  relocate(record: MemberRecord): boolean {
    return this.locate(record, record.server, record.attachment, record.isDetached);
  }

  /** Publishes whether a listed member has its session here, if the log says something else. */
  settle(record: MemberRecord, reason: string): void {
    if (!this.#servers.isShared || record.member === undefined || record.isAttaching) return;
    const { id, attachment } = record;
    const isHere = record.server === this.#servers.self && !record.isDetached;
    if (record.session !== undefined && !isHere) {
      record.isAttaching = true;
      this.publish({ type: "attached", id });
    } else if (record.session === undefined && isHere && record.isStanding && record.detaching !== attachment) {
      record.detaching = attachment;
      this.publish({ type: "detached", id, judges: attachment, reason });
    } else if (record.isReportDue && !this.#reportTimers.has(record)) this.#publishReport(record);
  }

  /** What was published before may not have been written: it is said again. */
  settleAnew(record: MemberRecord): void {
    record.detaching = undefined;
    this.attached(record);
    this.settle(record, "its session is over");
  }

  /** The session here has another attachment: what was reported on it counts only for the one before. */
  attached(record: MemberRecord): void {
    record.isAttaching = false;
    record.isReportDue = record.session !== undefined && record.dialect === "native" && !record.isOutdated;
  }

  /** A member has reported its links on its session here. */
  reported(record: MemberRecord, now: number): void {
    if (!this.#servers.isShared) return;
    record.isReportDue = true;
    if (!this.#reportTimers.has(record)) this.#reportTimers.set(record, now + this.#limits.storeReportMs);
  }

  /** What members have reported here goes out before whatever is published next. */
  flushReports(): void {
    for (const record of this.#members.listed.values()) {
      this.#reportTimers.clear(record);
      if (record.isReportDue) this.#publishReport(record);
    }
  }

  /** A member is not listed any more. */
  remove(record: MemberRecord): void {
    this.#reportTimers.clear(record);
  }

  /** So many members of an earlier log are awaited here. */
  await(count: number): void {
    if (count === this.#published) return;
    this.#published = count;
    this.publish({ type: "awaiting", count });
  }

  /** Another server awaits so many. */
  awaitElsewhere(server: Id, count: number): void {
    if (server === this.#servers.self) return;
    if (count > 0) this.#awaited.set(server, count);
    else this.#awaited.delete(server);
    this.countAwaited();
  }

  /** Those that a server awaits count while it is there. */
  countAwaited(): void {
    let count = 0;
    for (const [server, each] of this.#awaited) {
      if (this.#servers.has(server)) count += each;
    }
    this.#members.awaitedElsewhere = count;
  }

  /** The log has been read anew. */
  restoreAwaited(awaiting: LogState["awaiting"]): void {
    this.#awaited.clear();
    // What this server has published before the log began may be lost.
    this.#published = awaiting.find(({ server }) => server === this.#servers.self)?.count ?? 0;
    for (const { server, count } of awaiting) this.awaitElsewhere(server, count);
    this.countAwaited();
  }

  /** One that is not attached yet is published when it is. */
  #publishReport(record: MemberRecord): void {
    const { id, attachment, session, server, isDetached } = record;
    if (session === undefined || isDetached || server !== this.#servers.self) return;
    record.isReportDue = false;
    this.publish({ type: "reported", id, attachment, report: reportOf(record) });
  }
}

/** All that a member has reported, as one report. */
function reportOf({ up, down, unlisted }: MemberRecord): Pick<ControlOf<"links">, "up" | "down" | "unlisted"> {
  const peers = Array.from(unlisted.values()).flatMap(({ peer }) => peer ?? []);
  return {
    up: Array.from(up, ([id, { attempt }]): [Id, number] => [id, attempt]),
    down: Array.from(down, ([id, { stage, attempt, reason }]): ControlOf<"links">["down"][number] => {
      return [id, stage, attempt, reason];
    }),
    ...(peers.length === 0 ? {} : { unlisted: peers }),
  };
}
