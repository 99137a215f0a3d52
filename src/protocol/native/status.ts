import { linkStages } from "../missing-pair.js";
import type { MeshStatus } from "../status.js";
import type { ControlOf } from "./control.js";
import {
  address,
  countsByCode,
  type Fields,
  id,
  list,
  name,
  nullable,
  object,
  oneOf,
  optional,
  readFields,
  sentence,
  textPart,
  wholeNumber,
  yesOrNo,
} from "./fields.js";

/**
 * The status of a mesh as those who observe it get it: one object in JSON, whose text is cut into parts. A time is so many
 * milliseconds before the status was sent, as a negative number: the clocks of two computers differ.
 */
const time = wholeNumber(Number.MIN_SAFE_INTEGER);
const count = wholeNumber(0);

/** The fields of the rows of its lists, and of its objects. */
export const statusParts = {
  members: {
    address,
    id: optional(id),
    order: nullable(count),
    rank: nullable(count),
    dialect: oneOf(["classic", "native"]),
    name: optional(name),
    state: oneOf(["member", "suspect", "expected", "waiting"]),
    since: time,
    reason: optional(sentence),
    server: optional(address),
  },
  links: { expected: count, up: count, bits: optional(textPart) },
  missing: {
    a: address,
    b: address,
    owner: address,
    stage: oneOf(linkStages),
    attempt: count,
    reason: sentence,
    since: time,
  },
  claims: { key: name, holder: sentence, token: count, since: time, waiting: count },
  recent: {
    type: oneOf(["left", "lost", "replaced"]),
    address,
    name: optional(name),
    order: count,
    reason: sentence,
    at: time,
  },
  server: { version: sentence, startedAt: time, connections: count, refusals: countsByCode },
} as const satisfies Record<string, Fields>;

/** Its fields. */
export const statusFields = {
  mesh: name,
  revision: count,
  complete: yesOrNo,
  gathering: yesOrNo,
  members: list(object("a row of `members`", statusParts.members)),
  links: object("an object, see `links`", statusParts.links),
  missing: list(object("a row of `missing`", statusParts.missing)),
  claims: list(object("a row of `claims`", statusParts.claims)),
  recent: list(object("a row of `recent`", statusParts.recent)),
  server: object("an object, see `server`", statusParts.server),
} as const satisfies Fields;

/** So many characters of JSON go into one message: each takes at most 3 bytes, quotes and backslashes 2. */
const partLength = 20_000;

/** The messages that carry a status, in order. */
export function encodeStatus(status: MeshStatus): ControlOf<"status">[] {
  const text = JSON.stringify(status);
  const parts: ControlOf<"status">[] = [];
  for (let at = 0; at < text.length; at += partLength) {
    const part = { type: "status", part: text.slice(at, at + partLength) } as const;
    parts.push(at + partLength < text.length ? { ...part, more: true } : part);
  }
  return parts;
}

/** Reads the joined parts; the name of the first bad field, or `JSON`, for what is no status. */
export function decodeStatus(text: string): MeshStatus | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "JSON";
  }
  return typeof value === "object" && value !== null ? readFields(statusFields, value) : "JSON";
}
