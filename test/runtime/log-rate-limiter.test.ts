import { describe, expect, test } from "vitest";
import type { ErrorCode, LogEvent } from "../../src/core/errors.js";
import { LogRateLimiter, type LogRecord } from "../../src/runtime/log-rate-limiter.js";

function note(code: ErrorCode, message = "x"): LogEvent {
  return { code, message };
}

/** Sends so many notes at one moment. */
function flood(gate: LogRateLimiter, count: number, at: number, code: ErrorCode = "BAD_HELLO"): LogRecord[] {
  return Array.from({ length: count }, () => gate.pass(note(code), at)).flat();
}

describe("NoteGate", () => {
  test("gives a note its level and its time", () => {
    const passed = new LogRateLimiter().pass({ code: "NOTHING_SAID", message: "closed", remote: "10.0.0.1:9" }, 1_234);
    expect(passed).toMatchObject([
      { level: "info", at: 1_234, code: "NOTHING_SAID", message: "closed", remote: "10.0.0.1:9" },
    ]);
  });

  test("lets twenty with one code through in ten seconds, and no more", () => {
    const gate = new LogRateLimiter();
    expect(flood(gate, 10_000, 0)).toHaveLength(20);
    expect(flood(gate, 1, 9_999)).toHaveLength(0);
  });

  test("says how many it has left out, before the first that it lets through again", () => {
    const gate = new LogRateLimiter();
    flood(gate, 25, 0);
    const passed = gate.pass(note("BAD_HELLO", "again"), 10_000);
    expect(passed).toMatchObject([
      { code: "NOTES_DROPPED", level: "warn", at: 10_000, message: "left out 5 records with the code BAD_HELLO" },
      { code: "BAD_HELLO", message: "again" },
    ]);
  });

  test("says nothing of what it has left out when that is nothing", () => {
    const gate = new LogRateLimiter();
    flood(gate, 20, 0);
    expect(gate.pass(note("BAD_HELLO"), 10_000)).toHaveLength(1);
  });

  test("counts afresh in each window", () => {
    const gate = new LogRateLimiter();
    flood(gate, 25, 0);
    expect(flood(gate, 25, 10_000).filter(({ code }) => code === "BAD_HELLO")).toHaveLength(20);
    expect(flood(gate, 1, 20_000)[0]).toMatchObject({ message: "left out 5 records with the code BAD_HELLO" });
  });

  test("does not let one code's flood hide another", () => {
    const gate = new LogRateLimiter();
    flood(gate, 10_000, 0);
    expect(flood(gate, 1, 0, "DIAL_FAILED")).toHaveLength(1);
  });

  test("says at the end what it has left out of a flood that simply stopped, once", () => {
    const gate = new LogRateLimiter();
    flood(gate, 25, 0);
    flood(gate, 3, 0, "NOTHING_SAID");
    expect(gate.finish(5)).toMatchObject([
      { code: "NOTES_DROPPED", at: 5, message: "left out 5 records with the code BAD_HELLO" },
    ]);
    expect(gate.finish(6)).toEqual([]);
  });

  test("lets notes through again when the wall clock has been set back", () => {
    const gate = new LogRateLimiter();
    flood(gate, 25, 3_600_000);
    expect(gate.pass(note("BAD_HELLO"), 5).at(-1)).toMatchObject({ code: "BAD_HELLO", at: 5 });
  });
});
