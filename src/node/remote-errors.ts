import { type ErrorCode, FullmeshError, isErrorCode } from "../core/errors.js";
import { isCode } from "../protocol/native/reason.js";
import { decodeErrorData } from "./payloads.js";

/**
 * What a program at a peer has thrown, or has aborted a stream with. The class tells its codes from this library's: those
 * never come from a peer, so a `TIMED_OUT` is always this node's own.
 */
export class RemoteError extends FullmeshError {
  /**
   * The `code` of what was thrown, if that is a text of 1 to 64 printable ASCII characters and no code of this library;
   * otherwise `HANDLER_FAILED`, and for a stream `STREAM_ABORTED`.
   */
  declare readonly code: string;
  /** The `data` of what was thrown, if that is a value of at most 16 KiB; otherwise undefined. */
  readonly data: unknown;

  constructor(code: string, message: string, data?: unknown) {
    super(code, message);
    this.name = "RemoteError";
    this.data = data;
  }
}

/** What the fullmesh at a peer says itself, in a failure or an abort. */
const peerCodes: ReadonlySet<string> = new Set<ErrorCode>([
  "NO_HANDLER",
  "OVERLOADED",
  "BAD_VALUE",
  "MESSAGE_TOO_LARGE",
  "PAYLOAD_CHANGED",
]);

/** The code of a thrown error as the other end is told it. */
export function codeToSend(error: unknown, fallback: ErrorCode): string {
  try {
    const { code } = Object(error) as { readonly code?: unknown };
    return typeof code === "string" && isCode(code) && !isErrorCode(code) ? code : fallback;
  } catch {
    return fallback;
  }
}

/**
 * True if the application foresees an error: it has given it a code. Node's own errors have codes as well, and those of
 * system calls name the call.
 */
export function isForeseen(error: unknown, code: string): boolean {
  if (code === "HANDLER_FAILED" || code.startsWith("ERR_")) return false;
  try {
    return (Object(error) as { readonly syscall?: unknown }).syscall === undefined;
  } catch {
    return false;
  }
}

/** The `data` of a thrown error; undefined if it has none. */
export function dataOf(error: unknown): unknown {
  try {
    return (Object(error) as { readonly data?: unknown }).data;
  } catch {
    return undefined;
  }
}

/** The error of a failure or an abort that a peer has sent. `fallback`: the code in place of one that may not come from there. */
export function errorFromPeer(code: string, message: string, fallback: ErrorCode): FullmeshError {
  if (peerCodes.has(code)) return new FullmeshError(code, message);
  const isForeign = isErrorCode(code) && code !== fallback && code !== "HANDLER_FAILED";
  return isForeign ? new RemoteError(fallback, `${code}: ${message}`) : new RemoteError(code, message);
}

/** The error of a reply that carries an error with data; undefined for any other reply. */
export function errorInReply(payload: Uint8Array, valueBytes: number): RemoteError | undefined {
  const content = decodeErrorData(payload, valueBytes);
  if (content === undefined) return undefined;
  const { code, message, data } = content;
  const isOwn = !isCode(code) || isErrorCode(code);
  return new RemoteError(isOwn ? "HANDLER_FAILED" : code, message.slice(0, longestMessage), data);
}

/** In UTF-16 code units; what a failure without data may have. */
const longestMessage = 1_024;
