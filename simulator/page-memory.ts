import { pageBytes } from "../src/core/page-pool.js";

/** Pages of plays that are over. */
const spare: Uint8Array[] = [];

/** The memory of the members of one play. Its pages serve the next play, because new ones cost more than most of what a member does. */
export class PageMemory {
  #taken: Uint8Array[] = [];

  readonly allocate = (bytes: number): Uint8Array => {
    if (bytes !== pageBytes) return new Uint8Array(bytes);
    // Cleared, so that a play does not depend on the one before.
    const page = spare.pop()?.fill(0) ?? new Uint8Array(pageBytes);
    this.#taken.push(page);
    return page;
  };

  /** The play is over: nobody reads its pages any more. */
  release(): void {
    for (const page of this.#taken) spare.push(page);
    this.#taken = [];
  }
}
