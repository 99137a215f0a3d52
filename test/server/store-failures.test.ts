import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { eventOf, fullmesh, startServer } from "../cli/command-line.js";
import { TestStore } from "../etcd/stores.js";
import { EtcdCluster } from "../support/etcd.js";
import type { StartedProcess } from "../support/processes.js";
import { type CuttingProxy, proxyBefore } from "../support/proxy.js";
import { splitAddress } from "../support/sockets.js";
import { findTool } from "../support/tools.js";
import { eventsOf, expectUntouched, joinAt, known, listedAt, type Server, whole } from "./members.js";

const hasEtcd = findTool("etcd") !== undefined && findTool("etcdctl") !== undefined;

describe.skipIf(!hasEtcd)("a server whose watch was cut off", () => {
  let etcd: EtcdCluster;
  let proxy: CuttingProxy;
  beforeAll(async () => {
    etcd = await EtcdCluster.start();
  });
  afterAll(() => etcd?.stop());

  /** One server that reaches the store directly, and one through a proxy. */
  async function startTwo(prefix: string): Promise<readonly [Server, Server]> {
    const port = splitAddress(etcd.members[0]?.address ?? "").port;
    proxy = await proxyBefore(() => port);
    const a = await startServer(["--store", etcd.url(prefix)]);
    const b = await startServer(["--store", `etcd://${proxy.address}${prefix}`]);
    await known(a, b);
    return [a, b];
  }

  function cutOff({ server }: Server): void {
    // It is stopped as well: what it might do first when it runs again must do no harm.
    server.kill("SIGSTOP");
    proxy.isShut = true;
    proxy.cut();
  }

  function goOn({ server }: Server): void {
    proxy.isShut = false;
    server.kill("SIGCONT");
  }

  it("reads all anew if what it has missed is compacted, and goes on with its members", async () => {
    const [a, b] = await startTwo("/compacted");
    const members = [await joinAt(a.address), await joinAt(b.address)];
    await whole(members);
    cutOff(b);
    const leaves = await joinAt(a.address);
    const stays = await joinAt(a.address);
    leaves.member.kill("SIGTERM");
    await eventOf(a.server, "left", ({ address }) => address === leaves.address);
    const revision = await new TestStore(etcd.url("/compacted")).put("mesh/other/report/0", "x");
    await etcd.compact(revision);
    goOn(b);
    await eventOf(members[1]?.member as StartedProcess, "complete", (line) => line.members === 3);
    const late = await joinAt(b.address);
    await whole([...members, stays, late], 4);
    const listed = [...members, stays, late].map(({ address }) => address);
    expect(await Promise.all([listedAt(a), listedAt(b)])).toEqual([listed, listed]);
  });

  it("finds out that another server has gone, also if etcd loses the delete that says so", async () => {
    const [a, b] = await startTwo("/lost-delete");
    const third = await startServer(["--store", etcd.url("/lost-delete")]);
    const { id } = await eventOf(b.server, "server:joined", ({ address }) => address === third.address);
    await eventOf(a.server, "server:joined", ({ address }) => address === third.address);
    const members = [await joinAt(a.address), await joinAt(b.address), await joinAt(third.address)];
    await whole(members);
    // Nobody writes any more, so the delete is the very next revision: a watch that begins there, once that is compacted, does
    // not get it (etcd-io/etcd#18089).
    for (const { server } of [a, third]) server.kill("SIGSTOP");
    cutOff(b);
    const store = new TestStore(etcd.url("/lost-delete"));
    const deleted = await store.perform([{ type: "delete", key: `server/${id}` }]);
    third.server.kill("SIGKILL");
    await etcd.compact(deleted.revision);
    a.server.kill("SIGCONT");
    goOn(b);
    for (const { server } of [a, b]) await eventOf(server, "server:gone", ({ address }) => address === third.address);
    const late = await joinAt(b.address);
    await whole([...members, late]);
    expectUntouched(members);
  });
});

describe.skipIf(!hasEtcd)("a store that was set back", () => {
  it.each([
    [
      "a snapshot that was restored",
      (etcd: EtcdCluster) => etcd.save(),
      (etcd: EtcdCluster, from: string) => etcd.restore(from),
    ],
    [
      "a data folder that was put back",
      (etcd: EtcdCluster) => etcd.copyData(),
      (etcd: EtcdCluster, from: string) => etcd.putBack(from),
    ],
  ])("is refused by servers and members (%s), and the remedy brings the mesh back", async (_, save, setBack) => {
    const etcd = await EtcdCluster.start();
    onTestFinished(() => etcd.stop());
    const store = ["--store", etcd.url("/set-back")];
    const { server, address } = await startServer(store);
    const first = await joinAt(address);
    const saved = await save(etcd);
    // What the copy does not have.
    const second = await joinAt(address);
    const members = [first, second];
    await whole(members);
    await setBack(etcd, saved);
    expect(await server.exited()).toMatchObject({ code: 4 });
    const message = expect.stringMatching(
      /^STORE_ROLLED_BACK: The store is not what it was: 127\.0\.0\.1:\d+ (has gone back from revision \d+ to \d+|belongs to the cluster \d+, and the one before was \d+)/,
    );
    expect(eventsOf(server, "error")).toEqual([expect.objectContaining({ code: "STORE_ROLLED_BACK" })]);
    const [{ message: said } = { message: "" }] = eventsOf(server, "error");
    expect(`STORE_ROLLED_BACK: ${String(said).replace(/^STORE_ROLLED_BACK: /, "")}`).toEqual(message);
    expect(server.errors).toContain("delete the keys below the prefix");

    // A server that has seen nothing else does not know; the members do.
    const ignorant = fullmesh(["serve", "--json", "--listen", address, ...store]);
    await eventOf(ignorant, "listening");
    for (const { member } of members) {
      await member.error((text) => text.includes("STORE_ROLLED_BACK"), "that the store was rolled back");
      expect(member.errors).toMatch(/is at revision \d+, and this member has read \d+/);
    }
    ignorant.kill("SIGKILL");
    await ignorant.exited();
    await etcd.deleteBelow("/set-back");
    const next = fullmesh(["serve", "--json", "--listen", address, ...store]);
    await eventOf(next, "gathered");
    await Promise.all(members.map(({ member }) => eventOf(member, "server:back")));
    await whole([...members, await joinAt(address)], 3);
    expectUntouched(members);
  });
});
