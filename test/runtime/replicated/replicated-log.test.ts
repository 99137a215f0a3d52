import { describe, expect, it } from "vitest";
import { Engine, SimulatedProcess } from "../../../simulator/engine.js";
import { SharedLogSimulation } from "../../../simulator/logs/simulation.js";
import {
  adverseStore,
  calmStore,
  SimulatedStore,
  type SimulatedStoreClient,
  type StoreConditions,
} from "../../../simulator/store.js";
import { FullmeshError } from "../../../src/core/errors.js";
import { defaultLimits } from "../../../src/core/limits.js";
import type { Address } from "../../../src/protocol/address.js";
import type { LogAnswer, LogAppend, SharedLogInput } from "../../../src/rendezvous/types.js";
import { ReplicatedLog } from "../../../src/runtime/replicated/replicated-log.js";
import { headKey, type StoreRules } from "../../../src/runtime/replicated/store-keys.js";
import type { StoreOperation } from "../../../src/runtime/store.js";
import { describeMembershipLog } from "../membership-log.js";
import { idOf, rules } from "./samples.js";

const limits = { ...defaultLimits, snapshotEntries: 20 };
const { storeLeaseMs, storeQueueMs } = limits;

type Input = LogAnswer | SharedLogInput;

/** A server's log, and what it has told. */
class Opened {
  readonly inputs: Input[] = [];
  readonly failures: string[] = [];
  readonly process: SimulatedProcess;
  readonly client: SimulatedStoreClient;
  readonly log: ReplicatedLog;
  isStarted = false;

  constructor(
    engine: Engine,
    store: SimulatedStore,
    ownRules: StoreRules = rules,
    take?: (input: Input) => void,
    address?: Address,
  ) {
    this.process = new SimulatedProcess(engine, "server", "10.0.0.1");
    this.client = store.connect(this.process);
    const settings = {
      ...{ rules: ownRules, limits, newId: () => engine.draw(), baseRevision: () => 100 },
      ...(address === undefined ? {} : { address }),
    };
    const answer = take ?? ((input: Input): unknown => this.inputs.push(input));
    this.log = new ReplicatedLog(this.client, this.process.clock, answer, settings, ({ code, message }) =>
      this.failures.push(`${code}: ${message}`),
    );
    this.log.start(() => {
      this.isStarted = true;
    });
  }

  of<Type extends Input["type"]>(type: Type): Extract<Input, { type: Type }>[] {
    return this.inputs.filter((input): input is Extract<Input, { type: Type }> => input.type === type);
  }

  join(number: number, mesh = "default"): void {
    this.log.append(joinedBy(number, mesh));
  }
}

function joinedBy(number: number, mesh = "default"): LogAppend {
  const change = {
    type: "joined",
    id: idOf(number),
    address: `10.0.0.1:${4_000 + number}`,
    dialect: "native",
  } as const;
  return { mesh, key: number, after: 0, change };
}

/** A calm store, and some servers that have started. */
function setUp(count: number): { engine: Engine; store: SimulatedStore; servers: Opened[]; run: (ms: number) => void } {
  const engine = new Engine(7);
  const store = new SimulatedStore(engine, calmStore);
  const servers = Array.from({ length: count }, () => new Opened(engine, store));
  const run = (ms: number): void => engine.run(engine.now + ms);
  run(1_000);
  return { engine, store, servers, run };
}

function perform(store: SimulatedStore, ...operations: StoreOperation[]): void {
  store.perform({ conditions: [], operations, otherwise: [] });
}

function describeOver(name: string, conditions: StoreConditions, seed: number): void {
  describeMembershipLog(name, (answer) => {
    const engine = new Engine(seed);
    const opened = new Opened(engine, new SimulatedStore(engine, conditions), rules, answer);
    engine.run(300_000, () => opened.isStarted);
    return { log: opened.log, settled: () => engine.run(engine.now + 60_000) };
  });
}

describeOver("the log over a calm store", calmStore, 1);
for (const seed of [2, 3, 4]) describeOver(`the log over adverse store ${seed}`, adverseStore, seed);

describe("servers that share a store", () => {
  it.each([
    ["a calm store", calmStore, 5],
    ["an adverse store", adverseStore, 40],
    ["an adverse store that keeps changes from watches", { ...adverseStore, losesEvents: 0.01 }, 20],
  ] as const)("see the same, answer each append once, and count what counts, on %s", (_, conditions, seeds) => {
    let appended = 0;
    for (let seed = 1; seed <= seeds; seed += 1) {
      const simulation = new SharedLogSimulation(seed, { ...conditions, healsAt: 15_000 });
      expect(() => simulation.run(15_000), `seed ${seed}`).not.toThrow();
      appended += simulation.truth.appended.size;
    }
    expect(appended).toBeGreaterThan(5 * seeds);
  });

  it("are told of one another, of who says that it goes at once, and of who is gone after a lease", () => {
    const { servers, run } = setUp(3);
    const [one, two, three] = servers;
    const othersOf = (server: Opened | undefined): number | undefined => server?.of("servers").at(-1)?.others.length;
    run(1_000);
    expect(servers.map(othersOf)).toEqual([2, 2, 2]);
    let isDone = false;
    two?.log.stop(() => {
      isDone = true;
    });
    run(1_000);
    expect([isDone, othersOf(one), othersOf(three)]).toEqual([true, 1, 1]);
    three?.process.kill();
    run(storeLeaseMs - 2_000);
    expect(othersOf(one)).toBe(1);
    run(4_000);
    expect(othersOf(one)).toBe(0);
  });

  it("do not start before they have read what the others had written by then", () => {
    const { engine, store, servers, run } = setUp(1);
    const late = new Opened(engine, store);
    const watch = late.client.watch.bind(late.client);
    late.client.watch = (from, events) => {
      const changed: typeof events.changed = (changes, revision) =>
        engine.after(500, () => events.changed(changes, revision), late.process);
      return watch(from, { ...events, changed });
    };
    servers[0]?.join(1);
    run(300);
    expect([late.isStarted, late.inputs]).toEqual([false, []]);
    run(1_000);
    expect(late.isStarted).toBe(true);
  });

  it("learn what a server wrote last, also if no watch has reported that and nothing more comes of the server", () => {
    const { engine, store, servers, run } = setUp(1);
    const [writer] = servers;
    const reader = new Opened(engine, store);
    const watch = reader.client.watch.bind(reader.client);
    let isBlind = false;
    reader.client.watch = (from, events) => {
      const changed: typeof events.changed = (changes, revision) => {
        if (!isBlind || changes.every(({ key }) => !key.startsWith("mesh/"))) events.changed(changes, revision);
      };
      return watch(from, { ...events, changed });
    };
    run(1_000);
    writer?.join(1);
    run(1_000);
    isBlind = true;
    writer?.join(2);
    run(20);
    writer?.process.kill();
    isBlind = false;
    run(storeLeaseMs / 2);
    expect(reader.of("appended")).toHaveLength(1);
    run(storeLeaseMs);
    expect(reader.of("restored").at(-1)?.state.members).toHaveLength(2);
  });

  it("take the newer life at an address for the server at once", () => {
    const { engine, store, servers, run } = setUp(1);
    const open = () => new Opened(engine, store, rules, undefined, "10.0.0.9:4000");
    const former = open();
    run(3_000);
    former.process.kill();
    const [watcher] = servers;
    const selfOf = (server: Opened): string | undefined => server.of("servers").at(-1)?.self;
    const newer = open();
    run(3_000);
    expect(watcher?.of("servers").at(-1)?.others).toEqual([{ id: selfOf(newer), address: "10.0.0.9:4000" }]);
    expect(newer.of("servers").flatMap(({ others }) => others.filter(({ id }) => id === selfOf(former)))).toEqual([]);
    expect(newer.failures).toEqual([]);
  });

  it("do not live with one address: the later one ends", () => {
    const { engine, store, servers, run } = setUp(1);
    const open = () => new Opened(engine, store, rules, undefined, "10.0.0.9:4000");
    const earlier = open();
    run(5_000);
    const later = open();
    run(8_000);
    expect(later.failures).toEqual([expect.stringMatching(/^STORE_ADDRESS_IN_USE: .* at 10\.0\.0\.9:4000/)]);
    expect(earlier.failures).toEqual([]);
    const self = earlier.of("servers").at(-1)?.self;
    expect(servers[0]?.of("servers").at(-1)?.others).toEqual([{ id: self, address: "10.0.0.9:4000" }]);
  });

  it("say that one is late when its beats do not come and theirs do, and never while the store is away", () => {
    const { engine, store, run } = setUp(0);
    const [one, two] = (["10.0.0.1:4000", "10.0.0.2:4000"] as const).map(
      (address) => new Opened(engine, store, rules, undefined, address),
    );
    run(3_000);
    const lateness = (server: Opened | undefined) =>
      server?.of("servers").map(({ others }) => others.map(({ isLate = false }) => isLate));
    store.leave(storeLeaseMs * 2);
    run(storeLeaseMs * 2 + 6_000);
    expect(lateness(one)?.flat()).not.toContain(true);
    expect(lateness(two)?.flat()).not.toContain(true);
    two?.process.suspend(6_000);
    run(5_000);
    expect(lateness(one)?.at(-1)).toEqual([true]);
    run(5_000);
    expect(lateness(one)?.at(-1)).toEqual([false]);
    expect(lateness(two)?.flat()).not.toContain(true);
  });

  it("do not start where others have other rules, and replace them where nobody is", () => {
    const { engine, store, servers, run } = setUp(1);
    servers[0]?.join(1);
    const other = new Opened(engine, store, { ...rules, capacity: 4 });
    run(1_000);
    expect(other.failures).toEqual([
      "STORE_MISMATCH: the servers that share the store have capacity null, and this one has capacity 4",
    ]);
    const secretive = new Opened(engine, store, { ...rules, secret: "tag" });
    run(1_000);
    expect(secretive.failures).toEqual([
      "STORE_MISMATCH: the servers that share the store have no secret, and this one has a secret that differs",
    ]);
    servers[0]?.process.kill();
    run(30_000);
    const later = new Opened(engine, store, { ...rules, capacity: 4 });
    run(1_000);
    expect(later.isStarted).toBe(true);
    // The log of the other rules is over, and a new one begins above it.
    expect(later.of("restored")).toEqual([]);
    later.join(1);
    run(1_000);
    expect(later.of("appended").map(({ entry }) => entry.revision)).toEqual([102]);
  });

  it("stop one mesh if its keys make no sense, and do not start in a store of somebody else", () => {
    const { engine, store, servers, run } = setUp(2);
    const [one, two] = servers;
    one?.join(1, "bad");
    run(1_000);
    perform(store, { type: "put", key: headKey("bad"), value: "garbage" });
    run(1_000);
    for (const server of servers) expect(server.of("corrupt")).toMatchObject([{ mesh: "bad" }]);
    one?.join(2, "bad");
    two?.join(3, "good");
    run(1_000);
    expect(one?.of("rejected")).toEqual([{ type: "rejected", mesh: "bad", key: 2, reason: "unavailable" }]);
    expect(two?.of("appended").map(({ mesh }) => mesh)).toEqual(["bad", "good"]);
    perform(store, { type: "delete", key: headKey("bad") });
    run(1_000);
    for (const server of servers) expect(server.of("repaired")).toEqual([{ type: "repaired", mesh: "bad" }]);
    for (const key of ["somebody/else", "somebody/more"]) perform(store, { type: "put", key, value: "" });
    run(1_000);
    const reason = expect.stringContaining("somebody/else");
    expect(one?.of("corrupt").slice(1)).toEqual([{ type: "corrupt", reason }]);
    const late = new Opened(engine, store);
    run(1_000);
    expect(late.failures).toEqual([expect.stringMatching(/^STORE_CORRUPT: .*somebody\/else/)]);
  });

  it("read anew what is too long for a message of a watch", () => {
    const { engine, store, servers, run } = setUp(1);
    const server = new Opened(engine, store);
    const watch = server.client.watch.bind(server.client);
    let longest: number | undefined;
    server.client.watch = (from, events) => {
      longest ??= from;
      if (from > longest) return watch(from, events);
      const failure = new FullmeshError("STORE_UNAVAILABLE", "too long");
      server.process.clock.setTimer(engine.now + 10, () => events.ended({ isTooLong: true, failure }));
      return { close() {} };
    };
    servers[0]?.join(1);
    run(2_000);
    expect(server.of("restored").at(-1)?.state.members).toHaveLength(1);
  });

  it("go on when a key is deleted whose folder is the name of no mesh", () => {
    const { store, servers, run } = setUp(1);
    run(1_000);
    perform(store, { type: "put", key: "mesh/%/log", value: "" });
    run(1_000);
    perform(store, { type: "delete", key: "mesh/%/log" });
    servers[0]?.join(1);
    run(1_000);
    expect(servers[0]?.of("appended")).toHaveLength(1);
  });

  it("say that the store is lost and back, and reject what they could not send in time", () => {
    const { store, servers, run } = setUp(1);
    const [server] = servers;
    server?.join(1);
    run(1_000);
    store.leave(storeLeaseMs * 3);
    server?.join(2);
    run(1_000);
    // It may have been performed, so it is settled only when the store is back; this one was never sent.
    server?.join(3);
    run(storeQueueMs + 1_000);
    expect(server?.of("rejected")).toEqual([{ type: "rejected", mesh: "default", key: 3, reason: "unavailable" }]);
    expect(server?.of("storeLost")).toHaveLength(1);
    expect(server?.log.failure?.code).toBe("STORE_UNAVAILABLE");
    run(storeLeaseMs * 3);
    expect(server?.of("storeBack")).toHaveLength(1);
    // The lease has run out meanwhile: it is another life, and what was never performed is too old.
    expect(new Set(server?.of("servers").map(({ self }) => self)).size).toBe(2);
    expect(server?.of("rejected").map(({ key }) => key)).toEqual([3, 2]);
    server?.join(4);
    run(1_000);
    expect(server?.of("appended").map(({ key }) => key)).toEqual([1, 4]);
  });

  it("are told of their next life before anything of it comes back", () => {
    const { engine, store, servers, run } = setUp(1);
    const [server] = servers;
    server?.join(1);
    run(1_000);
    store.revoke("1");
    server?.log.publish("default", { type: "attached", id: idOf(1) });
    if (server === undefined) return;
    // The next watch reports nothing, and then it reads anew what has been written meanwhile.
    const watch = server.client.watch.bind(server.client);
    server.client.watch = (_, events) => {
      server.client.watch = watch;
      const failure = new FullmeshError("STORE_UNAVAILABLE", "too long");
      server.process.clock.setTimer(engine.now + 100, () => events.ended({ isTooLong: true, failure }));
      return { close() {} };
    };
    run(3_000);
    const [published] = server?.of("published") ?? [];
    const before =
      server?.inputs.slice(
        0,
        server.inputs.findIndex((input) => input === published),
      ) ?? [];
    const lives = before.flatMap((input) => (input.type === "servers" ? [input.self] : []));
    expect(new Set(lives).size).toBe(2);
    expect(lives.at(-1)).toBe(published?.server);
    expect(server?.of("storeLost")).toEqual([]);
  });

  it("begin no log in another life for what was awaited once", () => {
    const { store, servers, run } = setUp(1);
    servers[0]?.log.publish("former", { type: "awaiting", count: 1 });
    run(1_000);
    servers[0]?.log.publish("former", { type: "awaiting", count: 0 });
    servers[0]?.log.publish("former", { type: "ended", kind: "forgotten", reason: "test" });
    run(storeLeaseMs * 11);
    expect([...store.values.keys()].filter((key) => key.startsWith("mesh/"))).toEqual([]);
    store.leave(storeLeaseMs * 3);
    run(storeLeaseMs * 3 + 5_000);
    expect(servers[0]?.of("storeBack")).toHaveLength(1);
    expect([...store.values.keys()].filter((key) => key.startsWith("mesh/"))).toEqual([]);
  });

  it("have no reason to name once a failure is over", () => {
    const { store, servers, run } = setUp(1);
    run(1_000);
    store.leave(3_000);
    run(2_500);
    expect(servers[0]?.log.failure?.code).toBe("STORE_UNAVAILABLE");
    run(5_000);
    expect(servers[0]?.of("storeLost")).toEqual([]);
    expect(servers[0]?.log.failure).toBeUndefined();
  });

  it("judge nobody while the store is away, nor for a lease after it is back", () => {
    const { store, servers, run } = setUp(2);
    run(1_000);
    store.leave(storeLeaseMs * 2);
    run(storeLeaseMs * 2 + 5_000);
    for (const server of servers) {
      expect(server.of("storeBack")).toHaveLength(1);
      expect(server.of("servers").every(({ others }, index) => index === 0 || others.length > 0)).toBe(true);
    }
  });

  it("end when the store has lost what it had", () => {
    const { store, servers, run } = setUp(1);
    const rollBack = store.save();
    servers[0]?.join(1);
    run(5_000);
    rollBack();
    run(5_000);
    expect(servers[0]?.failures).toEqual([expect.stringMatching(/^STORE_ROLLED_BACK: /)]);
  });

  it("keep no more of a log than its last entries, and nothing of one that has ended", () => {
    const { engine, store, servers, run } = setUp(2);
    const [one, two] = servers;
    for (let number = 1; number <= 200; number += 1) {
      one?.join(number);
      one?.log.append({
        mesh: "default",
        key: -number,
        after: 0,
        change: { type: "left", id: idOf(number), reason: "test" },
      });
      run(50);
    }
    expect([...store.values.keys()].filter((key) => key.includes("/entry/")).length).toBeLessThan(
      3 * limits.snapshotEntries,
    );
    const late = new Opened(engine, store);
    run(1_000);
    const revision = two?.of("appended").at(-1)?.entry.revision;
    expect(late.of("restored")).toMatchObject([{ mesh: "default", state: { members: [], revision } }]);
    one?.log.publish("default", { type: "ended", kind: "teardown", reason: "test" });
    run(1_000);
    for (const server of [one, two, late]) {
      expect(server?.of("published").at(-1)?.fact).toEqual({ type: "ended", kind: "teardown", reason: "test" });
    }
    // It takes nothing more until it is forgotten; then another one begins, above it.
    one?.join(500);
    expect(one?.of("rejected").at(-1)).toEqual({ type: "rejected", mesh: "default", key: 500, reason: "conflict" });
    one?.log.forget("default");
    one?.join(501);
    run(1_000);
    expect(two?.of("restored").at(-1)?.state.revision).toBe(revision);
    expect(two?.of("appended").at(-1)?.entry.revision).toBe((revision ?? 0) + 1);
    one?.log.publish("default", { type: "ended", kind: "teardown", reason: "test" });
    run(storeLeaseMs * 11);
    expect([...store.values.keys()].filter((key) => key.startsWith("mesh/"))).toEqual([]);
  });
});
