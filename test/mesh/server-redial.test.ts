import { describe, expect, test } from "vitest";
import type { ConnectionId } from "../../src/core/connections.js";
import type { Address } from "../../src/protocol/address.js";
import { idOf, listed, logId, serverAddress } from "./native/names.js";
import type { Node } from "./native/node.js";
import type { Wire } from "./native/wire.js";
import { World } from "./native/world.js";

const { limits } = new World();
const to = { host: "10.0.0.250", port: 80 };

/** A member that looks for its server for so long. */
function seeker(lookMs: number): { world: World; node: Node } {
  const world = new World();
  const node = world.node(1);
  node.handle({ type: "connectToServer", servers: [to], lookMs });
  return { world, node };
}

/** The same, and nobody listens there until so much time has passed. */
function refuseFor(world: World, node: Node, ms: number): void {
  const end = world.now + ms;
  while (world.now < end) {
    if (!node.session.isConnected && !node.session.dialer.isClosed) node.session.refuse();
    world.pass(Math.min(100, end - world.now));
  }
}

function register(node: Node): void {
  node.handle({ type: "listening", on: { host: "10.0.0.1", port: 7000 } });
  node.handle({ type: "register" });
}

function closeSession(node: Node): void {
  node.session.halfClose("acceptor");
  node.session.from("acceptor");
}

describe("a server that is not there yet", () => {
  test("is dialed after pauses that grow, is said to be awaited once, and takes the node in when it is there", () => {
    const { world, node } = seeker(60_000);
    refuseFor(world, node, 20_000);
    const dials = node.dialsTo(serverAddress).length;
    expect(dials).toBeGreaterThan(5);
    expect(dials).toBeLessThan(45);
    expect(node.notes).toEqual(["SERVER_AWAITED"]);
    expect(node.noteMessages).toEqual(["no server at 10.0.0.250:80 yet (ECONNREFUSED); trying again for 60 s"]);
    expect(node.events).toEqual([]);
    world.pass(limits.serverRedialMaxMs);
    node.session.connect();
    register(node);
    expect(node.said).toMatchObject([{ type: "register", looked: true }]);
    node.admit([listed(1)]);
    world.pass(60_000);
    expect(node.eventsOf("registered")).toHaveLength(1);
    expect(node.eventsOf("ended")).toEqual([]);
  });

  test("was not looked for by a node that has found it at once", () => {
    const { node } = seeker(60_000);
    node.session.connect();
    register(node);
    const [registration] = node.said;
    expect(registration).toMatchObject({ type: "register" });
    expect(registration).not.toHaveProperty("looked");
  });

  test("ends the node when the time is over, with the last failure as the cause", () => {
    const { world, node } = seeker(5_000);
    refuseFor(world, node, 4_999);
    expect(node.eventsOf("ended")).toEqual([]);
    world.pass(1);
    expect(node.eventsOf("ended")).toEqual([
      {
        type: "ended",
        reason: `after 5000 ms no connection to ${serverAddress}: ECONNREFUSED`,
        failure: "TIMED_OUT",
        cause: { code: "SERVER_UNREACHABLE", message: `${serverAddress}: ECONNREFUSED` },
      },
    ]);
    const dials = node.dialsTo(serverAddress).length;
    world.pass(60_000);
    expect(node.dialsTo(serverAddress)).toHaveLength(dials);
  });

  test("is looked for for ever, if that is wanted", () => {
    const { world, node } = seeker(Number.POSITIVE_INFINITY);
    refuseFor(world, node, 900_000);
    expect(node.eventsOf("ended")).toEqual([]);
    expect(node.session.dialer.isClosed && node.timeout === Number.POSITIVE_INFINITY).toBe(false);
  });

  test("ends one step only, without a search", () => {
    const world = new World();
    const node = world.node(1);
    node.handle({ type: "connectToServer", servers: [to] });
    node.session.refuse();
    world.pass(60_000);
    expect(node.dialsTo(serverAddress)).toHaveLength(1);
    expect(node.eventsOf("unreachable")).toHaveLength(1);
  });
});

describe("a server that goes before it has taken the node in", () => {
  test.each([
    ["closes", closeSession],
    [
      "breaks",
      (node: Node) => {
        node.loseSession();
      },
    ],
  ])(
    "is looked for when the connection %s, and gets the same registration again under a fresh id: the first may count",
    (_, go) => {
      const { world, node } = seeker(30_000);
      node.session.connect();
      register(node);
      const [registration] = node.said;
      go(node);
      expect(node.notes).toEqual(["SERVER_AWAITED"]);
      world.pass(limits.redialMinMs);
      node.session.connect();
      expect(node.said).toEqual([{ ...registration, id: idOf(1_001), looked: true }]);
      node.admit([{ ...listed(1), id: idOf(1_001) }]);
      expect(node.eventsOf("registered")).toHaveLength(1);
    },
  );

  test("that is busy is dialed when it has said, and no longer than the time allows", () => {
    const { world, node } = seeker(3_000);
    node.session.connect();
    register(node);
    node.hear({ type: "refuse", code: "BUSY", message: "no room", retryMs: 60_000 });
    world.pass(3_000);
    expect(node.dialsTo(serverAddress)).toHaveLength(1);
    expect(node.eventsOf("ended")).toMatchObject([
      { failure: "TIMED_OUT", cause: { code: "BUSY", message: `${serverAddress}: BUSY: no room` } },
    ]);
  });
});

describe("a server that is there", () => {
  test("ends the search with a refusal", () => {
    const { world, node } = seeker(30_000);
    node.session.connect();
    register(node);
    node.hear({ type: "refuse", code: "FOREIGN_HOST", message: "another host" });
    world.pass(30_000);
    expect(node.eventsOf("ended")).toEqual([
      { type: "ended", reason: "FOREIGN_HOST: another host", failure: "REFUSED" },
    ]);
    expect(node.dialsTo(serverAddress)).toHaveLength(1);
  });

  test("ends the search when it proves to have another secret", () => {
    const { world, node } = seeker(30_000);
    node.handle({ type: "unproved", connection: "out:1", code: "SECRET_MISMATCH", message: "it has another secret" });
    world.pass(30_000);
    expect(node.eventsOf("ended")).toMatchObject([{ failure: "SECRET_MISMATCH" }]);
    expect(node.dialsTo(serverAddress)).toHaveLength(1);
  });

  test("ends the search when it does not answer in time", () => {
    const { world, node } = seeker(5_000);
    world.isServerAwake = false;
    node.session.connect();
    register(node);
    world.pass(5_000);
    expect(node.eventsOf("ended")).toMatchObject([
      { failure: "TIMED_OUT", reason: `after 5000 ms ${serverAddress} has not taken in 10.0.0.1:7000` },
    ]);
  });
});

describe("time in the waiting line", () => {
  test("does not count, and the rest of the time runs on if the server goes", () => {
    const { world, node } = seeker(5_000);
    refuseFor(world, node, 2_000);
    world.pass(1_000);
    node.session.connect();
    register(node);
    node.hear({ type: "waiting", place: 3 });
    const sinceMs = world.now;
    world.pass(3_600_000);
    node.hear({ type: "waiting", place: 1 });
    expect(node.eventsOf("ended")).toEqual([]);
    node.loseSession();
    const leftMs = 5_000 - sinceMs;
    refuseFor(world, node, leftMs - 1);
    expect(node.eventsOf("ended")).toEqual([]);
    world.pass(1);
    expect(node.eventsOf("ended")).toMatchObject([{ failure: "TIMED_OUT" }]);
  });
});

describe("a server with several addresses", () => {
  const others = ["10.0.0.251:80", "10.0.0.252:80"] as const;
  const addresses: readonly Address[] = [serverAddress, ...others];

  /** A member that looks for a server at three addresses. */
  function seekerOfThree(lookMs?: number): { world: World; node: Node } {
    const world = new World();
    const node = world.node(1);
    const servers = [250, 251, 252].map((last) => ({ host: `10.0.0.${last}`, port: 80 }));
    node.handle({ type: "connectToServer", servers, ...(lookMs === undefined ? {} : { lookMs }) });
    return { world, node };
  }

  /** How many times each address has been dialed. */
  function dialsOf(node: Node): number[] {
    return addresses.map((address) => node.dialsTo(address).length);
  }

  function newest(node: Node, address: Address): Wire {
    return node.dialsTo(address).at(-1) as Wire;
  }

  /** Nobody listens at the address that is dialed now. */
  function refuse(world: World, node: Node): void {
    for (const address of addresses) {
      const wire = node.dialsTo(address).at(-1);
      if (wire !== undefined && !wire.isConnected && !wire.dialer.isClosed) wire.refuse();
    }
    world.pass(0);
  }

  function admitAt(node: Node, address: Address, id = idOf(1)): void {
    newest(node, address).say(
      "acceptor",
      { type: "admitted", log: logId, order: 1, revision: 1, observed: node.address, leaseMs: 20_000 },
      { type: "directory", revision: 1, members: [{ ...listed(1), id }] },
    );
  }

  test("is dialed at one after the other without a pause, with one pause a round, and each address is reported once", () => {
    const { world, node } = seekerOfThree(60_000);
    expect(dialsOf(node)).toEqual([1, 0, 0]);
    refuse(world, node);
    expect(dialsOf(node)).toEqual([1, 1, 0]);
    refuse(world, node);
    expect(dialsOf(node)).toEqual([1, 1, 1]);
    refuse(world, node);
    expect(dialsOf(node)).toEqual([1, 1, 1]);
    world.pass(limits.redialMinMs);
    expect(dialsOf(node)).toEqual([2, 1, 1]);
    const rounds: number[] = [];
    for (let round = 0; round < 8; round += 1) {
      for (const _ of addresses) refuse(world, node);
      const startedAt = world.now;
      const [first = 0] = dialsOf(node);
      while (dialsOf(node)[0] === first) world.pass(10);
      rounds.push(world.now - startedAt);
    }
    expect(Math.max(...rounds)).toBeLessThanOrEqual(limits.serverRedialMaxMs);
    expect(rounds.at(-1)).toBeGreaterThan(limits.serverRedialMaxMs / 2 - 10);
    expect(node.notes).toEqual(["SERVER_AWAITED", "SERVER_AWAITED", "SERVER_AWAITED"]);
    expect(node.noteMessages[1]).toBe(
      `no server at ${others[0]} yet (ECONNREFUSED); trying ${addresses.join(", ")} in turn for 60 s`,
    );
  });

  test("takes the node in at whichever address it is", () => {
    const { world, node } = seekerOfThree(60_000);
    refuse(world, node);
    newest(node, others[0]).connect();
    register(node);
    admitAt(node, others[0]);
    expect(node.eventsOf("registered")).toHaveLength(1);
    world.pass(limits.probeMs);
    expect(dialsOf(node)).toEqual([1, 1, 0]);
  });

  test("is given up when the time is over, with the failure of each address in the cause", () => {
    const { world, node } = seekerOfThree(3_000);
    refuse(world, node);
    newest(node, others[0]).connect();
    register(node);
    newest(node, others[0]).abort("acceptor");
    newest(node, others[0]).from("acceptor");
    while (node.eventsOf("ended").length === 0) {
      refuse(world, node);
      if (newest(node, others[0]).isConnected) newest(node, others[0]).abort("acceptor");
      world.pass(100);
    }
    const [ended] = node.eventsOf("ended");
    expect(ended?.failure).toBe("TIMED_OUT");
    for (const address of addresses) {
      expect(ended?.cause?.message).toContain(`${address}: `);
      expect(ended?.reason).toContain(`${address}: `);
    }
  });

  test("has a third of the usual time for each dial", () => {
    const { world, node } = seekerOfThree(60_000);
    world.pass(limits.dialMs / 3 - 1);
    expect(dialsOf(node)).toEqual([1, 0, 0]);
    world.pass(2);
    expect(dialsOf(node)).toEqual([1, 1, 0]);
    world.pass(limits.dialMs / 3 + 1);
    expect(dialsOf(node)).toEqual([1, 1, 1]);
  });

  const mismatch = (connection: ConnectionId) =>
    ({ type: "unproved", connection, code: "SECRET_MISMATCH", message: "it has another secret" }) as const;

  test("is looked for elsewhere when somebody with another secret answers, and is found there", () => {
    const { world, node } = seekerOfThree(60_000);
    node.handle(mismatch("out:1"));
    world.pass(0);
    newest(node, others[0]).connect();
    register(node);
    admitAt(node, others[0]);
    expect(node.eventsOf("registered")).toHaveLength(1);
    expect(node.notes).toContain("SECRET_MISMATCH");
  });

  test("ends the search at once when all addresses prove to have another secret", () => {
    const { world, node } = seekerOfThree(60_000);
    for (const number of [1, 2, 3]) {
      expect(node.eventsOf("ended")).toEqual([]);
      node.handle(mismatch(`out:${number}`));
      world.pass(0);
    }
    const each = addresses.map((address) => `${address}: it has another secret`);
    expect(node.eventsOf("ended")).toEqual([{ type: "ended", reason: each.join("; "), failure: "SECRET_MISMATCH" }]);
  });

  test("that has another secret at one address, and is nowhere else, is given up with that as the cause", () => {
    const { world, node } = seekerOfThree(2_000);
    node.handle(mismatch("out:1"));
    world.pass(0);
    while (node.eventsOf("ended").length === 0) {
      refuse(world, node);
      world.pass(100);
    }
    expect(node.eventsOf("ended")).toMatchObject([{ failure: "TIMED_OUT" }]);
  });

  test("ends the search with a refusal: its addresses are of one mesh", () => {
    const { world, node } = seekerOfThree(60_000);
    node.session.connect();
    register(node);
    node.hear({ type: "refuse", code: "MESH_SEALED", message: "full" });
    world.pass(60_000);
    expect(node.eventsOf("ended")).toMatchObject([{ reason: "MESH_SEALED: full", failure: "REFUSED" }]);
    expect(dialsOf(node)).toEqual([1, 0, 0]);
  });

  test("is dialed first where the session was, and then at the others, for as long as it takes", () => {
    const { world, node } = seekerOfThree(60_000);
    refuse(world, node);
    newest(node, others[0]).connect();
    register(node);
    admitAt(node, others[0]);
    newest(node, others[0]).abort("acceptor");
    newest(node, others[0]).from("acceptor");
    expect(dialsOf(node)).toEqual([1, 1, 0]);
    world.pass(limits.redialMinMs);
    expect(dialsOf(node)).toEqual([1, 2, 0]);
    refuse(world, node);
    expect(dialsOf(node)).toEqual([1, 2, 1]);
    refuse(world, node);
    expect(dialsOf(node)).toEqual([2, 2, 1]);
    node.session.connect();
    expect(node.said).toMatchObject([{ type: "resume", id: idOf(1), order: 1 }, { type: "ping" }]);
  });

  test("ends one step only, without a search, when it is at none of them", () => {
    const { world, node } = seekerOfThree();
    for (const _ of addresses) refuse(world, node);
    world.pass(60_000);
    expect(dialsOf(node)).toEqual([1, 1, 1]);
    const each = addresses.map((address) => `${address}: ECONNREFUSED`);
    expect(node.eventsOf("unreachable")).toEqual([
      { type: "unreachable", message: each.join("; "), failure: "SERVER_UNREACHABLE" },
    ]);
  });
});

describe("servers that share a log", () => {
  const second: Address = "10.0.0.251:80";
  const third: Address = "10.0.0.252:80";
  const fourth: Address = "10.0.0.253:80";

  /** A member at the one server that it was given, which has named these others. */
  function memberOf(others: readonly Address[]): { world: World; node: Node } {
    const world = new World();
    const node = world.node(1).begin();
    admit(node, serverAddress, others);
    return { world, node };
  }

  function newest(node: Node, address: Address): Wire {
    return node.dialsTo(address).at(-1) as Wire;
  }

  function admit(node: Node, at: Address, servers: readonly Address[]): void {
    newest(node, at).say(
      "acceptor",
      {
        ...({ type: "admitted", log: logId, order: 1, revision: 1, observed: node.address, leaseMs: 20_000 } as const),
        ...(servers.length === 0 ? {} : { servers: [...servers] }),
      },
      { type: "directory", revision: 1, members: [listed(1)] },
    );
  }

  /** The member resumes at this server, which is there. */
  function admitAgain(node: Node, at: Address, servers: readonly Address[]): void {
    newest(node, at).connect();
    newest(node, at).say("acceptor", {
      ...({ type: "admitted", log: logId, order: 1, revision: 1, observed: node.address, leaseMs: 20_000 } as const),
      servers: [...servers],
    });
  }

  function lose(world: World, node: Node, at: Address): void {
    newest(node, at).abort("acceptor");
    newest(node, at).from("acceptor");
    world.pass(0);
  }

  /** The addresses in the order in which they are dialed while nobody listens anywhere, until the first pause. */
  function round(world: World, node: Node): Address[] {
    const dialed: Address[] = [];
    for (;;) {
      const next = [serverAddress, second, third, fourth].find((address) => {
        const wire = node.dialsTo(address).at(-1);
        return wire !== undefined && !wire.isConnected && !wire.dialer.isClosed;
      });
      if (next === undefined) return dialed;
      dialed.push(next);
      newest(node, next).refuse();
      world.pass(0);
    }
  }

  test("take turns when one is lost, without a pause before each has been tried", () => {
    const { world, node } = memberOf([second, third]);
    lose(world, node, serverAddress);
    expect(round(world, node)).toEqual([second, third]);
    world.pass(limits.serverRedialMaxMs);
    expect(round(world, node)).toEqual([serverAddress, second, third]);
    world.pass(limits.serverRedialMaxMs);
    expect(round(world, node)).toEqual([serverAddress, second, third]);
  });

  test("take a member back with what it has read, and the events name the server", () => {
    const { world, node } = memberOf([second]);
    lose(world, node, serverAddress);
    admitAgain(node, second, [third]);
    expect(newest(node, second).frames("dialer")).toMatchObject([
      { type: "resume", log: logId, id: idOf(1), order: 1, revision: 1 },
      { type: "ping" },
    ]);
    expect(node.eventsOf("serverLost")).toHaveLength(1);
    expect(node.eventsOf("serverBack")).toEqual([{ type: "serverBack", awayMs: 0, server: second }]);
    expect(node.eventsOf("registered")).toHaveLength(1);
    expect(node.notes).toEqual(["SERVER_AWAY"]);
  });

  test("are those that the last server has named, with itself and the address that was given", () => {
    const { world, node } = memberOf([second]);
    lose(world, node, serverAddress);
    admitAgain(node, second, [third]);
    lose(world, node, second);
    expect(round(world, node)).toEqual([third, serverAddress]);
    world.pass(limits.serverRedialMaxMs);
    expect(round(world, node)).toEqual([second, third, serverAddress]);
  });

  test("are forgotten when the next word does not name them, however often that changes", () => {
    const { world, node } = memberOf([]);
    for (let port = 1; port <= 1_000; port += 1) node.hear({ type: "servers", servers: [`10.0.1.1:${port}`, second] });
    node.hear({ type: "servers", servers: [fourth] });
    lose(world, node, serverAddress);
    expect(round(world, node)).toEqual([fourth]);
    world.pass(limits.serverRedialMaxMs);
    expect(round(world, node)).toEqual([serverAddress, fourth]);
  });

  test("that are none any more leave the one that is lost, after a pause", () => {
    const { world, node } = memberOf([second]);
    node.hear({ type: "servers", servers: [] });
    lose(world, node, serverAddress);
    expect(round(world, node)).toEqual([]);
    world.pass(limits.redialMinMs);
    expect(round(world, node)).toEqual([serverAddress]);
  });

  test("name the one that was given, and it is tried once a round", () => {
    const { world, node } = memberOf([second]);
    lose(world, node, serverAddress);
    admitAgain(node, second, [serverAddress]);
    lose(world, node, second);
    expect(round(world, node)).toEqual([serverAddress]);
    world.pass(limits.serverRedialMaxMs);
    expect(round(world, node)).toEqual([second, serverAddress]);
  });

  const away = { type: "refuse", code: "STORE_UNAVAILABLE", message: "the store is away", retryMs: 2_000 } as const;

  test("without their store send a member on to the next one", () => {
    const { world, node } = memberOf([second, third]);
    newest(node, serverAddress).say("acceptor", away);
    world.pass(0);
    expect(node.eventsOf("serverLost")).toEqual([
      { type: "serverLost", reason: "STORE_UNAVAILABLE: the store is away" },
    ]);
    newest(node, second).connect();
    newest(node, second).say("acceptor", away);
    world.pass(0);
    admitAgain(node, third, []);
    expect(node.eventsOf("serverBack")).toMatchObject([{ server: third }]);
    expect(node.eventsOf("ended")).toEqual([]);
    expect(node.eventsOf("fenced")).toEqual([]);
  });

  test("all without their store are asked again when the longest time that they have named is over", () => {
    const { world, node } = memberOf([second]);
    newest(node, serverAddress).say("acceptor", away);
    world.pass(0);
    newest(node, second).connect();
    newest(node, second).say("acceptor", { ...away, retryMs: 4_000 });
    world.pass(3_999);
    expect(node.dialsTo(serverAddress)).toHaveLength(1);
    world.pass(2_001);
    expect(node.dialsTo(serverAddress)).toHaveLength(2);
    expect(node.eventsOf("ended")).toEqual([]);
  });

  test("send on a registration, too, which gets in at the next one", () => {
    const world = new World();
    const node = world.node(1);
    node.handle({ type: "connectToServer", servers: [to, { host: "10.0.0.251", port: 80 }], lookMs: 30_000 });
    node.session.connect();
    register(node);
    node.hear(away);
    world.pass(0);
    newest(node, second).connect();
    expect(newest(node, second).frames("dialer")).toMatchObject([{ type: "register" }, { type: "ping" }]);
    expect(node.eventsOf("ended")).toEqual([]);
  });
});
