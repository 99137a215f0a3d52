import { describe, expect, test } from "vitest";
import { longestNetworkAddress } from "../../src/protocol/address.js";
import { HelloReader } from "../../src/protocol/classic/hello.js";
import { RegistrationReader } from "../../src/protocol/classic/registration.js";
import { AddressScanner, isAmbiguousPort, isDigit } from "../../src/protocol/classic/scanner.js";
import { bytesOf, drain } from "./readers.js";

function scan(text: string): AddressScanner {
  const scanner = new AddressScanner();
  for (const byte of bytesOf(text)) scanner.take(byte);
  return scanner;
}

const largestPort = 65_535;

describe("ports, all 65,535 of them", () => {
  test("a port is exact at its last digit if ten times it exceeds 65535, and provisional otherwise", () => {
    for (let port = 1; port <= largestPort; port += 1) {
      const { state, address } = scan(`1.2.3.4:${port}`);
      const expected = port * 10 > largestPort ? "exact" : "provisional";
      if (state !== expected || address !== `1.2.3.4:${port}`) throw new Error(`port ${port}: ${state} ${address}`);
      if (isAmbiguousPort(port) !== (expected === "provisional"))
        throw new Error(`port ${port} is told ambiguous wrongly`);
    }
  });

  test("no beginning of a port is exact", () => {
    for (let port = 10; port <= largestPort; port += 1) {
      const digits = String(port);
      for (let length = 1; length < digits.length; length += 1) {
        const { state } = scan(`1.2.3.4:${digits.slice(0, length)}`);
        if (state !== "provisional") throw new Error(`${digits.slice(0, length)} of port ${port} is ${state}`);
      }
    }
  });

  test("a registration cut anywhere in its port is announced once, and rightly", () => {
    const host = bytesOf("1.2.3.4:");
    for (let port = 1; port <= largestPort; port += 1) {
      const digits = bytesOf(String(port));
      for (let place = 0; place < digits.length; place += 1) {
        const reader = new RegistrationReader();
        reader.push(host);
        reader.push(digits.subarray(0, place));
        reader.push(digits.subarray(place));
        const isAnnounced = reader.awaitsQuiet === isAmbiguousPort(port);
        reader.finish();
        const [first, second] = drain(reader);
        const isRight = first?.type === "registered" && first.address === `1.2.3.4:${port}` && second === undefined;
        if (!isAnnounced || !isRight) throw new Error(`port ${port} cut at ${place}: ${JSON.stringify(first)}`);
      }
    }
  });

  test("a hello cut anywhere in its port names the right address, and a letter behind it is payload", () => {
    const opening = bytesOf("Hello from:1.2.3.4:");
    for (let port = 1; port <= largestPort; port += 1) {
      const rest = bytesOf(`${port}x`);
      for (let place = 0; place < rest.length; place += 1) {
        const reader = new HelloReader();
        reader.push(opening);
        reader.push(rest.subarray(0, place));
        reader.push(rest.subarray(place));
        const [hello, payload] = drain(reader);
        const isRight = hello?.type === "hello" && hello.address === `1.2.3.4:${port}` && payload?.type === "payload";
        if (!isRight) throw new Error(`port ${port} cut at ${place}: ${JSON.stringify(hello)}`);
      }
    }
  });
});

describe("AddressScanner", () => {
  test.each([
    ["1.2.3.4", "open"],
    ["1.2.3.4:", "open"],
    ["1.2.3.4:8", "provisional"],
    ["1.2.3.4:6553", "provisional"],
    ["1.2.3.4:6554", "exact"],
    ["1.2.3.4:65535", "exact"],
    ["1.2.3.4:80\n", "ended"],
    ["1.2.3.4:8080x", "ended"],
    ["1.2.3.4:80801", "ended"],
    ["[::1]:80", "provisional"],
    ["[::1", "open"],
    ["[::1]", "open"],
    ["1.2.3.4:0", "bad"],
    ["1.2.3.4:080", "bad"],
    ["1.2.3.4:65536", "bad"],
    ["1.2.3.4:x", "bad"],
    ["1.2.3:", "bad"],
    ["256.2.3.4:", "bad"],
    ["0.0.0.0:", "bad"],
    ["[::]:", "bad"],
    ["[1.2.3.4]:", "bad"],
    ["[::1%1]:", "bad"],
    ["::1:", "bad"],
    ["localhost:", "bad"],
    [" 1.2.3.4:80", "bad"],
  ])("calls %j %s", (text, state) => {
    expect(scan(text).state).toBe(state);
  });

  test("gives the canonical address, whatever the spelling", () => {
    expect(scan("[::FFFF:10.0.0.1]:7000").address).toBe("10.0.0.1:7000");
    expect(scan("[2001:DB8:0::1]:7000").address).toBe("[2001:db8::1]:7000");
  });

  test("has no address while open, and none when bad", () => {
    expect(scan("1.2.3.4:").address).toBeUndefined();
    expect(scan("1.2.3.4:0").address).toBeUndefined();
  });

  test("leaves the byte behind an address to others, and keeps the address", () => {
    const scanner = scan("1.2.3.4:8080");
    expect(scanner.take(0x35)).toBe("ended");
    expect(scanner.take(0x35)).toBe("ended");
    expect(scanner.address).toBe("1.2.3.4:8080");
    expect(scanner.text).toBe("1.2.3.4:8080");
  });

  test("stays bad", () => {
    const scanner = scan("x");
    expect(scanner.take(0x31)).toBe("bad");
  });

  test("keeps no more text than the longest address has", () => {
    for (const byte of ["1", ".", ":", "f"]) {
      const scanner = scan(`[${byte.repeat(10_000)}`);
      expect(scanner.state).toBe("bad");
      expect(scanner.text.length).toBeLessThanOrEqual(longestNetworkAddress);
    }
  });

  test("takes the longest address there is", () => {
    const longest = "[0000:0000:0000:0000:0000:ffff:255.255.255.255]:65535";
    expect(longest).toHaveLength(longestNetworkAddress);
    expect(scan(longest).address).toBe("255.255.255.255:65535");
  });

  test("knows the inside of brackets, where letters are digits", () => {
    expect(scan("").isFresh).toBe(true);
    expect(scan("[fe80::a").isInBrackets).toBe(true);
    expect(scan("[fe80::a]").isInBrackets).toBe(false);
    expect(scan("1.2.3.4").isInBrackets).toBe(false);
    expect(scan("[").isFresh).toBe(false);
  });
});

test("digits are the bytes 0x30 to 0x39", () => {
  const digits = Array.from({ length: 256 }, (_, byte) => byte).filter(isDigit);
  expect(String.fromCharCode(...digits)).toBe("0123456789");
});
