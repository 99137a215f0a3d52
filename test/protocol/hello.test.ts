import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { endpointOf } from "../../src/protocol/address.js";
import { encodeHello, HelloReader } from "../../src/protocol/classic/hello.js";
import { isAmbiguousPort } from "../../src/protocol/classic/scanner.js";
import { addresses, bytesOf, cut, cuts, drain, everyDelivery, helloResult, readAll, streams } from "./readers.js";

describe("a hello", () => {
  test("reads back as it was written, however it is delivered", () => {
    fc.assert(
      fc.property(addresses, (address) => {
        for (const pieces of everyDelivery(encodeHello(address))) {
          expect(helloResult(pieces)).toEqual({ address, payload: "" });
        }
      }),
    );
  });

  test("may have a space where ours has a colon", () => {
    for (const pieces of everyDelivery(bytesOf("Hello from [::1]:4000"))) {
      expect(helloResult(pieces)).toEqual({ address: "[::1]:4000", payload: "" });
    }
  });

  test("hands on what follows it byte for byte, however it is delivered", () => {
    const payload = fc.string({ unit: fc.constantFrom("a", ":", "\n", "\0", "H", "[", "\xff"), maxLength: 20 });
    fc.assert(
      fc.property(addresses, payload, (address, text) => {
        for (const pieces of everyDelivery(bytesOf(`Hello from:${address}${text}`))) {
          expect(helloResult(pieces)).toEqual({ address, payload: text });
        }
      }),
      { numRuns: 50 },
    );
  });

  test("with an ambiguous port waits for a quiet period, and only then are digits payload", () => {
    const reader = new HelloReader();
    reader.push(bytesOf("Hello from:10.0.0.1:80"));
    expect(reader.awaitsQuiet).toBe(true);
    expect(drain(reader)).toEqual([]);
    reader.quiet();
    reader.push(bytesOf("80"));
    reader.finish();
    expect(drain(reader)).toEqual([
      { type: "hello", address: "10.0.0.1:80" },
      { type: "payload", bytes: bytesOf("80") },
    ]);
  });

  test("with an unambiguous port is taken at its last digit, and digits behind it are payload", () => {
    for (const pieces of everyDelivery(bytesOf("Hello from:10.0.0.1:70000"))) {
      expect(helloResult(pieces)).toEqual({ address: "10.0.0.1:7000", payload: "0" });
    }
  });

  test("waits for a quiet period exactly when its port is ambiguous", () => {
    fc.assert(
      fc.property(addresses, (address) => {
        const reader = new HelloReader();
        reader.push(encodeHello(address));
        expect(reader.awaitsQuiet).toBe(isAmbiguousPort(Number(endpointOf(address).port)));
      }),
    );
  });

  test("keeps the newline behind its port for the payload", () => {
    expect(helloResult([bytesOf("Hello from:10.0.0.1:80\nhi")])).toEqual({ address: "10.0.0.1:80", payload: "\nhi" });
  });

  test("hands on a view of large payload, not a copy", () => {
    const reader = new HelloReader();
    reader.push(bytesOf("Hello from:10.0.0.1:8080"));
    const payload = new Uint8Array(1_000_000);
    reader.push(payload);
    const [, event] = drain(reader);
    expect(event?.type === "payload" && event.bytes.buffer === payload.buffer).toBe(true);
  });
});

describe("first bytes that are no hello", () => {
  test.each([
    ["10.0.0.1:8080", "registration"],
    ["[::1]:8080", "registration"],
    ["GET / HTTP/1.1\r\n", "http"],
    ["HEAD / HTTP/1.1\r\n", "http"],
    ["\x16\x03\x01", "tls"],
    ["hello from:10.0.0.1:8080", "stranger"],
    ["Hullo from:10.0.0.1:8080", "stranger"],
    ["Hello fron:10.0.0.1:8080", "stranger"],
    ["Hello from:localhost:8080", "hello"],
    ["Hello from:0.0.0.0:8080", "hello"],
    ["Hello from:10.0.0.1:0", "hello"],
    ["Hello from:10.0.0.1:080", "hello"],
    ["Hello from:10.0.0.1:65536", "hello"],
    ["Hello from:[fe80::1%eth0]:80", "hello"],
    ["Hello from=10.0.0.1:80", "hello"],
    ["Hello from", "hello"],
    ["Hello from:10.0.0.1", "hello"],
    ["H", "hello"],
  ])("%j are no hello; what they look like: %s", (text, caller) => {
    for (const pieces of everyDelivery(bytesOf(text))) {
      expect(helloResult(pieces)).toEqual({ bad: caller, payload: "" });
    }
  });

  test("are shown with each foreign byte escaped once", () => {
    expect(readAll(new HelloReader(), [bytesOf("Hello\x01")])).toEqual([
      { type: "bad", caller: "stranger", text: "Hello\\x01" },
    ]);
  });

  test("are told nothing of when there are none", () => {
    expect(readAll(new HelloReader(), [])).toEqual([]);
  });
});

describe("any bytes in any pieces", () => {
  test("come to the same hello and the same payload however they are cut", () => {
    fc.assert(
      fc.property(streams, cuts, (bytes, places) => {
        expect(helloResult(cut(bytes, places))).toEqual(helloResult([bytes]));
      }),
      { numRuns: 3_000 },
    );
  });

  test("never throw, whenever quiet falls, and no byte of payload is lost or made up", () => {
    fc.assert(
      fc.property(fc.array(streams, { maxLength: 6 }), (pieces) => {
        const reader = new HelloReader();
        const greeting = "Hello from:10.0.0.1:80";
        reader.push(bytesOf(greeting));
        reader.quiet();
        const [hello, ...before] = drain(reader);
        expect(hello).toEqual({ type: "hello", address: "10.0.0.1:80" });
        expect(before).toEqual([]);
        for (const piece of pieces) {
          reader.push(piece);
          reader.quiet();
        }
        reader.finish();
        const payload = drain(reader).flatMap((event) => (event.type === "payload" ? [...event.bytes] : []));
        expect(payload).toEqual(pieces.flatMap((piece) => [...piece]));
      }),
    );
  });

  test("never make more than one event a piece and one more, and keep only a little text", () => {
    fc.assert(
      fc.property(fc.array(streams, { maxLength: 6 }), (pieces) => {
        const reader = new HelloReader();
        for (const piece of pieces) {
          reader.push(piece);
          reader.quiet();
        }
        reader.finish();
        const events = drain(reader);
        expect(events.length).toBeLessThanOrEqual(pieces.length + 1);
        for (const event of events) if (event.type === "bad") expect(event.text).toMatch(/^[\x20-\x7e]{0,80}$/);
      }),
      { numRuns: 2_000 },
    );
  });
});
