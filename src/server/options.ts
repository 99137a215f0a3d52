import { type Logger, loggerOption } from "../api/log.js";
import {
  badOption,
  choiceOption,
  integerOption,
  limitsOption,
  networkAddressOption,
  networkOption,
  refuseUnknown,
  requireSecure,
  transportOption,
} from "../api/options.js";
import type { WaitOptions } from "../api/waiting.js";
import type { Identity, NetworkEndpoint } from "../core/connections.js";
import { FullmeshError } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import type { StoreCertificates } from "../etcd/endpoint.js";
import { type StoreUrl, storeUrl } from "../etcd/store-url.js";
import { nodeClock } from "../nodejs/clock.js";
import { hostFilter, isCidr } from "../nodejs/networks.js";
import { packageVersion } from "../nodejs/package-files.js";
import { newId } from "../nodejs/random.js";
import { Secret } from "../nodejs/secret.js";
import type { Address } from "../protocol/address.js";
import type { Dialect } from "../protocol/directory.js";
import type { OnFull, RendezvousRules } from "../rendezvous/types.js";
import type { TransportPort } from "../runtime/ports.js";
import type { TraceRecord } from "../runtime/trace.js";

/** How a rendezvous server is to behave. */
export interface ServerOptions {
  /** The most members of one mesh, an integer >= 1. Default: no bound, and then nothing ends by itself. */
  readonly capacity?: number;
  /**
   * What happens at capacity, for which only members with a live session count. `teardown` (default): the mesh ends once it
   * is whole with so many, or at the latest `limits.finishMs` after that many were there, and `start` then fails with
   * `INCOMPLETE`; if one goes before that, its slot is free again. `release`: it is left to its members then, and the
   * server goes; classic members, which end with their server, are refused. `hold`: it stays, and newcomers wait in line for
   * a free slot.
   */
  readonly onFull?: OnFull;
  /**
   * Each mesh is a gang of so many members, an integer >= 1: whoever joins gives its rank, from 0 to `gangSize` - 1 (the
   * option `gang` of a node), and is admitted after all lower ranks. Default: no gang.
   */
  readonly gangSize?: number;
  /** Who may join: `any` (default), or members of one dialect. With a secret, classic members are refused. */
  readonly dialect?: Dialect | "any";
  /** The secret that every connection must prove; see `makeSecret`. Default: none, and nothing is encrypted. */
  readonly secret?: string;
  /**
   * Networks in CIDR notation whose hosts may be advertised from elsewhere, default none. Each one widens whom a stranger
   * can make every member dial.
   */
  readonly allowAdvertise?: readonly string[];
  /** Listen beyond loopback although nothing is encrypted, default false. */
  readonly insecure?: boolean;
  /**
   * Where to show the mesh over HTTP, such as 127.0.0.1:4080: the page, `/status.json`, `/events`, `/metrics`, `/healthz` and
   * `/readyz`. Whoever reaches it sees it, with a secret too; beyond loopback it needs `insecure`. Default: nowhere.
   */
  readonly http?: string;
  /** Host names by which browsers may ask for it, besides IP addresses and localhost. Default: none. */
  readonly httpHosts?: readonly string[];
  /**
   * The etcd in which this server and others keep the logs of their meshes, so that any of them may go: its URL, such as
   * `etcd://10.0.0.1:2379,10.0.0.2:2379/prefix`, or that with certificates. All servers of a store have the same `capacity`,
   * `onFull`, `gangSize`, `dialect`, `secret` and `limits.leaseMs`. Default: the logs are in memory, and nobody shares them.
   */
  readonly store?: string | StoreOptions;
  /**
   * Where members reach this server, `ip:port`: what the other servers of the store name to theirs. Default: where it listens;
   * needed with `store` on 0.0.0.0 or ::.
   */
  readonly advertise?: string;
  /** Bounds that differ from the defaults; see `defaultLimits`. */
  readonly limits?: Partial<Limits>;
  /** Where log records go. Default: warnings and errors to stderr, one line each; `false` is silence. */
  readonly logger?: Logger | false;
  /** Called for every message sent or understood; see `toSequenceDiagram`. */
  readonly trace?: (record: TraceRecord) => void;
}

/** Where a store is, and what TLS to it takes. The certificates are PEM texts, for a URL that begins with `etcd+https://`. */
export interface StoreOptions {
  /** `etcd://host:port,host:port/prefix` or `etcd+https://...`; before the hosts `user:password@`, percent-encoded. */
  readonly url: string;
  /** The authority of the store's certificate. Default: those that Node knows. */
  readonly ca?: string;
  /** The certificate that this server shows, and its key; both or none. */
  readonly cert?: string;
  readonly key?: string;
}

/** Options of `serve`: those of the server, where it listens, and how long it waits for its store. */
export interface ServeOptions extends ServerOptions, WaitOptions {
  /** `ip:port`, default 127.0.0.1:4000; port 0 takes any free one. */
  readonly listen?: string;
}

/** The names in `ServeOptions`: `serve` passes its options on to the server. */
const serverOptionNames: readonly (keyof ServeOptions)[] = [
  "listen",
  "capacity",
  "onFull",
  "gangSize",
  "dialect",
  "secret",
  "allowAdvertise",
  "insecure",
  "http",
  "httpHosts",
  "store",
  "advertise",
  "timeoutMs",
  "signal",
  "limits",
  "logger",
  "trace",
];

/** A checked configuration. */
export interface ServerConfig {
  readonly rules: RendezvousRules;
  readonly transport: TransportPort;
  readonly trace: ((record: TraceRecord) => void) | undefined;
  readonly logger: Logger | undefined;
  /** Where to show the mesh over HTTP, and under which names. */
  readonly http: { readonly on: NetworkEndpoint; readonly hosts: readonly string[] } | undefined;
  /** The store that this server shares with others; undefined: its logs are in memory. */
  readonly store: StoreConfig | undefined;
}

export interface StoreConfig {
  readonly url: StoreUrl;
  readonly certificates: StoreCertificates;
  /** What the others tell their members; undefined: where this server listens. */
  readonly advertise: Address | undefined;
  /** Shows to the other servers whether they have the same secret; undefined without one. */
  readonly secretTag: string | undefined;
}

/** Checks the options. Throws `BAD_OPTION` for a value that an option cannot take, and `BAD_SECRET`. */
export function serverConfig(options: ServerOptions): ServerConfig {
  refuseUnknown(options, serverOptionNames);
  // A connection must be known to be silent before the lease of its member is over.
  const limits = limitsOption(options.limits, [["silentMs", "leaseMs", 0]]);
  const isServer = ({ role }: Identity): boolean => role === "rendezvous";
  const { transport, isKeyed } = transportOption(options.secret, isServer, limits.keepAliveMs);
  const store = storeOption(options);
  return {
    rules: serverRules(options, limits, isKeyed, store !== undefined),
    transport,
    trace: options.trace,
    logger: loggerOption(options.logger),
    http: httpOption(options),
    store,
  };
}

function storeOption({ store, advertise, secret }: ServerOptions): StoreConfig | undefined {
  if (store === undefined) {
    if (advertise !== undefined) badOption("advertise", "given together with `store`", advertise);
    return undefined;
  }
  const { url: text, ...certificates } = typeof store === "string" ? { url: store } : store;
  // The text may hold a password: no message shows it.
  if (typeof text !== "string") badOption("store", "the URL of an etcd, or an object with its `url`", store);
  refuseUnknown(certificates, ["ca", "cert", "key"]);
  const url = storeUrl(text);
  requireCertificates(url, certificates);
  return {
    url,
    certificates,
    advertise: advertise === undefined ? undefined : networkAddressOption("advertise", advertise),
    secretTag: secret === undefined ? undefined : Buffer.from(new Secret(secret).keyFor(tagName)).toString("hex"),
  };
}

/** What the tag of a secret is derived for: no identity of a handshake, so it is a key of nobody. */
const tagName = "fullmesh/1 store";

function requireCertificates({ isSecure }: StoreUrl, certificates: StoreCertificates): void {
  const { ca, cert, key } = certificates;
  const [given] = Object.keys(certificates);
  if (given === undefined) return;
  const bad = (expected: string): never => {
    throw new FullmeshError("BAD_OPTION", `Expected ${expected}`);
  };
  if (!isSecure) bad(`a URL that begins with etcd+https:// for \`store.${given}\``);
  if ((cert === undefined) !== (key === undefined)) bad("`store.cert` and `store.key` together");
  for (const [name, pem] of Object.entries({ ca, cert, key })) {
    if (pem !== undefined && (typeof pem !== "string" || !pem.includes("-----BEGIN "))) {
      bad(`\`store.${name}\` to be a PEM text, which begins with -----BEGIN`);
    }
  }
  try {
    process.getBuiltinModule("node:tls").createSecureContext(certificates);
  } catch (error) {
    const { message } = error as Error;
    bad(`certificates for the store that can be used, got ${message}`);
  }
}

function httpOption({ http, httpHosts = [], insecure }: ServerOptions): ServerConfig["http"] {
  if (!Array.isArray(httpHosts)) badOption("httpHosts", "an array of host names", httpHosts);
  for (const host of httpHosts) {
    if (typeof host !== "string" || !/^[0-9A-Za-z.-]+$/.test(host))
      badOption("httpHosts", "an array of host names", host);
  }
  if (http === undefined) return undefined;
  const on = networkOption("http", http);
  requireSecure(on, insecure);
  return { on, hosts: httpHosts };
}

function serverRules(options: ServerOptions, limits: Limits, isKeyed: boolean, isShared: boolean): RendezvousRules {
  const { capacity, onFull = "teardown", gangSize, dialect = "any", allowAdvertise = [] } = options;
  if (onFull === "release" && dialect === "classic")
    badOption("onFull", "teardown or hold for classic members", onFull);
  for (const cidr of allowAdvertise)
    if (!isCidr(cidr)) badOption("allowAdvertise", "a network such as 10.0.0.0/8", cidr);
  return {
    capacity: capacity === undefined ? Number.POSITIVE_INFINITY : integerOption("capacity", capacity, 1),
    onFull: choiceOption("onFull", onFull, ["teardown", "release", "hold"]),
    ...(gangSize === undefined ? {} : { gangSize: integerOption("gangSize", gangSize, 1) }),
    // A classic member takes the end of the server for the end of the mesh.
    dialect: onFull === "release" ? "native" : choiceOption("dialect", dialect, ["any", "native", "classic"]),
    mayAdvertise: hostFilter(allowAdvertise),
    isKeyed,
    isShared,
    newId,
    wallTime: nodeClock.wallTime,
    version: packageVersion(),
    firstRevision: Date.now() * 1000,
    startedAtMs: nodeClock.now(),
    limits,
  };
}
