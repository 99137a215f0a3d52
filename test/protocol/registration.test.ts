import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { endpointOf } from "../../src/protocol/address.js";
import {
  encodeRegistration,
  type RegistrationEvent,
  RegistrationReader,
} from "../../src/protocol/classic/registration.js";
import { isAmbiguousPort } from "../../src/protocol/classic/scanner.js";
import {
  addresses,
  bytesOf,
  cut,
  cuts,
  drain,
  everyDelivery,
  readAll,
  registrationResult,
  streams,
} from "./readers.js";

function read(text: string): object[] {
  return readAll(new RegistrationReader(), [bytesOf(text)]);
}

describe("what stands behind an address", () => {
  test("may be a buffer full of zeros, and whoever sends on is looked at no more", () => {
    const reader = new RegistrationReader();
    const events: RegistrationEvent[] = [];
    const push = (bytes: Uint8Array): void => {
      reader.push(bytes);
      for (let event = reader.poll(); event !== undefined; event = reader.poll()) events.push(event);
    };
    push(new TextEncoder().encode("127.0.0.1:14001"));
    for (let count = 0; count < 3; count += 1) push(new Uint8Array(1_024));
    expect(events).toEqual([{ type: "registered", address: "127.0.0.1:14001" }]);
    push(new Uint8Array(2_000));
    push(new TextEncoder().encode("127.0.0.1:14002"));
    expect(events).toHaveLength(1);
  });
});

describe("a registration", () => {
  test("reads back as it was written, however it is delivered", () => {
    fc.assert(
      fc.property(addresses, (address) => {
        for (const pieces of everyDelivery(encodeRegistration(address))) {
          expect(registrationResult(pieces)).toEqual({ address, verdict: "registered", hasExtra: false });
        }
      }),
    );
  });

  test("with an unambiguous port is taken at its last digit, without a timer", () => {
    const reader = new RegistrationReader();
    reader.push(bytesOf("127.0.0.1:6554"));
    expect(reader.awaitsQuiet).toBe(false);
    expect(drain(reader)).toEqual([{ type: "registered", address: "127.0.0.1:6554" }]);
  });

  test("with an ambiguous port waits for a quiet period", () => {
    const reader = new RegistrationReader();
    reader.push(bytesOf("127.0.0.1:6553"));
    expect(reader.awaitsQuiet).toBe(true);
    expect(drain(reader)).toEqual([]);
    reader.quiet();
    expect(reader.awaitsQuiet).toBe(false);
    expect(drain(reader)).toEqual([{ type: "registered", address: "127.0.0.1:6553" }]);
  });

  test("with an ambiguous port is taken at once when a newline ends it", () => {
    const reader = new RegistrationReader();
    reader.push(bytesOf("127.0.0.1:80\n"));
    expect(drain(reader)).toEqual([{ type: "registered", address: "127.0.0.1:80" }]);
  });

  test.each(["\n", "\r\n", "\0", " ", "\n\n"])("may be followed by %j without a word being said", (ending) => {
    expect(read(`127.0.0.1:8080${ending}`)).toEqual([{ type: "registered", address: "127.0.0.1:8080" }]);
  });

  test("is corrected when more digits come after the quiet period", () => {
    const reader = new RegistrationReader();
    reader.push(bytesOf("127.0.0.1:80"));
    reader.quiet();
    reader.push(bytesOf("80"));
    expect(reader.awaitsQuiet).toBe(true);
    reader.quiet();
    expect(drain(reader)).toEqual([
      { type: "registered", address: "127.0.0.1:80" },
      { type: "revised", address: "127.0.0.1:8080" },
    ]);
  });

  test("is refused when late digits make its port no port", () => {
    const reader = new RegistrationReader();
    reader.push(bytesOf("127.0.0.1:6553"));
    reader.quiet();
    reader.push(bytesOf("6"));
    reader.finish();
    expect(drain(reader)).toMatchObject([{ type: "registered" }, { type: "bad", text: "127.0.0.1:65536" }]);
  });

  test("comes to the same address wherever a quiet period falls", () => {
    fc.assert(
      fc.property(addresses, fc.nat({ max: 60 }), (address, place) => {
        const reader = new RegistrationReader();
        const [head = bytesOf(""), tail = bytesOf("")] = cut(encodeRegistration(address), [place]);
        reader.push(head);
        reader.quiet();
        reader.push(tail);
        reader.finish();
        expect(drain(reader).at(-1)).toMatchObject({ address });
      }),
    );
  });

  test("takes no digit behind a newline for a part of its port", () => {
    expect(registrationResult([bytesOf("127.0.0.1:80\n90")])).toMatchObject({ address: "127.0.0.1:80" });
    const reader = new RegistrationReader();
    reader.push(bytesOf("127.0.0.1:80\n"));
    reader.quiet();
    reader.push(bytesOf("90\n"));
    reader.finish();
    expect(drain(reader)).toMatchObject([{ type: "registered", address: "127.0.0.1:80" }, { type: "extra" }]);
  });
});

describe("what follows a registration", () => {
  test.each([
    ["glued behind the port", "127.0.0.1:8080127.0.0.1:9090"],
    ["on its own line", "127.0.0.1:8080\n127.0.0.1:9090"],
    ["in brackets", "127.0.0.1:8080[::1]:9090"],
  ])("is told as a second address, %s", (_where, text) => {
    for (const pieces of everyDelivery(bytesOf(text))) {
      const events = readAll(new RegistrationReader(), pieces);
      expect(events).toMatchObject([
        { type: "registered", address: "127.0.0.1:8080" },
        { type: "extra", isAddress: true },
      ]);
    }
  });

  test("is told once as extra bytes when it is no address", () => {
    for (const pieces of everyDelivery(bytesOf("127.0.0.1:8080 hello hello"))) {
      expect(readAll(new RegistrationReader(), pieces)).toMatchObject([
        { type: "registered", address: "127.0.0.1:8080" },
        { type: "extra", isAddress: false },
      ]);
    }
  });

  test.each(["127.0.0.1:70000", "127.0.0.1:65536", "127.0.0.1:99999", "127.0.0.1:808012345"])(
    "makes %s no address at all",
    (text) => {
      for (const pieces of everyDelivery(bytesOf(text))) {
        expect(registrationResult(pieces)).toEqual({ verdict: "bad", hasExtra: false });
      }
    },
  );
});

describe("a connection that sends no registration", () => {
  test.each([
    ["GET / HTTP/1.1\r\n", "http"],
    ["HEAD / HTTP/1.1\r\n", "http"],
    ["\x16\x03\x01\x02\0", "tls"],
    ["Hello from:127.0.0.1:8080", "hello"],
  ])("is told apart by %j", (text, caller) => {
    for (const pieces of everyDelivery(bytesOf(text))) {
      expect(readAll(new RegistrationReader(), pieces)).toEqual([{ type: "wrongCaller", caller }]);
    }
  });

  test.each([
    "localhost:80",
    "127.0.0.1",
    "127.0.0.1:",
    "127.0.0.1:0",
    "127.0.0.1:080",
    "127.0.0.1:x",
    "0.0.0.0:80",
    "[fe80::1%eth0]:80",
    "[127.0.0.1]:80",
    "H",
    "\xff",
  ])("is refused for %j", (text) => {
    for (const pieces of everyDelivery(bytesOf(text))) {
      expect(registrationResult(pieces)).toEqual({ verdict: "bad", hasExtra: false });
    }
  });

  test("is refused when a letter follows a port that could grow, as in 1e4, and is told of one that follows any other", () => {
    for (const pieces of everyDelivery(bytesOf("127.0.0.1:1e4"))) {
      expect(registrationResult(pieces)).toEqual({ verdict: "bad", hasExtra: false });
    }
    for (const pieces of everyDelivery(bytesOf("127.0.0.1:8080e4"))) {
      const address = "127.0.0.1:8080";
      expect(registrationResult(pieces)).toEqual({ address, verdict: "registered", hasExtra: true });
    }
  });

  test("is shown what it sent, each foreign byte escaped once", () => {
    expect(read("127.0.0.1\x01")).toEqual([{ type: "bad", text: "127.0.0.1\\x01" }]);
  });

  test("is told nothing when it has sent nothing", () => {
    expect(read("")).toEqual([]);
  });

  test("cannot register after the end of its stream", () => {
    const reader = new RegistrationReader();
    reader.finish();
    reader.push(bytesOf("127.0.0.1:8080"));
    expect(drain(reader)).toEqual([]);
  });
});

describe("any bytes in any pieces", () => {
  test("come to the same registration however they are cut", () => {
    fc.assert(
      fc.property(streams, cuts, (bytes, places) => {
        expect(registrationResult(cut(bytes, places))).toEqual(registrationResult([bytes]));
      }),
      { numRuns: 3_000 },
    );
  });

  test("never throw, whenever quiet falls, and bring no more than a few events", () => {
    fc.assert(
      fc.property(fc.array(streams, { maxLength: 6 }), (pieces) => {
        const reader = new RegistrationReader();
        for (const piece of pieces) {
          reader.push(piece);
          reader.quiet();
          expect(reader.awaitsQuiet).toBe(false);
        }
        reader.finish();
        const events = drain(reader);
        // A port has five digits, so it can be corrected four times at most; then it is bad or something is extra.
        expect(events.length).toBeLessThanOrEqual(6);
        for (const event of events) if ("text" in event) expect(event.text).toMatch(/^[\x20-\x7e]{0,80}$/);
      }),
      { numRuns: 2_000 },
    );
  });

  test("leave nothing behind once they are known to be no registration", () => {
    const reader = new RegistrationReader();
    for (let round = 0; round < 1_000; round += 1) reader.push(bytesOf(`${round} junk`));
    expect(drain(reader).length).toBeLessThanOrEqual(2);
    expect(reader.awaitsQuiet).toBe(false);
  });
});

test("only one port in ten waits for a quiet period", () => {
  fc.assert(
    fc.property(addresses, (address) => {
      const reader = new RegistrationReader();
      reader.push(encodeRegistration(address));
      expect(reader.awaitsQuiet).toBe(isAmbiguousPort(Number(endpointOf(address).port)));
    }),
  );
});
