import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LogFold } from "../../../src/runtime/replicated/log-fold.js";
import {
  awaitingKey,
  below,
  differencesOf,
  entryKey,
  headKey,
  meshKey,
  readItem,
  reportKey,
  rulesKey,
  serverKey,
  snapshotKey,
} from "../../../src/runtime/replicated/store-keys.js";
import { change, claimed, fact, first, gone, headWith, idOf, joined, replaced, rules, unclaimed } from "./samples.js";

const mesh = "a/b %ü";

describe("keys and values of the store", () => {
  it("are read as they were written", () => {
    const fold = new LogFold(headWith({ gangSize: 3 }), { tombstones: 10 });
    fold.add(first, 1, joined(1, { rank: 0 }));
    fold.add(first, 2, gone("left", 9));
    fold.add(first, 3, claimed("k", 1));
    fold.add(first, 4, fact({ type: "ended", kind: "tooLate", reason: "test", incomplete: "a pair" }));
    const report = { number: 1, attachment: 3, up: [], down: [], unlisted: [] };
    const presence = { address: "10.0.0.1:3000", beat: 7, number: 9, leaving: true } as const;
    const read = (key: string, value: object) => readItem(key, JSON.stringify(value));
    expect(read(rulesKey, rules)).toEqual({ type: "rules", rules });
    expect(read(serverKey(first), presence)).toEqual({ type: "server", writer: first, presence });
    expect(read(headKey(mesh), headWith())).toEqual({ type: "head", mesh, head: headWith() });
    expect(read(reportKey(mesh, idOf(1), first), report)).toEqual({
      type: "report",
      mesh,
      member: idOf(1),
      writer: first,
      report,
    });
    const awaiting = { number: 2, count: 3 };
    expect(read(awaitingKey(mesh, first), awaiting)).toEqual({ type: "awaiting", mesh, writer: first, awaiting });
    expect(read(snapshotKey(mesh), fold.snapshot(3, new Map()))).toEqual({
      type: "snapshot",
      mesh,
      snapshot: fold.snapshot(3, new Map()),
    });
    const contents = [
      joined(1, { order: 5 }),
      replaced(1, 2),
      gone("left", 1),
      gone("lost", 1, 4),
      claimed("k", 1, 4),
      unclaimed("k", 4),
      change({ type: "left", id: idOf(3), reason: "test" }, undefined, 77),
      fact({ type: "attached", id: idOf(1) }),
      fact({ type: "detached", id: idOf(1), judges: 3, reason: "test" }),
      fact({ type: "relayed", to: idOf(1), control: { type: "grant", owner: idOf(1), later: idOf(2), attempt: 3 } }),
      fact({ type: "ended", kind: "release", reason: "test" }),
    ];
    for (const content of contents) {
      const item = { type: "entry", mesh, log: idOf(5), writer: first, number: 12, content };
      expect(read(entryKey(mesh, idOf(5), first, 12), content)).toEqual(item);
    }
  });

  it("sort the entries of a writer by their numbers, and all of them below their folder", () => {
    const { key, end } = below(meshKey(mesh, "entry", idOf(5), first));
    const numbers = [1, 9, 10, 11, 99, 100, 2 ** 53 - 1];
    const keys = [key, ...numbers.map((number) => entryKey(mesh, idOf(5), first, number)), end];
    expect(keys.toSorted()).toEqual(keys);
  });

  it("say what is wrong when they were written by somebody else, and never throw", () => {
    expect(readItem("other", "")).toMatchObject({ type: "bad", key: "other" });
    expect(readItem(rulesKey, "{")).toMatchObject({ type: "bad", reason: "its value is no object as JSON" });
    expect(readItem(headKey(mesh), "{}")).toEqual({
      type: "bad",
      key: headKey(mesh),
      mesh,
      reason: 'its value has no good "log"',
    });
    expect(readItem(`${meshKey(mesh)}/more`, "{}")).toMatchObject({ type: "bad", mesh });
    for (const key of ["mesh/%/log", "mesh//log", "mesh/a%2fb/log"])
      expect(readItem(key, "{}")).not.toHaveProperty("mesh");
    const pieces = fc.constantFrom(
      "mesh",
      "server",
      "rules",
      "log",
      "entry",
      idOf(1),
      "m",
      "%",
      "0000000000000001",
      "x",
    );
    const values = fc.oneof(
      fc.json(),
      fc.string(),
      fc.constantFrom('{"fact":{"type":"__proto__"}}', '{"change":[]}', "null"),
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(pieces, { maxLength: 7 }).map((path) => path.join("/")),
        ),
        values,
        (key, value) => {
          expect(readItem(key, value)).toHaveProperty("type");
        },
      ),
    );
  });

  it("name the rules that differ", () => {
    expect(differencesOf(rules, { ...rules })).toEqual([]);
    expect(differencesOf(rules, { ...rules, capacity: 4, secret: "tag" })).toEqual(["capacity", "secret"]);
  });
});
