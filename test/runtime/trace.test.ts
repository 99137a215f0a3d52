import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeControl } from "../../src/protocol/native/control.js";
import { type TraceRecord, toSequenceDiagram, wireText } from "../../src/runtime/trace.js";

const a = "127.0.0.1:4001";
const b = "127.0.0.1:4002";

function record(at: number, from: string, to: string, text: string): TraceRecord {
  return { at, from, to, text };
}

function arrows(records: readonly TraceRecord[]): string[] {
  return toSequenceDiagram(records)
    .split("\n")
    .filter((line) => line.includes("->>"))
    .map((line) => line.trim());
}

describe("toSequenceDiagram", () => {
  test("draws a wire-up", () => {
    const diagram = toSequenceDiagram([
      record(1, a, "server", a),
      record(2, "server", a, `list:\n${a}`),
      record(3, b, "server", b),
      record(4, "server", a, `list:\n${a}\n${b}`),
      record(5, a, b, `Hello from:${a}`),
    ]);
    expect(diagram).toBe(
      [
        "sequenceDiagram",
        "    participant server as server",
        `    participant n1 as ${a}`,
        `    participant n2 as ${b}`,
        `    n1->>server: ${a}`,
        "    server->>n1: list: n1",
        `    n2->>server: ${b}`,
        "    server->>n1: list: n1 n2",
        `    n1->>n2: Hello from:${a}`,
        "",
      ].join("\n"),
    );
  });

  test("sorts by time, and keeps the order of records of one time", () => {
    const records = [record(2, a, b, "second"), record(2, b, a, "third"), record(1.5, "server", a, "first")];
    expect(arrows(records)).toEqual(["server->>n1: first", "n1->>n2: second", "n2->>n1: third"]);
    expect(records[0]?.text).toBe("second");
  });

  test("shows an address in full that no message was sent from or to", () => {
    expect(arrows([record(1, "server", a, `list:\n${a}\n${b}`)])).toEqual([`server->>n1: list: n1 ${b}`]);
  });

  test("shows a list of more than six by its length", () => {
    const members = Array.from({ length: 7 }, (_, index) => `127.0.0.1:${9_000 + index}`);
    expect(arrows([record(1, "server", a, `list:\n${members.join("\n")}`)])).toEqual(["server->>n1: list of 7"]);
    expect(arrows([record(1, "server", a, `list:\n${members.slice(0, 6).join("\n")}`)])[0]).toContain("127.0.0.1:9005");
  });

  test("draws nothing but its head when there are no records", () => {
    expect(toSequenceDiagram([])).toBe("sequenceDiagram\n    participant server as server\n");
  });

  test("escapes the syntax of Mermaid", () => {
    expect(arrows([record(1, a, b, "x;y#z\n<b>")])).toEqual(["n1->>n2: x#59;y#35;z\\x0a#60;b#62;"]);
    expect(arrows([record(1, "server", a, "list:\n<script>")])).toEqual(["server->>n1: list: #60;script#62;"]);
  });

  test("has one line for each record, whatever its text", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary" })), (texts) => {
        const lines = toSequenceDiagram(texts.map((text, index) => record(index, a, b, text))).split("\n");
        expect(lines.filter((line) => line.startsWith("    n1->>n2: "))).toHaveLength(texts.length);
        expect(lines).toHaveLength("head, server".split(", ").length + (texts.length > 0 ? 2 : 0) + texts.length + 1);
      }),
    );
  });
});

describe("wireText", () => {
  const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);
  const list = (count: number): string =>
    `list:\n${Array.from({ length: count }, (_, index) => `10.0.0.1:${9_000 + index}`).join("\n")}`;

  test("is the message, if it is short, and a long list as in the diagram", () => {
    expect(wireText(bytesOf(a))).toBe(a);
    expect(wireText(bytesOf(list(6)))).toBe(list(6));
    expect(wireText(bytesOf(list(7)))).toBe("list of 7");
    expect(arrows([record(1, "server", a, wireText(bytesOf(list(3_000))))])).toEqual(["server->>n1: list of 3000"]);
    expect(wireText(bytesOf("teardown ".repeat(1_000)))).toBe(`${"teardown ".repeat(18).slice(0, 160)}...`);
  });

  test("does not keep the sent bytes in memory", () => {
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const up = Array.from(
      { length: 5_000 },
      (_, index) => [index.toString(16).padStart(32, "0"), 1] as [string, number],
    );
    const report = encodeControl({ type: "links", up, down: [] });
    collect();
    const before = process.memoryUsage().heapUsed;
    const texts = Array.from({ length: 500 }, () => wireText(report));
    texts.push(...Array.from({ length: 500 }, () => wireText(bytesOf(list(3_000)))));
    collect();
    // Each was cut from 60 kB: kept whole, they would be 60 MB.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(8 * 1024 * 1024);
    expect(texts.every((text) => text.length < 200)).toBe(true);
  });
});
