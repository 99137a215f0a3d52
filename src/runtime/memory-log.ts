import { entryOf } from "../protocol/directory.js";
import type { LogAppend } from "../rendezvous/types.js";
import type { LogAnswerHandler, MembershipLog } from "./membership-log.js";

/** Membership logs in the memory of this process: every append is taken, and answered at once. */
export class MemoryLog implements MembershipLog {
  readonly #answer: LogAnswerHandler;
  /** The revision of the newest entry, by mesh. */
  readonly #revisions = new Map<string, number>();
  #isClosed = false;

  constructor(answer: LogAnswerHandler) {
    this.#answer = answer;
  }

  append({ mesh, key, after, change }: LogAppend): void {
    if (this.#isClosed) return;
    const revision = Math.max(this.#revisions.get(mesh) ?? after, after) + 1;
    this.#revisions.set(mesh, revision);
    this.#answer({ type: "appended", mesh, key, entry: entryOf(change, revision) });
  }

  forget(mesh: string): void {
    this.#revisions.delete(mesh);
  }

  close(): void {
    this.#isClosed = true;
  }
}
