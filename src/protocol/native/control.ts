import { printable } from "../../core/escaping.js";
import type { Claim, Entry, Member } from "../directory.js";
import { utf8 } from "../text.js";
import {
  address,
  code,
  type Field,
  type Fields,
  id,
  list,
  meta,
  name,
  type ObjectOf,
  object,
  oneOf,
  optional,
  readFields,
  row,
  sentence,
  whole,
  yes,
} from "./fields.js";
import { encodeTextFrame, frameKinds } from "./frames.js";

/**
 * The control messages: JSON objects that a person can read in a capture, each with its `type` and these fields.
 *
 * A reader ignores fields that it does not know. A type that it does not know it refuses, unless the message says
 * `"optional": true`.
 */

/** A member of the directory. */
export const memberFields = {
  id,
  order: whole(1),
  address,
  dialect: oneOf("classic", "native"),
  name: optional(name),
  meta: optional(meta),
};

const departureFields = { revision: whole(1), id, reason: sentence };

/** The entries of the log, by their `type`. */
export const entryFields = {
  joined: { revision: whole(1), ...memberFields },
  replaced: { revision: whole(1), replaces: id, ...memberFields },
  left: departureFields,
  lost: departureFields,
  /** `token`: of a claim that an earlier log has granted; otherwise it is the revision. */
  claimed: { revision: whole(1), key: name, holder: id, token: optional(whole(1)) },
  unclaimed: { revision: whole(1), key: name, reason: sentence },
} as const;

const member: Field<Member> = object("a member of the directory", memberFields);

const entry: Field<Entry> = {
  describes: "an entry of the log",
  read(value) {
    if (typeof value !== "object" || value === null) return undefined;
    const type = (value as { readonly type?: unknown }).type;
    if (typeof type !== "string" || !Object.hasOwn(entryFields, type)) return undefined;
    const fields: Fields = entryFields[type as Entry["type"]];
    const read = readFields(fields, value);
    return typeof read === "string" ? undefined : ({ type, ...read } as unknown as Entry);
  },
};

/** What a link is short of: who it is with (its order), how far it has come, and why it is no further. */
const trouble = row<[order: number, stage: string, reason: string]>(
  "order, stage, reason",
  whole(1),
  sentence,
  sentence,
);
/** A link that is up: who it is with (its order), and its attempt; 0 where the other end is classic. */
const upLink = row<[order: number, attempt: number]>("order, attempt", whole(1), whole(0));
/** A pair that is not whole: two orders, and why. */
const missingPair = row<[a: number, b: number, reason: string]>("order, order, reason", whole(1), whole(1), sentence);

/** A key, and the token with which somebody holds it. */
const heldKey = row<[key: string, token: number]>("key, token", name, whole(1));
/** A key, who holds it, and the token. */
const heldBy: Field<Omit<Claim, "member">> = object("a claim", { key: name, holder: id, token: whole(1) });

/** Who says what to whom, and the fields of each message. */
export const controls = {
  // A member to the rendezvous server, on its session.
  register: { mesh: name, id, address, name: optional(name), meta: optional(meta) },
  resume: { mesh: name, id, address, log: id, revision: whole(0) },
  proof: { nonce: id },
  links: { full: optional(yes), up: list(upLink), down: list(trouble) },
  /** To be told, once, when the mesh is whole with so many members or more. */
  watch: { size: whole(1) },
  leave: { reason: sentence },
  /** I hold or want claims, and live; the server answers with the same number. */
  renew: { number: whole(1) },
  /** I want this key: now or not at all, or, with `wait`, when it is my turn. */
  claim: { key: name, wait: optional(yes) },
  /** I give up this key with its token; or, without one, the wait for it. */
  unclaim: { key: name, token: optional(whole(1)) },
  /** I am back, and hold these still. */
  held: { claims: list(heldKey) },

  // The server to a member, on its session.
  admitted: { log: id, order: whole(1), revision: whole(1), observed: address },
  directory: { revision: whole(1), members: list(member), claims: optional(list(heldBy)), more: optional(yes) },
  entries: { entries: list(entry) },
  waiting: { place: whole(1) },
  complete: { revision: whole(1), members: whole(1), links: whole(0), unverified: whole(0) },
  degraded: { revision: whole(1), count: whole(0), missing: list(missingPair) },
  renewed: { number: whole(1) },
  /** This key is not yours, and you do not wait for it; `holder` has it, if somebody has. */
  unclaimable: { key: name, code, message: sentence, holder: optional(id) },
  /** `incomplete`: the mesh ends because it has not become whole in time, and this is what it lacks. */
  teardown: { reason: sentence, deadlineMs: whole(0), incomplete: optional(sentence) },

  // The server to a member's listener, on a connection of its own; and the answer.
  challenge: { mesh: name, id, nonce: id },
  check: { mesh: name, id },
  here: { id },

  // Members to one another.
  hello: { mesh: name, from: id, to: id, attempt: whole(1), since: whole(0), received: whole(0) },
  answer: { attempt: whole(1), since: whole(1), received: whole(0) },
  goodbye: { reason: sentence, received: whole(0) },

  // Anybody, before closing.
  refuse: { code, message: sentence, highest: optional(whole(0)), retryMs: optional(whole(0)) },
} as const satisfies Record<string, Fields>;

type ControlType = keyof typeof controls;

/** A control message of one type. */
export type ControlOf<Type extends ControlType> = { readonly type: Type } & ObjectOf<(typeof controls)[Type]>;

/** Any control message. */
export type Control = { [Type in ControlType]: ControlOf<Type> }[ControlType];

/** What a control frame may turn out not to be. */
export interface BadControl {
  readonly type: "bad";
  readonly code: "BAD_FRAME" | "UNKNOWN_MESSAGE";
  readonly detail: string;
}

/** The whole frame. */
export function encodeControl(control: Control): Uint8Array {
  return encodeTextFrame(frameKinds.control, JSON.stringify(control));
}

/** Reads the body of a control frame; undefined if it may be ignored. */
export function decodeControl(body: Uint8Array): Control | BadControl | undefined {
  const value = parse(body);
  const { type, optional: mayIgnore } = (value ?? {}) as { readonly type?: unknown; readonly optional?: unknown };
  if (typeof value !== "object" || value === null || typeof type !== "string") {
    return bad("BAD_FRAME", `"${printable(body)}" is no JSON object with a type`);
  }
  if (!Object.hasOwn(controls, type)) {
    return mayIgnore === true ? undefined : bad("UNKNOWN_MESSAGE", `there is no message "${printable(type)}"`);
  }
  const fields: Fields = controls[type as ControlType];
  const read = readFields(fields, value, { type });
  return typeof read === "string" ? bad("BAD_FRAME", `${type} has no good "${read}"`) : (read as unknown as Control);
}

/** undefined for what is no JSON. */
function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(utf8(body) ?? "");
  } catch {
    return undefined;
  }
}

function bad(badCode: BadControl["code"], detail: string): BadControl {
  return { type: "bad", code: badCode, detail };
}
