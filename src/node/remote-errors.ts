import { type ErrorCode, FullmeshError, failureTable } from "../core/errors.js";

/** Errors that travel: what is said of them on the wire, and what they are at the other end. */

/** An error as it travels. */
export interface RemoteFailure {
  readonly code: ErrorCode;
  readonly message: string;
}

/**
 * What this end finds itself: it has given up, or nothing can be sent to the peer. Where a peer says such a word it speaks
 * of something else, so nobody may take it for a finding of ours: what follows from the two is not the same.
 */
const ownCodes: ReadonlySet<string> = new Set<ErrorCode>([
  "PEER_DOWN",
  "TIMED_OUT",
  "ABORTED",
  "ENDED",
  "QUEUE_FULL",
  "NOT_LINKED",
  "UNKNOWN_PEER",
  "PEER_GONE",
  "AMBIGUOUS_PEER",
  "CLASSIC_PEER",
  "NATIVE_PEER",
  "BAD_OPTION",
]);

/** What the other end is told of an error, whatever was thrown. `fallback`: the code of one that has none of ours. */
export function reasonOf(error: unknown, fallback: ErrorCode): RemoteFailure {
  return { code: codeOf(error) ?? fallback, message: messageOf(error) };
}

/**
 * What the other end has told. `fallback` is the code where this version does not know the one that came, or it may not
 * come from there; then the message begins with the one that came.
 */
export function failureToSend(code: string, message: string, fallback: ErrorCode): RemoteFailure {
  return isCode(code) && !ownCodes.has(code) ? { code, message } : { code: fallback, message: `${code}: ${message}` };
}

/** The error that the other end has told of; see `toldReason`. */
export function errorOf(code: string, message: string, fallback: ErrorCode): FullmeshError {
  const told = failureToSend(code, message, fallback);
  return new FullmeshError(told.code, told.message);
}

/** The words of anything that was thrown. */
export function messageOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    // An object without a prototype has no words, and a getter may throw.
    return "something that cannot be shown";
  }
}

/** The code of an error of ours; programs may write to it what they like. */
function codeOf(error: unknown): ErrorCode | undefined {
  try {
    const code: unknown = error instanceof FullmeshError ? error.code : undefined;
    return isCode(code) ? code : undefined;
  } catch {
    return undefined;
  }
}

function isCode(code: unknown): code is ErrorCode {
  return typeof code === "string" && Object.hasOwn(failureTable, code);
}
