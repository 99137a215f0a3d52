import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { EtcdCluster } from "../support/etcd.js";
import { requireTool } from "../support/tools.js";
import { TestStore } from "./stores.js";

beforeEach((context) => {
  requireTool(context, "etcd");
  requireTool(context, "openssl");
});

async function startEtcd(options: { readonly isSecure?: boolean } = {}): Promise<EtcdCluster> {
  const etcd = await EtcdCluster.start(options);
  onTestFinished(async () => await etcd.stop());
  return etcd;
}

describe("a store that wants a user", () => {
  it("refuses one without or with a wrong password, and other keys than those of the user", async () => {
    const etcd = await startEtcd();
    // A user is not in the way while the store wants none.
    const early = new TestStore(etcd.url("/mine", "me:pa%3Ass"));
    expect(await early.put("a", "one")).toBeGreaterThan(0);
    await etcd.requireUser("me", "pa:ss", "/mine");

    const refused = { code: "STORE_REFUSED", message: expect.stringContaining(etcd.members[0]?.address ?? "") };
    expect(await new TestStore(etcd.url("/mine")).failure()).toMatchObject(refused);
    for (const login of ["me:pass", "you:pa%3Ass"]) {
      const stranger = new TestStore(etcd.url("/mine", login));
      expect(await stranger.failure()).toMatchObject(refused);
      expect(await stranger.watch(1).ended()).toEqual({ type: "ended", code: "STORE_REFUSED" });
    }
    const elsewhere = new TestStore(etcd.url("/yours", "me:pa%3Ass"));
    expect(await elsewhere.failure()).toMatchObject({ message: expect.stringContaining("permission denied") });
    expect(await elsewhere.watch(1).ended()).toEqual({ type: "ended", code: "STORE_REFUSED" });

    const store = new TestStore(etcd.url("/mine", "me:pa%3Ass"));
    expect(await store.read("a")).toEqual(["one"]);
    await store.watch(1).sawPut("a");
    const lease = await store.grantLease(60_000);
    if (!("lease" in lease)) throw lease;
    expect(await store.renewLease(lease.lease)).toBe(true);
    expect(await store.revokeLease(lease.lease)).toBeUndefined();
    // The one that was open while the store wanted no user asks for a token now.
    expect(await early.read("a")).toEqual(["one"]);
  });

  it("is asked for a new token when it does not take the old one any more", async () => {
    const etcd = await startEtcd();
    await etcd.requireUser("me", "pass", "/mine");
    const open = (): TestStore => new TestStore(etcd.url("/mine", "me:pass"));
    const [store, watching] = [open(), open()];
    await store.put("a", "one");
    await watching.read("a");
    await etcd.forgetTokens();
    expect(await store.read("a")).toEqual(["one"]);
    await watching.watch(1).sawPut("a");
  });
});

describe("a store with certificates", () => {
  it("is reached with TLS and the certificate of a client, and by nobody else", async () => {
    const etcd = await startEtcd({ isSecure: true });
    const { certificates = { ca: "", cert: "", key: "" } } = etcd;
    const store = new TestStore(etcd.url(), {}, certificates);
    const from = await store.put("a", "one");
    const watch = store.watch(from);
    await watch.sawPut("a");
    await store.put("b");
    await watch.sawPut("b");

    const { ca } = certificates;
    for (const shown of [{ ca }, {}]) {
      const stranger = new TestStore(etcd.url(), {}, shown);
      expect(await stranger.failure()).toMatchObject({
        code: "STORE_REFUSED",
        message: expect.stringContaining("TLS"),
      });
    }
    const plain = new TestStore(etcd.url().replace("+https", ""));
    expect(await plain.failure()).toMatchObject({ code: "STORE_UNAVAILABLE" });
  });

  it("is not one that speaks no TLS", async () => {
    const etcd = await startEtcd();
    const store = new TestStore(etcd.url().replace("etcd", "etcd+https"));
    expect(await store.failure()).toMatchObject({ message: expect.stringContaining("TLS") });
  });
});
