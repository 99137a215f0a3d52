import type { EventEmitter } from "node:events";
import {
  type Endpoint,
  type Identity,
  isOnThisMachine,
  type LocalEndpoint,
  type NetworkEndpoint,
} from "../core/connections.js";
import { FullmeshError } from "../core/errors.js";
import { defaultLimits, type Limits } from "../core/limits.js";
import { descriptorLimits } from "../nodejs/descriptors.js";
import { Keyring } from "../nodejs/keyring.js";
import { requireShortPath } from "../nodejs/local-socket.js";
import { Secret } from "../nodejs/secret.js";
import { nodeTransport } from "../nodejs/transport.js";
import {
  type Address,
  formatAddress,
  isLocal,
  isPath,
  localPrefix,
  parseAddress,
  splitHostPort,
} from "../protocol/address.js";
import { canonicalIp } from "../protocol/ip.js";
import type { TransportPort } from "../runtime/ports.js";

/**
 * The checks that options go through: each returns the value it has understood, or throws `BAD_OPTION` with what was
 * expected and what came instead.
 */

/** Throws `Expected \`name\` to be …, got …`. */
export function badOption(name: string, expected: string, value: unknown): never {
  throw new FullmeshError("BAD_OPTION", `Expected \`${name}\` to be ${expected}, got ${shown(value)}`);
}

const mostShown = 100;

/** A value for people. Of an object only its keys: a secret may be among what it holds. */
function shown(value: unknown): string {
  if (typeof value === "string") return shorten(JSON.stringify(value));
  if (typeof value === "bigint") return shorten(`${value}n`);
  if (typeof value === "function") return "a function";
  if (typeof value !== "object" || value === null) return shorten(String(value));
  if (Array.isArray(value)) return value.length === 0 ? "an empty array" : `an array of ${value.length}`;
  const kind = Object.prototype.toString.call(value).slice("[object ".length, -1);
  if (kind !== "Object") return `an object of the class ${kind}`;
  const keys = Object.keys(value);
  return keys.length === 0 ? "an empty object" : shorten(`an object with ${keys.join(", ")}`);
}

function shorten(text: string): string {
  return text.length <= mostShown ? text : `${text.slice(0, mostShown)}…`;
}

/** Refuses options that are no object, such as an address that was given in their place. `example`: what they look like. */
export function requireOptions(options: unknown, example?: string): void {
  if (typeof options === "object" && options !== null && !Array.isArray(options)) return;
  const got = options === null ? "null" : Array.isArray(options) ? "an array" : `a ${typeof options}`;
  const such = example === undefined ? "" : ` such as ${example}`;
  throw new FullmeshError("BAD_OPTION", `Expected an object of options${such}, got ${got}`);
}

/** Refuses an option that there is not: a misspelled one would otherwise be a default that nobody chose. */
export function refuseUnknown(options: object, known: readonly string[]): void {
  requireOptions(options);
  const unknown = Object.keys(options).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new FullmeshError("BAD_OPTION", `There is no option \`${unknown}\`; there are ${known.join(", ")}`);
}

/** Makes an emitter refuse listeners for events that it never emits: a misspelled one would wait for ever. */
export function refuseUnknownEvents(emitter: EventEmitter, known: readonly string[]): void {
  emitter.on("newListener", (type: string | symbol) => {
    if (typeof type === "symbol" || known.includes(type) || emitterEvents.has(type)) return;
    const shown = JSON.stringify(type);
    throw new FullmeshError("BAD_OPTION", `There is no event ${shown}; there are ${known.join(", ")}`);
  });
}

/** Every emitter of Node has these; `error` is what `events.once` and `events.on` listen for besides. */
const emitterEvents: ReadonlySet<string> = new Set(["error", "newListener", "removeListener"]);

export function integerOption(name: string, value: unknown, least: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= least) return value;
  return badOption(name, `an integer >= ${least}`, value);
}

export function millisecondsOption(name: string, value: unknown): number {
  if (typeof value === "number" && Number.isFinite(value) && value >= 0) return value;
  return badOption(name, "a finite number of milliseconds >= 0", value);
}

/** How long to wait, where for ever is an answer too. */
export function waitOption(name: string, value: unknown): number {
  if (typeof value === "number" && value >= 0) return value;
  return badOption(name, "a number of milliseconds >= 0, or Infinity", value);
}

export function signalOption(name: string, value: unknown): AbortSignal | undefined {
  if (value === undefined || value instanceof AbortSignal) return value;
  return badOption(name, "an AbortSignal", value);
}

/** What is to be called later: better refused now than found out then. */
export function functionOption(name: string, value: unknown): void {
  if (typeof value !== "function") badOption(name, "a function", value);
}

export function choiceOption<Choice extends string>(name: string, value: unknown, choices: readonly Choice[]): Choice {
  const choice = choices.find((candidate) => candidate === value);
  return choice ?? badOption(name, `one of ${choices.map((candidate) => JSON.stringify(candidate)).join(", ")}`, value);
}

/** An address that a member may advertise. */
export function addressOption(name: string, value: unknown): Address {
  const local = localOption(name, value);
  if (local !== undefined) return formatAddress(local);
  const address = typeof value === "string" ? parseAddress(value) : undefined;
  return address ?? badOption(name, "an address such as 10.0.0.1:4000, [::1]:4000 or unix:/run/app/a.sock", value);
}

/** An address over TCP that a server may advertise. */
export function networkAddressOption(name: string, value: unknown): Address {
  const address = typeof value === "string" ? parseAddress(value) : undefined;
  if (address !== undefined && !isLocal(address)) return address;
  return badOption(name, "an address such as 10.0.0.1:4000 or [::1]:4000", value);
}

/** Where to listen: on a local socket, or at an IP literal and a port from 0 to 65535. */
export function listenOption(name: string, value: unknown): Endpoint {
  return localOption(name, value) ?? networkOption(name, value, ", or a local socket such as unix:/run/app/mesh.sock");
}

/** Where to listen over TCP: an IP literal and a port from 0 to 65535. `also`: what the caller takes besides. */
export function networkOption(name: string, value: unknown, also = ""): NetworkEndpoint {
  const endpoint = typeof value === "string" ? endpoint0(value) : undefined;
  const host = endpoint === undefined ? undefined : canonicalIp(endpoint.host);
  if (endpoint === undefined || host === undefined) {
    return badOption(name, `an IP address and a port such as 127.0.0.1:4000, port 0 for any free one${also}`, value);
  }
  return { host, port: endpoint.port };
}

/** A local socket; undefined for a value that does not begin like one. */
function localOption(name: string, value: unknown): LocalEndpoint | undefined {
  if (typeof value !== "string" || !value.startsWith(localPrefix)) return undefined;
  const path = value.slice(localPrefix.length);
  if (!isPath(path)) {
    const form = "an absolute path of letters, digits and ._@:+=~%-, without . and .. and doubled slashes";
    badOption(name, `a local socket such as unix:/run/app/mesh.sock, ${form}`, value);
  }
  requireShortPath(path);
  return { path };
}

/** The same place, as the steps take it: host and port, or the address of a local socket. */
export function listenArguments(on: Endpoint): [at: string, port: number] {
  return on.path === undefined ? [on.host, on.port] : [formatAddress(on), 0];
}

/** What `listenArguments` has returned, or what a caller gives in its place. */
export function listenStepOption(at: string, port: number): Endpoint {
  const isLocalAddress = typeof at === "string" && at.startsWith(localPrefix);
  return listenOption("listen", isLocalAddress ? at : formatAddress({ host: at, port }));
}

/**
 * Where the server is: one address or several, as an array or in one string, between commas. One that is named twice counts
 * once. All are of one kind: local sockets, or over TCP.
 */
export function serversOption(name: string, value: unknown): readonly Endpoint[] {
  const texts: readonly unknown[] =
    typeof value === "string" ? value.split(",") : Array.isArray(value) ? value : [value];
  const servers = new Map<string, Endpoint>();
  for (const text of texts) {
    const server = serverOption(name, typeof text === "string" ? text.trim() : text);
    servers.set(formatAddress(server), server);
  }
  const [first, ...others] = servers.values();
  if (first === undefined) return badOption(name, "one address or several", value);
  const other = others.find(({ path }) => (path === undefined) !== (first.path === undefined));
  if (other !== undefined) {
    throw new FullmeshError(
      "LOCAL_MIX",
      `${formatAddress(first)} and ${formatAddress(other)} are no servers of one mesh`,
    );
  }
  return [first, ...others];
}

/** One of them: a local socket, or an IP literal or a host name, and a port from 1 to 65535. */
function serverOption(name: string, value: unknown): Endpoint {
  const local = localOption(name, value);
  if (local !== undefined) return local;
  const endpoint = typeof value === "string" ? endpoint0(value) : undefined;
  if (endpoint !== undefined && endpoint.port > 0 && /^[0-9A-Za-z.:_-]+$/.test(endpoint.host)) return endpoint;
  return badOption(
    name,
    "a server's address such as 127.0.0.1:4000, mesh.example:4000 or unix:/run/app/mesh.sock",
    value,
  );
}

function endpoint0(text: string): NetworkEndpoint | undefined {
  const parts = splitHostPort(text);
  if (parts === undefined || !/^(?:0|[1-9][0-9]{0,4})$/.test(parts.port)) return undefined;
  const port = Number(parts.port);
  return port <= 65_535 ? { host: parts.host, port } : undefined;
}

/** The limits to run by: the defaults, what this process may open, and what the caller wants otherwise. `ordered`: see `orderedLimits`. */
export function limitsOption(wanted: Partial<Limits> | undefined, ordered: readonly OrderedLimits[] = []): Limits {
  for (const [name, value] of Object.entries(wanted ?? {})) {
    if (!Object.hasOwn(defaultLimits, name)) badOption(`limits.${name}`, "the name of a limit", value);
    millisecondsOrCount(`limits.${name}`, value);
  }
  const limits = { ...defaultLimits, ...descriptorLimits(), ...wanted };
  for (const [lower, upper, margin] of [...orderedLimits, ...ordered]) {
    if (limits[lower] + margin <= limits[upper]) continue;
    const least = margin === 0 ? `limits.${upper}` : `limits.${upper} - ${margin}`;
    badOption(`limits.${lower}`, `at most ${least}, which is ${limits[upper] - margin}`, limits[lower]);
  }
  return limits;
}

/** Two limits that contradict one another unless the first, with so much more, is within the second. */
type OrderedLimits = readonly [lower: keyof Limits, upper: keyof Limits, margin: number];

const orderedLimits: readonly OrderedLimits[] = [
  ["queueSoftBytes", "queueHardBytes", 0],
  ["streamWindowBytes", "streamWindowMaxBytes", 0],
  // What a frame has around a piece of a stream, and some room.
  ["streamFrameBytes", "messageBytes", 64],
];

/** Times may be 0, and fractions; a count or a size of 0 would stop everything, and there is no half of one. */
function millisecondsOrCount(name: string, value: unknown): void {
  if (name.endsWith("Ms")) millisecondsOption(name, value);
  else integerOption(name, value, 1);
}

/** How connections are made, and whether each of them proves the secret. */
export interface TransportChoice {
  readonly transport: TransportPort;
  readonly isKeyed: boolean;
}

/** The transport that goes with a secret, if there is one. `accepts`: which identities may be proved to us. */
export function transportOption(
  secret: unknown,
  accepts: (identity: Identity) => boolean,
  keepAliveMs: number,
): TransportChoice {
  if (secret === undefined) return { transport: nodeTransport(keepAliveMs), isKeyed: false };
  if (typeof secret !== "string") throw new FullmeshError("BAD_SECRET", "Expected `secret` to be a string");
  return { transport: nodeTransport(keepAliveMs, new Keyring(new Secret(secret), accepts)), isKeyed: true };
}

/** Refuses to listen beyond loopback in plain text, unless the caller says that the network is trusted. */
export function requireSecure(on: Endpoint, insecure: boolean | undefined, isKeyed = false): void {
  if (isKeyed || isOnThisMachine(on) || insecure === true) return;
  throw new FullmeshError("INSECURE_LISTEN", `${on.host} can be reached from the network, and nothing is encrypted`);
}
