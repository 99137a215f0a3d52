import { once } from "node:events";
import { expect, it } from "vitest";
import { addressOf } from "./outcomes.js";
import { pair } from "./pair.js";

it("a node says how many links, requests and streams it has, and how much waits", async () => {
  const { first, second } = await pair();
  let answer = (): void => {};
  const asked = new Promise<void>((resolve) => {
    second.onRequest("slow", () => {
      resolve();
      return new Promise<void>((reply) => {
        answer = reply;
      });
    });
  });
  second.onStream("open", () => {});
  const stream = first.openStream(addressOf(second), "open");
  const reply = first.request(addressOf(second), "slow");
  await asked;
  const { sentBytes } = first.stats();
  expect(sentBytes).toBeGreaterThan(0);
  first.send(addressOf(second), "load", new Uint8Array(100_000));
  expect(first.stats()).toMatchObject({
    links: { waiting: 0, up: 1, broken: 0 },
    requests: { pending: 1, served: 0 },
    streams: 1,
    reconnects: 0,
  });
  expect(first.stats().queuedBytes).toBeGreaterThanOrEqual(100_000);
  expect(second.stats().requests).toEqual({ pending: 0, served: 1 });
  expect(first.broadcast("load", new Uint8Array(1))).toEqual([]);
  await expect.poll(() => second.stats().messages).toEqual({ sent: 0, received: 2 });
  expect(first.stats().messages).toEqual({ sent: 2, received: 0 });
  answer();
  await reply;
  stream.destroy();
  const down = once(first, "peer:down");
  await second.leave();
  await down;
  expect(first.stats()).toMatchObject({ queuedBytes: 0, requests: { pending: 0, served: 0 }, streams: 0 });
  expect(first.stats().sentBytes).toBeGreaterThan(sentBytes + 100_000);
  expect(second.stats().receivedBytes).toBeGreaterThan(100_000);
  expect(first.stats().receivedBytes).toBeLessThan(100_000);
});
