import type { Sink } from "../core/machine.js";
import type { Directory } from "../protocol/directory.js";
import { encodeControl } from "../protocol/native/control.js";
import type { Completeness, Missing } from "./completeness.js";
import type { Updates } from "./updates.js";
import type { MissingPair, RendezvousEvent, RendezvousOutput, RendezvousRules } from "./vocabulary.js";

/** What an outlook is made with. */
export interface OutlookOptions {
  readonly mesh: string;
  readonly rules: RendezvousRules;
  readonly directory: Directory;
  readonly completeness: Completeness;
  readonly updates: Updates;
  readonly outputs: Sink<RendezvousOutput>;
}

/** How whole a mesh is, in figures. */
export type Figures = Omit<Extract<RendezvousEvent, { type: "complete" }>, "type" | "mesh" | "revision">;

/**
 * Tells, when it changes, whether a mesh is whole, and which pairs it is short of.
 *
 * A mesh with a capacity is whole only when it is full. Missing pairs are worth a word once nothing has moved for a while:
 * during a wire-up there are always some.
 */
export class Outlook {
  readonly #options: OutlookOptions;
  #hasToldComplete = false;
  /** The state of things that was last looked at. */
  #version = -1;
  #degradedAt: number | undefined;
  /** Says that the mesh is whole, if it is. */
  #complete: Uint8Array | undefined;

  constructor(options: OutlookOptions) {
    this.#options = options;
  }

  get isWhole(): boolean {
    return this.#options.completeness.missing === 0;
  }

  get figures(): Figures {
    const { directory, completeness } = this.#options;
    return { members: directory.size, links: completeness.links, unverified: completeness.unverified };
  }

  /** Something may have changed. `isEnding`: the mesh has reached the capacity at which it ends. */
  review(isEnding: boolean, now: number): void {
    const { completeness, updates, rules } = this.#options;
    const { version } = completeness;
    if (version !== this.#version) {
      this.#version = version;
      this.#degradedAt = this.isWhole ? undefined : now + rules.limits.degradedMs;
      // What was said last is true no more, or not of the same mesh.
      this.#complete = this.isWhole ? this.#completeFrame() : undefined;
      updates.amend(this.#hasToldComplete ? this.#complete : undefined);
      updates.setWhole(completeness.natives > 0 ? this.#complete : undefined);
      // A mesh that is to end is whole once; any other may be whole again.
      if (!this.isWhole && !isEnding) this.#hasToldComplete = false;
    }
    if (this.#mayBeComplete(isEnding)) this.tellComplete();
  }

  /** Tells that the mesh is whole, unless that has been told. */
  tellComplete(): void {
    if (this.#hasToldComplete || !this.isWhole) return;
    const { mesh, directory, updates, outputs } = this.#options;
    this.#hasToldComplete = true;
    outputs.push({ type: "event", event: { type: "complete", mesh, ...this.figures, revision: directory.revision } });
    updates.tell(this.#complete ?? this.#completeFrame());
  }

  /** The first missing pairs by address, and how many there are. */
  missing(): { readonly count: number; readonly missing: readonly MissingPair[] } {
    return { count: this.#options.completeness.missing, missing: this.#firstMissing().map(byAddress) };
  }

  nextTimeout(): number | undefined {
    return this.#degradedAt;
  }

  handleTimeout(now: number): void {
    if (this.#degradedAt === undefined || this.#degradedAt > now) return;
    this.#degradedAt = undefined;
    const { mesh, directory, completeness, updates, outputs } = this.#options;
    const first = this.#firstMissing();
    const count = completeness.missing;
    outputs.push({ type: "event", event: { type: "degraded", mesh, count, missing: first.map(byAddress) } });
    const missing = first.map(({ earlier, later, reason }): [number, number, string] => {
      return [earlier.order, later.order, reason];
    });
    updates.tell(encodeControl({ type: "degraded", revision: directory.revision, count, missing }));
  }

  #mayBeComplete(isEnding: boolean): boolean {
    const { directory, completeness, rules } = this.#options;
    const { size } = directory;
    // Where nobody can attest anything, only the end tells.
    if (completeness.natives === 0) return false;
    if (rules.capacity === Number.POSITIVE_INFINITY) return size > 1;
    return isEnding || size >= rules.capacity;
  }

  #completeFrame(): Uint8Array {
    return encodeControl({ type: "complete", revision: this.#options.directory.revision, ...this.figures });
  }

  #firstMissing(): Missing[] {
    return this.#options.completeness.firstMissing(this.#options.rules.limits.namedPairs);
  }
}

function byAddress({ earlier, later, reason }: Missing): MissingPair {
  return [earlier.address, later.address, reason];
}
