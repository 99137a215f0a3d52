import { FullmeshError } from "../core/errors.js";

/** The port on which etcd serves its clients. */
const defaultPort = 2379;

/** The keys of servers that name no prefix. */
const defaultPrefix = "/fullmesh";

/** Where a store is, and who asks it. */
export interface StoreUrl {
  readonly endpoints: readonly StoreEndpoint[];
  /** True for `etcd+https`. */
  readonly isSecure: boolean;
  readonly credentials: StoreCredentials | undefined;
  /** What all keys begin with, without a slash at its end. */
  readonly prefix: string;
}

export interface StoreEndpoint {
  readonly host: string;
  readonly port: number;
}

export interface StoreCredentials {
  readonly user: string;
  readonly password: string;
}

/**
 * The URL of a store: `etcd://host:port,host:port/prefix`, or `etcd+https://...`; before the hosts `user:password@`,
 * percent-encoded. A port that is missing is 2379, a prefix that is missing `/fullmesh`.
 *
 * @throws {FullmeshError} `BAD_OPTION`, which says what is wrong and never shows the password
 */
export function storeUrl(text: string): StoreUrl {
  const parts = /^etcd(?<secure>\+https)?:\/\/(?:(?<login>[^/]*)@)?(?<hosts>[^/@]*)(?<path>\/.*)?$/s.exec(text)?.groups;
  if (parts === undefined) throw invalid("it does not begin with etcd:// or etcd+https://");
  // What is before the last @ is a user and a password, but a slash has ended the hosts before it: no message shows them.
  if (parts.login === undefined && text.includes("@"))
    throw invalid("there is a slash before the @: percent-encode it in the user and the password");
  const { secure, login, hosts = "", path = "" } = parts;
  return {
    endpoints: hosts.split(",").map(endpointOf),
    isSecure: secure !== undefined,
    credentials: login === undefined ? undefined : credentialsOf(login),
    prefix: prefixOf(path),
  };
}

function endpointOf(text: string): StoreEndpoint {
  // An IPv6 address stands in brackets, as in every URL.
  const parts = /^(?:\[(?<ip6>[\da-fA-F:.]+)\]|(?<name>[\w.-]+))(?::(?<port>\d{1,5}))?$/.exec(text)?.groups;
  const host = parts?.ip6 ?? parts?.name;
  if (host === undefined) throw invalid(`"${text}" is not <host>:<port>`);
  const port = Number(parts?.port ?? defaultPort);
  if (port < 1 || port > 65_535) throw invalid(`"${text}" has no port from 1 to 65535`);
  return { host, port };
}

function credentialsOf(login: string): StoreCredentials {
  const colon = login.indexOf(":");
  if (colon < 1) throw invalid("what is before the @ is not <user>:<password>");
  return { user: decode(login.slice(0, colon)), password: decode(login.slice(colon + 1)) };
}

/** Throws without the text, which may be a password. */
function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid("the user or the password has a % that begins no percent-encoded character");
  }
}

function prefixOf(path: string): string {
  const prefix = path.replace(/\/$/, "");
  if (prefix === "") return defaultPrefix;
  if (!/^(?:\/[\w.~-]+)+$/.test(prefix)) {
    throw invalid(
      `the prefix "${path}" has other characters than letters, digits, ".", "_", "~", "-" between its slashes`,
    );
  }
  return prefix;
}

function invalid(reason: string): FullmeshError {
  const expected = "etcd://<host>:<port>,<host>:<port>/<prefix>";
  return new FullmeshError("BAD_OPTION", `Expected the URL of a store to be like ${expected}, but ${reason}`);
}
