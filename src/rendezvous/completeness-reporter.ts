import { EventPacer } from "../core/event-pacer.js";
import type { OutputSink } from "../core/machine.js";
import type { KeyedTimers } from "../core/timers.js";
import { type ControlOf, encodeControl } from "../protocol/native/control.js";
import type { CompletenessTracker, UnlinkedPair } from "./completeness-tracker.js";
import type { Members } from "./members.js";
import type { LogBroadcaster } from "./native/log-broadcaster.js";
import type {
  AbsentMemberRow,
  MeshTimer,
  MissingPairRow,
  RendezvousEvent,
  RendezvousOutput,
  RendezvousRules,
} from "./types.js";

/** The completeness of a mesh in numbers. */
export type CompletenessFigures = Omit<Extract<RendezvousEvent, { type: "complete" }>, "type" | "mesh" | "revision">;

/**
 * Reports when a mesh is complete, and which pairs are missing.
 *
 * A mesh is whole when every member has a session and every pair is linked. It is complete when it is whole and has as many
 * members as its capacity, or two without one. A member without a session keeps its slot, and is not counted here. A pair is
 * reported as missing after `degradedMs`: while members join there are always some.
 *
 * One member can make a mesh complete and incomplete as often as it likes, and each report goes to all members. So the time
 * between two `complete` grows, and that between two `degraded` has a lower bound; but no change delays the report of a pair
 * that stays missing.
 */
export class CompletenessReporter {
  readonly #rules: RendezvousRules;
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
  /** The newest `degraded` covers all pairs that had been missing since then. */
  #degradedUntil = Number.NEGATIVE_INFINITY;
  /** The number of members that makes it complete. */
  readonly #wanted: number;
  /** It ends when it is complete, so that is reported once. */
  readonly #isToEnd: boolean;
  #wasWhole = false;
  /** The frame `complete`, while the mesh is whole; one object, so that no member is sent it twice. */
  #frame: Uint8Array | undefined;

  constructor(
    rules: RendezvousRules,
    members: Members,
    completeness: CompletenessTracker,
    logBroadcaster: LogBroadcaster,
    outputs: OutputSink<RendezvousOutput>,
    timers: KeyedTimers<MeshTimer>,
  ) {
    const { capacity, onFull } = rules;
    const isBounded = capacity !== Number.POSITIVE_INFINITY;
    this.#rules = rules;
    this.#members = members;
    this.#completeness = completeness;
    this.#logBroadcaster = logBroadcaster;
    this.#outputs = outputs;
    this.#timers = timers;
    this.#wanted = isBounded ? capacity : 2;
    this.#isToEnd = isBounded && onFull === "teardown";
  }

  get isComplete(): boolean {
    return this.#completeness.isWhole && this.#members.present >= this.#wanted;
  }

  get figures(): CompletenessFigures {
    const { links, unverified } = this.#completeness;
    return { members: this.#members.listed.size, links, unverified };
  }

  /** Something may have changed. */
  review(now: number): void {
    const { limits } = this.#rules;
    const { version, isWhole, missing } = this.#completeness;
    const isChanged = version !== this.#version;
    if (isChanged) {
      this.#version = version;
      this.#changedAt = now;
      if (missing === 0) this.#lookBy = undefined;
      else this.#lookBy ??= now + 1.5 * limits.degradedMs;
      this.#scheduleLook();
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

  /** The first missing pairs by address, and how many there are. */
  missing(): { readonly count: number; readonly missing: readonly MissingPairRow[] } {
    const first = this.#completeness.firstMissing(this.#rules.limits.namedPairs);
    return { count: this.#completeness.missing, missing: first.map(byAddress) };
  }

  /** It is time to look for pairs that have been missing for long. */
  look(now: number): void {
    const { degradedMs, namedPairs } = this.#rules.limits;
    const until = now - degradedMs;
    const missing = this.#completeness.firstMissing(namedPairs, until, this.#degradedUntil);
    const isSettled = this.#changedAt <= until;
    if (isSettled || missing.some(({ since }) => since > this.#degradedUntil)) {
      this.#degradedAt = now;
      this.#degradedUntil = until;
      this.#emitDegraded(missing, now);
    }
    this.#lookBy = isSettled ? undefined : now + degradedMs / 2;
    this.#scheduleLook();
  }

  #scheduleLook(): void {
    const { degradedMs, degradedGapMs } = this.#rules.limits;
    const at = this.#lookBy === undefined ? undefined : Math.min(this.#lookBy, this.#changedAt + degradedMs);
    this.#timers.set("look", at === undefined ? undefined : Math.max(at, this.#degradedAt + degradedGapMs));
  }

  #emitDegraded(missing: readonly UnlinkedPair[], now: number): void {
    const { mesh, directory, natives } = this.#members;
    const { missing: count } = this.#completeness;
    this.#outputs.push({ type: "event", event: { type: "degraded", mesh, count, missing: missing.map(byAddress) } });
    const mostBytes = this.#rules.limits.degradedBytes / Math.max(1, natives);
    const encode = (pairs: readonly UnlinkedPair[]): Uint8Array =>
      encodeControl({
        type: "degraded",
        revision: directory.revision,
        count,
        missing: pairs.map((pair) => byId(pair, now)),
      });
    let named = missing;
    let frame = encode(named);
    while (frame.length > mostBytes && named.length > 1) {
      named = named.slice(0, named.length / 2);
      frame = encode(named);
    }
    this.#newest = "degraded";
    this.#logBroadcaster.sendState(frame);
  }

  /** After a change: withdraws or updates the newest report. */
  #correct(): void {
    const { isWhole, missing } = this.#completeness;
    const { listed, natives } = this.#members;
    this.#frame = isWhole && natives > 0 ? this.#completeFrame() : undefined;
    const complete = this.isComplete ? this.#frame : undefined;
    // It is reported again after pairs or members were missing, but not after a session was away.
    const isFull = listed.size >= this.#wanted;
    if (!isFull || (missing > 0 && !this.#isToEnd)) this.#hasReportedComplete = false;
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

function byAddress({ earlier, later, why }: UnlinkedPair): MissingPairRow {
  return [earlier.address, later.address, `${why.stage}: ${why.reason}`];
}

function byId({ earlier, later, why, since }: UnlinkedPair, now: number): ControlOf<"degraded">["missing"][number] {
  const { stage, attempt, reason } = why;
  return [earlier.id, later.id, stage, attempt, reason, Math.max(0, Math.round(now - since))];
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
  readonly missing: readonly MissingPairRow[];
}

/** What is missing, as a sentence for people. */
export function shortfallOf({ there, wanted, absent, count, missing }: Shortfall): string {
  const parts: string[] = [];
  if (there < wanted && wanted !== Number.POSITIVE_INFINITY) parts.push(`${there} of ${wanted} members are there`);
  if (absent.length > 0) {
    parts.push(`not there: ${absent.map(([address, reason]) => `${address} (${reason})`).join(", ")}`);
  }
  if (count > 0) {
    const named = missing.map(([a, b, reason]) => `${a} - ${b} (${reason})`).join(", ");
    const rest = count > missing.length ? ` and ${count - missing.length} more` : "";
    parts.push(`${count} pairs are missing: ${named}${rest}`);
  }
  if (parts.length === 0) parts.push("a member that came back has not reported its links since");
  return parts.join("; ");
}
