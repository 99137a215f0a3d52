import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { defaultLimits, type RendezvousServer, type ServeOptions, serve, type TraceRecord } from "../../src/index.js";
import { wireText } from "../../src/runtime/trace.js";
import { loggerTo } from "../support/logs.js";
import { Condition } from "../support/processes.js";
import { findTool, requireAddress, requireTool } from "../support/tools.js";
import { type ClassicNode, ClassicPrograms, CommandNode } from "./classic-programs.js";
import {
  countSockets,
  expectFullMesh,
  expectGrowingLists,
  longMessageGap,
  type ObservedNode,
  OwnNode,
} from "./observed-node.js";
import { RawReader } from "./raw-reader.js";

/** Time for links to be made on a busy machine, before the mesh ends. */
const settleMs = 1_000;

let partners: ClassicPrograms;

beforeAll(async () => {
  const compiler = findTool("cc");
  if (compiler !== undefined) partners = await ClassicPrograms.compile(compiler);
});

beforeEach((context) => {
  requireTool(context, "cc");
});

afterAll(async () => {
  await partners?.remove();
});

/** A server of either kind, as the tests need it. */
interface MeshServer {
  readonly address: string;
  /** The members in the order in which they have joined. */
  order(): string[];
  /** Resolves when the mesh has ended, and rejects if it has failed. */
  end(): Promise<void>;
}

/** One of our servers, with what it has logged and emitted. */
class OwnServer implements MeshServer {
  readonly trace: TraceRecord[] = [];
  readonly notes: string[] = [];
  readonly waiting: string[] = [];
  readonly departed: string[] = [];
  readonly #joined: { address: string; order: number }[] = [];
  readonly #changed = new Condition();
  #server: RendezvousServer | undefined;

  static async start(options: ServeOptions): Promise<OwnServer> {
    const own = new OwnServer();
    const record = (change: () => void): void => {
      change();
      own.#changed.notify();
    };
    const server = await serve({
      listen: "127.0.0.1:0",
      limits: longMessageGap,
      logger: loggerTo(({ code, message }) => own.notes.push(`${code} ${message}`)),
      ...options,
      trace: (message) => record(() => own.trace.push(message)),
    });
    onTestFinished(() => server.close());
    server
      .on("joined", (member) => record(() => own.#joined.push(member)))
      .on("left", ({ address }) => record(() => own.departed.push(address)))
      .on("lost", ({ address }) => record(() => own.departed.push(address)))
      .on("waiting", ({ address }) => record(() => own.waiting.push(address)));
    own.#server = server;
    return own;
  }

  get server(): RendezvousServer {
    if (this.#server === undefined) throw new Error("the server has not been started");
    return this.#server;
  }

  get address(): string {
    return this.server.address ?? "";
  }

  order(): string[] {
    const numbers = this.#joined.map((member) => member.order);
    expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
    return this.#joined.map((member) => member.address);
  }

  async end(): Promise<void> {
    expect(await this.server.start()).toBe("capacity reached");
    expect(this.notes).toEqual([]);
  }

  async until(condition: () => boolean, missing: string): Promise<void> {
    await this.#changed.until(
      () => condition() || undefined,
      () => `the server ${missing}; its members: ${this.server.members}`,
    );
  }

  /** What the server has sent to this member, message by message, as a trace names it. */
  sentTo(address: string): string[] {
    return this.trace.filter(({ from, to }) => from === "server" && to === address).map(({ text }) => text);
  }
}

/** How a trace names a message. */
function traced(message: string): string {
  return wireText(Buffer.from(message));
}

async function startClassicServer(capacity: number): Promise<MeshServer> {
  const server = partners.server(capacity, settleMs);
  onTestFinished(() => server.stop());
  const listening = await server.line((line) => line.startsWith("listening "), "where it listens");
  return {
    address: listening.slice("listening ".length),
    order: () => server.lines.filter((line) => line.startsWith("registered ")).map((line) => line.split(" ")[1] ?? ""),
    end: async () => {
      expect(await server.exited()).toEqual({ code: 0, signal: null });
      expect(server.errors).toBe("");
      expect(server.lines.filter((line) => line.startsWith("dropped "))).toEqual([]);
      expect(server.lines.at(-1)).toBe("done");
    },
  };
}

function startClassicNode(server: string): ClassicNode {
  const node = partners.node(server);
  onTestFinished(() => node.process.stop());
  return node;
}

function startCommandNode(server: string): CommandNode {
  const node = new CommandNode(server);
  onTestFinished(() => node.process.stop());
  return node;
}

function startOwnNode(server: string): OwnNode {
  const own = new OwnNode(server);
  onTestFinished(() => own.node.leave());
  return own;
}

async function startRawReader(server: string): Promise<RawReader> {
  const reader = await RawReader.join(server);
  onTestFinished(() => reader.close());
  return reader;
}

type Start = (server: string) => ObservedNode;

/** Lets nodes join a mesh, all at once or each after the one before it is in. */
async function gather(starts: readonly Start[], server: string, isAtOnce: boolean): Promise<ObservedNode[]> {
  const witnesses: ObservedNode[] = [];
  for (const start of starts) {
    const witness = start(server);
    witnesses.push(witness);
    if (!isAtOnce) await witness.joined();
  }
  await Promise.all(witnesses.map((witness) => witness.joined()));
  return witnesses;
}

/** Resolves when this node is linked with so many others. */
async function linked(witness: ObservedNode, peers: number): Promise<void> {
  const count = (): number => witness.dialed.length + witness.accepted.length;
  await witness.until(() => count() >= peers, `is not linked with ${peers} others`);
}

/** Six nodes, of kinds that take turns. */
function six(...kinds: Start[]): Start[] {
  return Array.from({ length: 6 / kinds.length }, () => kinds).flat();
}

describe.each([
  ["six C nodes on our server", six(startClassicNode), true],
  ["six of our nodes on the C server", six(startOwnNode), false],
  ["six of our nodes, each a process, on the C server", six(startCommandNode), false],
  ["three nodes of each kind on our server", six(startClassicNode, startOwnNode), true],
] as const)("%s", (_, starts, isOwnServer) => {
  it.each([
    ["all at once", true],
    ["one after the other", false],
  ] as const)("link each of the 15 pairs once, joining %s, and are all notified of the end", async (_, isAtOnce) => {
    const sockets = countSockets();
    const meeting = isOwnServer
      ? await OwnServer.start({ capacity: 6, limits: { settleMs } })
      : await startClassicServer(starts.length);
    const witnesses = await gather(starts, meeting.address, isAtOnce);
    const endTexts = await Promise.all(witnesses.map((witness) => witness.end()));
    await meeting.end();

    const order = meeting.order();
    expect(endTexts).toEqual(Array.from(starts, () => "teardown"));
    expectFullMesh(witnesses, order);
    for (const witness of witnesses) expectGrowingLists(witness, order);
    if (!isAtOnce) expect(witnesses.map((witness) => witness.address)).toEqual(order);

    // One connection for each pair and one for each member, and not one more.
    const own = witnesses
      .filter((witness) => witness instanceof OwnNode)
      .map((witness) => order.indexOf(witness.address));
    const dials = own.reduce((sum, rank) => sum + (order.length - 1 - rank), 0);
    const greetings = own.reduce((sum, rank) => sum + rank, 0);
    expect(sockets).toEqual({ opened: own.length + dials, accepted: greetings + (isOwnServer ? order.length : 0) });
  });
});

describe("a reader that takes one read for one message", () => {
  /** A reader that is not given a core for longer than this finds two messages in one read, as TCP does it. */
  const messageGapMs = 400;

  it("has 50 ms for it by default", () => {
    expect(defaultLimits.messageGapMs).toBeGreaterThanOrEqual(50);
  });

  it("gets every list that is sent, and the teardown, apart, when 29 of our nodes join with it at once", async () => {
    const server = await OwnServer.start({ capacity: 30, limits: { settleMs: 100, messageGapMs } });
    const reader = await startRawReader(server.address);
    await reader.until(() => reader.fromServer.length > 0, "has got no list");
    await gather(
      Array.from({ length: 29 }, () => startOwnNode),
      server.address,
      true,
    );
    await reader.end();
    await server.end();

    expect(reader.fromServer.map(traced)).toEqual(server.sentTo(reader.address));
    expect(reader.fromServer.at(-1)).toBe("teardown");
    expect(reader.fromServer.at(-2)).toBe(`list:\n${server.order().join("\n")}`);
    expect(server.order()).toHaveLength(30);
    const lists = reader.fromServer.slice(0, -1);
    expect(lists.length).toBeGreaterThan(1);
    expect(lists.filter((text) => text.lastIndexOf("list:\n") !== 0)).toEqual([]);
  });

  it("gets every list that is sent, and the teardown, apart, when it is one of 30 C nodes", async () => {
    const server = await OwnServer.start({ capacity: 30, limits: { settleMs: 100, messageGapMs } });
    const nodes = Array.from({ length: 30 }, () => startClassicNode(server.address));
    expect(await Promise.all(nodes.map((node) => node.end()))).toEqual(Array.from(nodes, () => "teardown"));
    await server.end();

    for (const node of nodes) {
      const sent = server.sentTo(node.address);
      expect(node.misread).toEqual([]);
      expect(node.lists.map((list) => traced(`list:\n${list.join("\n")}`))).toEqual(sent.slice(0, -1));
      expect(sent.at(-1)).toBe("teardown");
      expect(node.lists.at(-1)).toEqual(server.order());
    }
    expect(server.order()).toHaveLength(30);
  });
});

describe("payload", () => {
  it("reaches simple peers apart from the hello, though our node writes as soon as the link is up", async () => {
    const server = await OwnServer.start({ onFull: "hold" });
    const own = startOwnNode(server.address);
    own.node.on("peer:up", ({ peer: { address } }) => own.node.write(address, Buffer.from("first words")));
    await own.joined();
    const raw = await startRawReader(server.address);
    // Once it is in, nobody but our node dials it.
    await raw.until(() => raw.fromServer.length > 0, "has got no list");
    const peers = Array.from({ length: 3 }, () => startClassicNode(server.address));
    await raw.until(() => raw.fromPeers[0]?.join("").endsWith("first words") ?? false, "has not got the first words");
    for (const peer of peers) {
      const missing = "has not got the first words";
      await peer.until(() => peer.received.get(own.address) === "first words" || peer.problems.length > 0, missing);
    }

    expect(raw.fromPeers[0]).toEqual([`Hello from:${own.address}`, "first words"]);
    expect(peers.flatMap((peer) => peer.problems)).toEqual([]);
    expect(own.dialed.toSorted()).toEqual([raw, ...peers].map((peer) => peer.address).sort());
    expect(own.unlinked).toEqual([]);
  });

  it("reaches a C node that has dialed, though our node writes as soon as the link is up", async () => {
    const server = await OwnServer.start({ onFull: "hold" });
    const peer = startClassicNode(server.address);
    await peer.joined();
    const own = startOwnNode(server.address);
    own.node.on("peer:up", ({ peer: { address } }) => own.node.write(address, Buffer.from("first words")));
    await peer.until(() => peer.received.get(own.address) === "first words", "has not got the first words");

    expect(own.accepted).toEqual([peer.address]);
    expect(peer.problems).toEqual([]);
    expect(own.unlinked).toEqual([]);
  });

  it("goes to C nodes on both sides of our node for as long as it writes, any bytes and in order", async () => {
    const server = await OwnServer.start({ onFull: "hold" });
    const starts: Start[] = [startClassicNode, startOwnNode, startClassicNode];
    const [earlier, own, later] = (await gather(starts, server.address, false)) as [ClassicNode, OwnNode, ClassicNode];
    await Promise.all([earlier, own, later].map((witness) => linked(witness, 2)));
    const count = 200;
    for (let number = 0; number < count; number += 1) {
      for (const peer of [earlier, later]) {
        // The far end has taken the hello by now, so all of this is payload.
        own.node.write(peer.address, Uint8Array.of(0x00, 0x0a, 0xff));
        own.node.write(peer.address, Buffer.from(`${number};`));
      }
    }

    const whole = Array.from({ length: count }, (_, number) => `\\x00\\x0A\\xFF${number};`).join("");
    for (const peer of [earlier, later]) {
      await peer.until(() => peer.received.get(own.address)?.length === whole.length, "has not got all bytes");
      expect(peer.received.get(own.address)).toBe(whole);
      expect(peer.problems).toEqual([]);
      expect(peer.unlinked).toEqual([]);
    }
  });

  it("goes both ways between our node and a simple peer that dials it and writes at once", async () => {
    const server = await OwnServer.start({ onFull: "hold" });
    const raw = await startRawReader(server.address);
    await raw.until(() => raw.fromServer.length > 0, "has got no list");
    const own = startOwnNode(server.address);
    await own.joined();
    const reads = raw.dial(own.address, `Hello from:${raw.address}\x00\xff1 2 3`);
    await own.until(() => own.received.get(raw.address) === "\x00\xff1 2 3", "has not got the peer's bytes");
    own.node.write(raw.address, Uint8Array.of(0x31, 0x00, 0xff));
    await raw.until(() => reads.join("") === "1\x00\xff", "has not got our bytes");

    expect(own.accepted).toEqual([raw.address]);
    expect(own.problems).toEqual([]);
  });

  it("goes both ways between our node and a simple peer that it dials", async () => {
    const server = await OwnServer.start({ onFull: "hold" });
    const own = startOwnNode(server.address);
    await own.joined();
    const raw = await startRawReader(server.address);
    await linked(own, 1);
    await raw.until(() => raw.fromPeers.length === 1 && raw.fromPeers[0]?.length === 1, "has not been greeted");
    expect(raw.fromPeers).toEqual([[`Hello from:${own.address}`]]);
    own.node.write(raw.address, Uint8Array.of(0x31, 0x00, 0xff));
    await raw.until(() => raw.fromPeers[0]?.slice(1).join("") === "1\x00\xff", "has not got our bytes");
    raw.send("\x00\xff1 2 3");
    await own.until(() => own.received.get(raw.address) === "\x00\xff1 2 3", "has not got the peer's bytes");

    expect(own.dialed).toEqual([raw.address]);
    expect(own.problems).toEqual([]);
  });
});

describe("a C node that is killed", () => {
  it.each([
    ["the oldest", 0],
    ["neither the oldest nor the youngest", 2],
    ["the youngest", 3],
  ] as const)(
    "frees its slot for the next in the queue, and breaks no other link, when it is %s",
    async (_, victimRank) => {
      const server = await OwnServer.start({ capacity: 4, onFull: "hold" });
      const starts = [startOwnNode, startClassicNode, startOwnNode].toSpliced(victimRank, 0, startClassicNode);
      const witnesses = await gather(starts, server.address, false);
      await Promise.all(witnesses.map((witness) => linked(witness, 3)));
      const victim = witnesses[victimRank] as ClassicNode;
      const survivors = witnesses.toSpliced(victimRank, 1);
      const fifth = startOwnNode(server.address);
      await server.until(() => server.waiting.length === 1, "lets nobody wait");
      expect(server.server.members).toEqual(witnesses.map((witness) => witness.address));
      expect(fifth.lists).toEqual([]);
      const listsBefore = survivors.map((survivor) => survivor.lists.length);

      victim.process.kill("SIGKILL");
      await fifth.joined();
      await expectReplaced({ server, victim, survivors, newcomer: fifth, listsBefore });
      expect(server.waiting).toEqual([fifth.address]);
    },
  );

  it("frees its slot for a later node, and breaks no other link", async () => {
    const server = await OwnServer.start({ capacity: 4, onFull: "hold" });
    const starts = [startOwnNode, startClassicNode, startClassicNode, startOwnNode];
    const witnesses = await gather(starts, server.address, false);
    await Promise.all(witnesses.map((witness) => linked(witness, 3)));
    const victim = witnesses[1] as ClassicNode;
    const survivors = witnesses.toSpliced(1, 1);
    const listsBefore = survivors.map((survivor) => survivor.lists.length);

    victim.process.kill("SIGKILL");
    await server.until(() => server.departed.length === 1, "has not noticed that a member is gone");
    expect(server.server.members).toEqual(survivors.map((survivor) => survivor.address));
    const newcomer = startClassicNode(server.address);
    await newcomer.joined();
    await expectReplaced({ server, victim, survivors, newcomer, listsBefore });
    expect(server.waiting).toEqual([]);
  });
});

interface Replacement {
  readonly server: OwnServer;
  readonly victim: ObservedNode;
  readonly survivors: readonly ObservedNode[];
  readonly newcomer: ObservedNode;
  /** How many lists each survivor had when the victim was killed. */
  readonly listsBefore: readonly number[];
}

/** The victim is out, the newcomer is in, and between the survivors nothing has happened; then ends the mesh. */
async function expectReplaced({ server, victim, survivors, newcomer, listsBefore }: Replacement): Promise<void> {
  const members = [...survivors, newcomer].map((witness) => witness.address);
  await Promise.all([linked(newcomer, 3), ...survivors.map((survivor) => linked(survivor, 4))]);
  for (const survivor of survivors) {
    await survivor.until(() => survivor.unlinked.length > 0, "has not noticed that its peer is gone");
  }
  expect(server.server.members).toEqual(members);
  expect(server.departed).toEqual([victim.address]);
  for (const [index, survivor] of survivors.entries()) {
    expect(survivor.lists.slice(listsBefore[index])).toEqual([members]);
    expect(survivor.unlinked).toEqual([victim.address]);
    const peers = [...members, victim.address].filter((address) => address !== survivor.address);
    expect([...survivor.dialed, ...survivor.accepted].sort()).toEqual(peers.sort());
  }
  expect(newcomer.dialed).toEqual([]);
  expect(newcomer.accepted.toSorted()).toEqual(survivors.map((survivor) => survivor.address).sort());
  expect(newcomer.lists).toEqual([members]);

  await server.server.teardown("enough");
  const endTexts = await Promise.all([...survivors, newcomer].map((witness) => witness.end()));
  expect(endTexts).toEqual(members.map(() => "teardown"));
}

it("C nodes and ours make a mesh over IPv6", async (context) => {
  await requireAddress(context, "::1", "IPv6");
  const server = await OwnServer.start({ listen: "[::1]:0", capacity: 4, limits: { settleMs } });
  const starts: Start[] = [startClassicNode, startOwnNode, startClassicNode, startOwnNode];
  const witnesses = await gather(starts, server.address, false);
  expect(await Promise.all(witnesses.map((witness) => witness.end()))).toEqual(starts.map(() => "teardown"));
  await server.end();

  const order = server.order();
  expect(order.filter((address) => !address.startsWith("[::1]:"))).toEqual([]);
  expectFullMesh(witnesses, order);
  for (const witness of witnesses) expectGrowingLists(witness, order);
});
