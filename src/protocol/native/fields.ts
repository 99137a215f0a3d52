import { harmless } from "../../core/escaping.js";
import { type Address, parseAddress } from "../address.js";
import type { Id, Meta } from "../directory.js";

/**
 * What a field of a control message may be: how a foreign value is checked and read.
 */
export interface Field<Value> {
  /** For the documents. */
  readonly describes: string;
  /** The checked value; undefined if it is not valid. */
  read(value: unknown): Value | undefined;
}

/** A field that may be absent. */
export interface OptionalField<Value> extends Field<Value> {
  readonly isOptional: true;
}

export function optional<Value>(field: Field<Value>): OptionalField<Value> {
  return { ...field, isOptional: true };
}

function field<Value>(describes: string, read: (value: unknown) => Value | undefined): Field<Value> {
  return { describes, read };
}

/** 128 random bits. */
export const id: Field<Id> = field("32 lower-case hexadecimal digits", (value) =>
  typeof value === "string" && /^[0-9a-f]{32}$/.test(value) ? value : undefined,
);

export const address: Field<Address> = field("an address, `<ip>:<port>` or `unix:<path>`", (value) =>
  typeof value === "string" ? parseAddress(value) : undefined,
);

/** A whole number from `least`, small enough to be exact in JSON. */
export function wholeNumber(least: number, most = Number.MAX_SAFE_INTEGER): Field<number> {
  const bound = most === Number.MAX_SAFE_INTEGER ? "" : ` to ${most}`;
  return field(`a whole number from ${least}${bound}`, (value) => {
    if (!Number.isSafeInteger(value) || (value as number) < least || (value as number) > most) return undefined;
    // Adding 0 makes the negative zero, which JSON can write, an ordinary one.
    return (value as number) + 0;
  });
}

/** The longest time of `milliseconds`: a day. */
const longestMs = 86_400_000;

/** A time that may have a fraction. */
export const milliseconds: Field<number> = field(`a number from 0 to ${longestMs}`, (value) =>
  // Adding 0 makes the negative zero an ordinary one.
  typeof value === "number" && value >= 0 && value <= longestMs ? value + 0 : undefined,
);

/** Mesh and member names have at most so many bytes of UTF-8. */
export const longestName = 64;

/** Not in names: control characters and lone surrogates, which have no UTF-8 of their own. */
const notInNames = /[^ -~\xa0-\ud7ff\ue000-\u{10ffff}]/u;

/** True for a name of a mesh or a member. */
export function isName(text: string): boolean {
  return text !== "" && !notInNames.test(text) && new TextEncoder().encode(text).length <= longestName;
}

export const name: Field<string> = field("1 to 64 bytes of UTF-8, no control characters", (value) =>
  typeof value === "string" && isName(value) ? value : undefined,
);

/** The longest `meta`, in bytes of JSON. */
export const longestMeta = 1_024;

/** True for a value that JSON writes as an object of at most `longestMeta` bytes, without a key `__proto__`. */
export function isMeta(value: unknown): value is Meta {
  const text = toJson(value);
  if (text === undefined || !text.startsWith("{") || new TextEncoder().encode(text).length > longestMeta) return false;
  // Copying such a key to another object would change the prototype of that object. Inside a string the quotes have
  // backslashes, so what is found is a key.
  return !text.includes('"__proto__":');
}

/** undefined for a value that cannot be written: circular, a big integer, or too deep for the stack. */
function toJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value);
  } catch {
    return undefined;
  }
}

export const meta: Field<Meta> = field(
  "an object of at most 1,024 bytes as JSON without spaces, no key `__proto__`",
  (value) => (isMeta(value) ? value : undefined),
);

/** A longer sentence is cut. */
const longestSentence = 500;

/** Characters that could steer a terminal are replaced; see `harmless`. */
export const sentence: Field<string> = field("text for people, at most 500 UTF-16 code units", (value) =>
  typeof value === "string" ? harmless(value.slice(0, longestSentence)) : undefined,
);

/** A part of a text that comes in several. It is not for people, and stays as it is. */
export const textPart: Field<string> = field("a part of a text", (value) =>
  typeof value === "string" ? value : undefined,
);

export const code: Field<string> = field("a code: 1 to 40 capitals and underscores", (value) =>
  typeof value === "string" && /^[A-Z][A-Z_]{0,39}$/.test(value) ? value : undefined,
);

export const literalTrue: Field<true> = field("`true`", (value) => (value === true ? true : undefined));

export function oneOf<const Choice extends string>(choices: readonly Choice[]): Field<Choice> {
  return field(choices.map((choice) => `\`"${choice}"\``).join(" or "), (value) =>
    choices.find((choice) => choice === value),
  );
}

/** The same, or null. */
export function nullable<Value>(each: Field<Value>): Field<Value | null> {
  return field(`${each.describes}, or null`, (value) => (value === null ? null : each.read(value)));
}

export const yesOrNo: Field<boolean> = field("`true` or `false`", (value) =>
  typeof value === "boolean" ? value : undefined,
);

/** An object whose keys are codes, each with a count. */
export const countsByCode: Field<Readonly<Record<string, number>>> = field("an object of counts by code", (value) => {
  if (typeof value !== "object" || value === null) return undefined;
  const counts = Object.entries(value).filter((row) => code.read(row[0]) !== undefined && Number.isSafeInteger(row[1]));
  return Object.fromEntries(counts);
});

/** A list is valid only if every item is, and it has no more than `most`. */
export function list<Item>(item: Field<Item>, most = Number.POSITIVE_INFINITY): Field<Item[]> {
  const bound = most === Number.POSITIVE_INFINITY ? "" : ` of at most ${most}`;
  return field(`a list${bound}; each item is ${item.describes}`, (value) => {
    if (!Array.isArray(value) || value.length > most) return undefined;
    const items = value.map((candidate) => item.read(candidate));
    return items.includes(undefined) ? undefined : (items as Item[]);
  });
}

/** Two or three values in a list of their own; further values are ignored. */
export function row<Values extends readonly unknown[]>(
  columns: string,
  ...fields: { readonly [Index in keyof Values]: Field<Values[Index]> }
): Field<Values> {
  const describes = fields.map((each) => each.describes).join(", ");
  return field(`\`[${columns}]\`: ${describes}`, (value) => {
    if (!Array.isArray(value) || value.length < fields.length) return undefined;
    const values = fields.map((each, index) => each.read(value[index]));
    return values.includes(undefined) ? undefined : (values as unknown as Values);
  });
}

/** The fields of an object, by name. */
export type Fields = Readonly<Record<string, Field<unknown> | OptionalField<unknown>>>;

type ValueOf<Each> = Each extends Field<infer Value> ? Value : never;
type OptionalNames<All extends Fields> = {
  [Name in keyof All]: All[Name] extends OptionalField<unknown> ? Name : never;
}[keyof All];

/** An object with these fields. */
export type ObjectOf<All extends Fields> = {
  readonly [Name in Exclude<keyof All, OptionalNames<All>>]: ValueOf<All[Name]>;
} & { readonly [Name in OptionalNames<All>]?: ValueOf<All[Name]> };

/** The fields of each table as a list, kept because every message is read with one. */
const lists = new WeakMap<Fields, readonly (readonly [name: string, field: Field<unknown>])[]>();

function listOf(fields: Fields): readonly (readonly [name: string, field: Field<unknown>])[] {
  const known = lists.get(fields);
  if (known !== undefined) return known;
  const entries = Object.entries(fields);
  lists.set(fields, entries);
  return entries;
}

/**
 * Reads an object's known fields, and leaves out all others. Returns the name of the first bad field instead. `result` may
 * hold something already.
 */
export function readFields<All extends Fields>(
  fields: All,
  value: object,
  result: Record<string, unknown> = {},
): ObjectOf<All> | string {
  for (const [fieldName, each] of listOf(fields)) {
    const given = Object.hasOwn(value, fieldName) ? (value as Record<string, unknown>)[fieldName] : undefined;
    if (given === undefined && "isOptional" in each) continue;
    const read = each.read(given);
    if (read === undefined) return fieldName;
    result[fieldName] = read;
  }
  return result as ObjectOf<All>;
}

/** An object with these fields as a field of something else. */
export function object<All extends Fields>(describes: string, fields: All): Field<ObjectOf<All>> {
  return field(describes, (value) => {
    if (typeof value !== "object" || value === null) return undefined;
    const read = readFields(fields, value);
    return typeof read === "string" ? undefined : read;
  });
}
