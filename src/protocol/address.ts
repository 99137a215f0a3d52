import type { Endpoint } from "../core/connections.js";
import { canonicalIp, isUnspecified } from "./ip.js";

/** Where a member listens: `10.0.0.1:4000` or `[::1]:4000`, in canonical form, so that equal addresses are equal strings. */
export type Address = `${string}:${number}`;

/** The longest address: a bracketed IPv6 literal and a port. */
export const longestAddress = 53;

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

/** Parses an address that a member may advertise; undefined for host names, zones, bad ports, 0.0.0.0 and ::. */
export function parseAddress(text: string): Address | undefined {
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

/** `endpoint.host` is an IP literal or a host name. */
export function formatAddress(endpoint: Endpoint): Address {
  const host = canonicalIp(endpoint.host) ?? endpoint.host;
  return host.includes(":") ? `[${host}]:${endpoint.port}` : `${host}:${endpoint.port}`;
}

/** The two parts of a canonical address. */
export function endpointOf(address: Address): Endpoint {
  const colon = address.lastIndexOf(":");
  const host = address.startsWith("[") ? address.slice(1, colon - 1) : address.slice(0, colon);
  return { host, port: Number(address.slice(colon + 1)) };
}
