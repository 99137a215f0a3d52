import type { RequestListener } from "node:http";
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { EtcdCluster, type EtcdMember } from "../support/etcd.js";
import { proxyBefore } from "../support/proxy.js";
import { freePort, rawListener, splitAddress } from "../support/sockets.js";
import { findTool, requireTool } from "../support/tools.js";
import { httpServer, TestStore } from "./stores.js";

/** Short, because these tests wait for it. Long enough for a member of etcd on a machine that is busy. */
const storeAnswerMs = 1_000;

let etcd: EtcdCluster | undefined;
let members: readonly EtcdMember[] = [];
beforeAll(async () => {
  if (findTool("etcd") === undefined) return;
  etcd = await EtcdCluster.start({ size: 3 });
  members = etcd.members;
});
afterAll(async () => await etcd?.stop());
beforeEach((context) => {
  requireTool(context, "etcd");
});

function storeAt(...addresses: readonly string[]): TestStore {
  return new TestStore(`etcd://${addresses.join(",")}`, { storeAnswerMs });
}

/** Stops a process of the cluster, until the test is over. */
function pause(member: EtcdMember | undefined): void {
  member?.pause();
  onTestFinished(() => member?.resume());
}

/** Puts it, and again, until it was answered; returns the codes of the failures. */
async function putAtLast(store: TestStore, key: string): Promise<(string | undefined)[]> {
  const failures: (string | undefined)[] = [];
  for (;;) {
    const outcome = await store.transact({ operations: [{ type: "put", key, value: "" }] });
    if (!("code" in outcome)) return failures;
    failures.push(outcome.code);
  }
}

const noEtcd: RequestListener = (_, response) => response.writeHead(404).end("no such page");
const oldEtcd: RequestListener = (_, response) =>
  response.end(JSON.stringify({ header: { cluster_id: "1", revision: "9" }, version: "3.3.27", leader: "1" }));
const proxyError: RequestListener = (_, response) => response.writeHead(503).end("<h1>no upstream</h1>");

describe("a store with several endpoints", () => {
  it("asks the next one within the same request if an endpoint is away, too old or no etcd", async () => {
    const away = `127.0.0.1:${await freePort()}`;
    const store = storeAt(away, await httpServer(noEtcd), await httpServer(oldEtcd), members[0]?.address ?? "");
    expect(await store.put("a")).toBeGreaterThan(0);
    expect(await store.read("a")).toEqual(["x"]);
  });

  it("gives up an endpoint that takes connections and says nothing, and asks the next one at the next request", async () => {
    const silent = await rawListener();
    const store = storeAt(silent.address, members[0]?.address ?? "");
    expect(await store.failure()).toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: `The store did not answer: ${silent.address}: no answer within ${storeAnswerMs} ms`,
    });
    expect(await store.put("a")).toBeGreaterThan(0);
    const watch = store.watch(1);
    await watch.sawPut("a");
    expect(silent.connections.items).toHaveLength(1);
  });

  it("goes on at another member when one is stopped, and sees with a new watch what it has missed", async () => {
    const store = new TestStore(etcd?.url("/stopped") ?? "", { storeAnswerMs });
    const from = await store.put("before");
    const silent = store.watch(from);
    await silent.sawPut("before");
    pause(members[0]);
    const failures = await putAtLast(store, "after");
    expect(new Set(failures)).toEqual(new Set(["STORE_UNAVAILABLE"]));
    // Nobody says that this watch is dead: its owner notices, and the endpoint has changed already.
    store.port.switchEndpoint();
    const watch = store.watch(from);
    await watch.sawPut("after");
    expect(silent.events).toMatchObject([{ key: "before" }]);
  });

  it("goes on at another member when the leader is killed, and its watch ends", async () => {
    const leader = await etcd?.leader();
    const others = members.filter((member) => member !== leader).map(({ address }) => address);
    onTestFinished(async () => await leader?.start());
    const store = storeAt(leader?.address ?? "", ...others);
    const from = await store.put("before");
    const watch = store.watch(from);
    await watch.sawPut("before");
    await leader?.stop();
    expect(await watch.ended()).toEqual({ type: "ended", code: "STORE_UNAVAILABLE" });
    await putAtLast(store, "after");
    await store.watch(from).sawPut("after");
  });

  it("learns that a member has lost the others, and its watch ends", async () => {
    const leader = await etcd?.leader();
    const others = members.filter((member) => member !== leader);
    const store = storeAt(leader?.address ?? "");
    const from = await store.put("before");
    const watch = store.watch(from);
    await watch.sawPut("before");
    others.forEach(pause);
    expect(await watch.ended()).toEqual({ type: "ended", code: "STORE_UNAVAILABLE" });
    expect(await store.failure()).toMatchObject({ message: expect.stringContaining("no leader") });
    for (const member of others) member.resume();
    await putAtLast(store, "after");
  });

  it("does not take a member that was behind for a store that was rolled back", async () => {
    const leader = await etcd?.leader();
    const follower = members.find((member) => member !== leader);
    const store = storeAt(leader?.address ?? "", follower?.address ?? "");
    await store.put("first");
    pause(follower);
    let newest = 0;
    for (let index = 0; index < 50; index += 1) newest = await store.put("k", `${index}`);
    store.port.switchEndpoint();
    follower?.resume();
    const watch = store.watch(newest + 1);
    expect(await store.read("k")).toEqual(["49"]);
    await store.put("last");
    await watch.sawPut("last");
    expect(watch.events).toMatchObject([{ key: "last" }]);
  });

  it("leaves the endpoint of its newest watch if told so, but not another one", async () => {
    const { port } = splitAddress(members[0]?.address ?? "");
    const [first, second] = [await proxyBefore(() => port), await proxyBefore(() => port)];
    const store = storeAt(first.address, second.address);
    const from = await store.put("a");
    const watch = store.watch(from);
    await watch.sawPut("a");
    first.cut();
    await watch.ended();
    const accepted = first.accepted;
    store.port.switchEndpoint();
    await store.put("b");
    await store.watch(from).sawPut("b");
    expect([first.accepted, second.open]).toEqual([accepted, 1]);
    store.port.switchEndpoint();
    await store.put("c");
    expect(first.accepted).toBe(accepted + 1);
  });
});

describe("endpoints that are all wrong", () => {
  it.each([
    ["answers 404", noEtcd, "STORE_TOO_OLD", 'it answers 404 "no such page"'],
    ["is etcd 3.3", oldEtcd, "STORE_TOO_OLD", "it is etcd 3.3.27"],
    ["is a proxy without etcd behind it", proxyError, "STORE_UNAVAILABLE", 'it answers 503 "<h1>no upstream</h1>"'],
    ["answers with other JSON", (_, response) => response.end("{}"), "STORE_TOO_OLD", "it answers without a version"],
    ["stops in its answer", (_, response) => response.write("{"), "STORE_UNAVAILABLE", "no answer within"],
    ["breaks off", (_, response) => response.destroy(), "STORE_UNAVAILABLE", "socket hang up"],
  ] as readonly (readonly [string, RequestListener, string, string])[])(
    "are reported: one that %s",
    async (_, answer, code, reason) => {
      const address = await httpServer(answer);
      const store = new TestStore(`etcd://${address}`, { storeAnswerMs: 300 });
      const message = expect.stringMatching(`${address}: ${reason}`);
      expect(await store.failure()).toMatchObject({ code, message });
      // The same, whatever is asked.
      expect(await store.grantLease(1_000)).toMatchObject({ code, message });
      expect(await store.watch(1).ended()).toEqual({ type: "ended", code });
    },
  );

  it("are reported without the password that one of them sends back", async () => {
    const echo = await httpServer((request, response) => request.pipe(response.writeHead(400)));
    const failure = await storeAt(`me:top-secret@${echo}`).failure();
    expect(failure).toMatchObject({ code: "STORE_TOO_OLD", message: expect.stringMatching(/: it answers 400$/) });
  });

  it("are reported together, and one that may come is waited for", async () => {
    const away = `127.0.0.1:${await freePort()}`;
    const other = await httpServer(noEtcd);
    expect(await storeAt(away, other).failure()).toMatchObject({
      code: "STORE_UNAVAILABLE",
      message: `The store did not answer: ${away}: connect ECONNREFUSED ${away}; ${other}: it answers 404 "no such page"`,
    });
  });
});
