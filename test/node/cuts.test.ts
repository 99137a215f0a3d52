import { describe, expect, it, onTestFinished } from "vitest";
import { join, MeshNode, serve } from "../../src/index.js";
import { proxyBefore } from "../support/proxy.js";
import { Recorder, splitAddress } from "../support/sockets.js";

/** Cuts in one run. */
const cuts = 1_000;

/** Everything that a node tells of one peer's link, in order. */
function linkEvents(node: MeshNode): Recorder<string> {
  const events = new Recorder<string>();
  for (const type of ["peer:up", "peer:unreachable", "peer:back", "peer:down"] as const) {
    node.on(type, () => events.add(type));
  }
  return events;
}

/** The numbers that a node hears from its peer. */
function heard(node: MeshNode): Recorder<number> {
  const numbers = new Recorder<number>();
  node.on("message", ({ payload }) => numbers.add(Number(new TextDecoder().decode(payload as Uint8Array))));
  return numbers;
}

describe("a connection that is cut under a link while both ends live", () => {
  it(`is replaced, ${cuts} times in a row, and the same link goes on without loss or repetition`, async () => {
    const server = await serve({ listen: "127.0.0.1:0" });
    onTestFinished(() => server.close());
    // A short pause before each new attempt: there are many of them.
    const first = await join(String(server.address), { limits: { redialMinMs: 4 } });
    onTestFinished(() => first.leave());
    let port = 0;
    const proxy = await proxyBefore(() => port);
    const second = new MeshNode({ advertise: proxy.address });
    onTestFinished(() => second.leave());
    const events = [linkEvents(first), linkEvents(second)] as const;
    const numbers = [heard(first), heard(second)] as const;
    await second.connectToServer(String(server.address));
    await second.initListeningSocket("127.0.0.1", 0);
    port = splitAddress(await second.sockListen()).port;
    await second.registerWithServer();
    await Promise.all([first.complete({ size: 2 }), second.complete({ size: 2 })]);

    const connectionsBefore = proxy.accepted;
    const sayToEachOther = (number: number): void => {
      for (const node of [first, second]) node.broadcast("count", Buffer.from(String(number)));
    };
    for (let round = 1; round <= cuts; round += 1) {
      // One message each way is under way when the connection breaks, and one is sent while there is none.
      sayToEachOther(2 * round - 1);
      proxy.cut();
      sayToEachOther(2 * round);
      await Promise.all(events.map((each) => each.nth(round, (type) => type === "peer:back")));
      // One connection, and not a second one beside it.
      expect(proxy.open).toBe(1);
    }
    await Promise.all(numbers.map((each) => each.first((number) => number === 2 * cuts)));
    expect([first, second].map((node) => node.stats().reconnects)).toEqual([cuts, cuts]);

    const expected = Array.from({ length: 2 * cuts }, (_, index) => index + 1);
    for (const each of numbers) expect(each.items).toEqual(expected);
    for (const each of events) {
      expect(each.items.filter((type) => type === "peer:up")).toHaveLength(1);
      expect(each.items).not.toContain("peer:down");
      expect(each.items.filter((type) => type === "peer:unreachable")).toHaveLength(cuts);
    }
    // As many connections as cuts: no attempt was in vain.
    expect(proxy.accepted - connectionsBefore).toBe(cuts);
    expect(first.peers.map(({ id }) => id)).toEqual([second.id]);
  }, 120_000);
});
