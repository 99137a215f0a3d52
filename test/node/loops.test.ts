import { describe, expect, it } from "vitest";
import type { Message } from "../../src/index.js";
import { Recorder } from "../support/sockets.js";
import { addressOf, failureOf, outcomeOf } from "./outcomes.js";
import { pair } from "./pair.js";

const upTo = (count: number): number[] => Array.from({ length: count }, (_, number) => number);

/** Takes so many items out of a loop, which goes on then. */
async function take<Item>(loop: AsyncIterator<Item>, count: number): Promise<Item[]> {
  const items: Item[] = [];
  for (const _ of upTo(count)) items.push((await loop.next()).value as Item);
  return items;
}

function payloadsOf(messages: readonly Message[]): unknown[] {
  return messages.map(({ payload }) => payload);
}

describe("a loop over messages", () => {
  it("gives those of its topic in order, to several loops all of them, and `message` is emitted as well", async () => {
    const { first, second } = await pair();
    const emitted = new Recorder<unknown>();
    second.on("message", ({ payload }) => emitted.add(payload));
    const loops = [second.subscribe("a"), second.subscribe("a"), second.subscribe("b")] as const;
    for (const number of upTo(10)) {
      first.send(addressOf(second), "a", number);
      first.send(addressOf(second), "b", 100 - number);
      first.send(addressOf(second), "c", "unheard");
    }
    const [one, two, three] = await Promise.all(loops.map((loop) => take(loop, 10)));
    expect(payloadsOf(one ?? [])).toEqual(upTo(10));
    expect(payloadsOf(two ?? [])).toEqual(upTo(10));
    expect(payloadsOf(three ?? [])).toEqual(upTo(10).map((number) => 100 - number));
    expect(one?.[0]).toEqual(two?.[0]);
    expect(one?.[0]?.peer).toMatchObject({ address: first.address, id: first.id });
    await emitted.nth(30, () => true);
  });

  it("is slowed down to by who sends: false at 4 MiB, QUEUE_FULL at 16 MiB, and all arrives once it goes on", async () => {
    const { first, second } = await pair();
    const loop = second.subscribe("load");
    const to = addressOf(second);
    const drained = new Promise<void>((resolve) => void first.once("drain", () => resolve()));
    second.onRequest("ping", () => "pong");
    // The peer acknowledges all that it gets, so only what its loop has not taken is in the way.
    const send = async (): Promise<unknown> => {
      const outcome = outcomeOf(() => first.send(to, "load", new Uint8Array(65_536)));
      await first.request(to, "ping");
      return outcome;
    };
    const outcomes: unknown[] = [];
    while (outcomes.at(-1) !== "QUEUE_FULL") outcomes.push(await send());
    const taken = outcomes.length - 1;
    const slowFrom = outcomes.indexOf(false);
    expect(slowFrom).toBeGreaterThanOrEqual(63);
    expect(slowFrom).toBeLessThanOrEqual(65);
    expect(taken * 65_536).toBeGreaterThan(19 * 2 ** 20);
    expect(taken * 65_536).toBeLessThan(21 * 2 ** 20);
    expect(first.broadcast("load", new Uint8Array(65_536))).toMatchObject([
      { peer: { address: to }, code: "QUEUE_FULL" },
    ]);
    const messages = await take(loop, taken);
    expect(messages.every(({ payload }) => (payload as Uint8Array).length === 65_536)).toBe(true);
    await drained;
    expect(first.send(to, "load", new Uint8Array(1))).toBe(true);
    expect((await take(loop, 1))[0]?.payload).toHaveLength(1);
  });

  it.each([
    ["break", (loop: AsyncIterableIterator<Message>): unknown => loop.return?.()],
    ["abort", (_loop: AsyncIterableIterator<Message>, controller: AbortController): unknown => controller.abort()],
  ])("lets go of what waits at %s, so that senders go on", async (_name, end) => {
    const { first, second } = await pair({ limits: { queueSoftBytes: 10_000, queueHardBytes: 20_000 } });
    const controller = new AbortController();
    const loop = second.subscribe("load", { signal: controller.signal });
    const drained = new Promise<void>((resolve) => void first.once("drain", () => resolve()));
    const to = addressOf(second);
    while (outcomeOf(() => first.send(to, "load", new Uint8Array(1_000))) !== "QUEUE_FULL") {
      second.onRequest("ping", () => "pong")();
    }
    await take(loop, 1);
    end(loop, controller);
    await drained;
    expect(first.send(to, "load", new Uint8Array(1_000))).toBe(true);
    if (controller.signal.aborted) expect(await failureOf(loop.next())).toBe("ABORTED");
    expect(await loop.next()).toEqual({ done: true, value: undefined });
  });

  it("ends with the node, after what has come by then", async () => {
    const { first, second } = await pair();
    const loop = second.subscribe("a");
    const waiting = second.subscribe("b").next();
    for (const number of upTo(5)) first.send(addressOf(second), "a", number);
    await first.leave();
    await second.leave();
    const numbers: unknown[] = [];
    for await (const { payload } of loop) numbers.push(payload);
    expect(numbers).toEqual(upTo(5));
    expect(await waiting).toEqual({ done: true, value: undefined });
    for await (const _message of second.subscribe("a")) throw new Error("there is nothing more");
  });

  it("is over all topics without one, beside loops over single ones", async () => {
    const { first, second } = await pair();
    const all = second.subscribe();
    const some = second.subscribe("a");
    for (const number of upTo(6)) first.send(addressOf(second), number % 2 === 0 ? "a" : "b", number);
    expect((await take(all, 6)).map(({ topic, payload }) => `${topic}${payload}`).join(" ")).toBe("a0 b1 a2 b3 a4 b5");
    expect((await take(some, 3)).map(({ payload }) => payload)).toEqual([0, 2, 4]);
    void all.return?.();
    first.send(addressOf(second), "a", 6);
    expect((await take(some, 1)).map(({ payload }) => payload)).toEqual([6]);
  });

  it("rejects whoever waits in it when it is aborted, with the reason as the cause", async () => {
    const { second } = await pair();
    const controller = new AbortController();
    const loop = second.subscribe("a", { signal: controller.signal });
    const next = loop.next();
    const other = loop.next();
    const reason = new Error("enough");
    controller.abort(reason);
    await expect(next).rejects.toMatchObject({ code: "ABORTED", cause: reason });
    expect(await other).toEqual({ done: true, value: undefined });
    const late = second.subscribe("a", { signal: controller.signal });
    expect(await failureOf(late.next())).toBe("ABORTED");
  });

  it("does not lose a listener's error, nor its sender's credit to it", async () => {
    const { first, second, secondLog } = await pair({ limits: { queueSoftBytes: 10_000 } });
    second.on("message", () => {
      throw new Error("a listener's own fault");
    });
    second.onRequest("ping", () => "pong");
    for (const _ of upTo(50)) {
      expect(first.send(addressOf(second), "a", new Uint8Array(1_000))).toBe(true);
      await first.request(addressOf(second), "ping");
    }
    expect(secondLog.messages).toEqual(Array(20).fill(`a listener of "message" failed: a listener's own fault`));
    await second.leave();
    expect(secondLog.messages.at(-1)).toBe("dropped 30 records with the code HANDLER_FAILED");
  });

  it("does not lose the messages that come together with one whose listener throws, nor the credit for any", async () => {
    const { first, second, secondLog } = await pair({ limits: { queueSoftBytes: 100_000 } });
    const heard: number[] = [];
    second.on("message", ({ payload }) => {
      heard.push(payload as number);
      if (heard.length % 2 === 0) throw new Error("a listener's own fault");
    });
    second.onRequest("ping", () => "pong");
    // In all more than the credit at the beginning: without what comes back, no more would be taken.
    for (const round of upTo(60)) {
      for (const index of upTo(50)) expect(first.send(addressOf(second), "a", round * 100 + index)).toBe(true);
      await first.request(addressOf(second), "ping");
    }
    expect(heard).toEqual(upTo(60).flatMap((round) => upTo(50).map((index) => round * 100 + index)));
    expect(secondLog.codes).toEqual(Array(20).fill("HANDLER_FAILED"));
  });

  it("is refused with BAD_OPTION for what is no topic or no option", async () => {
    const { second } = await pair();
    expect(outcomeOf(() => second.subscribe(7 as unknown as string))).toBe("BAD_OPTION");
    expect(outcomeOf(() => second.subscribe("a", { signal: 7 as unknown as AbortSignal }))).toBe("BAD_OPTION");
    expect(outcomeOf(() => second.subscribe("a", { timeoutMs: 7 } as object))).toBe("BAD_OPTION");
    expect(outcomeOf(() => second.events({ timeoutMs: 7 } as object))).toBe("BAD_OPTION");
  });
});
