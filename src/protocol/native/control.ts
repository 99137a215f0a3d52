import { printable } from "../../core/escaping.js";
import { type Claim, type Entry, greatestClaim, type Id, type Member } from "../directory.js";
import { type LinkStage, linkStages } from "../missing-pair.js";
import { utf8 } from "../text.js";
import {
  address,
  code,
  type Field,
  type Fields,
  id,
  list,
  literalTrue,
  meta,
  milliseconds,
  name,
  nullable,
  type ObjectOf,
  object,
  oneOf,
  optional,
  readFields,
  row,
  sentence,
  textPart,
  wholeNumber,
  yesOrNo,
} from "./fields.js";
import { encodeTextFrame, frameKinds } from "./frames.js";

/**
 * The control messages: JSON objects, each with its `type` and these fields.
 *
 * A reader ignores fields that it does not know. A type that it does not know it refuses, unless the message says
 * `"optional": true`.
 */

/** A member of the directory. */
export const memberFields = {
  id,
  order: wholeNumber(1),
  address,
  dialect: oneOf(["classic", "native"]),
  name: optional(name),
  meta: optional(meta),
};

const departureFields = { revision: wholeNumber(1), id, reason: sentence };

/** The entries of the log, by their `type`. */
export const entryFields = {
  joined: { revision: wholeNumber(1), ...memberFields },
  replaced: { revision: wholeNumber(1), replaces: id, ...memberFields },
  left: departureFields,
  lost: departureFields,
  /** `token`: of a claim that an earlier log has granted; otherwise it is the revision. */
  claimed: { revision: wholeNumber(1), key: name, holder: id, token: optional(wholeNumber(1)) },
  unclaimed: { revision: wholeNumber(1), key: name, reason: sentence },
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

const stage: Field<LinkStage> = oneOf(linkStages);
/** A link that is not up: the id of the peer, how far the link has come, at which attempt, and why it is no further. */
const downLink = row<[id: Id, stage: LinkStage, attempt: number, reason: string]>(
  "id, stage, attempt, reason",
  id,
  stage,
  wholeNumber(0),
  sentence,
);
/** A link that is up: the id of the peer, and the attempt, 0 for a classic peer. */
const upLink = row<[id: Id, attempt: number]>("id, attempt", id, wholeNumber(0));
/** A link that is up: the id of the peer, the shortest round trip, null if none was measured yet, and the bytes that wait for it. */
const measuredLink = row<[id: Id, roundTripMs: number | null, queuedBytes: number]>(
  "id, roundTripMs, queuedBytes",
  id,
  nullable(milliseconds),
  wholeNumber(0),
);
/** A pair that is not linked: the id of the owner, that of the other end, what the owner has reported, and for how long. */
const missingPair = row<[owner: Id, later: Id, stage: LinkStage, attempt: number, reason: string, forMs: number]>(
  "owner, later, stage, attempt, reason, forMs",
  id,
  id,
  stage,
  wholeNumber(0),
  sentence,
  wholeNumber(0),
);

/** The longest time between two measurements. */
const longestMeasureMs = 60_000;

/** A member with whom somebody holds a link, and that the log of this server does not list. */
const unlistedMember = object("an unlisted member", { id, order: wholeNumber(1), address });

/** A key, and the token of its claim. */
const heldKey = row<[key: string, token: number]>("key, token", name, wholeNumber(1));
/** A claim: its key, its holder and its token. */
const heldBy: Field<Omit<Claim, "member">> = object("a claim", { key: name, holder: id, token: wholeNumber(1) });

/** Other servers that share the log, which a server names at most. */
export const mostServers = 16;
const servers = list(address, mostServers);

/** The fields of each message. */
export const controls = {
  // A member to the rendezvous server, on its session.
  /** `waited`: it has stood in the waiting line of a server that is gone. `looked`: it has not found a server at its first try. */
  register: {
    mesh: name,
    id,
    address,
    name: optional(name),
    meta: optional(meta),
    waited: optional(literalTrue),
    looked: optional(literalTrue),
  },
  /** `order`: its own. `highest`: the highest revision that it has read in any log. */
  resume: {
    mesh: name,
    id,
    address,
    name: optional(name),
    meta: optional(meta),
    log: id,
    revision: wholeNumber(0),
    order: wholeNumber(1, greatestClaim),
    highest: wholeNumber(0, greatestClaim),
  },
  /** Behind the proof of a resume: the native members that it knows, and ids that it knows to have ended. */
  known: { members: list(member), gone: list(id), more: optional(literalTrue) },
  proof: { nonce: id },
  /** `unlisted`: those of `up` that the present log has not listed. */
  links: {
    full: optional(literalTrue),
    up: list(upLink),
    down: list(downLink),
    unlisted: optional(list(unlistedMember)),
  },
  /** The native links that are up; in several messages, if there are many. */
  measured: { links: list(measuredLink) },
  /** Asks for one `complete` when the mesh is complete with at least `size` members. */
  watch: { size: wholeNumber(1) },
  leave: { reason: sentence },
  /** I hold or want claims, and live; the server answers with the same number. */
  renew: { number: wholeNumber(1) },
  /** I want this key: now or not at all, or, with `wait`, when it is my turn. */
  claim: { key: name, wait: optional(literalTrue) },
  /** I give up this key with its token; or, without one, the wait for it. */
  unclaim: { key: name, token: optional(wholeNumber(1)) },
  /** I am back, and hold these still. */
  held: { claims: list(heldKey) },
  /**
   * The owner of a link asks the later end to open it, by this attempt. With `failed`, the later end says why it could not. The
   * server passes the message on, as it is.
   */
  grant: { owner: id, later: id, attempt: wholeNumber(1), failed: optional(sentence) },

  // Whoever looks at a mesh without being in it, to the server; and the answers, again and again.
  observe: { mesh: name },
  /** A part of the status as JSON; see `MeshStatus`. Its times are milliseconds before it was sent, as negative numbers. */
  status: { part: textPart, more: optional(literalTrue) },

  // Whoever wants to know whether others would reach an address of its own, to the server; and the answer.
  probe: { mesh: name, id, address },
  /**
   * `reached`: the server has dialed the address, and whoever listens there has named the id; `reason`: what came of the dial,
   * or why there was none. `observed`: where the question comes from. `at`: the server's time, in milliseconds since the epoch.
   * `members`: of the mesh. `waits`: a registration would stand in line. `code`, `message`: why it would be refused.
   */
  probed: {
    reached: yesOrNo,
    reason: sentence,
    observed: address,
    at: wholeNumber(0),
    members: wholeNumber(0),
    waits: optional(literalTrue),
    code: optional(code),
    message: optional(sentence),
  },

  // The server to a member, on its session.
  /** `leaseMs`: that of the server, by which its members count as well. `servers`: the others that share its log. */
  admitted: {
    log: id,
    order: wholeNumber(1),
    revision: wholeNumber(1),
    observed: address,
    leaseMs: wholeNumber(1),
    servers: optional(servers),
  },
  /** The other servers that share the log have changed: these are all. */
  servers: { servers },
  directory: {
    revision: wholeNumber(1),
    members: list(member),
    claims: optional(list(heldBy)),
    /** Ids that the log has removed and has never listed. */
    gone: optional(list(id)),
    more: optional(literalTrue),
  },
  entries: { entries: list(entry) },
  /** The oldest member that the server has heard within a lease. */
  leader: { id },
  waiting: { place: wholeNumber(1) },
  complete: { revision: wholeNumber(1), members: wholeNumber(1), links: wholeNumber(0), unverified: wholeNumber(0) },
  /** `unlisted`: those in `missing` that the log does not list. */
  degraded: {
    revision: wholeNumber(1),
    count: wholeNumber(0),
    missing: list(missingPair),
    unlisted: optional(list(unlistedMember)),
  },
  renewed: { number: wholeNumber(1) },
  /** Somebody looks: the member answers with `measured`, now and so often, until it is told 0 or its session ends. */
  measure: { everyMs: wholeNumber(0, longestMeasureMs) },
  /** The member does not hold this key and does not wait for it; `holder` has it, if any member has. */
  unclaimable: { key: name, code, message: sentence, holder: optional(id) },
  /** `incomplete`: what is missing, if the mesh ends because it was not complete in time. */
  teardown: { reason: sentence, deadlineMs: wholeNumber(0), incomplete: optional(sentence) },
  /** The server goes, and the mesh stays. */
  release: { reason: sentence },

  // The server to a member's listener, on a connection of its own; and the answer.
  challenge: { mesh: name, id, nonce: id },
  check: { mesh: name, id },
  here: { id },

  // Members to one another.
  /** `batches`: the sender takes batches of messages; so does `answer`. */
  hello: {
    mesh: name,
    from: id,
    to: id,
    attempt: wholeNumber(1),
    since: wholeNumber(0),
    received: wholeNumber(0),
    batches: optional(literalTrue),
  },
  answer: { attempt: wholeNumber(1), since: wholeNumber(1), received: wholeNumber(0), batches: optional(literalTrue) },
  goodbye: { reason: sentence, received: wholeNumber(0) },

  // Anybody, before closing.
  refuse: { code, message: sentence, highest: optional(wholeNumber(0)), retryMs: optional(wholeNumber(0)) },
} as const satisfies Record<string, Fields>;

type ControlType = keyof typeof controls;

/** A control message of one type. */
export type ControlOf<Type extends ControlType> = { readonly type: Type } & ObjectOf<(typeof controls)[Type]>;

/** Any control message. */
export type Control = { [Type in ControlType]: ControlOf<Type> }[ControlType];

/** A control frame to be refused with `code`. */
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
