import { describe, expect, test } from "vitest";
import type { ErrorCode, LogEvent } from "../../src/core/errors.js";
import { LogRateLimiter, type LogRecord } from "../../src/runtime/log-rate-limiter.js";

function note(code: ErrorCode, message = "x"): LogEvent {
  return { code, message };
}

/** Sends so many notes at one moment. */
function flood(limiter: LogRateLimiter, count: number, at: number, code: ErrorCode = "BAD_HELLO"): LogRecord[] {
  return Array.from({ length: count }, () => limiter.pass(note(code), at)).flat();
}

describe("LogRateLimiter", () => {
  test("adds level and time to an event", () => {
    const passed = new LogRateLimiter().pass({ code: "NOTHING_SAID", message: "closed", remote: "10.0.0.1:9" }, 1_234);
    expect(passed).toMatchObject([
      { level: "info", at: 1_234, code: "NOTHING_SAID", message: "closed", remote: "10.0.0.1:9" },
    ]);
  });

  test("passes twenty with one code in ten seconds, and no more", () => {
    const limiter = new LogRateLimiter();
    expect(flood(limiter, 10_000, 0)).toHaveLength(20);
    expect(flood(limiter, 1, 9_999)).toHaveLength(0);
  });

  test("reports how many it has dropped, before the first that passes again", () => {
    const limiter = new LogRateLimiter();
    flood(limiter, 25, 0);
    const passed = limiter.pass(note("BAD_HELLO", "again"), 10_000);
    expect(passed).toMatchObject([
      { code: "NOTES_DROPPED", level: "warn", at: 10_000, message: "dropped 5 records with the code BAD_HELLO" },
      { code: "BAD_HELLO", message: "again" },
    ]);
  });

  test("reports nothing when it has dropped none", () => {
    const limiter = new LogRateLimiter();
    flood(limiter, 20, 0);
    expect(limiter.pass(note("BAD_HELLO"), 10_000)).toHaveLength(1);
  });

  test("starts to count at 0 in each window", () => {
    const limiter = new LogRateLimiter();
    flood(limiter, 25, 0);
    expect(flood(limiter, 25, 10_000).filter(({ code }) => code === "BAD_HELLO")).toHaveLength(20);
    expect(flood(limiter, 1, 20_000)[0]).toMatchObject({ message: "dropped 5 records with the code BAD_HELLO" });
  });

  test("does not drop other codes in a flood of one", () => {
    const limiter = new LogRateLimiter();
    flood(limiter, 10_000, 0);
    expect(flood(limiter, 1, 0, "DIAL_FAILED")).toHaveLength(1);
  });

  test("reports at the end what it has dropped, once", () => {
    const limiter = new LogRateLimiter();
    flood(limiter, 25, 0);
    flood(limiter, 3, 0, "NOTHING_SAID");
    expect(limiter.finish(5)).toMatchObject([
      { code: "NOTES_DROPPED", at: 5, message: "dropped 5 records with the code BAD_HELLO" },
    ]);
    expect(limiter.finish(6)).toEqual([]);
  });

  test("passes events again when the wall clock has been set back", () => {
    const limiter = new LogRateLimiter();
    flood(limiter, 25, 3_600_000);
    expect(limiter.pass(note("BAD_HELLO"), 5).at(-1)).toMatchObject({ code: "BAD_HELLO", at: 5 });
  });
});
