import { createServer } from "node:net";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { waitWithin } from "../../src/api/waiting.js";
import { join, type LogRecord, serve } from "../../src/index.js";

const missing = (): string => "nothing has come";

describe("a wait", () => {
  it.each([2 ** 31, 3_000_000_000, Number.POSITIVE_INFINITY])(
    "of %d ms does not run out at once",
    async (timeoutMs) => {
      const soon = new Promise<string>((resolve) => setImmediate(() => setImmediate(() => resolve("came"))));
      await expect(waitWithin(soon, { timeoutMs }, missing)).resolves.toBe("came");
    },
  );

  it.each([Number.NaN, -1])("of %d ms is refused with BAD_OPTION", async (timeoutMs) => {
    await expect(waitWithin(Promise.resolve(), { timeoutMs }, missing)).rejects.toMatchObject({ code: "BAD_OPTION" });
  });

  it("that cannot begin ends the join that it was for, and leaves no failure that nobody hears of", async () => {
    const unheard: unknown[] = [];
    const onUnheard = (reason: unknown): void => void unheard.push(reason);
    process.on("unhandledRejection", onUnheard);
    onTestFinished(() => void process.off("unhandledRejection", onUnheard));
    await expect(join("127.0.0.1:9", { timeoutMs: Number.NaN })).rejects.toMatchObject({ code: "BAD_OPTION" });
    // Node tells of unheard failures once the turn's microtasks are done.
    await new Promise((resolve) => setImmediate(resolve));
    expect(unheard).toEqual([]);
  });

  it("that has run out says what has not come, and one that is aborted says why", async () => {
    const never = new Promise<void>(() => {});
    const late = waitWithin(never, { timeoutMs: 1 }, missing);
    await expect(late).rejects.toMatchObject({ code: "TIMED_OUT", message: "after 1 ms nothing has come" });
    const reason = new Error("enough");
    const given = waitWithin(never, { signal: AbortSignal.abort(reason) }, missing);
    await expect(given).rejects.toMatchObject({ code: "ABORTED", cause: reason });
  });

  it("for a join has one bound for all its steps, and names it", async () => {
    // A server that takes connections and says nothing.
    const silent = createServer(() => {}).listen(0, "127.0.0.1");
    onTestFinished(() => void silent.close());
    await new Promise((resolve) => silent.once("listening", resolve));
    const { port } = silent.address() as { port: number };
    const joining = join(`127.0.0.1:${port}`, { timeoutMs: 150, limits: { lingerMs: 10 } });
    await expect(joining).rejects.toMatchObject({
      code: "TIMED_OUT",
      message: expect.stringMatching(/^after 150 ms 127\.0\.0\.1:\d+ has not taken in 127\.0\.0\.1:\d+$/),
    });
  });
});

describe("complete", () => {
  it("logs what is missing once when it has waited for 10 s, and goes on waiting", async () => {
    const server = await serve({ listen: "127.0.0.1:0", logger: false });
    onTestFinished(() => server.close());
    const messages: string[] = [];
    const warn = (record: LogRecord): void => void messages.push(`${record.code} ${record.message}`);
    const node = await join(server.address, { logger: { info: () => {}, warn, error: warn } });
    onTestFinished(() => node.leave());
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const wait = node.complete({ size: 2 });
    vi.advanceTimersByTime(9_999);
    expect(messages).toEqual([]);
    vi.advanceTimersByTime(60_000);
    vi.useRealTimers();
    expect(messages).toEqual(["STILL_WAITING complete: still waiting, 1 of 2 members are in the mesh"]);
    const other = await join(server.address, { logger: false });
    onTestFinished(() => other.leave());
    await wait;
  });

  it("fails with ENDED when its node leaves", async () => {
    const server = await serve({ listen: "127.0.0.1:0", logger: false });
    onTestFinished(() => server.close());
    const node = await join(server.address, { logger: false });
    const wait = expect(node.complete({ size: 2 })).rejects.toMatchObject({ code: "ENDED" });
    await node.leave();
    await wait;
  });
});
