import { describe, expect, it, onTestFinished, vi } from "vitest";
import { join, type LogRecord, serve } from "../../src/index.js";
import { failureOf } from "./outcomes.js";
import { pair } from "./pair.js";

/** What the console prints while a node without a logger of its own, and with `logger`, fails a request. */
async function printedWith(options: { readonly logger?: false }): Promise<string[]> {
  const printed: string[] = [];
  const spy = vi.spyOn(console, "error").mockImplementation((line) => void printed.push(String(line)));
  onTestFinished(() => spy.mockRestore());
  const server = await serve({ listen: "127.0.0.1:0", logger: false });
  onTestFinished(() => server.close());
  const { first, second } = { first: await join(server.address, options), second: await join(server.address, options) };
  onTestFinished(async () => void (await Promise.all([first.leave(), second.leave()])));
  await first.complete({ size: 2 });
  second.onRequest("fail\u001b[2J", () => {
    throw new Error("two\nlines");
  });
  await failureOf(first.request(second.address ?? "", "fail\u001b[2J"));
  return printed;
}

describe("the log of a node", () => {
  it("goes to stderr without a logger: errors and warnings, one line each, from which nothing can escape", async () => {
    const [line, ...others] = await printedWith({});
    expect(others).toEqual([]);
    expect(line).toMatch(/^fullmesh: error HANDLER_FAILED: a request of 127\.0\.0\.1:\d+ to "fail.* failed: two.lines/);
    expect(line).toContain("log.test.ts:");
    // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not be there
    expect(line).not.toMatch(/[\u0000-\u001f]/);
  });

  it("is silent with `false`, and anything but a logger is refused", async () => {
    expect(await printedWith({ logger: false })).toEqual([]);
    for (const logger of [true, "stderr", null, {}, { warn: () => {} }]) {
      const { code, message } = (await join("127.0.0.1:1", { logger: logger as never }).catch(
        (error: unknown) => error,
      )) as { code: string; message: string };
      expect([code, message]).toEqual([
        "BAD_OPTION",
        expect.stringContaining("Expected `logger` to be an object with"),
      ]);
    }
    expect(await failureOf(serve({ logger: 7 as never }))).toBe("BAD_OPTION");
  });

  it("gives a logger one object a record: a line for a console, and plain fields for a structured log", async () => {
    const records: [level: string, record: LogRecord][] = [];
    const logger = {
      info: (record: LogRecord) => void records.push(["info", record]),
      warn: (record: LogRecord) => void records.push(["warn", record]),
      error: (record: LogRecord) => void records.push(["error", record]),
    };
    const { first, second } = await pair({}, { logger });
    const failing: unknown = async () => await Promise.reject(new TypeError("no"));
    second.onMessage("boom", failing as () => void);
    second.onRequest("after", () => "done");
    first.send(second.address ?? "", "boom");
    await first.request(second.address ?? "", "after");
    const [[level, record] = ["none", undefined]] = records;
    expect([level, record?.level]).toEqual(["error", "error"]);
    expect(`${record}`).toBe('HANDLER_FAILED: a listener of "boom" failed: no');
    expect(JSON.parse(JSON.stringify(record))).toEqual({
      at: expect.any(Number),
      code: "HANDLER_FAILED",
      message: 'a listener of "boom" failed: no',
      stack: expect.stringContaining("TypeError: no\n    at "),
    });
  });

  it("goes on when what a listener of a stream throws would break off what is under way", async () => {
    const { first, second, secondLog } = await pair();
    second.onStream("data", (stream) => {
      stream.on("data", () => {
        throw new Error("not this piece");
      });
    });
    second.onRequest("after", () => "done");
    const stream = first.openStream(second.address ?? "", "data");
    stream.write("hello");
    const { message, stack } = await secondLog.first(({ code }) => code === "HANDLER_FAILED");
    expect(message).toContain("not this piece");
    expect(stack).toContain("log.test.ts");
    expect(await first.request(second.address ?? "", "after")).toBe("done");
  });
});
