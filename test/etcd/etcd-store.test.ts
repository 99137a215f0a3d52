import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FullmeshError } from "../../src/core/errors.js";
import { EtcdCluster } from "../support/etcd.js";
import { findTool, requireTool } from "../support/tools.js";
import { httpServer, TestStore } from "./stores.js";

let etcd: EtcdCluster | undefined;
let count = 0;
/** A prefix that no other test uses. */
const open = (): TestStore => new TestStore(etcd?.url(`/test-${count}`) ?? "");

beforeAll(async () => {
  if (findTool("etcd") !== undefined) etcd = await EtcdCluster.start();
});
afterAll(async () => await etcd?.stop());
beforeEach((context) => {
  requireTool(context, "etcd");
  count += 1;
});

describe("a transaction", () => {
  it("puts, reads and deletes below the prefix, and says the revision", async () => {
    const store = open();
    const other = new TestStore(etcd?.url(`/test-${count}0`) ?? "");
    const first = await store.put("a/1", "one");
    await store.put("a/2", "zwei, två, 二");
    await store.put("b/1", "other folder");
    await other.put("a/1", "other prefix");
    const { reads, revision, succeeded } = await store.perform([
      { type: "read", key: "a/", end: "a0" },
      { type: "read", key: "a/", end: "a0", limit: 1 },
      { type: "read", key: "missing" },
      { type: "read", key: "b/1", at: first },
    ]);
    const one = { key: "a/1", value: "one", created: first, modified: first };
    const two = { key: "a/2", value: "zwei, två, 二", created: first + 1, modified: first + 1 };
    expect(reads).toEqual([
      { values: [one, two], more: false },
      { values: [one], more: true },
      { values: [], more: false },
      { values: [], more: false },
    ]);
    expect({ succeeded, revision }).toEqual({ succeeded: true, revision: first + 3 });
    await store.perform([{ type: "delete", key: "a/", end: "a0" }]);
    expect(await store.read("a/", "b~")).toEqual(["other folder"]);
  });

  it("performs one branch or the other, as all conditions hold or not", async () => {
    const store = open();
    const judged = async (...conditions: Parameters<TestStore["perform"]>[1] & object): Promise<string | undefined> => {
      const outcome = await store.transact({
        conditions,
        operations: [{ type: "read", key: "yes" }],
        otherwise: [{ type: "read", key: "no" }],
      });
      if (outcome instanceof FullmeshError) throw outcome;
      expect(outcome.succeeded).toBe(outcome.reads[0]?.values[0]?.value === "yes");
      return outcome.reads[0]?.values[0]?.value;
    };
    const created = await store.put("yes", "yes");
    await store.put("no", "no");
    const modified = await store.put("yes", "yes");
    const key = "yes";
    expect(await judged()).toBe("yes");
    expect(await judged({ key, of: "created", is: "equal", revision: created })).toBe("yes");
    expect(await judged({ key, of: "created", is: "equal", revision: 0 })).toBe("no");
    expect(await judged({ key, of: "created", is: "above", revision: 0 })).toBe("yes");
    expect(await judged({ key, of: "modified", is: "equal", revision: modified })).toBe("yes");
    expect(await judged({ key, of: "modified", is: "above", revision: modified })).toBe("no");
    expect(await judged({ key: "missing", of: "created", is: "equal", revision: 0 })).toBe("yes");
    expect(await judged({ key: "missing", of: "created", is: "above", revision: 0 })).toBe("no");
    // All keys of a range: none is there, one is there.
    expect(await judged({ key: "m/", end: "m0", of: "created", is: "equal", revision: 0 })).toBe("yes");
    await store.put("m/1");
    expect(await judged({ key: "m/", end: "m0", of: "created", is: "equal", revision: 0 })).toBe("no");
    expect(
      await judged(
        { key: "missing", of: "created", is: "equal", revision: 0 },
        { key, of: "created", is: "equal", revision: 0 },
      ),
    ).toBe("no");
  });

  it("takes 128 operations and values of a megabyte, and fails with more", async () => {
    const store = open();
    const puts = (n: number) =>
      Array.from({ length: n }, (_, index) => ({ type: "put" as const, key: `k${index}`, value: `${index}` }));
    await store.perform(puts(128));
    expect(await store.transact({ operations: puts(129) })).toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: expect.stringContaining("too many operations"),
    });
    const large = "ä".repeat(500_000);
    await store.put("large", large);
    expect(await store.read("large")).toEqual([large]);
    const failure = await store.transact({ operations: [{ type: "put", key: "large", value: large.repeat(2) }] });
    expect(failure).toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringContaining("too large") });
    // Such failures say nothing about the endpoint.
    expect(await store.read("k127")).toEqual(["127"]);
  });

  it("fails if its answer is longer than allowed", async () => {
    const narrow = new TestStore(etcd?.url(`/test-${count}`) ?? "", { storeAnswerBytes: 2_000 });
    await narrow.put("large", "x".repeat(3_000));
    expect(await narrow.transact({ operations: [{ type: "read", key: "large" }] })).toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: expect.stringContaining("longer than 2000 bytes"),
    });
    expect(await narrow.put("small")).toBeGreaterThan(0);
  });
});

describe("a watch", () => {
  it("reports every change from its revision on, those of one transaction in the order of its operations", async () => {
    const store = open();
    await store.put("before");
    const from = await store.put("k/1", "one");
    await store.perform([
      { type: "put", key: "k/9", value: "a" },
      { type: "put", key: "k/3", value: "b" },
      { type: "delete", key: "k/1" },
      { type: "put", key: "k/5", value: "c" },
    ]);
    const watch = store.watch(from);
    await watch.sawPut("k/5");
    await store.put("k/3", "d");
    await new TestStore(etcd?.url("/elsewhere") ?? "").put("k/7");
    await store.put("last");
    await watch.sawPut("last");
    const at = (n: number) => ({ modified: from + n });
    expect(watch.events).toMatchObject([
      { type: "put", key: "k/1", value: "one", created: from, ...at(0) },
      { type: "put", key: "k/9", value: "a", ...at(1) },
      { type: "put", key: "k/3", value: "b", ...at(1) },
      { type: "delete", key: "k/1", ...at(1) },
      { type: "put", key: "k/5", value: "c", ...at(1) },
      { type: "put", key: "k/3", value: "d", created: from + 1, ...at(2) },
      { type: "put", key: "last", ...at(4) },
    ]);
    expect(watch.reported.items.at(-1)).toMatchObject({ type: "changed", revision: from + 4 });
  });

  it("says nothing once it is closed, and others go on", async () => {
    const store = open();
    const from = await store.put("a");
    const [closed, closedAtOnce, open_] = [store.watch(from), store.watch(from), store.watch(from)];
    closedAtOnce.close();
    await closed.sawPut("a");
    closed.close();
    await store.put("b");
    await open_.sawPut("b");
    expect(closed.events).toMatchObject([{ key: "a" }]);
    expect(closedAtOnce.reported.items).toEqual([]);
  });

  it("says where the history begins if its revision was compacted", async () => {
    const store = open();
    const from = await store.put("a");
    const newest = await store.put("a");
    await etcd?.compact(newest);
    expect(await store.watch(from).ended()).toEqual({ type: "ended", compacted: newest, code: "STORE_UNAVAILABLE" });
    const watch = store.watch(newest);
    await watch.sawPut("a");
    const read = await store.transact({ operations: [{ type: "read", key: "a", at: from }] });
    expect(read).toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringContaining("compacted") });
  });

  it("ends if one message is longer than allowed", async () => {
    const store = open();
    const from = await store.put("large", "x".repeat(100_000));
    const narrow = new TestStore(etcd?.url(`/test-${count}`) ?? "", { storeAnswerBytes: 50_000 });
    expect(await narrow.watch(from).ended()).toEqual({ type: "ended", isTooLong: true, code: "STORE_UNAVAILABLE" });
  });
});

describe("a watch of a member that is not what it should be", () => {
  const kv = (revision: number) => ({
    key: Buffer.from(`/fullmesh/k${revision}`).toString("base64"),
    mod_revision: `${revision}`,
  });
  const header = { cluster_id: "1", revision: "9" };

  /** What a watch from revision 5 reports of these messages, of so many revisions each. */
  async function reported(...messages: number[][]): Promise<unknown[]> {
    const address = await httpServer((request, response) => {
      if (request.url !== "/v3/watch") {
        response.end(JSON.stringify({ header, version: "3.5.1" }));
        return;
      }
      const results = messages.map((revisions) => ({
        header,
        events: revisions.map((revision) => ({ kv: kv(revision) })),
      }));
      for (const result of [{ header, created: true }, ...results]) response.write(`${JSON.stringify({ result })}\n`);
      response.end();
    });
    const watch = new TestStore(`etcd://${address}`).watch(5);
    await watch.ended();
    return watch.reported.items.map((item) =>
      item.type === "changed" ? item.events.map(({ key }) => key) : item.code,
    );
  }

  it("leaves out what was before its revision", async () => {
    expect(await reported([3, 4], [4, 5, 6], [7])).toEqual([["k5", "k6"], ["k7"], "STORE_UNAVAILABLE"]);
  });

  it("ends when it goes back", async () => {
    expect(await reported([5, 8], [7], [9])).toEqual([["k5", "k8"], "STORE_UNAVAILABLE"]);
  });
});

describe("a lease", () => {
  it("deletes its keys when it runs out or is revoked, and not while it is renewed", async () => {
    const store = open();
    const from = await store.put("begin");
    const watch = store.watch(from);
    const [short, long] = await Promise.all([store.grantLease(1_200), store.grantLease(60_000)]);
    if (short instanceof FullmeshError || long instanceof FullmeshError) throw new Error("no lease");
    // Whole seconds, and at least the election time-out that etcd adds.
    expect([short.leaseMs, long.leaseMs]).toEqual([2_000, 60_000]);
    await store.perform([
      { type: "put", key: "short", value: "", lease: short.lease },
      { type: "put", key: "long", value: "", lease: long.lease },
    ]);
    expect(await store.renewLease(short.lease)).toBe(true);
    await watch.sawDelete("short");
    expect(await store.renewLease(short.lease)).toBe(false);
    expect(await store.read("long")).toEqual([""]);
    expect(await store.revokeLease(long.lease)).toBeUndefined();
    await watch.sawDelete("long");
    // It is gone, as is wanted.
    expect(await store.revokeLease(long.lease)).toBeUndefined();
    const late = await store.transact({ operations: [{ type: "put", key: "late", value: "", lease: long.lease }] });
    expect(late).toMatchObject({ code: "STORE_UNAVAILABLE", message: expect.stringContaining("lease not found") });
  });
});

describe("a store that is closed", () => {
  it("calls nothing back", async () => {
    const store = open();
    await store.put("a");
    const watch = store.watch(1);
    const called: unknown[] = [];
    store.port.transact({ conditions: [], operations: [{ type: "read", key: "a" }], otherwise: [] }, (outcome) =>
      called.push(outcome),
    );
    store.port.grantLease(1_000, (outcome) => called.push(outcome));
    store.port.close();
    await open().put("b");
    expect({ called, reported: watch.reported.items }).toEqual({ called: [], reported: [] });
  });
});
