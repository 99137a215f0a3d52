import { nodeClock } from "./clock.js";

/**
 * Calls what belongs to the application, such as its listeners. What that throws is its own fault, and is thrown in a turn
 * of its own: it neither keeps anything from others nor stops what is under way here.
 */
export function callListener(call: () => unknown): void {
  try {
    call();
  } catch (error) {
    throwLater(error);
  }
}

/** Throws what the application's code has thrown in a turn of its own. */
export function throwLater(error: unknown): void {
  nodeClock.afterPoll(() => {
    throw error;
  });
}
