import { type ErrorCode, FullmeshError } from "../core/errors.js";
import { Deferred } from "./deferred.js";
import { badOption } from "./options.js";

/** How long somebody is willing to wait. */
export interface WaitOptions {
  /** Ends the wait with `ABORTED`. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds after which the wait ends with `TIMED_OUT`; without it the wait has no bound of its own. */
  readonly timeoutMs?: number | undefined;
}

/** The longest that `setTimeout` can wait, about 25 days; a longer bound is none. */
const longestTimerMs = 2 ** 31 - 1;

/** Waits for a promise within bounds. `missing` says, when time runs out, what has not come. */
export async function waitWithin<Value>(
  promise: Promise<Value>,
  { signal, timeoutMs }: WaitOptions,
  missing: () => string,
): Promise<Value> {
  // Whoever stops waiting does not hear of a later failure, and that is no crash.
  promise.catch(() => {});
  if (timeoutMs !== undefined && !(timeoutMs >= 0)) badOption("timeoutMs", "a number of milliseconds >= 0", timeoutMs);
  const bound = new Deferred<never>();
  const fail = (code: ErrorCode, message: string, cause?: unknown): void =>
    bound.reject(new FullmeshError(code, message, { cause }));
  const onAbort = (): void => fail("ABORTED", `gave up waiting: ${missing()}`, signal?.reason);
  if (signal?.aborted) onAbort();
  signal?.addEventListener("abort", onAbort, { once: true });
  const timer =
    timeoutMs === undefined || timeoutMs > longestTimerMs
      ? undefined
      : setTimeout(() => fail("TIMED_OUT", `after ${timeoutMs} ms ${missing()}`), timeoutMs);
  try {
    return await Promise.race([promise, bound.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", onAbort);
  }
}
