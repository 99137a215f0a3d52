import { EventPacer } from "../core/event-pacer.js";
import type { OutputSink } from "../core/machine.js";
import type { KeyedTimers } from "../core/timers.js";
import { type MissingPair, missingPairsText } from "../protocol/missing-pair.js";
import { encodeControl } from "../protocol/native/control.js";
import { type CompletenessTracker, inJoinOrder, type UnlinkedPair } from "./completeness-tracker.js";
import type { Members } from "./members.js";
import type { LogBroadcaster } from "./native/log-broadcaster.js";
import type { SharingServers } from "./sharing-servers.js";
import type { AbsentMemberRow, MeshTimer, RendezvousEvent, RendezvousOutput, RendezvousRules } from "./types.js";

/** The completeness of a mesh in numbers. */
export type CompletenessFigures = Omit<Extract<RendezvousEvent, { type: "complete" }>, "type" | "mesh" | "revision">;

/**
 * Reports when a mesh is complete, and which pairs are missing.
 *
 * A mesh is whole when every member has a session and every pair is linked. It is complete when it is whole and has as many
 * members as its capacity, or two without one. A member without a session keeps its slot, and is not counted here. A pair is
 * reported as missing after `degradedMs`: while members join there are always some. A link with somebody that the log does not
 * list is reported after a lease: until then it may come back from an earlier log.
 *
 * One member can make a mesh complete and incomplete as often as it likes, and each report goes to all members. So the time
 * between two `complete` grows, and that between two `degraded` has a lower bound; but no change delays the report of a pair
 * that stays missing.
 */
export class CompletenessReporter {
  readonly #rules: RendezvousRules;
  readonly #servers: SharingServers;
  readonly #members: Members;
  readonly #completeness: CompletenessTracker;
  readonly #logBroadcaster: LogBroadcaster;
  readonly #outputs: OutputSink<RendezvousOutput>;
  readonly #timers: KeyedTimers<MeshTimer>;
  #hasReportedComplete = false;
  /** The newest report that is still true. */
  #newest: "complete" | "degraded" | undefined;
  /** The version of the completeness at the last review. */
  #version = -1;
  #changedAt = Number.NEGATIVE_INFINITY;
  readonly #completeInterval = new EventPacer();
  /** The most members with which it was reported as complete. */
  #mostMembers = 0;
  /** By when to look for pairs that have been missing for long, however much changes. */
  #lookBy: number | undefined;
  #degradedAt = Number.NEGATIVE_INFINITY;
  /** The version of the completeness at the newest `degraded`. */
  #degradedVersion = -1;
  /** The number of members that makes it complete. */
  readonly #wanted: number;
  /** It ends when it is complete, so that is reported once. */
  readonly #isToEnd: boolean;
  #wasWhole = false;
  /** The frame `complete`, while the mesh is whole; one object, so that no member is sent it twice. */
  #frame: Uint8Array | undefined;

  constructor(
    rules: RendezvousRules,
    servers: SharingServers,
    members: Members,
    completeness: CompletenessTracker,
    logBroadcaster: LogBroadcaster,
    outputs: OutputSink<RendezvousOutput>,
    timers: KeyedTimers<MeshTimer>,
  ) {
    const { capacity, onFull } = rules;
    const isBounded = capacity !== Number.POSITIVE_INFINITY;
    this.#rules = rules;
    this.#servers = servers;
    this.#members = members;
    this.#completeness = completeness;
    this.#logBroadcaster = logBroadcaster;
    this.#outputs = outputs;
    this.#timers = timers;
    this.#wanted = isBounded ? capacity : 2;
    this.#isToEnd = isBounded && onFull !== "hold";
  }

  get isComplete(): boolean {
    return this.#isWhole && this.#members.present >= this.#wanted;
  }

  /** While the store is away nothing is said to be whole: what is known of members at other servers may be outdated. */
  get #isWhole(): boolean {
    return this.#servers.isStoreThere && this.#completeness.isWhole;
  }

  get figures(): CompletenessFigures {
    const { links, unverified } = this.#completeness;
    return { members: this.#members.listed.size, links, unverified };
  }

  /** Something may have changed. */
  review(now: number): void {
    const { limits } = this.#rules;
    const isWhole = this.#isWhole;
    const { version } = this.#completeness;
    const isChanged = version !== this.#version;
    if (isChanged) {
      this.#version = version;
      this.#changedAt = now;
      if (this.#count === 0) this.#lookBy = undefined;
      else this.#lookBy = Math.min(this.#lookBy ?? Number.POSITIVE_INFINITY, now + 1.5 * limits.degradedMs);
      this.#scheduleLook(now);
    }
    if (isChanged || isWhole !== this.#wasWhole) this.#correct();
    this.#wasWhole = isWhole;
    // Where no member can report links, only the end is reported.
    const mayReport = this.isComplete && !this.#hasReportedComplete && this.#members.natives > 0;
    const at = mayReport ? this.#completeInterval.nextAt : undefined;
    this.#timers.set("complete", at);
    if (at === undefined || at > now) return;
    const { completeGapMinMs, completeGapMaxMs } = limits;
    const { size } = this.#members.listed;
    // A mesh that grows is complete again and again, but not for ever: it keeps the short gap.
    this.#completeInterval.count(now, completeGapMinMs, size > this.#mostMembers ? completeGapMinMs : completeGapMaxMs);
    this.#mostMembers = Math.max(size, this.#mostMembers);
    this.#timers.clear("complete");
    this.emitComplete();
  }

  /** Reports that the mesh is complete, if it is and that was not reported. */
  emitComplete(): void {
    if (this.#hasReportedComplete || !this.isComplete) return;
    const { mesh, directory } = this.#members;
    this.#hasReportedComplete = true;
    this.#newest = "complete";
    const { revision } = directory;
    this.#outputs.push({ type: "event", event: { type: "complete", mesh, ...this.figures, revision } });
    this.#logBroadcaster.sendState(this.#frame ?? this.#completeFrame());
  }

  /** The first missing pairs, and how many there are. */
  missing(): { readonly count: number; readonly missing: readonly MissingPair[] } {
    const first = this.#completeness.overdue(this.#rules.limits.namedPairs);
    return { count: this.#count, missing: inJoinOrder(first).map(byAddress) };
  }

  /** It is time to look for pairs that have been missing for long. */
  look(now: number): void {
    const { degradedMs, namedPairs } = this.#rules.limits;
    const isSettled = this.#changedAt + degradedMs <= now;
    const pairs = this.#completeness.overdue(namedPairs, now, this.#degradedAt);
    const isNew = isSettled && this.#degradedVersion !== this.#completeness.version;
    if (pairs.length > 0 && (isNew || pairs.some(({ overdueAt }) => overdueAt > this.#degradedAt))) {
      this.#emitDegraded(pairs, now);
    }
    this.#lookBy = isSettled ? this.#completeness.nextOverdueAt(now) : now + degradedMs / 2;
    this.#scheduleLook(now);
  }

  /** The missing pairs, linked ones with somebody that the log does not list, and members that are away. */
  get #count(): number {
    const { missing, unlisted, away } = this.#completeness;
    return missing + unlisted + away;
  }

  #scheduleLook(now: number): void {
    const { degradedMs, degradedGapMs } = this.#rules.limits;
    const settledAt = this.#changedAt + degradedMs;
    const at = this.#lookBy === undefined || settledAt <= now ? this.#lookBy : Math.min(this.#lookBy, settledAt);
    this.#timers.set("look", at === undefined ? undefined : Math.max(at, this.#degradedAt + degradedGapMs));
  }

  #emitDegraded(pairs: readonly UnlinkedPair[], now: number): void {
    const { mesh, natives } = this.#members;
    const count = this.#count;
    this.#degradedAt = now;
    this.#degradedVersion = this.#completeness.version;
    this.#outputs.push({
      type: "event",
      event: { type: "degraded", mesh, count, missing: inJoinOrder(pairs).map(byAddress) },
    });
    const mostBytes = this.#rules.limits.degradedBytes / Math.max(1, natives);
    let named = pairs;
    let frame = this.#degradedFrame(count, named, now);
    while (frame.length > mostBytes && named.length > 1) {
      named = named.slice(0, named.length / 2);
      frame = this.#degradedFrame(count, named, now);
    }
    this.#newest = "degraded";
    this.#logBroadcaster.sendState(frame);
  }

  #degradedFrame(count: number, pairs: readonly UnlinkedPair[], now: number): Uint8Array {
    const unlisted = new Map(pairs.flatMap(({ unlisted: peer }) => (peer === undefined ? [] : [[peer.id, peer]])));
    return encodeControl({
      type: "degraded",
      revision: this.#members.directory.revision,
      count,
      missing: inJoinOrder(pairs).map(({ earlier, later, why, since }) => {
        return [earlier.id, later.id, why.stage, why.attempt, why.reason, Math.max(0, Math.round(now - since))];
      }),
      ...(unlisted.size === 0 ? {} : { unlisted: [...unlisted.values()] }),
    });
  }

  /** After a change: withdraws or updates the newest report. */
  #correct(): void {
    const isWhole = this.#isWhole;
    const { listed, natives } = this.#members;
    this.#frame = isWhole && natives > 0 ? this.#completeFrame() : undefined;
    const complete = this.isComplete ? this.#frame : undefined;
    // It is reported again after pairs or members were missing, but not after a session was away.
    const isFull = listed.size >= this.#wanted;
    if (!isFull || (this.#count > 0 && !this.#isToEnd)) this.#hasReportedComplete = false;
    if (this.#newest === "complete") {
      this.#logBroadcaster.amendState(this.#hasReportedComplete ? complete : undefined);
      if (!this.#hasReportedComplete) this.#newest = undefined;
    } else if (this.#newest === "degraded") {
      this.#logBroadcaster.expireState();
      this.#newest = undefined;
    }
    // Members may wait for fewer members than the capacity, unless the mesh ends at it.
    this.#logBroadcaster.setWhole(this.#isToEnd ? complete : this.#frame);
  }

  #completeFrame(): Uint8Array {
    return encodeControl({ type: "complete", revision: this.#members.directory.revision, ...this.figures });
  }
}

/** A pair for people, on the machine's clock. */
export function byAddress({ earlier: { address: a }, later: { address: b }, why, since }: UnlinkedPair): MissingPair {
  return { a, b, owner: a, ...why, since };
}

/** What is missing for a mesh to be complete. */
export interface Shortfall {
  /** How many members have a session, and how many are wanted; Infinity for no bound. */
  readonly there: number;
  readonly wanted: number;
  /** Members without a session, or gone: the first of them. */
  readonly absent: readonly AbsentMemberRow[];
  /** How many pairs are not linked, and the first of them. */
  readonly count: number;
  readonly missing: readonly MissingPair[];
}

/** What is missing, as a sentence for people. */
export function shortfallOf({ there, wanted, absent, count, missing }: Shortfall, now: number): string {
  const parts: string[] = [];
  if (there < wanted && wanted !== Number.POSITIVE_INFINITY) parts.push(`${there} of ${wanted} members are there`);
  if (absent.length > 0) {
    parts.push(`not there: ${absent.map(([address, reason]) => `${address} (${reason})`).join(", ")}`);
  }
  if (count > 0) parts.push(missingPairsText(count, missing, now));
  if (parts.length === 0) parts.push("a member that came back has not reported its links since");
  return parts.join("; ");
}
