import { type ErrorCode, FullmeshError, failureTable } from "./core/errors.js";

/** Errors that travel: what is said of them on the wire, and what they are at the other end. */

/** The most of an error's message that travels, in UTF-16 units: some lines, and no stack. */
const longestMessage = 1_024;

/** An error as it travels. */
export interface Reason {
  readonly code: ErrorCode;
  readonly message: string;
}

/** What the other end is told of an error. `fallback`: the code of one that has none of ours. */
export function reasonOf(error: unknown, fallback: ErrorCode): Reason {
  const code = error instanceof FullmeshError ? error.code : fallback;
  return { code, message: messageOf(error).slice(0, longestMessage) };
}

/** An error that was told by the other end; `fallback` is the code of one whose code this version does not know. */
export function errorOf(code: string, message: string, fallback: ErrorCode): FullmeshError {
  if (Object.hasOwn(failureTable, code)) return new FullmeshError(code as ErrorCode, message);
  return new FullmeshError(fallback, `${code}: ${message}`);
}

/** The words of anything that was thrown. */
export function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message;
  try {
    return String(error);
  } catch {
    // An object without a prototype has no words.
    return "something that cannot be shown";
  }
}
