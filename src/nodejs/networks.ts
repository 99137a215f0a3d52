import { isIP } from "node:net";

/** Reads a network in CIDR notation, such as `10.0.0.0/8` or `fd00::/8`; undefined for anything else. */
function parseCidr(text: string): { readonly network: string; readonly prefix: number } | undefined {
  const [network = "", prefixText = "", ...rest] = text.split("/");
  const family = isIP(network);
  if (family === 0 || rest.length > 0 || network.includes("%") || !/^\d{1,3}$/.test(prefixText)) return undefined;
  const prefix = Number(prefixText);
  return prefix <= (family === 4 ? 32 : 128) ? { network, prefix } : undefined;
}

/** True for a network in CIDR notation. */
export function isCidr(text: string): boolean {
  return parseCidr(text) !== undefined;
}

/** A test for hosts, canonical IP literals, that lie in one of these networks. */
export function hostFilter(cidrs: readonly string[]): (host: string) => boolean {
  // Node loads it at the first use, which takes time.
  const networks = new (process.getBuiltinModule("node:net").BlockList)();
  for (const cidr of cidrs) {
    const parsed = parseCidr(cidr);
    if (parsed !== undefined) networks.addSubnet(parsed.network, parsed.prefix, familyOf(parsed.network));
  }
  return (host) => networks.check(host, familyOf(host));
}

function familyOf(host: string): "ipv4" | "ipv6" {
  return host.includes(":") ? "ipv6" : "ipv4";
}
