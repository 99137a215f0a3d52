import { type Change, type Entry, happened } from "../protocol/directory.js";

/**
 * A membership log in this process's memory: it gives each change the next revision and answers at once. A log that
 * several servers share would answer later, from its watch; no machine may notice the difference.
 */
export class MemoryLog {
  #revision: number;

  /** `revision`: the one before the first. */
  constructor(revision = 0) {
    this.#revision = revision;
  }

  append(change: Change): Entry {
    this.#revision += 1;
    return happened(change, this.#revision);
  }
}
