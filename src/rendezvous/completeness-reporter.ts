import { EventPacer } from "../core/event-pacer.js";
import type { OutputSink } from "../core/machine.js";
import { earliest } from "../core/timer-table.js";
import type { Directory } from "../protocol/directory.js";
import { encodeControl } from "../protocol/native/control.js";
import type { CompletenessTracker, UnlinkedPair } from "./completeness.js";
import type { LogBroadcaster } from "./native/log-broadcaster.js";
import type { MissingPairRow, RendezvousEvent, RendezvousOutput, RendezvousRules } from "./types.js";

/** What an outlook is made with. */
export interface CompletenessReporterOptions {
  readonly mesh: string;
  readonly rules: RendezvousRules;
  readonly directory: Directory;
  readonly completeness: CompletenessTracker;
  readonly updates: LogBroadcaster;
  readonly outputs: OutputSink<RendezvousOutput>;
}

/** How whole a mesh is, in figures. */
export type CompletenessFigures = Omit<Extract<RendezvousEvent, { type: "complete" }>, "type" | "mesh" | "revision">;

/**
 * Tells when a mesh is complete, and which pairs it is short of.
 *
 * A mesh is whole when every member is there and every pair is linked, and complete when it is whole and as many are there
 * as its capacity, or two without one. The dead fill no capacity: a member without a session keeps its slot, and counts for
 * nothing here. A pair is told as missing once it has been missing for a while: during a wire-up there are always some.
 *
 * One member can make a mesh complete and incomplete as often as it likes, and each report goes to everybody. So the time
 * between two words that it is complete grows, and that between two reports of missing pairs has a lower bound; but no
 * change holds back the report of a pair that stays missing.
 */
export class CompletenessReporter {
  readonly #options: CompletenessReporterOptions;
  #hasToldComplete = false;
  /** What was told last and is still true. */
  #told: "complete" | "degraded" | undefined;
  /** The state of things that was last looked at. */
  #version = -1;
  #changedAt = Number.NEGATIVE_INFINITY;
  readonly #completeInterval = new EventPacer();
  /** The most members of which it has been told that all are linked. */
  #mostMembers = 0;
  /** When it may be told that the mesh is whole, which it is. */
  #completeAt: number | undefined;
  /** When to look for pairs that have been missing for long: once nothing changes, and at the latest then. */
  #lookAt: number | undefined;
  #lookBy: number | undefined;
  #degradedAt = Number.NEGATIVE_INFINITY;
  /** All pairs that had been missing since then were taken into account when pairs were last told. */
  #degradedUntil = Number.NEGATIVE_INFINITY;
  /** How many members make it complete. */
  readonly #wanted: number;
  /** It ends when it is complete, so it is complete only once. */
  readonly #isToEnd: boolean;
  #wasWhole = false;
  /** Says that the mesh is whole, if it is; one frame, so that nobody is sent it twice. */
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
    // Where nobody can attest anything, only the end tells.
    const mayTell = this.isComplete && !this.#hasToldComplete && completeness.natives > 0;
    this.#completeAt = mayTell ? this.#completeInterval.nextAt : undefined;
    if (this.#completeAt === undefined || this.#completeAt > now) return;
    const { completeGapMinMs, completeGapMaxMs } = rules.limits;
    const { size } = this.#options.directory;
    // One that grows is complete again and again by nobody's fault, and not without end.
    this.#completeInterval.count(now, completeGapMinMs, size > this.#mostMembers ? completeGapMinMs : completeGapMaxMs);
    this.#mostMembers = Math.max(size, this.#mostMembers);
    this.#completeAt = undefined;
    this.tellComplete();
  }

  /** Tells that the mesh is complete, if it is, and unless that has been told. */
  tellComplete(): void {
    if (this.#hasToldComplete || !this.isComplete) return;
    const { mesh, directory, updates, outputs } = this.#options;
    this.#hasToldComplete = true;
    this.#told = "complete";
    outputs.push({ type: "event", event: { type: "complete", mesh, ...this.figures, revision: directory.revision } });
    updates.tell(this.#frame ?? this.#completeFrame());
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
      this.#tellDegraded(missing);
    }
    this.#lookBy = isSettled ? undefined : now + degradedMs / 2;
    this.#scheduleLook();
  }

  #scheduleLook(): void {
    const { degradedMs, degradedGapMs } = this.#options.rules.limits;
    const at = this.#lookBy === undefined ? undefined : Math.min(this.#lookBy, this.#changedAt + degradedMs);
    this.#lookAt = at === undefined ? undefined : Math.max(at, this.#degradedAt + degradedGapMs);
  }

  #tellDegraded(missing: readonly UnlinkedPair[]): void {
    const { mesh, directory, completeness, updates, outputs, rules } = this.#options;
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
    updates.tell(frame);
  }

  /** What was told before a change is true no more, or not of the same mesh. */
  #correct(): void {
    const { completeness, updates, directory } = this.#options;
    this.#frame = completeness.isWhole && completeness.natives > 0 ? this.#completeFrame() : undefined;
    const complete = this.isComplete ? this.#frame : undefined;
    // It is told again after pairs were missing, or members; not for a session that was away.
    const isFull = directory.size >= this.#wanted;
    if (!isFull || (completeness.missing > 0 && !this.#isToEnd)) this.#hasToldComplete = false;
    if (this.#told === "complete") {
      updates.amend(this.#hasToldComplete ? complete : undefined);
      if (!this.#hasToldComplete) this.#told = undefined;
    } else if (this.#told === "degraded") {
      updates.expire();
      this.#told = undefined;
    }
    // Who waits for fewer members is told of them too, but not where the mesh is one only at its capacity.
    updates.setWhole(this.#isToEnd ? complete : this.#frame);
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
