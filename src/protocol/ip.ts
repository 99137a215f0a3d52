/**
 * IP address literals, strictly: four decimal octets without leading zeros, or the IPv6 forms of RFC 4291 section 2.2,
 * without a zone. Anything looser ("127.1", "0177.0.0.1", "2130706433") would reach the system's resolver, which reads
 * such strings as addresses of its own choice.
 */

const octet = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
/** There is no other spelling of an IPv4 address, so whatever this matches is canonical. */
const ipv4 = new RegExp(`^${octet}(?:\\.${octet}){3}$`);
const hextet = /^[0-9a-f]{1,4}$/;

/** The longest literal: an IPv6 address with an embedded IPv4 one. */
export const longestIp = 45;

function parseIpv4(text: string): number[] | undefined {
  return ipv4.test(text) ? text.split(".").map(Number) : undefined;
}

/** The eight 16-bit groups of an IPv6 literal, or undefined. */
function parseIpv6(text: string): number[] | undefined {
  const halves = text.toLowerCase().split("::");
  if (halves.length > 2) return undefined;
  const groups = halves.map((half, index) => parseGroups(half, index === halves.length - 1));
  const [head, tail] = groups;
  if (head === undefined) return undefined;
  if (halves.length === 1) return head.length === 8 ? head : undefined;
  if (tail === undefined || head.length + tail.length > 7) return undefined;
  return [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
}

/** Groups between colons; only the end of an address may be written as an embedded IPv4 address. */
function parseGroups(text: string, isEnd: boolean): number[] | undefined {
  if (text === "") return [];
  const parts = text.split(":");
  const groups: number[] = [];
  for (const [index, part] of parts.entries()) {
    if (hextet.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else {
      const octets = isEnd && index === parts.length - 1 ? parseIpv4(part) : undefined;
      if (octets === undefined) return undefined;
      const [a = 0, b = 0, c = 0, d = 0] = octets;
      groups.push(a * 256 + b, c * 256 + d);
    }
  }
  return groups;
}

/** The text form of RFC 5952: lower case, no leading zeros, the longest run of two or more zero groups as `::`. */
function formatIpv6(groups: readonly number[]): string {
  let best = { start: 0, length: 1 };
  for (let start = 0; start < groups.length; start += 1) {
    let length = 0;
    while (start + length < groups.length && groups[start + length] === 0) length += 1;
    if (length > best.length) best = { start, length };
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.length === 1) return hex.join(":");
  return `${hex.slice(0, best.start).join(":")}::${hex.slice(best.start + best.length).join(":")}`;
}

/**
 * The one canonical spelling of an IP literal, so that equal addresses are equal strings; undefined if it is none. An
 * IPv4 address mapped into IPv6 (`::ffff:10.0.0.1`), as dual-stack sockets report it, becomes the IPv4 address.
 */
export function canonicalIp(text: string): string | undefined {
  if (text.length > longestIp) return undefined;
  if (!text.includes(":")) return ipv4.test(text) ? text : undefined;
  const groups = parseIpv6(text);
  if (groups === undefined) return undefined;
  const [high = 0, low = 0] = groups.slice(6);
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  return isMapped ? [high >> 8, high & 255, low >> 8, low & 255].join(".") : formatIpv6(groups);
}

/** True for 0.0.0.0 and ::, which mean "every address of this machine" to a listener and nothing to a dialer. */
export function isUnspecified(canonicalHost: string): boolean {
  return canonicalHost === "0.0.0.0" || canonicalHost === "::";
}
