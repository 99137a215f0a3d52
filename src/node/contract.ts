import { isThenable } from "../api/application-calls.js";
import { badOption, refuseUnknown, requireOptions } from "../api/options.js";
import { FullmeshError } from "../core/errors.js";
import { pathStep, shortenPath } from "./payload-faults.js";

/** What a schema has found: the value that it makes of the one it was given, or what is wrong with that. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/**
 * A Standard Schema, version 1 (standardschema.dev), as zod, valibot, arktype and others make them. `Input` is what is sent,
 * `Output` what a listener, a handler or an asker gets.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

/** The schemas of a request and of its reply. */
export interface RequestSchemas {
  readonly payload: StandardSchema;
  readonly reply: StandardSchema;
}

/** What the members of a mesh send one another, by topic. */
export interface Contract {
  readonly messages?: Readonly<Record<string, StandardSchema>>;
  readonly requests?: Readonly<Record<string, RequestSchemas>>;
  readonly streams?: readonly string[];
}

type InputOf<Schema> = TypesOf<Schema> extends { readonly input: infer Input } ? Input : unknown;
type OutputOf<Schema> = TypesOf<Schema> extends { readonly output: infer Output } ? Output : unknown;
type TypesOf<Schema> = Schema extends { readonly "~standard": { readonly types?: infer Types } }
  ? NonNullable<Types>
  : never;

type MessageSchema<C extends Contract, Topic extends string> =
  NonNullable<C["messages"]> extends { readonly [Name in Topic]: infer Schema } ? Schema : never;
type RequestSchema<C extends Contract, Topic extends string, Part extends keyof RequestSchemas> =
  NonNullable<C["requests"]> extends { readonly [Name in Topic]: { readonly [Key in Part]: infer Schema } }
    ? Schema
    : never;

/** The texts among the keys of a type. It is inferred so that errors of the compiler list them. */
type TextKeys<Section> = keyof Section & string extends infer Key extends string ? Key : never;

/** The topics of a contract's messages, requests and streams; any string without a contract. */
export type MessageTopic<C extends Contract> = TextKeys<NonNullable<C["messages"]>>;
export type RequestTopic<C extends Contract> = TextKeys<NonNullable<C["requests"]>>;
export type StreamTopic<C extends Contract> =
  NonNullable<C["streams"]> extends readonly (infer Topic extends string)[] ? Topic : never;

/** What a listener gets, and what `send` takes. `unknown` without a contract. */
export type MessagePayload<C extends Contract, Topic extends string> = OutputOf<MessageSchema<C, Topic>>;
export type SentPayload<C extends Contract, Topic extends string> = InputOf<MessageSchema<C, Topic>>;
/** What a handler gets and returns, and what `request` takes and resolves with. `unknown` without a contract. */
export type RequestPayload<C extends Contract, Topic extends string> = OutputOf<RequestSchema<C, Topic, "payload">>;
export type SentRequest<C extends Contract, Topic extends string> = InputOf<RequestSchema<C, Topic, "payload">>;
export type Reply<C extends Contract, Topic extends string> = OutputOf<RequestSchema<C, Topic, "reply">>;
export type SentReply<C extends Contract, Topic extends string> = InputOf<RequestSchema<C, Topic, "reply">>;

/** A payload may be left out where nothing is one that fits. */
export type PayloadArguments<Payload, More extends readonly unknown[] = []> = undefined extends Payload
  ? [payload?: Payload, ...more: More]
  : [payload: Payload, ...more: More];

/** The schema of all types: it lets everything pass. */
const anything: StandardSchema = {
  "~standard": { version: 1, vendor: "fullmesh", validate: (value) => ({ value }) },
};

/** Stands for a schema where only the compiler is to check: nothing is validated when it comes. */
export function type<Value>(): StandardSchema<Value> {
  return anything as StandardSchema<Value>;
}

/**
 * A contract, for the option `contract` of `join`: with it the compiler knows topics, payloads and replies, and what comes
 * from peers is validated by its schema.
 *
 * @throws {FullmeshError} `BAD_OPTION`
 */
export function defineContract<const C extends Contract>(contract: C): C {
  contractOption(contract);
  return contract;
}

/** The schemas of a contract by topic, but for those that let everything pass. */
export class ContractSchemas {
  readonly messages = new Map<string, StandardSchema>();
  readonly payloads = new Map<string, StandardSchema>();
  readonly replies = new Map<string, StandardSchema>();
}

/** Checks the option `contract`. Undefined if there is nothing to validate. */
export function contractOption(contract: unknown): ContractSchemas | undefined {
  if (contract === undefined) return undefined;
  refuseUnknown(contract as object, ["messages", "requests", "streams"]);
  const { messages = {}, requests = {}, streams = [] } = contract as Contract;
  if (!Array.isArray(streams)) badOption("contract.streams", "an array of topics", streams);
  requireOptions(messages);
  requireOptions(requests);
  const schemas = new ContractSchemas();
  const add = (to: Map<string, StandardSchema>, topic: string, name: string, value: unknown): void => {
    const schema = schemaOption(`contract.${name}`, value);
    if (schema !== anything) to.set(topic, schema);
  };
  for (const [topic, schema] of Object.entries(messages)) add(schemas.messages, topic, `messages.${topic}`, schema);
  for (const [topic, request] of Object.entries(requests)) {
    requireOptions(request);
    refuseUnknown(request, ["payload", "reply"]);
    add(schemas.payloads, topic, `requests.${topic}.payload`, request.payload);
    add(schemas.replies, topic, `requests.${topic}.reply`, request.reply);
  }
  const { messages: ofMessages, payloads, replies } = schemas;
  return ofMessages.size + payloads.size + replies.size === 0 ? undefined : schemas;
}

function schemaOption(name: string, value: unknown): StandardSchema {
  // Some libraries make schemas that are functions.
  const standard = (Object(value) as Partial<StandardSchema>)["~standard"];
  if (standard?.version === 1 && typeof standard.validate === "function") return value as StandardSchema;
  return badOption(name, "a Standard Schema or `type<...>()`", value);
}

/** What a schema has made of a value, or the error of one that does not fit. */
export type Validation = { readonly value: unknown } | { readonly error: FullmeshError };

/** Validates a payload or a reply. `what`: what it is called in the error. Never throws. */
export function validate(
  schema: StandardSchema,
  value: unknown,
  what: "payload" | "reply",
): Validation | Promise<Validation> {
  const failed = (cause: unknown): Validation => {
    const why = cause instanceof Error ? cause.message : String(cause);
    return { error: new FullmeshError("BAD_VALUE", `the schema of the ${what} has failed: ${why}`, { cause }) };
  };
  try {
    const result = schema["~standard"].validate(value);
    if (!isThenable(result)) return validationOf(result, what);
    return Promise.resolve(result).then((later) => validationOf(later, what), failed);
  } catch (error) {
    return failed(error);
  }
}

/** Issues that are named; the rest is counted. */
const mostIssues = 3;

function validationOf(result: SchemaResult<unknown>, what: string): Validation {
  if (result.issues === undefined) return { value: result.value };
  const named = result.issues.slice(0, mostIssues).map(({ message, path = [] }) => {
    const steps = path.map((step) => pathStep(typeof step === "object" ? step.key : step));
    return `${shortenPath(`${what}${steps.join("")}`)}: ${message}`;
  });
  const more = result.issues.length - named.length;
  return { error: new FullmeshError("BAD_VALUE", `${named.join("; ")}${more > 0 ? `; and ${more} more` : ""}`) };
}
