import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Address,
  endpointOf,
  formatAddress,
  longestNetworkAddress,
  parseAddress,
  parsePort,
  splitHostPort,
} from "../../src/protocol/address.js";
import { addresses } from "./readers.js";

describe("parsePort", () => {
  test("takes every port from 1 to 65535", () => {
    for (let port = 1; port <= 65_535; port += 1) {
      if (parsePort(String(port)) !== port) throw new Error(`port ${port} was refused`);
    }
  });

  test.each([
    "",
    "0",
    "00",
    "080",
    "65536",
    "70000",
    "99999",
    "100000",
    "1e4",
    " 80",
    "80 ",
    "+80",
    "-1",
    "8.0",
    "0x50",
    "٨٠",
  ])("refuses %j", (text) => {
    expect(parsePort(text)).toBeUndefined();
  });
});

describe("splitHostPort", () => {
  test.each([
    ["localhost:80", "localhost", "80"],
    ["10.0.0.1:4000", "10.0.0.1", "4000"],
    ["[::1]:4000", "::1", "4000"],
    ["host:", "host", ""],
  ])("splits %s without judging its parts", (text, host, port) => {
    expect(splitHostPort(text)).toEqual({ host, port });
  });

  test.each(["", ":80", "host", "::1:80", "[::1]", "[::1:80", "[:80", "a:b:80"])("sees no such shape in %j", (text) => {
    expect(splitHostPort(text)).toBeUndefined();
  });
});

describe("parseAddress", () => {
  test("gives back what formatAddress wrote", () => {
    fc.assert(
      fc.property(addresses, (address) => {
        expect(parseAddress(address)).toBe(address);
        expect(formatAddress(endpointOf(address))).toBe(address);
        expect(address.length).toBeLessThanOrEqual(longestNetworkAddress);
      }),
    );
  });

  test("gives equal strings for equal addresses", () => {
    const spellings = ["[::ffff:10.0.0.1]:4000", "[::FFFF:a00:1]:4000", "10.0.0.1:4000"];
    expect(new Set(spellings.map((text) => parseAddress(text)))).toEqual(new Set(["10.0.0.1:4000"]));
    expect(parseAddress("[2001:DB8:0::1]:80")).toBe("[2001:db8::1]:80");
  });

  test.each([
    "unix:/mesh.sock",
    "unix:/run/app/m-0123abcd.sock",
    "unix:/tmp/.a_b-c@d:e+f=g~h%i",
    "unix:/tmp/Zürich/日本.sock",
  ])("takes the local socket %s as it is", (text) => {
    expect(parseAddress(text)).toBe(text);
    expect(formatAddress(endpointOf(text as Address))).toBe(text);
    expect(endpointOf(text as Address)).toEqual({ path: text.slice("unix:".length) });
  });

  test("takes a local socket whose path has 107 bytes of UTF-8, and none that is longer", () => {
    expect(parseAddress(`unix:/${"a".repeat(106)}`)).toBeDefined();
    expect(parseAddress(`unix:/${"a".repeat(107)}`)).toBeUndefined();
    expect(parseAddress(`unix:/${"é".repeat(53)}`)).toBeDefined();
    expect(parseAddress(`unix:/${"é".repeat(54)}`)).toBeUndefined();
  });

  test.each([
    ["a local socket without a path", "unix:"],
    ["a path that is not absolute", "unix:mesh.sock"],
    ["a path that names the root", "unix:/"],
    ["a folder", "unix:/run/app/"],
    ["a doubled slash", "unix:/run//mesh.sock"],
    ["the folder itself in a path", "unix:/run/./mesh.sock"],
    ["the folder above in a path", "unix:/run/app/../mesh.sock"],
    ["the folder above at the end of a path", "unix:/run/.."],
    ["NUL in a path", "unix:/run/a\0b"],
    ["a line break in a path", "unix:/run/a\nb"],
    ["an escape in a path", "unix:/run/\u001b[2J"],
    ["a space in a path", "unix:/run/a b"],
    ["a comma in a path", "unix:/run/a,b"],
    ["a quote in a path", 'unix:/run/a"b'],
    ["what turns text around in a path", "unix:/run/a\u202eb"],
    ["a lone surrogate in a path", "unix:/run/\ud800"],
    ["another spelling of unix", "UNIX:/run/mesh.sock"],
    ["a host name", "localhost:80"],
    ["a zone", "[fe80::1%eth0]:80"],
    ["every address of the machine", "0.0.0.0:80"],
    ["every IPv6 address of the machine", "[::]:80"],
    ["the unspecified address in disguise", "[::ffff:0.0.0.0]:80"],
    ["IPv4 in brackets", "[10.0.0.1]:80"],
    ["IPv6 without brackets", "::1:80"],
    ["no port", "10.0.0.1"],
    ["an empty port", "10.0.0.1:"],
    ["a port of 0", "10.0.0.1:0"],
    ["a port that is too large", "10.0.0.1:65536"],
    ["a port with a leading zero", "10.0.0.1:080"],
    ["white space", " 10.0.0.1:80"],
    ["a second address", "10.0.0.1:80 10.0.0.2:80"],
    ["a path", "10.0.0.1:80/"],
  ])("refuses %s", (_what, text) => {
    expect(parseAddress(text)).toBeUndefined();
  });

  test("never throws, and what it takes is canonical", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const address = parseAddress(text);
        if (address !== undefined) expect(parseAddress(address)).toBe(address);
      }),
    );
  });
});

describe("formatAddress", () => {
  test("brackets IPv6 and unmaps mapped IPv4", () => {
    expect(formatAddress({ host: "::1", port: 80 })).toBe("[::1]:80");
    expect(formatAddress({ host: "::ffff:127.0.0.1", port: 80 })).toBe("127.0.0.1:80");
  });

  test("leaves host names alone, because people dial them", () => {
    expect(formatAddress({ host: "rendezvous.example", port: 4000 })).toBe("rendezvous.example:4000");
  });
});
