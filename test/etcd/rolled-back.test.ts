import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { EtcdCluster } from "../support/etcd.js";
import { proxyBefore } from "../support/proxy.js";
import { splitAddress } from "../support/sockets.js";
import { requireTool } from "../support/tools.js";
import { TestStore } from "./stores.js";

beforeEach((context) => {
  requireTool(context, "etcd");
  requireTool(context, "etcdctl");
});

async function startEtcd(): Promise<EtcdCluster> {
  const etcd = await EtcdCluster.start();
  onTestFinished(async () => await etcd.stop());
  return etcd;
}

const rolledBack = (reason: string) => ({ code: "STORE_ROLLED_BACK", message: expect.stringMatching(reason) });

describe("a store that has lost what it had", () => {
  it("is refused when it was restored from a backup", async () => {
    const etcd = await startEtcd();
    const store = new TestStore(etcd.url());
    await store.put("a", "one");
    const backup = await etcd.save();
    const lost = await store.put("a", "two");
    await etcd.restore(backup);
    const expected = rolledBack(`has gone back from revision ${lost} to ${lost - 1}`);
    expect(await store.failure()).toMatchObject(expected);
    // For good, and whatever is asked.
    await new TestStore(etcd.url()).put("a", "three");
    expect(await store.failure()).toMatchObject(expected);
    expect(await store.grantLease(1_000)).toMatchObject(expected);
    expect(await store.watch(1).ended()).toEqual({ type: "ended", code: "STORE_ROLLED_BACK" });
  });

  it("is refused when another cluster is in its place", async () => {
    const [before, after] = await Promise.all([startEtcd(), startEtcd()]);
    let address = before.members[0]?.address ?? "";
    const proxy = await proxyBefore(() => splitAddress(address).port);
    const store = new TestStore(`etcd://${proxy.address}`);
    const from = await store.put("a");
    const watch = store.watch(from);
    await watch.sawPut("a");
    address = after.members[0]?.address ?? "";
    proxy.cut();
    await watch.ended();
    expect(await store.failure()).toMatchObject(rolledBack("belongs to the cluster \\d+, and the one before was \\d+"));
    // Nothing was written there.
    const result = await new TestStore(after.url()).perform([{ type: "read", key: "", end: "~" }]);
    expect(result).toMatchObject({ revision: 1, reads: [{ values: [] }] });
  });
});
