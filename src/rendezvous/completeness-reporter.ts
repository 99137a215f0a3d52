import { EventPacer } from "../core/event-pacer.js";
import type { OutputSink } from "../core/machine.js";
import { earliest } from "../core/timer-table.js";
import type { Directory } from "../protocol/directory.js";
import { encodeControl } from "../protocol/native/control.js";
import type { CompletenessTracker, UnlinkedPair } from "./completeness.js";
import type { LogBroadcaster } from "./native/log-broadcaster.js";
import type { AbsentMemberRow, MissingPairRow, RendezvousEvent, RendezvousOutput, RendezvousRules } from "./types.js";

/** What a completeness reporter needs from its mesh. */
export interface CompletenessReporterOptions {
  readonly mesh: string;
  readonly rules: RendezvousRules;
  readonly directory: Directory;
  readonly completeness: CompletenessTracker;
  readonly logBroadcaster: LogBroadcaster;
  readonly outputs: OutputSink<RendezvousOutput>;
}

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
  readonly #options: CompletenessReporterOptions;
  #hasToldComplete = false;
  /** The newest report that is still true. */
  #told: "complete" | "degraded" | undefined;
  /** The version of the completeness at the last review. */
  #version = -1;
  #changedAt = Number.NEGATIVE_INFINITY;
  readonly #completeInterval = new EventPacer();
  /** The most members with which it was reported as complete. */
  #mostMembers = 0;
  /** When `complete`, which is true, may be reported. */
  #completeAt: number | undefined;
  /** When to look for pairs that have been missing for long, and by when at the latest, however much changes. */
  #lookAt: number | undefined;
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

  constructor(options: CompletenessReporterOptions) {
    const { capacity, onFull } = options.rules;
    const isBounded = capacity !== Number.POSITIVE_INFINITY;
    this.#options = options;
    this.#wanted = isBounded ? capacity : 2;
    this.#isToEnd = isBounded && onFull === "teardown";
  }

  get isComplete(): boolean {
    const { completeness } = this.#options;
    return completeness.isWhole && completeness.there >= this.#wanted;
  }

  get figures(): CompletenessFigures {
    const { directory, completeness } = this.#options;
    return { members: directory.size, links: completeness.links, unverified: completeness.unverified };
  }

  /** Something may have changed. */
  review(now: number): void {
    const { completeness, rules } = this.#options;
    const { version, isWhole } = completeness;
    const isChanged = version !== this.#version;
    if (isChanged) {
      this.#version = version;
      this.#changedAt = now;
      if (completeness.missing === 0) this.#lookBy = undefined;
      else this.#lookBy ??= now + 1.5 * rules.limits.degradedMs;
      this.#scheduleLook();
    }
    if (isChanged || isWhole !== this.#wasWhole) this.#correct();
    this.#wasWhole = isWhole;
    // Where no member can report links, only the end is reported.
    const mayTell = this.isComplete && !this.#hasToldComplete && completeness.natives > 0;
    this.#completeAt = mayTell ? this.#completeInterval.nextAt : undefined;
    if (this.#completeAt === undefined || this.#completeAt > now) return;
    const { completeGapMinMs, completeGapMaxMs } = rules.limits;
    const { size } = this.#options.directory;
    // A mesh that grows is complete again and again, but not for ever: it keeps the short gap.
    this.#completeInterval.count(now, completeGapMinMs, size > this.#mostMembers ? completeGapMinMs : completeGapMaxMs);
    this.#mostMembers = Math.max(size, this.#mostMembers);
    this.#completeAt = undefined;
    this.emitComplete();
  }

  /** Reports that the mesh is complete, if it is and that was not reported. */
  emitComplete(): void {
    if (this.#hasToldComplete || !this.isComplete) return;
    const { mesh, directory, logBroadcaster, outputs } = this.#options;
    this.#hasToldComplete = true;
    this.#told = "complete";
    outputs.push({ type: "event", event: { type: "complete", mesh, ...this.figures, revision: directory.revision } });
    logBroadcaster.tell(this.#frame ?? this.#completeFrame());
  }

  /** The first missing pairs by address, and how many there are. */
  missing(): { readonly count: number; readonly missing: readonly MissingPairRow[] } {
    const { completeness, rules } = this.#options;
    const first = completeness.firstMissing(rules.limits.namedPairs);
    return { count: completeness.missing, missing: first.map(byAddress) };
  }

  nextTimeout(): number | undefined {
    return earliest(this.#lookAt, this.#completeAt);
  }

  handleTimeout(now: number): void {
    if (this.#lookAt === undefined || this.#lookAt > now) return;
    const { completeness, rules } = this.#options;
    const { degradedMs, namedPairs } = rules.limits;
    const until = now - degradedMs;
    const missing = completeness.firstMissing(namedPairs, until, this.#degradedUntil);
    const isSettled = this.#changedAt <= until;
    if (isSettled || missing.some(({ since }) => since > this.#degradedUntil)) {
      this.#degradedAt = now;
      this.#degradedUntil = until;
      this.#emitDegraded(missing);
    }
    this.#lookBy = isSettled ? undefined : now + degradedMs / 2;
    this.#scheduleLook();
  }

  #scheduleLook(): void {
    const { degradedMs, degradedGapMs } = this.#options.rules.limits;
    const at = this.#lookBy === undefined ? undefined : Math.min(this.#lookBy, this.#changedAt + degradedMs);
    this.#lookAt = at === undefined ? undefined : Math.max(at, this.#degradedAt + degradedGapMs);
  }

  #emitDegraded(missing: readonly UnlinkedPair[]): void {
    const { mesh, directory, completeness, logBroadcaster, outputs, rules } = this.#options;
    const { missing: count, natives } = completeness;
    outputs.push({ type: "event", event: { type: "degraded", mesh, count, missing: missing.map(byAddress) } });
    const mostBytes = rules.limits.degradedBytes / Math.max(1, natives);
    const encode = (pairs: readonly UnlinkedPair[]): Uint8Array =>
      encodeControl({ type: "degraded", revision: directory.revision, count, missing: pairs.map(byOrder) });
    let named = missing;
    let frame = encode(named);
    while (frame.length > mostBytes && named.length > 1) {
      named = named.slice(0, named.length / 2);
      frame = encode(named);
    }
    this.#told = "degraded";
    logBroadcaster.tell(frame);
  }

  /** After a change: withdraws or updates the newest report. */
  #correct(): void {
    const { completeness, logBroadcaster, directory } = this.#options;
    this.#frame = completeness.isWhole && completeness.natives > 0 ? this.#completeFrame() : undefined;
    const complete = this.isComplete ? this.#frame : undefined;
    // It is reported again after pairs or members were missing, but not after a session was away.
    const isFull = directory.size >= this.#wanted;
    if (!isFull || (completeness.missing > 0 && !this.#isToEnd)) this.#hasToldComplete = false;
    if (this.#told === "complete") {
      logBroadcaster.amend(this.#hasToldComplete ? complete : undefined);
      if (!this.#hasToldComplete) this.#told = undefined;
    } else if (this.#told === "degraded") {
      logBroadcaster.expire();
      this.#told = undefined;
    }
    // Members may wait for fewer members than the capacity, unless the mesh ends at it.
    logBroadcaster.setWhole(this.#isToEnd ? complete : this.#frame);
  }

  #completeFrame(): Uint8Array {
    return encodeControl({ type: "complete", revision: this.#options.directory.revision, ...this.figures });
  }
}

function byAddress({ earlier, later, reason }: UnlinkedPair): MissingPairRow {
  return [earlier.address, later.address, reason];
}

function byOrder({ earlier, later, reason }: UnlinkedPair): [earlier: number, later: number, reason: string] {
  return [earlier.order, later.order, reason];
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
