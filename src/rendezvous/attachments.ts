import type { Limits } from "../core/limits.js";
import type { OutputSink } from "../core/machine.js";
import type { KeyedTimers, Timers } from "../core/timers.js";
import type { Address } from "../protocol/address.js";
import type { Id } from "../protocol/directory.js";
import type { ControlOf } from "../protocol/native/control.js";
import type { ClaimRegistry } from "./claim-registry.js";
import type { CompletenessTracker } from "./completeness-tracker.js";
import type { FailureDetector } from "./failure-detector.js";
import type { MemberRecord } from "./member-record.js";
import type { MemberSession } from "./member-session.js";
import type { Members } from "./members.js";
import type { Membership } from "./membership.js";
import type { SharingServers } from "./sharing-servers.js";
import type { LogFact, LogState, RendezvousOutput, SharedLogInput } from "./types.js";

const sessionOver = "its session is over";

/** A report is written whole: for each link that it names the next one waits so long, which makes some 20 KB a second of a member. */
const upGapMs = 2;
const downGapMs = 10;

/** What the reasons of one report may take in the store, which takes no request above 1.5 MB; a letter takes 3 bytes at most. */
const reasonBytes = 500_000;

/**
 * Where the members of a mesh have their sessions, among the servers that share its log. What other servers say of theirs decides who
 * is present, who judges whom, and which links are reported. What this server tells them of its own: who has a session here,
 * what they report, and how many members of an earlier log are awaited here.
 *
 * A server that keeps its log for itself publishes nothing.
 */
export class Attachments {
  readonly #limits: Limits;
  readonly #servers: SharingServers;
  readonly #membership: Membership;
  readonly #members: Members;
  readonly #completeness: CompletenessTracker;
  readonly #failureDetector: FailureDetector;
  readonly #claims: ClaimRegistry;
  readonly #outputs: OutputSink<RendezvousOutput>;
  /** When the newest report of a member is published. */
  readonly #reportTimers: KeyedTimers<MemberRecord>;
  /** How many members of an earlier log each other server awaits. */
  readonly #awaited = new Map<Id, number>();
  /** How many of them this server has published; undefined: what it has published may be lost, or still come. */
  #published: number | undefined = 0;

  constructor(
    limits: Limits,
    servers: SharingServers,
    membership: Membership,
    completeness: CompletenessTracker,
    failureDetector: FailureDetector,
    claims: ClaimRegistry,
    outputs: OutputSink<RendezvousOutput>,
    timers: Pick<Timers, "keyed">,
  ) {
    this.#limits = limits;
    this.#servers = servers;
    this.#membership = membership;
    this.#members = membership.members;
    this.#completeness = completeness;
    this.#failureDetector = failureDetector;
    this.#claims = claims;
    this.#outputs = outputs;
    this.#reportTimers = timers.keyed((record) => this.#publishReport(record));
  }

  // What other servers say.

  /** A fact about a member counts. Returns the session here that is over, because the member has one at another server. */
  published(
    { server, fact, attachment = 0 }: Extract<SharedLogInput, { type: "published" }>,
    now: number,
  ): MemberSession | undefined {
    if (fact.type === "awaiting") this.#awaitElsewhere(server, fact.count);
    else if (fact.type === "reported" && server !== this.#servers.self) this.#reportedElsewhere(fact, now);
    else if (fact.type === "attached") return this.#attached(fact.id, server, attachment, now);
    else if (fact.type === "detached") this.#detached(fact.id, server, fact.judges, fact.reason, now);
    return undefined;
  }

  #attached(id: Id, server: Id, attachment: number, now: number): MemberSession | undefined {
    const record = this.#members.listed.get(id);
    if (record === undefined) return undefined;
    const { isAttaching, session } = record;
    const isOwn = server === this.#servers.self;
    if (isOwn) this.#begin(record);
    else if (session === undefined || !isAttaching) this.#completeness.setBack(record);
    this.locate(record, server, attachment, now);
    // A later attachment to this server is on the way.
    if (!isOwn && !isAttaching && session !== undefined) return session;
    this.settle(record);
    return undefined;
  }

  #detached(id: Id, server: Id, judges: number, reason: string, now: number): void {
    const record = this.#members.listed.get(id);
    if (record?.attachment !== judges) return;
    this.locate(record, server, judges, now, reason);
    this.settle(record);
  }

  #reportedElsewhere({ id, attachment, report }: Extract<LogFact, { type: "reported" }>, now: number): void {
    const record = this.#members.listed.get(id);
    if (record === undefined || record.attachment !== attachment || record.session !== undefined) return;
    this.#failureDetector.judge(this.#completeness.report(record, { ...report, full: true }, now), now);
  }

  /** The newest session of a member is or was at this server; `over`: why it is over, if that is so. */
  locate(record: MemberRecord, server: Id | undefined, attachment = 0, now: number, over?: string): void {
    const isDetached = server === undefined || over !== undefined;
    this.#place(record, server, attachment, isDetached, over ?? "has no session", now);
  }

  /** Other servers are there, or late, or this one has another life. */
  relocate(now: number): void {
    for (const record of this.#members.listed.values()) {
      const { server, attachment, isDetached } = record;
      this.#place(record, server, attachment, isDetached, "nothing comes of its server", now);
      this.settle(record);
    }
    this.#countAwaited();
  }

  #place(
    record: MemberRecord,
    server: Id | undefined,
    attachment: number,
    isDetached: boolean,
    reason: string,
    now: number,
  ): void {
    const { isElsewhere, isServerThere, isServerLate } = record;
    const [isThere, isLate] = [this.#servers.has(server), this.#servers.isLate(server)];
    record.locate(server, attachment, isDetached, isThere, isLate);
    if (isElsewhere === record.isElsewhere && isServerThere === isThere && isServerLate === isLate) return;
    record.heardAt = now;
    if (record.isElsewhere) this.#claims.leave(record.id);
    else this.#claims.return(record.id, now);
    // Whoever is there is not lost. If that is appended already, the log rejects it.
    if (record.isElsewhere && record.removal?.type === "lost" && !record.isRemovalAppended)
      this.#membership.keep(record);
    this.#failureDetector.moved(record, reason, now);
  }

  /** The log has been read anew. */
  restore({ attachments, reports, awaiting }: LogState, now: number): void {
    const byId = new Map(attachments.map((attachment) => [attachment.id, attachment]));
    for (const record of this.#members.listed.values()) {
      const { server, attachment } = byId.get(record.id) ?? {};
      this.locate(record, server, attachment, now);
    }
    this.settleAnew();
    for (const fact of reports) this.#reportedElsewhere(fact, now);
    this.#awaited.clear();
    // What this server has published before the log began may be lost, or not have come yet.
    const stored = awaiting.find(({ server }) => server === this.#servers.self)?.count ?? 0;
    if (stored !== this.#published) this.#published = undefined;
    for (const { server, count } of awaiting) this.#awaitElsewhere(server, count);
    this.#countAwaited();
  }

  /** Another server awaits so many. */
  #awaitElsewhere(server: Id, count: number): void {
    if (server === this.#servers.self) return;
    if (count > 0) this.#awaited.set(server, count);
    else this.#awaited.delete(server);
    this.#countAwaited();
  }

  /** Those that a server awaits count while it is there. */
  #countAwaited(): void {
    let count = 0;
    for (const [server, each] of this.#awaited) {
      if (this.#servers.has(server)) count += each;
    }
    this.#members.awaitedElsewhere = count;
  }

  /** Where the server is reached at which this member has its session; undefined if that is this one, or it has none. */
  serverOf(record: MemberRecord | undefined): Address | undefined {
    return record?.isElsewhere === true ? this.#servers.addressOf(record.server) : undefined;
  }

  // What this server says.

  publish(fact: LogFact): void {
    if (this.#servers.isShared) this.#outputs.push({ type: "publish", mesh: this.#members.mesh, fact });
  }

  /** Publishes whether a listed member has its session here, if the log says something else. */
  settle(record: MemberRecord, reason = sessionOver): void {
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
  settleAnew(): void {
    for (const record of this.#members.listed.values()) {
      record.detaching = undefined;
      this.#begin(record);
      this.settle(record);
    }
  }

  /** The session here has another attachment: what was reported on it counts only for the one before. */
  #begin(record: MemberRecord): void {
    record.isAttaching = false;
    record.isReportDue = record.session !== undefined && record.dialect === "native" && !record.isOutdated;
  }

  /** A member has reported its links on its session here. */
  reported(record: MemberRecord, now: number): void {
    if (!this.#servers.isShared) return;
    record.isReportDue = true;
    if (this.#reportTimers.has(record)) return;
    const gapMs = record.up.size * upGapMs + record.down.size * downGapMs;
    this.#reportTimers.set(record, now + Math.max(this.#limits.storeReportMs, gapMs));
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
  const longestReason = Math.floor(reasonBytes / 3 / Math.max(1, down.size));
  return {
    up: Array.from(up, ([id, { attempt }]): [Id, number] => [id, attempt]),
    down: Array.from(down, ([id, { stage, attempt, reason }]): ControlOf<"links">["down"][number] => {
      return [id, stage, attempt, reason.slice(0, longestReason)];
    }),
    ...(peers.length === 0 ? {} : { unlisted: peers }),
  };
}
