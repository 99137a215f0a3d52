import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { defaultLimits, type MeshNode, type Message as MessageOf } from "../../src/index.js";
import { Recorder } from "../support/sockets.js";
import { pair } from "./pair.js";

/** Here all messages are bytes. */
type Message = MessageOf<Uint8Array>;

/** What a node hears, from now on. */
function messagesOf(node: MeshNode): Recorder<Message> {
  const messages = new Recorder<Message>();
  node.on("message", (message) => messages.add(message as Message));
  return messages;
}

/** A message of some size that begins with its number. */
function numbered(number: number, bytes: number): Uint8Array {
  const payload = Buffer.alloc(bytes);
  payload.writeUInt32BE(number);
  return payload;
}

function numbersOf({ items }: Recorder<Message>): number[] {
  return items.map(({ payload }) => Buffer.from(payload).readUInt32BE());
}

/** What a call comes to: what it returns, or the code of what it throws. */
function outcomeOf(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return (error as { code?: unknown }).code;
  }
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, number) => number);
const tooMuch = 100_000;

describe("messages between native members", () => {
  it("all arrive though the mesh is torn down right behind them", async () => {
    const { server, first, second } = await pair();
    const heard = messagesOf(second);
    for (const number of upTo(30)) first.send(String(second.address), "load", numbered(number, tooMuch));
    await Promise.all([server.teardown(), second.start()]);
    expect(numbersOf(heard)).toEqual(upTo(30));
    expect(heard.items.every(({ payload }) => payload.length === tooMuch)).toBe(true);
  });

  it("all arrive though their sender leaves right behind them, without a note", async () => {
    // The time to linger begins only when all has gone out.
    const { first, second, firstLog, secondLog } = await pair({ limits: { lingerMs: 1 } });
    const lost: number[] = [];
    first.on("peer:down", ({ unacknowledged }) => lost.push(unacknowledged));
    const heard = messagesOf(second);
    for (const number of upTo(120)) first.broadcast("load", numbered(number, tooMuch));
    await Promise.all([first.leave(), heard.nth(120, () => true)]);
    expect(numbersOf(heard)).toEqual(upTo(120));
    expect([...firstLog.codes, ...secondLog.codes]).toEqual([]);
    expect(lost).toEqual([0]);
  });

  it("keep their boundaries, their topics and their bytes, empty ones too, and tell of their sender", async () => {
    const { first, second } = await pair();
    const heard = messagesOf(second);
    const sent: [topic: string, payload: Uint8Array][] = [
      ["", new Uint8Array()],
      ["größe", Uint8Array.of(0, 10, 255)],
      ["a".repeat(255), Buffer.from("three")],
    ];
    for (const [topic, payload] of sent) expect(first.send(String(second.address), topic, payload)).toBe(true);
    await heard.nth(3, () => true);
    expect(heard.items.map(({ topic, payload }) => [topic, [...payload]])).toEqual(
      sent.map(([topic, payload]) => [topic, [...payload]]),
    );
    expect(heard.items[0]?.peer).toMatchObject({ address: first.address, id: first.id, order: first.order });
  });

  it("below 4 KiB are copied: a caller may use its buffer again at once, also from within an event", async () => {
    const { first, second } = await pair();
    const heard = messagesOf(second);
    const buffer = Buffer.from(numbered(1, 4_095));
    first.send(String(second.address), "", buffer);
    buffer.fill(0);
    const answered = messagesOf(first);
    second.once("message", ({ peer }) => {
      buffer.writeUInt32BE(2);
      second.send(peer, "", buffer);
      buffer.fill(0);
    });
    await Promise.all([heard.nth(1, () => true), answered.nth(1, () => true)]);
    expect([numbersOf(heard), numbersOf(answered)]).toEqual([[1], [2]]);
  });

  it("that are sent from within an event count against the limits at once", async () => {
    const { first, second } = await pair({ limits: { queueSoftBytes: 10_000, queueHardBytes: 20_000 } });
    const answers: unknown[] = [];
    const done = new Promise<void>((resolve) => {
      second.once("message", ({ peer }) => {
        for (const number of upTo(4)) answers.push(outcomeOf(() => second.send(peer, "", numbered(number, 6_000))));
        answers.push(second.broadcast("", numbered(4, 6_000)));
        resolve();
      });
    });
    const heard = messagesOf(first);
    first.broadcast("", new Uint8Array(1));
    await done;
    expect(answers).toEqual([true, false, false, "QUEUE_FULL", [{ peer: second.peers[0], code: "QUEUE_FULL" }]]);
    await heard.nth(3, () => true);
    expect(numbersOf(heard)).toEqual(upTo(3));
  });

  it("all arrive, from a loop that waits for `drain`, and from one that does not, in order", async () => {
    const { first, second } = await pair();
    const heard: number[] = [];
    const all = new Promise<void>((resolve) => {
      second.onMessage("load", ({ payload }) => {
        heard.push(Buffer.from(payload as Uint8Array).readUInt32BE());
        if (heard.length === 40_000) resolve();
      });
    });
    const to = String(second.address);
    let waits = 0;
    for (const number of upTo(20_000)) {
      if (first.send(to, "load", numbered(number, 64))) continue;
      waits += 1;
      await once(first, "drain");
    }
    // It need not wait until the peer has granted more: 20,000 messages have less than 4 MiB.
    expect(waits).toBeGreaterThan(0);
    for (const number of upTo(20_000)) first.broadcast("load", numbered(20_000 + number, 64));
    await all;
    expect(heard).toEqual(upTo(40_000));
  });

  it("are taken again after `drain`, and those that came as QUEUE_FULL have not been", async () => {
    const { first, second } = await pair({ limits: { queueSoftBytes: 10_000, queueHardBytes: 20_000 } });
    const heard = messagesOf(second);
    const drains = new Recorder<string>();
    first.on("drain", ({ peer }) => drains.add(peer.address));
    const to = String(second.address);
    const answers = upTo(4).map((number) => outcomeOf(() => first.send(to, "", numbered(number, 6_000))));
    expect(answers).toEqual([true, false, false, "QUEUE_FULL"]);
    expect(first.broadcast("", numbered(4, 6_000))).toEqual([{ peer: first.peers[0], code: "QUEUE_FULL" }]);
    await drains.nth(1, (peer) => peer === second.address);
    expect(first.send(to, "", numbered(5, 6_000))).toBe(true);
    await heard.nth(4, () => true);
    expect(numbersOf(heard)).toEqual([0, 1, 2, 5]);
    expect(drains.items).toHaveLength(1);
  });

  it("are refused with BAD_OPTION when they are none, and a peer may be given as `peers` has it", async () => {
    const { first, second } = await pair();
    const to = String(second.address);
    const bytes = Buffer.from("hello");
    for (const send of [
      (topic: string, payload: Uint8Array): unknown => first.send(to, topic, payload),
      (topic: string, payload: Uint8Array): unknown => first.broadcast(topic, payload),
    ]) {
      expect(() => send(7 as unknown as string, bytes)).toThrow("Expected `topic` to be a string");
      for (const topic of ["a".repeat(256), "ü".repeat(128), "\ud800"]) {
        expect(() => send(topic, bytes)).toThrow("Expected `topic` to be a string of at most 255 bytes of UTF-8");
      }
    }
    const heard = messagesOf(second);
    const [peer] = first.peers;
    if (peer === undefined) throw new Error("no peer");
    expect(first.send(peer, "", bytes)).toBe(true);
    await heard.nth(1, () => true);
    expect(heard.items.map(({ payload }) => Buffer.from(payload).toString())).toEqual(["hello"]);
  });

  it("are refused with MESSAGE_TOO_LARGE from the first byte that a peer would refuse on", async () => {
    const { first, second } = await pair();
    const heard = messagesOf(second);
    const most = defaultLimits.messageBytes - "topic".length - 8;
    const to = String(second.address);
    const tooLong = outcomeOf(() => first.send(to, "topic", new Uint8Array(most + 1)));
    expect([tooLong, outcomeOf(() => first.broadcast("topic", new Uint8Array(most + 1)))]).toEqual(
      Array(2).fill("MESSAGE_TOO_LARGE"),
    );
    expect(first.send(to, "topic", new Uint8Array(most))).toBe(true);
    expect((await heard.nth(1, () => true)).payload).toHaveLength(most);
    expect(second.peers.map(({ state }) => state)).toEqual(["up"]);
  });

  it("are for native peers, and bytes for classic ones: CLASSIC_PEER and NATIVE_PEER, and UNKNOWN_PEER for others", async () => {
    const { first: native, second: classic } = await pair({}, { dialect: "classic" });
    const bytes = Buffer.from("hello");
    const peer = String(classic.address);
    expect(outcomeOf(() => native.send(peer, "", bytes))).toBe("CLASSIC_PEER");
    expect(native.broadcast("", bytes)).toEqual([{ peer: native.peers[0], code: "CLASSIC_PEER" }]);
    const heard = new Recorder<string>();
    classic.on("bytes", (message) => heard.add(Buffer.from(message.bytes).toString()));
    expect(native.write(peer, bytes)).toBe(true);
    expect(await heard.nth(1, () => true)).toBe("hello");
    const { first, second } = await pair();
    expect(outcomeOf(() => first.write(String(second.address), bytes))).toBe("NATIVE_PEER");
    expect(first.writeAll(bytes)).toEqual([]);
    for (const node of [first, classic]) {
      expect(outcomeOf(() => node.send("127.0.0.1:1", "", bytes))).toBe("UNKNOWN_PEER");
      expect(outcomeOf(() => node.write("127.0.0.1:1", bytes))).toBe("UNKNOWN_PEER");
    }
  });

  it("are refused once the peer has said goodbye, and not lost in silence", async () => {
    const { first, second } = await pair();
    const to = String(first.address);
    const accepted: number[] = [];
    const outcomes: unknown[] = [];
    const isDown = new Promise<void>((resolve) => {
      second.once("peer:down", () => resolve());
    });
    const heard = messagesOf(first);
    const leaving = first.leave();
    for (let number = 0; outcomes.length === 0; number += 1) {
      const outcome = outcomeOf(() => second.send(to, "", numbered(number, 4)));
      if (outcome === true) accepted.push(number);
      else outcomes.push(outcome);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all([leaving, isDown]);
    // The log may have said before that the peer has left.
    expect(["NOT_LINKED", "UNKNOWN_PEER"]).toContain(outcomes[0]);
    expect(numbersOf(heard)).toEqual(accepted);
  });

  it("are refused at a node that has ended, by both ways of sending", async () => {
    const { first, second } = await pair();
    await first.leave();
    expect(outcomeOf(() => first.send(String(second.address), "", new Uint8Array(1)))).toBe("ENDED");
    expect(outcomeOf(() => first.broadcast("", new Uint8Array(1)))).toBe("ENDED");
  });
});

describe("a listener of one topic", () => {
  it("hears the messages of that topic in order, until it is removed, and is kept from none by what another one throws", async () => {
    const { first, second, secondLog } = await pair();
    const heard = new Recorder<string>();
    second.onMessage("orders", () => {
      throw new RangeError("a listener fails");
    });
    const stop = second.onMessage("orders", ({ type, peer, topic, payload }) => {
      heard.add(`${type} ${topic} ${payload} from ${peer.address === first.address ? "first" : "another"}`);
    });
    const all = messagesOf(second);
    first.broadcast("other", "0");
    first.broadcast("orders", "1");
    first.broadcast("orders", "2");
    await heard.nth(2, () => true);
    stop();
    first.broadcast("orders", "3");
    await all.nth(4, () => true);
    expect(heard.items).toEqual(["message orders 1 from first", "message orders 2 from first"]);
    const failed = secondLog.items.map(({ code, message, stack }) => [code, message, stack?.includes("messages.test")]);
    expect(failed).toEqual(Array(3).fill(["HANDLER_FAILED", 'a listener of "orders" failed: a listener fails', true]));
  });

  it("must be a function, and its topic one that can be sent", async () => {
    const { first } = await pair();
    expect(outcomeOf(() => first.onMessage("", undefined as never))).toBe("BAD_OPTION");
    expect(outcomeOf(() => first.onMessage("x".repeat(256), () => {}))).toBe("BAD_OPTION");
  });
});

describe("closed", () => {
  it("settles with the reason when every connection is closed, as start does", async () => {
    const { server, first, second } = await pair();
    await second.leave();
    await expect(second.closed).resolves.toBe("left");
    await server.teardown();
    await expect(first.closed).resolves.toBe("teardown");
  });
});
