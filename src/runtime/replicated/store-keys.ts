import type { Id } from "../../protocol/directory.js";
import { controls, entryFields, memberFields } from "../../protocol/native/control.js";
import {
  address,
  type Field,
  type Fields,
  id,
  isName,
  list,
  literalTrue,
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
} from "../../protocol/native/fields.js";
import type { LogAppend, LogFact } from "../../rendezvous/types.js";

/**
 * What a store holds below its prefix, and how it is written: JSON under these keys, the name of a mesh percent-encoded.
 *
 * - `rules`: the rules that all servers share.
 * - `server/<writer>`: that one life of a server is there, under its lease.
 * - `mesh/<name>/log`: the head of the log of a mesh.
 * - `mesh/<name>/entry/<log>/<writer>/<number, 16 digits>`: a change or a fact.
 * - `mesh/<name>/report/<member>/<writer>`: the newest report of a member's links at a server. One that comes late from a server
 *   which the member has left does not take the place of a newer one.
 * - `mesh/<name>/awaiting/<writer>`: how many members of an earlier log a server awaits, under its lease.
 * - `mesh/<name>/snapshot`: the state of the log up to some point.
 */

/** Of keys and values, and of what counts. Servers of another version do not share a store with this one. */
export const storeFormat = 1;

/** All keys, and those below one folder: the first, and the one behind the last. */
export const allKeys = { key: "!", end: "~" } as const;
export const serverKeys = { key: "server/", end: "server0" } as const;

export const rulesKey = "rules";

export function serverKey(writer: Id): string {
  return `server/${writer}`;
}

/** Where the keys of a mesh are. */
export function meshKey(mesh: string, ...path: readonly string[]): string {
  return ["mesh", encodeURIComponent(mesh), ...path].join("/");
}

export function headKey(mesh: string): string {
  return meshKey(mesh, "log");
}

export function snapshotKey(mesh: string): string {
  return meshKey(mesh, "snapshot");
}

export function reportKey(mesh: string, member: Id, writer: Id): string {
  return meshKey(mesh, "report", member, writer);
}

export function awaitingKey(mesh: string, writer: Id): string {
  return meshKey(mesh, "awaiting", writer);
}

const numberDigits = 16;

export function entryKey(mesh: string, log: Id, writer: Id, number: number): string {
  return meshKey(mesh, "entry", log, writer, String(number).padStart(numberDigits, "0"));
}

/** All keys below this one: the first, and the one behind the last. A slash is followed by `0`. */
export function below(key: string): { readonly key: string; readonly end: string } {
  return { key: `${key}/`, end: `${key}0` };
}

/** A table of objects by their `type`. */
function typed<const Table extends Readonly<Record<string, Fields>>>(
  describes: string,
  table: Table,
): Field<{ [Type in keyof Table]: { readonly type: Type } & ObjectOf<Table[Type]> }[keyof Table]> {
  return {
    describes,
    read(value) {
      if (typeof value !== "object" || value === null) return undefined;
      const { type } = value as { readonly type?: unknown };
      const fields = typeof type === "string" && Object.hasOwn(table, type) ? table[type] : undefined;
      const read = fields === undefined ? undefined : readFields(fields, value);
      if (read === undefined || typeof read === "string") return undefined;
      return { type, ...read } as never;
    },
  };
}

const rulesFields = {
  format: wholeNumber(1),
  /** null: no bound. */
  capacity: nullable(wholeNumber(1)),
  onFull: oneOf(["teardown", "release", "hold"]),
  gangSize: optional(wholeNumber(1)),
  dialect: oneOf(["classic", "native", "any"]),
  leaseMs: wholeNumber(1),
  /** Proves that its writer has the secret of the meshes, if they have one. */
  secret: optional(textPart),
};

/** What all servers that share a store must agree on. */
export type StoreRules = ObjectOf<typeof rulesFields>;

/** The names of the rules that differ. */
export function differencesOf(a: StoreRules, b: StoreRules): string[] {
  return Object.keys(rulesFields).filter((name) => a[name as keyof StoreRules] !== b[name as keyof StoreRules]);
}

const presenceFields = {
  /** Where members reach the server. */
  address: optional(address),
  /** Counts the transactions of the writer: each of them writes this key. */
  beat: wholeNumber(0),
  /** The number of its newest value below a mesh: each has the one behind that of the value before. */
  number: wholeNumber(0),
  /** Transactions whose conditions did not hold: they were not performed, and have no beat. */
  skipped: optional(wholeNumber(1)),
  /** It goes: this is its last beat. */
  leaving: optional(literalTrue),
};

/** That one life of a server is there. */
export type Presence = ObjectOf<typeof presenceFields>;

const headFields = {
  log: id,
  /** The revision before the first. */
  base: wholeNumber(0),
  /** What the clock of the server said that has begun it, as a revision. */
  clock: wholeNumber(0),
  rules: object("rules", rulesFields),
};

/** What a log begins with. */
export type LogHead = ObjectOf<typeof headFields>;

const { order: _, ...candidateFields } = memberFields;
const carriedOrder = optional(memberFields.order);
const withoutRevision = <All extends { readonly revision: unknown }>({ revision: __, ...fields }: All) => fields;

const change = typed("a change", {
  joined: { ...candidateFields, order: carriedOrder },
  replaced: { ...candidateFields, order: carriedOrder, replaces: id },
  left: withoutRevision(entryFields.left),
  lost: withoutRevision(entryFields.lost),
  claimed: withoutRevision(entryFields.claimed),
  unclaimed: withoutRevision(entryFields.unclaimed),
});

const endedFields = {
  kind: oneOf(["teardown", "release", "tooLate", "forgotten"]),
  reason: sentence,
  incomplete: optional(sentence),
};

/** The facts that have a place among the entries. */
export type PlacedFact = Exclude<LogFact, { readonly type: "reported" | "awaiting" }>;

const fact = typed("a fact", {
  attached: { id },
  detached: { id, judges: wholeNumber(1), reason: sentence },
  relayed: { to: id, control: typed("a grant", { grant: controls.grant }) },
  ended: { ...endedFields, judges: optional(wholeNumber(0)) },
});

const appendFields = { change, after: wholeNumber(0), judges: optional(wholeNumber(0)) };
const factFields = { fact };

/** What one entry says: a change to judge, or a fact. */
export type EntryContent = Pick<LogAppend, "change" | "after" | "judges"> | { readonly fact: PlacedFact };

const { up, down, unlisted } = controls.links;
const reportFields = { number: wholeNumber(1), attachment: wholeNumber(1), up, down, unlisted };

/** The newest report of a member's links at one server. */
export type StoredReport = ObjectOf<typeof reportFields>;

const awaitingFields = { number: wholeNumber(1), count: wholeNumber(0) };

/** So many members of an earlier log are awaited at one server. */
export type StoredAwaiting = ObjectOf<typeof awaitingFields>;

const snapshotFields = {
  log: id,
  /** Changes of the store up to this revision are in it. */
  covers: wholeNumber(0),
  /** So many entries have come, counted or not. */
  place: wholeNumber(0),
  revision: wholeNumber(0),
  members: list(object("a member", memberFields)),
  claims: list(object("a claim", { key: textPart, holder: id, token: wholeNumber(1) })),
  removed: list(id),
  attachments: list(
    row<[id: Id, server: Id | null, attachment: number]>("id, server, attachment", id, nullable(id), wholeNumber(0)),
  ),
  /** The newest number of each writer, and those of its newest ones that did not count. */
  writers: list(
    row<[writer: Id, number: number, rejected: number[]]>(
      "writer, number, rejected",
      id,
      wholeNumber(0),
      list(wholeNumber(1)),
    ),
  ),
  /** The lowest rank of a gang that has never been a member. */
  nextRank: wholeNumber(0),
  ended: optional(object("the end", endedFields)),
};

/** The state of a log up to some point. */
export type LogSnapshot = ObjectOf<typeof snapshotFields>;

/** One key with its value. */
export type StoreItem =
  | { readonly type: "rules"; readonly rules: StoreRules }
  | { readonly type: "server"; readonly writer: Id; readonly presence: Presence }
  | { readonly type: "head"; readonly mesh: string; readonly head: LogHead }
  | {
      readonly type: "entry";
      readonly mesh: string;
      readonly log: Id;
      readonly writer: Id;
      readonly number: number;
      readonly content: EntryContent;
    }
  | {
      readonly type: "report";
      readonly mesh: string;
      readonly member: Id;
      readonly writer: Id;
      readonly report: StoredReport;
    }
  | { readonly type: "awaiting"; readonly mesh: string; readonly writer: Id; readonly awaiting: StoredAwaiting }
  | { readonly type: "snapshot"; readonly mesh: string; readonly snapshot: LogSnapshot };

/** A key that does not make sense, or whose value does not. `mesh`: the one that it would belong to. */
export interface BadItem {
  readonly type: "bad";
  readonly key: string;
  readonly mesh?: string;
  readonly reason: string;
}

/** Reads a key and its value, whatever they are. */
export function readItem(key: string, value: string): StoreItem | BadItem {
  const path = key.split("/");
  if (key === rulesKey) return readValue({ key }, value, rulesFields, (rules) => ({ type: "rules", rules }));
  if (path[0] === "server" && path.length === 2) {
    const writer = id.read(path[1]);
    if (writer === undefined) return { type: "bad", key, reason: "it names no server" };
    return readValue({ key }, value, presenceFields, (presence) => ({ type: "server", writer, presence }));
  }
  const mesh = path[0] === "mesh" ? meshNameOf(path[1] ?? "") : undefined;
  if (mesh === undefined) return { type: "bad", key, reason: "it is none of the keys of this program" };
  return readMeshItem(key, mesh, path.slice(2), value);
}

function readMeshItem(key: string, mesh: string, path: readonly string[], value: string): StoreItem | BadItem {
  const at = { key, mesh };
  const [kind, first, second, digits = ""] = path;
  const shape = `${kind} ${path.length}`;
  if (shape === "log 1") return readValue(at, value, headFields, (head) => ({ type: "head", mesh, head }));
  if (shape === "snapshot 1") {
    return readValue(at, value, snapshotFields, (snapshot) => ({ type: "snapshot", mesh, snapshot }));
  }
  const owner = id.read(first);
  if (owner !== undefined && shape === "awaiting 2") {
    return readValue(at, value, awaitingFields, (awaiting) => ({ type: "awaiting", mesh, writer: owner, awaiting }));
  }
  const writer = id.read(second);
  if (owner !== undefined && writer !== undefined && shape === "report 3") {
    return readValue(at, value, reportFields, (report) => ({ type: "report", mesh, member: owner, writer, report }));
  }
  const number = /^[0-9]{16}$/.test(digits) ? Number(digits) : 0;
  if (
    owner === undefined ||
    writer === undefined ||
    shape !== "entry 4" ||
    !Number.isSafeInteger(number) ||
    number < 1
  ) {
    return { type: "bad", ...at, reason: "it is none of the keys of a mesh" };
  }
  const toItem = (content: EntryContent): StoreItem => ({ type: "entry", mesh, log: owner, writer, number, content });
  return value.startsWith('{"fact":')
    ? readValue(at, value, factFields, toItem)
    : readValue(at, value, appendFields, toItem);
}

/** The name of a mesh as a key has it; undefined if no key would have it so. */
export function meshNameOf(text: string): string | undefined {
  try {
    const mesh = decodeURIComponent(text);
    return isName(mesh) && encodeURIComponent(mesh) === text ? mesh : undefined;
  } catch {
    return undefined;
  }
}

function readValue<All extends Fields>(
  at: { readonly key: string; readonly mesh?: string },
  text: string,
  fields: All,
  toItem: (value: ObjectOf<All>) => StoreItem,
): StoreItem | BadItem {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (typeof value !== "object" || value === null)
    return { type: "bad", ...at, reason: "its value is no object as JSON" };
  const read = readFields(fields, value);
  if (typeof read === "string") return { type: "bad", ...at, reason: `its value has no good "${read}"` };
  return toItem(read);
}
