import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  encodeEnd,
  encodeList,
  encodeRefusal,
  readEndText,
  ServerStreamReader,
  teardownText,
} from "../../src/protocol/classic/list.js";
import {
  addresses,
  bytesOf,
  cut,
  cuts,
  drain,
  everyDelivery,
  listLimits,
  readAll,
  serverResult,
  streams,
  textOf,
} from "./readers.js";

const lists = fc.array(addresses, { maxLength: 6 });

function newReader(): ServerStreamReader {
  return new ServerStreamReader(listLimits);
}

function settledLists(pieces: readonly Uint8Array[]): string[][] {
  return readAll(newReader(), pieces).flatMap((event) =>
    event.type === "list" && event.isSettled ? [[...event.members]] : [],
  );
}

describe("a list", () => {
  test("reads back as it was written, however it is delivered", () => {
    fc.assert(
      fc.property(lists, (members) => {
        for (const pieces of everyDelivery(encodeList(members))) {
          expect(serverResult(pieces)).toEqual({ members, badEntries: 0, isTooLong: false });
        }
      }),
      { numRuns: 60 },
    );
  });

  test("glued to another is read as two, however they are delivered", () => {
    fc.assert(
      fc.property(lists, lists, (first, second) => {
        const glued = bytesOf(textOf(encodeList(first)) + textOf(encodeList(second)));
        for (const pieces of everyDelivery(glued)) expect(settledLists(pieces)).toEqual([first, second]);
      }),
      { numRuns: 40 },
    );
  });

  test("is told before it has settled, without a last address whose port could grow", () => {
    const reader = newReader();
    reader.push(bytesOf("list:\n10.0.0.1:8080\n10.0.0.2:80"));
    expect(drain(reader)).toEqual([{ type: "list", members: ["10.0.0.1:8080"], isSettled: false }]);
    expect(reader.awaitsQuiet).toBe(true);
    reader.quiet();
    expect(reader.awaitsQuiet).toBe(false);
    expect(drain(reader)).toEqual([{ type: "list", members: ["10.0.0.1:8080", "10.0.0.2:80"], isSettled: true }]);
  });

  test("ends an ambiguous port at its newline", () => {
    const reader = newReader();
    reader.push(bytesOf("list:\n10.0.0.1:80\n"));
    expect(drain(reader)).toEqual([{ type: "list", members: ["10.0.0.1:80"], isSettled: false }]);
  });

  test("is corrected when more digits come after the quiet period", () => {
    const reader = newReader();
    reader.push(bytesOf("list:\n10.0.0.1:80"));
    reader.quiet();
    drain(reader);
    reader.push(bytesOf("80"));
    reader.quiet();
    expect(drain(reader)).toEqual([
      { type: "revised" },
      { type: "list", members: ["10.0.0.1:8080"], isSettled: false },
      { type: "list", members: ["10.0.0.1:8080"], isSettled: true },
    ]);
  });

  test.each(["\r\n", " ", "\0", "\n", "\nlist:\n10.0.0.1:80"])(
    "is not called corrected when %j comes after the quiet period",
    (rest) => {
      const reader = newReader();
      reader.push(bytesOf("list:\n10.0.0.1:80"));
      reader.quiet();
      reader.push(bytesOf(rest));
      reader.finish();
      const events = drain(reader);
      expect(events.filter((event) => event.type === "revised")).toEqual([]);
      expect(events.at(-1)).toEqual({ type: "list", members: ["10.0.0.1:80"], isSettled: true });
    },
  );

  test("comes to the same members wherever a quiet period falls", () => {
    fc.assert(
      fc.property(lists, fc.nat({ max: 200 }), (members, place) => {
        const reader = newReader();
        const [head = bytesOf(""), tail = bytesOf("")] = cut(encodeList(members), [place]);
        reader.push(head);
        reader.quiet();
        reader.push(tail);
        reader.finish();
        const settled = drain(reader).flatMap((event) =>
          event.type === "list" && event.isSettled ? [event.members] : [],
        );
        expect(settled.at(-1)).toEqual(members);
      }),
    );
  });

  test("each told beginning of a list is a beginning of the list", () => {
    fc.assert(
      fc.property(lists, cuts, (members, places) => {
        for (const event of readAll(newReader(), cut(encodeList(members), places))) {
          if (event.type === "list") expect(event.members).toEqual(members.slice(0, event.members.length));
        }
      }),
    );
  });

  test("may end its lines with a carriage return, and itself with a newline or a NUL", () => {
    for (const ending of ["\r\n", "\n", "\0", ""]) {
      const result = serverResult([bytesOf(`list:\n10.0.0.1:80\r\n10.0.0.2:80${ending}`)]);
      expect(result).toEqual({ members: ["10.0.0.1:80", "10.0.0.2:80"], badEntries: 0, isTooLong: false });
    }
  });

  test("skips what is no address, says so, and reads on", () => {
    for (const pieces of everyDelivery(bytesOf("list:\n10.0.0.1:8080\n0.0.0.0:1\n1.2.3.4:0\n10.0.0.2:8080"))) {
      const members = ["10.0.0.1:8080", "10.0.0.2:8080"];
      expect(serverResult(pieces)).toEqual({ members, badEntries: 2, isTooLong: false });
    }
  });

  test("begins anew at a letter, even in the middle of an address", () => {
    for (const pieces of everyDelivery(bytesOf("list:\n10.0.0.1:8080\n10.0.list:\n10.0.0.2:8080"))) {
      expect(settledLists(pieces)).toEqual([["10.0.0.1:8080"], ["10.0.0.2:8080"]]);
    }
  });

  test("begins anew at its header even where an IPv6 address was torn", () => {
    for (const pieces of everyDelivery(bytesOf("list:\n[2001:db8list:\n10.0.0.2:8080"))) {
      expect(settledLists(pieces).at(-1)).toEqual(["10.0.0.2:8080"]);
    }
  });

  test("is taken only behind its header", () => {
    for (const pieces of everyDelivery(bytesOf("12\n10.0.0.1:8080\n10.0.0.2:8080"))) {
      expect(settledLists(pieces)).toEqual([]);
    }
  });
});

describe("the end", () => {
  test("is recognised at the last letter of teardown, without waiting", () => {
    const reader = newReader();
    reader.push(encodeEnd(teardownText));
    expect(drain(reader)).toEqual([{ type: "end", text: "teardown" }]);
  });

  test("is recognised behind a list that it is glued to, however it is delivered", () => {
    for (const pieces of everyDelivery(bytesOf("list:\n10.0.0.1:8080\n10.0.0.2:80teardown"))) {
      const members = ["10.0.0.1:8080", "10.0.0.2:80"];
      expect(serverResult(pieces)).toEqual({ members, end: "teardown", badEntries: 0, isTooLong: false });
    }
  });

  test("is any other word too, once it is quiet or the stream has ended", () => {
    const reader = newReader();
    reader.push(bytesOf("bye"));
    expect(drain(reader)).toEqual([]);
    expect(reader.awaitsQuiet).toBe(true);
    reader.quiet();
    expect(drain(reader)).toEqual([{ type: "end", text: "bye" }]);
    expect(serverResult([bytesOf("lost")])).toMatchObject({ end: "lost" });
    expect(serverResult([bytesOf("li")])).toMatchObject({ end: "li" });
  });

  test("is a word that is as long as an end may be, although more of it comes all the time", () => {
    const reader = newReader();
    reader.push(bytesOf("A".repeat(listLimits.endTextBytes - 1)));
    expect(drain(reader)).toEqual([]);
    for (let piece = 0; piece < 100; piece += 1) reader.push(bytesOf("A".repeat(65_536)));
    expect(drain(reader)).toEqual([{ type: "end", text: "A".repeat(listLimits.endTextBytes) }]);
    expect(reader.awaitsQuiet).toBe(false);
  });

  test.each(["\0", " ", "\n", ";\n"])("is not waited for behind more than a list of %j", (filling) => {
    const reader = newReader();
    reader.push(bytesOf(filling.repeat(listLimits.listBytes / filling.length)));
    expect(drain(reader).filter(({ type }) => type !== "badEntry")).toEqual([]);
    reader.push(bytesOf(filling.repeat(65_536)));
    expect(drain(reader).filter(({ type }) => type !== "badEntry")).toEqual([{ type: "tooLong", isList: false }]);
    expect(reader.awaitsQuiet).toBe(false);
  });

  test("is the end: nothing after it is read", () => {
    const reader = newReader();
    reader.push(bytesOf("teardown"));
    drain(reader);
    reader.push(bytesOf("list:\n10.0.0.1:8080"));
    reader.quiet();
    reader.finish();
    expect(drain(reader)).toEqual([]);
    expect(reader.awaitsQuiet).toBe(false);
  });

  test("is shown without what could steer a terminal", () => {
    expect(serverResult([bytesOf("bye\x1b[2J")])).toMatchObject({ end: "bye\\x1b[2J" });
  });

  test("is found behind any list, whatever the word", () => {
    const words = fc
      .stringMatching(/^[A-KM-Za-km-z][\x20-\x7e]{0,20}$/)
      .filter((word) => readEndText(word).refusal === undefined && !word.includes("\\"));
    fc.assert(
      fc.property(lists, words, (members, word) => {
        fc.pre(!word.startsWith("teardown"));
        const bytes = bytesOf(textOf(encodeList(members)) + textOf(encodeEnd(word)));
        for (const pieces of everyDelivery(bytes)) expect(serverResult(pieces)).toMatchObject({ members, end: word });
      }),
      { numRuns: 30 },
    );
  });
});

describe("a refusal", () => {
  test("is one sentence with its code, and no list to anybody", () => {
    const bytes = encodeRefusal("FOREIGN_HOST", "10.0.0.9:80 was registered from 10.0.0.1");
    const text = "refused FOREIGN_HOST: 10.0.0.9:80 was registered from 10.0.0.1";
    expect(textOf(bytes)).toBe(text);
    for (const pieces of everyDelivery(bytes)) expect(serverResult(pieces)).toMatchObject({ end: text });
    expect(readEndText(text)).toEqual({ refusal: "FOREIGN_HOST: 10.0.0.9:80 was registered from 10.0.0.1" });
  });

  test("is not seen in words that are just the end", () => {
    for (const text of ["teardown", "refused", "refusedX: y", ""]) expect(readEndText(text)).toEqual({});
  });
});

describe("a connection that breaks", () => {
  test("makes no list settled and no last port complete", () => {
    const reader = newReader();
    reader.push(bytesOf("list:\n10.0.0.1:8080\n10.0.0.2:80"));
    drain(reader);
    reader.break();
    expect(reader.awaitsQuiet).toBe(false);
    reader.quiet();
    expect(drain(reader)).toEqual([]);
  });

  test("ends a word that has begun, which is the end of the mesh", () => {
    const reader = newReader();
    reader.push(bytesOf("list:\n10.0.0.1:8080teard"));
    drain(reader);
    reader.break();
    expect(drain(reader)).toEqual([{ type: "end", text: "teard" }]);
  });

  test("makes no word of a beginning that could be a list's", () => {
    const reader = newReader();
    reader.push(bytesOf("lis"));
    reader.break();
    reader.push(bytesOf("t:\n10.0.0.1:8080"));
    expect(drain(reader)).toEqual([]);
  });
});

describe("bounds", () => {
  test("a list of the longest size is read, and one byte more is too long", () => {
    const limits = { listBytes: 40, endTextBytes: 16 };
    const longest = `list:\n10.0.0.1:8080\n${"1".repeat(40 - "list:\n10.0.0.1:8080\n".length)}`;
    expect(longest).toHaveLength(40);
    for (const pieces of everyDelivery(bytesOf(longest)))
      expect(serverResult(pieces, limits)).toMatchObject({ isTooLong: false });
    for (const pieces of everyDelivery(bytesOf(`${longest}1`))) {
      expect(serverResult(pieces, limits)).toMatchObject({ isTooLong: true });
    }
  });

  test("each list has the whole size for itself", () => {
    const limits = { listBytes: 40, endTextBytes: 16 };
    const text = "list:\n10.0.0.1:8080".repeat(10);
    expect(serverResult([bytesOf(text)], limits)).toMatchObject({ members: ["10.0.0.1:8080"], isTooLong: false });
  });

  test("an endless line, an endless list and an endless word are all given up or cut", () => {
    const limits = { listBytes: 1_000, endTextBytes: 16 };
    expect(serverResult([bytesOf(`list:\n${"1".repeat(100_000)}`)], limits)).toMatchObject({ isTooLong: true });
    expect(serverResult([bytesOf(`list:\n${"\n".repeat(100_000)}`)], limits)).toMatchObject({ isTooLong: true });
    expect(serverResult([bytesOf("\xff".repeat(100_000))], limits)).toMatchObject({ isTooLong: true });
    expect(serverResult([bytesOf("x".repeat(100_000))], limits)).toMatchObject({ end: "x".repeat(16) });
  });
});

describe("any bytes in any pieces", () => {
  test("come to the same members and the same end however they are cut", () => {
    fc.assert(
      fc.property(streams, cuts, (bytes, places) => {
        expect(serverResult(cut(bytes, places))).toEqual(serverResult([bytes]));
      }),
      { numRuns: 5_000 },
    );
  });

  test("come to the same members behind a list, too", () => {
    fc.assert(
      fc.property(lists, streams, cuts, (members, bytes, places) => {
        const all = Uint8Array.of(...encodeList(members), ...bytes);
        expect(serverResult(cut(all, places))).toEqual(serverResult([all]));
      }),
      { numRuns: 2_000 },
    );
  });

  test("never throw, whenever quiet falls, and leave nothing to wait for", () => {
    fc.assert(
      fc.property(fc.array(streams, { maxLength: 6 }), (pieces) => {
        const reader = newReader();
        for (const piece of pieces) {
          reader.push(piece);
          reader.quiet();
          expect(reader.awaitsQuiet).toBe(false);
        }
        reader.finish();
        const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
        const events = drain(reader);
        expect(events.length).toBeLessThanOrEqual(2 * bytes + 2 * pieces.length + 2);
        for (const event of events) {
          if ("text" in event) expect(event.text).toMatch(/^[\x20-\x7e]{0,520}$/);
          if (event.type === "list") expect(event.members.length * "1.1.1.1:1\n".length).toBeLessThanOrEqual(bytes + 1);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
