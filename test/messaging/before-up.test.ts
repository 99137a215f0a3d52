import { describe, expect, test } from "vitest";
import { defaultLimits } from "../../src/core/limits.js";
import { Timers } from "../../src/core/timers.js";
import {
  type MessagingChannel,
  MessagingChannels,
  type MessagingEvent,
} from "../../src/messaging/messaging-channel.js";
import { numberedKinds } from "../../src/protocol/native/numbered-frames.js";
import { content, TestLink, topic } from "./pair.js";

/** So much may wait for links that were never up. */
const limits = { ...defaultLimits, queueHardBytes: 100_000, queueSoftBytes: 20_000 };

/** Channels of links that are not up yet. */
class Waiting {
  readonly events: MessagingEvent[] = [];
  readonly timers = new Timers();
  readonly #channels = new MessagingChannels(
    { push: (event) => void this.events.push(event), newest: undefined },
    limits,
    this.timers,
  );

  channel(peer: string): { readonly channel: MessagingChannel; readonly line: TestLink } {
    const line = new TestLink();
    line.hasBeenUp = false;
    return { channel: this.#channels.attach(peer, true, line), line };
  }

  up({ channel, line }: ReturnType<Waiting["channel"]>): void {
    line.hasBeenUp = true;
    channel.up();
  }
}

function ask(channel: MessagingChannel, bytes: number, timeoutMs = 1_000): number | "full" {
  return channel.request(topic("ask"), 0, content(bytes), timeoutMs, 0);
}

describe("before its link is up, a channel", () => {
  test("keeps requests, and sends those that nobody has given up when the link is up", () => {
    const waiting = new Waiting();
    const peer = waiting.channel("a");
    for (const timeoutMs of [1_000, 10, 1_000]) ask(peer.channel, 100, timeoutMs);
    peer.channel.cancel(3);
    waiting.timers.fire(10);
    expect(waiting.events).toMatchObject([{ type: "failed", request: 2, code: "TIMED_OUT" }]);
    expect(peer.line.kinds).toEqual([]);
    waiting.up(peer);
    expect(peer.line.kinds).toEqual([numberedKinds.request]);
  });

  test("takes what all such channels together may keep, and no more", () => {
    const waiting = new Waiting();
    const [one, two] = [waiting.channel("a"), waiting.channel("b")];
    let taken = 0;
    while (taken < 100 && ask(one.channel, 5_000) !== "full") taken += 1;
    expect(taken).toBe(19);
    expect(two.channel.send(topic("t"), 0, content(6_000))).toBe("full");
    expect(two.channel.send(topic("t"), 0, content(1_000))).toBe("taken");
  });

  test.each<[string, (waiting: Waiting, peer: ReturnType<Waiting["channel"]>) => void]>([
    ["is given up", (_, { channel }) => channel.cancel(1)],
    ["runs out of time", ({ timers }) => timers.fire(1_000)],
    ["goes out", (waiting, peer) => waiting.up(peer)],
    ["is lost with its link", (_, { channel }) => channel.ended("gone")],
  ])("has room again when a request %s", (_, settle) => {
    const waiting = new Waiting();
    const [one, two] = [waiting.channel("a"), waiting.channel("b")];
    ask(one.channel, 90_000);
    expect(ask(two.channel, 20_000)).toBe("full");
    settle(waiting, one);
    expect(ask(two.channel, 20_000)).toBe(1);
  });

  test("opens no more streams than may wait for links that were never up, in all", () => {
    const waiting = new Waiting();
    const peers = Array.from({ length: 10 }, (_, index) => waiting.channel(`peer ${index}`));
    const name = topic("n".repeat(200));
    for (const { channel } of peers) {
      for (let count = 0; count < 100; count += 1) channel.open(name).abort("X", "");
    }
    const bytes = peers.reduce((sum, { line }) => sum + line.unacknowledgedBytes, 0);
    expect(bytes).toBeGreaterThan(limits.queueHardBytes - 1_000);
    expect(bytes).toBeLessThan(limits.queueHardBytes + 1_000);
    expect(waiting.events.at(-1)).toMatchObject({
      type: "aborted",
      code: "OVERLOADED",
      message: "too much waits for links that were never up",
    });
  });
});
