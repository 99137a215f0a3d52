import { describe, expect, it } from "vitest";
import { defaultLimits, type Limits } from "../../src/core/limits.js";
import type { LinkWriter } from "../../src/core/link-handler.js";
import { Timers } from "../../src/core/timers.js";
import { MemoryBudget, PeerBudget } from "../../src/messaging/memory-budget.js";
import {
  type MessagingChannel,
  MessagingChannels,
  type MessagingEvent,
} from "../../src/messaging/messaging-channel.js";
import { numberedKinds } from "../../src/protocol/native/numbered-frames.js";
import { faultText, TestLink } from "./pair.js";

const KiB = 1_024;

describe("the shares of a budget", () => {
  const make = (count: number): PeerBudget[] => {
    const budget = new MemoryBudget({ heldBytes: 2_000, heldPerPeerBytes: 100 });
    return Array.from({ length: count }, () => new PeerBudget(budget, new TestLink(), defaultLimits));
  };
  const fill = (share: PeerBudget): void => {
    for (let room = Math.floor(share.room); room > 0; room = Math.floor(share.room)) share.change(room);
  };

  it("are half of it for one alone, a third each for two, and for a newcomer as much as the greediest has", () => {
    const [first, second, third] = make(3) as [PeerBudget, PeerBudget, PeerBudget];
    fill(first);
    expect(first.bytes).toBe(100 + 500);
    fill(second);
    fill(first);
    expect(second.bytes).toBeLessThanOrEqual(100 + 250);
    expect(third.room).toBeGreaterThanOrEqual(100 + 125);
  });

  it("are never more than all of it together, and never less than the least for each, however many there are", () => {
    const shares = make(10);
    for (let round = 0; round < 20; round += 1) for (const share of shares) fill(share);
    const sum = shares.reduce((bytes, share) => bytes + share.bytes, 0);
    expect(sum).toBeLessThanOrEqual(2_000);
    for (const share of shares) expect(share.bytes).toBeGreaterThanOrEqual(100);
  });

  it("of peers that have gone count in full until what they have left is taken", () => {
    const budget = new MemoryBudget({ heldBytes: 2_000, heldPerPeerBytes: 100 });
    const gone = Array.from({ length: 50 }, () => {
      const share = new PeerBudget(budget, new TestLink(), defaultLimits);
      share.change(Math.min(20, share.room));
      share.sent(5);
      share.end();
      return share;
    });
    expect(budget.freeBytes).toBe(1_000 - 50 * 20);
    for (const share of gone) share.change(-share.bytes);
    expect(budget.freeBytes).toBe(1_000);
  });

  it("follow what has been sent and is not acknowledged", () => {
    const [share] = make(1) as [PeerBudget];
    share.sent(300);
    share.sent(150);
    expect(share.bytes).toBe(150);
    share.sent(0);
    expect(share.room).toBe(600);
  });
});

/** A node with some peers, which tell what they like. */
class Node {
  readonly told: MessagingEvent[] = [];
  readonly lines: TestLink[] = [];
  readonly peers: MessagingChannel[] = [];
  readonly #messaging: MessagingChannels;

  constructor(peers: number, limits: Partial<Limits>) {
    const { told } = this;
    const outputs = {
      push: (arrival: MessagingEvent) => void told.push(arrival),
      get newest() {
        return told.at(-1);
      },
    };
    this.#messaging = new MessagingChannels(outputs, { ...defaultLimits, ...limits }, new Timers());
    for (let peer = 0; peer < peers; peer += 1) this.board(`peer ${peer}`);
  }

  board(peer: string): MessagingChannel {
    const line = new TestLink();
    const channel = this.#messaging.attach(peer, true, line as LinkWriter);
    this.lines.push(line);
    this.peers.push(channel);
    return channel;
  }

  /** A frame of a peer with this content. */
  hear(peer: number, kind: number, ...content: readonly (number | Uint8Array)[]): string | undefined {
    const bytes = Uint8Array.from(content.flatMap((part) => (typeof part === "number" ? [part] : [...part])));
    return faultText(this.peers[peer]?.take(kind, bytes, 0, bytes.length, 0));
  }

  /** What the application is given, which keeps it. */
  poll(): MessagingEvent[] {
    return this.told.splice(0);
  }

  /** The kinds of the frames that a peer has been sent. */
  sent(peer: number): number[] {
    const line = this.lines[peer];
    line?.hand(Number.POSITIVE_INFINITY);
    const kinds: number[] = [];
    for (let frame = line?.arrive(); frame !== undefined; frame = line?.arrive()) kinds.push(frame.kind);
    return kinds;
  }
}

const tight = { heldBytes: 400 * KiB, heldPerPeerBytes: 10 * KiB };

function number(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >> 16) & 255, (value >> 8) & 255, value & 255);
}

describe("what all peers together make a node hold", () => {
  it("refuses requests beyond it, and takes those of others meanwhile", () => {
    const node = new Node(4, tight);
    const ask = (peer: number, request: number, bytes = 2 * KiB): void => {
      expect(node.hear(peer, numberedKinds.request, number(request), 0, 0, new Uint8Array(bytes))).toBeUndefined();
    };
    for (let request = 1; request <= 200; request += 1) for (const peer of [0, 1, 2]) ask(peer, request);
    const asked = node.poll();
    expect(asked.length).toBeGreaterThan(40);
    expect(asked.length * 3 * KiB).toBeLessThan(tight.heldBytes);
    expect(node.sent(0)).toContain(numberedKinds.failure);
    ask(3, 1, 8 * KiB);
    expect(node.poll()).toHaveLength(1);
    // What is answered makes room.
    for (const arrival of asked) if (arrival.type === "request") arrival.from.fail(arrival.request, "X", "");
    ask(0, 201);
    expect(node.poll()).toHaveLength(1);
  });

  it("weighs the values of requests, before they are made", () => {
    const node = new Node(1, tight);
    const maps = Uint8Array.of(0xdc, 2, 0, ...new Uint8Array(512).fill(0x80));
    for (let request = 1; request <= 10; request += 1) node.hear(0, numberedKinds.request, number(request), 1, 0, maps);
    expect(node.poll()).toHaveLength(1);
  });

  it("counts what is in work for a link that has ended", () => {
    const node = new Node(2, tight);
    let request = 0;
    const ask = (peer: number): void => {
      request += 1;
      node.hear(peer, numberedKinds.request, number(request), 0, 0, new Uint8Array(2 * KiB));
    };
    for (let count = 0; count < 100; count += 1) ask(0);
    const inWork = node.poll();
    for (let round = 0; round < 50; round += 1) {
      node.peers[node.peers.length - 1]?.ended("gone");
      node.board(`again ${round}`);
      for (let count = 0; count < 100; count += 1) ask(node.peers.length - 1);
      inWork.push(...node.poll().filter(({ type }) => type === "request"));
    }
    expect(inWork.length * 3 * KiB).toBeLessThan(tight.heldBytes);
  });

  it("puts messages off that nobody takes, with their connection, and takes them when there is room again", () => {
    const node = new Node(2, tight);
    const say = (peer: number): string | undefined =>
      node.hear(peer, numberedKinds.message, 0, 0, new Uint8Array(4 * KiB));
    const held: MessagingEvent[] = [];
    let fault: string | undefined;
    for (let count = 0; fault === undefined && count < 1_000; count += 1) {
      fault = say(0);
      held.push(...node.poll());
    }
    expect(fault).toBe("not now");
    expect(held.length * 4 * KiB).toBeGreaterThan(60 * KiB);
    expect(held.length * 4 * KiB).toBeLessThan(tight.heldBytes / 2);
    expect(say(1)).toBeUndefined();
    for (const arrival of held) {
      if (arrival.type === "messages") for (const { bytes } of arrival) arrival.from.consumed(bytes);
    }
    expect(say(0)).toBeUndefined();
  });

  it("gives up streams on which too much waits to be read, and refuses new ones", () => {
    const node = new Node(2, tight);
    const openStream = (peer: number, id: number): void => void node.hear(peer, numberedKinds.open, number(id));
    for (let id = 2; id <= 200; id += 2) {
      openStream(0, id);
      node.hear(0, numberedKinds.data, number(id), new Uint8Array(10 * KiB));
    }
    const arrivals = node.poll();
    const bytes = arrivals.reduce((sum, each) => sum + (each.type === "data" ? each.bytes.length : 0), 0);
    expect(bytes).toBeGreaterThan(50 * KiB);
    expect(bytes).toBeLessThan(tight.heldBytes / 2);
    expect(arrivals).toContainEqual(expect.objectContaining({ type: "aborted", code: "OVERLOADED" }));
    expect(node.sent(0)).toContain(numberedKinds.abort);
    openStream(1, 2);
    expect(node.hear(1, numberedKinds.data, number(2), new Uint8Array(4 * KiB))).toBeUndefined();
    expect(node.poll().map(({ type }) => type)).toEqual(["stream", "data"]);
  });

  it("lets a sender know in good time that peers do not acknowledge what it sends, and then takes no more for them", () => {
    const node = new Node(3, { ...tight, queueSoftBytes: 40 * KiB, queueHardBytes: 200 * KiB });
    const topic = new Uint8Array(0);
    const outcomes: unknown[] = [];
    const peers = node.peers.slice(0, 2);
    for (let count = 0; count < 100; count += 1) {
      for (const peer of peers) {
        // The peer grants everything, and acknowledges nothing.
        const at = node.peers.indexOf(peer);
        node.hear(at, numberedKinds.credit, number(0), Uint8Array.of(0, 0), number(1_000_000));
        outcomes.push(peer.send(topic, 0, new Uint8Array(2 * KiB)));
      }
    }
    expect(outcomes.indexOf("slow")).toBeLessThan(outcomes.indexOf("full"));
    expect(outcomes.filter((outcome) => outcome !== "full").length * 2 * KiB).toBeLessThan(tight.heldBytes / 2);
    expect(node.peers[2]?.send(topic, 0, new Uint8Array(2 * KiB))).toBe("taken");
    node.poll();
    for (const line of node.lines) {
      line.hand(Number.POSITIVE_INFINITY);
      while (line.arrive() !== undefined);
      line.acknowledge();
    }
    for (const peer of node.peers) peer.moved();
    expect(node.poll().map(({ type }) => type)).toEqual(["drained", "drained"]);
  });
});
