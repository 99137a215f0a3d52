import { describe, expect, it, onTestFinished } from "vitest";
import { MeshNode, type NodeEvent, type NodeOptions, type RendezvousServer, serve } from "../../src/index.js";
import { LogRecorder } from "../support/logs.js";
import { type CuttingProxy, proxyBefore } from "../support/proxy.js";
import { freePort, Recorder, splitAddress } from "../support/sockets.js";

const hardBytes = 256 * 1024;
const limits = { brokenMs: 500, redialMinMs: 50, redialMaxMs: 100, queueSoftBytes: 65_536, queueHardBytes: hardBytes };

interface Reached {
  readonly node: MeshNode;
  readonly proxy: CuttingProxy;
  /** Nobody reaches it any more, or again. */
  setReachable(isReachable: boolean): void;
}

/** A member that is reached through a proxy only. */
async function behindProxy(server: RendezvousServer, options: NodeOptions): Promise<Reached> {
  const dead = await freePort();
  let port = dead;
  const proxy = await proxyBefore(() => port);
  const node = new MeshNode({ ...options, limits, advertise: proxy.address });
  onTestFinished(() => node.leave());
  await node.connectToServer(String(server.address));
  await node.initListeningSocket("127.0.0.1", 0);
  const alive = splitAddress(await node.sockListen()).port;
  const setReachable = (isReachable: boolean): void => {
    port = isReachable ? alive : dead;
    if (!isReachable) proxy.cut();
  };
  setReachable(true);
  await node.registerWithServer();
  return { node, proxy, setReachable };
}

describe("N27: a link that is down for long while the mesh lists the peer", () => {
  it("is told once, takes no more than its bounds, and delivers in order what it took", async () => {
    const server = await serve({ listen: "127.0.0.1:0", logger: false });
    onTestFinished(() => server.close());
    const log = new LogRecorder();
    const both = [
      await behindProxy(server, { logger: log.logger }),
      await behindProxy(server, { logger: false }),
    ] as const;
    const [{ node: first }, { node: second, proxy }] = both;
    const numbers = new Recorder<number>();
    second.on("message", ({ payload }) => numbers.add((payload as Uint8Array)[0] ?? -1));
    await first.complete({ size: 2 });

    const outages = new Recorder<NodeEvent & { type: "peer:outage" }>();
    const back = new Recorder<string>();
    first.on("peer:outage", (event) => outages.add(event));
    first.on("peer:back", ({ peer }) => back.add(peer.address));
    const cutAt = Date.now();
    for (const { setReachable } of both) setReachable(false);
    const { peer, reason, since } = await outages.first(() => true);
    expect(peer).toMatchObject({ address: proxy.address, id: second.id, state: "broken" });
    expect(reason).toMatch(/^(dialing|hello|broken), attempt \d+: /);
    expect(since).toBeGreaterThanOrEqual(cutAt - 100);
    expect(log.items.filter(({ code }) => code === "NO_LINK")).toHaveLength(1);

    // It takes what its bounds allow, says so, and then refuses.
    const message = new Uint8Array(16 * 1024);
    let taken = 0;
    const fill = (): void => {
      for (;;) {
        message[0] = taken;
        first.send(peer, "n", message.slice());
        taken += 1;
      }
    };
    expect(fill).toThrow(expect.objectContaining({ code: "QUEUE_FULL" }));
    expect(taken).toBeLessThanOrEqual(hardBytes / message.length + 1);
    expect(fill).toThrow(expect.objectContaining({ code: "QUEUE_FULL" }));

    for (const { setReachable } of both) setReachable(true);
    await back.first(() => true);
    await numbers.nth(taken, () => true);
    expect(numbers.items).toEqual(Array.from({ length: taken }, (_, index) => index));
    expect(outages.items).toHaveLength(1);
  });
});
