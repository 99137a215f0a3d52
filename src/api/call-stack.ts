import { FullmeshError } from "../core/errors.js";

/** Errors of the application that keep the stack they have. */
const foreign = new WeakSet();

/** What a function of the application has thrown: it is handed on as it is. */
export function keepStack(error: unknown): unknown {
  if (typeof error === "object" && error !== null) foreign.add(error);
  return error;
}

/**
 * The stack of an error about a call begins where the call is, and not inside of this library. `method`: the public function
 * that is running.
 */
export function fromCaller(error: unknown, method: (...values: never[]) => unknown): unknown {
  if (error instanceof FullmeshError && !foreign.has(error)) Error.captureStackTrace(error, method);
  return error;
}

/**
 * A promise that fails, for another one to be resolved with, whose stack begins where that one is awaited. It costs nothing
 * before it fails: V8 finds the awaiting function from the async function that throws.
 */
export async function rejection(error: FullmeshError): Promise<never> {
  // The other promise takes this one up in the next microtask; V8 finds nobody before.
  await Promise.resolve();
  await Promise.resolve();
  throw fromCaller(error, rejection);
}

/** The same for a function that fails later: its stack is taken now, and costs some microseconds. */
export async function tracedFrom<Value>(
  method: (...values: never[]) => unknown,
  steps: () => Promise<Value>,
): Promise<Value> {
  const call: { readonly stack?: string } = {};
  Error.captureStackTrace(call, method);
  try {
    return await steps();
  } catch (error) {
    if (error instanceof FullmeshError && !foreign.has(error)) {
      const frames = call.stack?.match(/^ +at .*$/gm) ?? [];
      error.stack = [`${error.name}: ${error.message}`, ...frames].join("\n");
    }
    throw error;
  }
}
