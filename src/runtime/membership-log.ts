import type { LogAnswer, LogAppend, LogFact } from "../rendezvous/types.js";

/**
 * The port to the membership logs of a server's meshes: one ordered log for each mesh, which several servers may share.
 *
 * Every implementation runs the suite in test/runtime/membership-log.ts. Its rules:
 * - Each append is answered exactly once, with its key: `appended` with the entry, or `rejected` with a reason. The answers
 *   come in the order of the appends, before `append` returns or any time later; only what has not been sent yet may be
 *   rejected before its turn. An implementation that waits for a
 *   network bounds that wait, and rejects what it has not sent by then. The machine lets a newcomer go after `logAnswerMs`,
 *   and keeps its slot until the answer.
 * - A rejection is final: a rejected change never becomes an entry.
 * - Entries of one mesh come in the order of their revisions, each above the one before it and above `after` of its append.
 *   An entry of another writer comes at its place among them, without a key.
 * - After `forget` nothing more comes of the log of that mesh; the next append begins a new log. After `close` nothing more
 *   comes at all.
 */
export interface MembershipLog {
  append(append: LogAppend): void;
  /** The log of this mesh is not needed any more. No append to it waits for its answer. */
  forget(mesh: string): void;
  close(): void;
}

/** Logs that several servers share, each of which tells the others more than entries. */
export interface SharedMembershipLog extends MembershipLog {
  /** Comes back as `published`, at this server too, if it counts. */
  publish(mesh: string, fact: LogFact): void;
}

/** Takes the answers of a membership log, in their order. */
export type LogAnswerHandler = (answer: LogAnswer) => void;
