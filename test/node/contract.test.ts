import { describe, expect, it, onTestFinished } from "vitest";
import { defineContract, join, type MeshNode, type StandardSchema, serve, type } from "../../src/index.js";
import { LogRecorder } from "../support/logs.js";

/** A number, sent as a text. */
const numberInText: StandardSchema<string, number> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value) =>
      typeof value === "string" && /^\d+$/.test(value)
        ? { value: Number(value) }
        : { issues: [{ message: "Expected digits", path: ["keys", 2, { key: "a b" }] }] },
  },
};

/** The same, but what it says comes only when it is let go. */
class SlowSchema implements StandardSchema<string, number> {
  readonly #held: (() => void)[] = [];
  readonly "~standard": StandardSchema<string, number>["~standard"] = {
    version: 1,
    vendor: "test",
    validate: async (value: unknown) => {
      await new Promise<void>((resolve) => this.#held.push(resolve));
      return await numberInText["~standard"].validate(value);
    },
  };

  get waiting(): number {
    return this.#held.length;
  }

  /** The newest first. */
  release(): void {
    for (const resolve of this.#held.splice(0).reverse()) resolve();
  }
}

const slow = new SlowSchema();

const contract = defineContract({
  messages: { count: numberInText, slow, free: type<{ key: string }>() },
  requests: {
    double: { payload: numberInText, reply: type<number>() },
    shout: { payload: type<string>(), reply: numberInText },
    slow: { payload: slow, reply: slow },
  },
  streams: ["dump"],
});

interface TypedPair {
  /** Has no contract, and may send anything. */
  readonly first: MeshNode;
  readonly second: MeshNode<typeof contract>;
  readonly secondLog: LogRecorder;
}

async function typedPair(): Promise<TypedPair> {
  const server = await serve({ listen: "127.0.0.1:0", logger: false });
  onTestFinished(() => server.close());
  onTestFinished(() => slow.release());
  const secondLog = new LogRecorder();
  const first = await join(String(server.address), { logger: false });
  const second = await join(String(server.address), { logger: secondLog.logger, contract });
  onTestFinished(async () => {
    await Promise.all([first.leave(), second.leave()]);
  });
  await Promise.all([first.complete({ size: 2 }), second.complete({ size: 2 })]);
  return { first, second, secondLog };
}

/** Resolves when the other end has handled everything that was sent before. */
async function untilHandled(first: MeshNode, second: MeshNode<typeof contract>): Promise<void> {
  const [to] = first.peers;
  const handled = new Promise((resolve) => second.onMessage("free", resolve));
  first.send(to ?? "", "free", { key: "end" });
  await handled;
}

const badCount = 'to "count" was dropped: payload.keys[2]["a b"]: Expected digits';

describe("a contract", () => {
  it("validates messages before listeners and loops get them, and logs those that do not fit", async () => {
    const { first, second, secondLog } = await typedPair();
    const heard: unknown[] = [];
    const loop = second.subscribe("count");
    second.onMessage("count", ({ payload }) => heard.push(payload + 1));
    second.on("message", ({ payload }) => heard.push(payload));
    for (const payload of ["1", "x", undefined, "20"]) first.broadcast("count", payload);
    await untilHandled(first, second);
    expect(heard).toEqual([2, 1, 21, 20, { key: "end" }]);
    const taken = await Promise.all([loop.next(), loop.next()]);
    expect(taken.map(({ value }) => value?.payload as unknown)).toEqual([1, 20]);
    expect(secondLog.messages).toEqual([
      `a message of ${first.address} ${badCount}`,
      `a message of ${first.address} ${badCount}`,
    ]);
  });

  it("validates messages of a loop when they are taken, and ends the loop at once", async () => {
    const { first, second, secondLog } = await typedPair();
    const loop = second.subscribe("count");
    for (const payload of ["x", "3"]) first.broadcast("count", payload);
    expect(await loop.next()).toMatchObject({ value: { payload: 3 } });
    expect(secondLog.items).toMatchObject([
      { code: "BAD_VALUE", message: expect.stringContaining(badCount) as string },
    ]);
    const [next] = [loop.next(), await loop.return?.()];
    expect(await next).toEqual({ done: true, value: undefined });
  });

  it("keeps the order of the messages of a peer while a schema takes its time", async () => {
    const { first, second } = await typedPair();
    const heard: unknown[] = [];
    const loop = second.subscribe("slow");
    second.on("message", ({ payload }) => heard.push(payload));
    for (const [topic, payload] of [
      ["slow", "1"],
      ["slow", "x"],
      ["count", "2"],
      ["slow", "3"],
    ] as const) {
      first.broadcast(topic, payload);
    }
    await expect.poll(() => slow.waiting).toBe(3);
    const handled = untilHandled(first, second);
    expect(heard).toEqual([]);
    slow.release();
    await handled;
    expect(heard).toEqual([1, 2, 3, { key: "end" }]);
    const taken = [loop.next(), loop.next()];
    for (const _ of ["1", "x", "3"]) {
      await expect.poll(() => slow.waiting).toBe(1);
      slow.release();
    }
    expect((await Promise.all(taken)).map(({ value }) => value?.payload as unknown)).toEqual([1, 3]);
  });

  it("holds a sender back while its messages wait for a schema", async () => {
    const { first, second } = await typedPair();
    let heard = 0;
    second.onMessage("slow", () => {
      heard += 1;
    });
    let sent = 0;
    while (first.broadcast("slow", "7".repeat(262_144)).length === 0) sent += 1;
    await expect.poll(() => slow.waiting).toBeGreaterThan(14);
    expect(slow.waiting).toBeLessThan(sent / 2);
    await expect
      .poll(
        () => {
          slow.release();
          return heard;
        },
        { interval: 5, timeout: 20_000 },
      )
      .toBe(sent);
  });

  it("fails a request whose payload does not fit, at the asker, and one whose reply does not", async () => {
    const { first, second, secondLog } = await typedPair();
    const [to = ""] = first.peers;
    second.onRequest("double", (number) => 2 * number);
    expect(await first.request(to, "double", "21")).toBe(42);
    const refused = { name: "FullmeshError", code: "BAD_VALUE", message: 'payload.keys[2]["a b"]: Expected digits' };
    await expect(first.request(to, "double", 21)).rejects.toMatchObject(refused);
    expect(secondLog.items).toMatchObject([{ code: "BAD_VALUE", remote: first.address }]);
    first.onRequest("shout", (text) => (text === "7" ? "77" : 77));
    const from = first.address ?? "";
    expect(await second.request(from, "shout", "7")).toBe(77);
    const unfit = {
      code: "BAD_VALUE",
      message: `the reply of ${from} does not fit the contract: reply.keys[2]["a b"]: Expected digits`,
    };
    await expect(second.request(from, "shout", "8")).rejects.toMatchObject(unfit);
    expect(await second.requestAll("shout", "7")).toMatchObject([{ reply: 77 }]);
    expect(await second.requestAll("shout", "8")).toMatchObject([{ error: unfit }]);
  });

  it("waits for the schemas of a request and its reply", async () => {
    const { first, second } = await typedPair();
    second.onRequest("slow", (number) => String(number + 1));
    first.onRequest("slow", () => "5");
    const replies = Promise.all([
      first.request(second.address ?? "", "slow", "1"),
      second.request(first.address ?? "", "slow", "1"),
    ]);
    await expect.poll(() => slow.waiting).toBe(2);
    slow.release();
    expect(await replies).toEqual(["2", 5]);
  });

  it("fails a request whose schema throws, and says so", async () => {
    const server = await serve({ listen: "127.0.0.1:0", logger: false });
    onTestFinished(() => server.close());
    const broken: StandardSchema<string> = {
      "~standard": {
        version: 1,
        vendor: "test",
        validate: () => {
          throw new Error("out of order");
        },
      },
    };
    const requests = { ask: { payload: broken, reply: type<string>() } };
    const own = await join(String(server.address), { logger: false, contract: defineContract({ requests }) });
    const asker = await join(String(server.address), { logger: false });
    onTestFinished(async () => {
      await Promise.all([own.leave(), asker.leave()]);
    });
    own.onRequest("ask", (text) => text);
    await expect(asker.request(own.address ?? "", "ask", "x")).rejects.toMatchObject({
      code: "BAD_VALUE",
      message: "the schema of the payload has failed: out of order",
    });
  });

  it("is refused where it has something that is no schema", () => {
    const wrong: [contract: unknown, message: string][] = [
      [{ messages: { drop: "string" } }, "Expected `contract.messages.drop` to be a Standard Schema or `type<...>()`"],
      [{ requests: { ask: { payload: type() } } }, "Expected `contract.requests.ask.reply` to be a Standard Schema"],
      [{ topics: {} }, "There is no option `topics`; there are messages, requests, streams"],
      [{ streams: "dump" }, "Expected `contract.streams` to be an array of topics"],
      [7, "Expected an object of options, got a number"],
    ];
    for (const [value, message] of wrong) expect(() => defineContract(value as never)).toThrow(message);
  });
});
