import type { Endpoint, NetworkEndpoint } from "../core/connections.js";
import { canonicalIp, isUnspecified } from "./ip.js";

/**
 * Where a member listens: over TCP `10.0.0.1:4000` or `[::1]:4000`, on a local socket `unix:/run/app/mesh.sock`. In canonical
 * form, so that equal addresses are equal strings.
 */
export type Address = NetworkAddress | LocalAddress;

/** An address over TCP. */
export type NetworkAddress = `${string}:${number}`;

/** The address of a local socket. */
export type LocalAddress = `unix:/${string}`;

/** The longest address over TCP: a bracketed IPv6 literal and a port. */
export const longestNetworkAddress = 53;

/** What the address of a local socket begins with. */
export const localPrefix = "unix:";

/** The longest path of a local socket in bytes of UTF-8, on the system that takes the longest: Linux. */
export const longestLocalPath = 107;

/**
 * An absolute path. Addresses go into lists, labels and command lines, so these letters have no meaning there, and nothing is
 * invisible.
 */
const pathPattern = /^(?:\/(?!\.{1,2}(?:\/|$))[\p{L}\p{N}._@:+=~%-]+)+$/u;

const portPattern = /^[1-9][0-9]{0,4}$/;

/** A port from 1 to 65535 in decimal without leading zeros; undefined for anything else, also for `1e4` and ` 80`. */
export function parsePort(text: string): number | undefined {
  if (!portPattern.test(text)) return undefined;
  const port = Number(text);
  return port <= 65_535 ? port : undefined;
}

/** Splits `host:port` and `[host]:port` without checking either part; undefined for any other form. */
export function splitHostPort(text: string): { readonly host: string; readonly port: string } | undefined {
  const colon = text.lastIndexOf(":");
  if (colon < 1) return undefined;
  const host = text.slice(0, colon);
  const port = text.slice(colon + 1);
  if (host.startsWith("[")) return host.endsWith("]") ? { host: host.slice(1, -1), port } : undefined;
  return host.includes(":") ? undefined : { host, port };
}

/** Parses the address of a local socket; undefined for a path that is not absolute, not normal, or too long for every system. */
export function parseLocalAddress(text: string): LocalAddress | undefined {
  const path = text.slice(localPrefix.length);
  const isAddress = text.startsWith(localPrefix) && isPath(path) && pathBytes(path) <= longestLocalPath;
  return isAddress ? (text as LocalAddress) : undefined;
}

/** True for a path that may be that of a local socket, if it is not too long. */
export function isPath(text: string): boolean {
  return pathPattern.test(text);
}

/** How many bytes a path has for the system. */
export function pathBytes(path: string): number {
  return new TextEncoder().encode(path).length;
}

/** True for the address of a local socket. */
export function isLocal(address: Address): address is LocalAddress {
  return address.startsWith(localPrefix);
}

/** Parses an address that a member may advertise; undefined for host names, zones, bad ports, 0.0.0.0 and ::. */
export function parseAddress(text: string): Address | undefined {
  if (text.startsWith(localPrefix)) return parseLocalAddress(text);
  const parts = splitHostPort(text);
  if (parts === undefined) return undefined;
  const host = canonicalIp(parts.host);
  const port = parsePort(parts.port);
  if (host === undefined || port === undefined || isUnspecified(host)) return undefined;
  // A bracket belongs to IPv6 and to nothing else.
  const isBracketed = text.startsWith("[");
  if (isBracketed !== parts.host.includes(":")) return undefined;
  // An IPv4 address and a port have no other spelling.
  return isBracketed ? formatAddress({ host, port }) : (text as Address);
}

/** True if both are on local sockets, or both over TCP, as in one mesh all are. */
export function isOfOneKind(address: Address, end: Endpoint): boolean {
  return isLocal(address) === (end.path !== undefined);
}

/** A host is an IP literal or a host name. The end of a local socket that has dialed has no path: it is `unix:`. */
export function formatAddress(endpoint: NetworkEndpoint): NetworkAddress;
export function formatAddress(endpoint: Endpoint): Address;
export function formatAddress(endpoint: Endpoint): Address {
  if (endpoint.path !== undefined) return `${localPrefix}${endpoint.path}` as LocalAddress;
  const host = canonicalIp(endpoint.host) ?? endpoint.host;
  return host.includes(":") ? `[${host}]:${endpoint.port}` : `${host}:${endpoint.port}`;
}

/** The endpoint with its host in canonical form. */
export function canonicalEndpoint(end: Endpoint): Endpoint {
  return end.path === undefined ? { host: canonicalIp(end.host) ?? end.host, port: end.port } : { path: end.path };
}

/** The parts of a canonical address: host and port, or path. */
export function endpointOf(address: NetworkAddress): NetworkEndpoint;
export function endpointOf(address: Address): Endpoint;
export function endpointOf(address: Address): Endpoint {
  if (isLocal(address)) return { path: address.slice(localPrefix.length) };
  const colon = address.lastIndexOf(":");
  const host = address.startsWith("[") ? address.slice(1, colon - 1) : address.slice(0, colon);
  return { host, port: Number(address.slice(colon + 1)) };
}
