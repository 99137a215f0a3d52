/**
 * A membership log in this process's memory: it gives each change the next revision and answers at once. A log that
 * several servers share would answer later, from its watch; no machine may notice the difference.
 */
export class MemoryLog<Change extends object> {
  #revision = 0;

  append(change: Change): Change & { readonly revision: number } {
    this.#revision += 1;
    return { ...change, revision: this.#revision };
  }
}
