import { deepestValue } from "../protocol/native/value.js";

/** What a payload may be, for messages. */
const allowed =
  "a payload may be a byte array, or made of null, booleans, numbers, strings, dates, byte arrays, arrays and plain objects";

const longestPath = 120;

/**
 * Which part of a payload cannot be sent, by its path, and why: `payload.users[3].id is a bigint; …`. Undefined if nothing
 * is found. Throws what getters in the payload throw.
 */
export function findFault(payload: unknown): string | undefined {
  const fault = faultOf(payload, "payload", []);
  return fault === undefined ? undefined : `${fault}; ${allowed}`;
}

function faultOf(value: unknown, path: string, ancestors: readonly unknown[]): string | undefined {
  const type = typeof value;
  if (type === "bigint" || type === "function" || type === "symbol") return `${shortenPath(path)} is a ${type}`;
  if (ancestors.includes(value) && type === "object") return `${shortenPath(path)} is circular: it contains itself`;
  if (ancestors.length >= deepestValue) return `${shortenPath(path)} is nested deeper than ${deepestValue}`;
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return undefined;
  if (value instanceof Date)
    return Number.isNaN(value.getTime()) ? `${shortenPath(path)} is an invalid date` : undefined;
  const kind = Object.prototype.toString.call(value).slice("[object ".length, -1);
  if (kind !== "Object" && kind !== "Array") return `${shortenPath(path)} is a ${kind}`;
  const inside = [...ancestors, value];
  for (const key of Object.keys(value)) {
    const fault = faultOf((value as Record<string, unknown>)[key], `${path}${keyStep(key, kind)}`, inside);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

function keyStep(key: string, kind: string): string {
  return pathStep(kind === "Array" ? Number(key) : key);
}

/** A step of a path: `[3]`, `.name` or `["other name"]`. */
export function pathStep(key: PropertyKey): string {
  if (typeof key === "number") return `[${key}]`;
  const name = String(key);
  return /^[A-Za-z_$][\w$]*$/.test(name) ? `.${name}` : `[${JSON.stringify(name)}]`;
}

export function shortenPath(path: string): string {
  return path.length <= longestPath ? path : `${path.slice(0, longestPath)}…`;
}
