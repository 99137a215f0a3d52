import fc from "fast-check";
import { expect, test } from "vitest";
import type { ConnectionOutput } from "../../../src/core/connections.js";
import { ClassicWriter } from "../../../src/rendezvous/classic/writer.js";

const gapMs = 50;
const encoder = new TextEncoder();

interface Reader {
  readonly outbox: ClassicWriter;
  /** What has been sent, as text. */
  readonly sent: string[];
  /** Lets the outbox advance; `list` is the newest list. */
  readonly advance: (now: number, list?: string) => string | undefined;
}

function start(): Reader {
  const sent: string[] = [];
  const push = (output: ConnectionOutput): void => {
    sent.push(output.type === "send" ? new TextDecoder().decode(output.bytes) : output.type);
  };
  const outbox = new ClassicWriter("in:1", { push }, gapMs);
  return { outbox, sent, advance: (now, list = "list") => outbox.advance(now, () => encoder.encode(list)) };
}

test("sends the first list at once", () => {
  const { outbox, sent, advance } = start();
  expect(outbox.isEmpty).toBe(true);
  outbox.queueList();
  expect(outbox.isEmpty).toBe(false);
  expect(advance(0)).toBe("list");
  expect(sent).toEqual(["list"]);
});

test("keeps the next message back until the gap has passed since the last one left this process", () => {
  const { outbox, sent, advance } = start();
  outbox.queueList();
  advance(0, "one");
  outbox.queueList();
  expect(outbox.nextTimeout()).toBeUndefined();
  expect(advance(10_000, "two")).toBeUndefined();
  outbox.flushed(10_000);
  expect(outbox.nextTimeout()).toBe(10_000 + gapMs);
  expect(advance(10_000 + gapMs - 1, "two")).toBeUndefined();
  expect(advance(10_000 + gapMs, "two")).toBe("list");
  expect(sent).toEqual(["one", "two"]);
});

test("sends the newest of the lists that have become due meanwhile, and only that one", () => {
  const { outbox, sent, advance } = start();
  outbox.queueList();
  advance(0, "one");
  outbox.queueList();
  outbox.queueList();
  outbox.queueList();
  outbox.flushed(0);
  advance(gapMs, "four");
  outbox.flushed(gapMs);
  expect(advance(1_000, "five")).toBeUndefined();
  expect(sent).toEqual(["one", "four"]);
});

test("never lets the last word ride with a list: it goes a gap after it", () => {
  const { outbox, sent, advance } = start();
  outbox.queueList();
  outbox.end(encoder.encode("teardown"));
  expect(advance(0)).toBe("list");
  expect(advance(0)).toBeUndefined();
  outbox.flushed(0);
  expect(advance(gapMs - 1)).toBeUndefined();
  expect(advance(gapMs)).toBe("end");
  expect(sent).toEqual(["list", "teardown"]);
});

test("says nothing after the last word", () => {
  const { outbox, sent, advance } = start();
  outbox.end(encoder.encode("teardown"));
  outbox.queueList();
  outbox.end(encoder.encode("another word"));
  expect(advance(0)).toBe("end");
  outbox.flushed(0);
  outbox.queueList();
  outbox.end(encoder.encode("another word"));
  expect(advance(1_000)).toBeUndefined();
  expect(outbox.nextTimeout()).toBeUndefined();
  expect(sent).toEqual(["teardown"]);
});

test("is empty only when the last message has left this process", () => {
  const { outbox, advance } = start();
  outbox.end(encoder.encode("teardown"));
  expect(outbox.isEmpty).toBe(false);
  advance(0);
  expect(outbox.isEmpty).toBe(false);
  outbox.flushed(0);
  expect(outbox.isEmpty).toBe(true);
});

test("has nothing to wait for while it has nothing to say", () => {
  const { outbox, advance } = start();
  expect(outbox.nextTimeout()).toBeUndefined();
  expect(advance(0)).toBeUndefined();
});

test("keeps the gap and ends with the last word, whatever happens when", () => {
  const step = fc.record({ do: fc.constantFrom("queueList", "end", "flushed", "advance"), wait: fc.nat({ max: 60 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (script) => {
      const { outbox, sent, advance } = start();
      let now = 0;
      /** Undefined while a message is on its way out. */
      let flushedAt: number | undefined = Number.NEGATIVE_INFINITY;
      const actions = {
        queueList: () => outbox.queueList(),
        end: () => outbox.end(encoder.encode("end")),
        flushed: () => {
          if (flushedAt !== undefined) return;
          outbox.flushed(now);
          flushedAt = now;
        },
        advance: () => {
          if (advance(now) === undefined) return;
          expect(now).toBeGreaterThanOrEqual((flushedAt ?? Number.POSITIVE_INFINITY) + gapMs);
          flushedAt = undefined;
        },
      };
      for (const { do: what, wait } of script) {
        now += wait;
        actions[what]();
      }
      expect(sent.slice(0, -1)).not.toContain("end");
    }),
  );
});
