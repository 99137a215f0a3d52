import type { EventEmitter } from "node:events";
import type { Log } from "./log.js";

/**
 * How this library calls listeners of the application: what they throw, or reject with, is logged with its stack, and keeps
 * nothing else from going on.
 */

/** Calls a listener with an event. `name`: what it listens for. */
export function callListener<Event>(
  log: Log,
  listener: (event: Event) => unknown,
  event: Event,
  name: string,
  self?: unknown,
): void {
  const failed = (error: unknown): void => log.writeThrown(`a listener of ${JSON.stringify(name)}`, error);
  try {
    const result = listener.call(self, event);
    if (isThenable(result)) result.then(undefined, failed);
  } catch (error) {
    failed(error);
  }
}

/** Calls all listeners of an emitter: one that throws does not keep the others from the event. */
export function callListeners(
  log: Log,
  emitter: Pick<EventEmitter, "listenerCount" | "rawListeners">,
  type: string,
  event: unknown,
): void {
  if (emitter.listenerCount(type) === 0) return;
  for (const listener of emitter.rawListeners(type)) {
    callListener(log, listener as (event: unknown) => unknown, event, type, emitter);
  }
}

/** True for a promise, and what is like one. Throws what a getter of `then` throws. */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
