import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { type RendezvousServer, serve } from "../../src/index.js";
import { privateFolder } from "../support/folders.js";
import { requireTool } from "../support/tools.js";
import vectors from "../vectors/native.json" with { type: "json" };
import { type NativeMember, OwnMember, PythonMember } from "./native-members.js";

const run = promisify(execFile);
const completeMesh = "4 members, 6 links";

let python: string;

beforeEach((context) => {
  python = requireTool(context, "python3");
});

async function startServer(listen = "127.0.0.1:0"): Promise<RendezvousServer> {
  const server = await serve({ listen });
  onTestFinished(() => server.close());
  return server;
}

function startMember(kind: string, server: RendezvousServer): NativeMember {
  const address = server.address ?? "";
  if (kind === "ours") {
    const own = new OwnMember(address);
    onTestFinished(() => own.node.leave());
    return own;
  }
  const member = new PythonMember(python, address);
  onTestFinished(() => member.process.stop());
  return member;
}

/** Lets four members join, each after the one before it is in, and waits until the server has reported the complete mesh to all. */
async function gather(kinds: readonly string[], server: RendezvousServer): Promise<NativeMember[]> {
  const members: NativeMember[] = [];
  for (const kind of kinds) {
    const member = startMember(kind, server);
    members.push(member);
    await member.joined();
  }
  await allComplete(members, 1);
  return members;
}

/** Each member with each of its peers. */
function directions(members: readonly NativeMember[]): (readonly [member: NativeMember, peer: NativeMember])[] {
  return members.flatMap((member) => members.filter((peer) => peer !== member).map((peer) => [member, peer] as const));
}

/** So many messages, as they are sent and as they are to come. */
function numbered(topic: string, count: number): string[] {
  return Array.from({ length: count }, (_, number) => `${topic} ${number}`);
}

function sendAll(members: readonly NativeMember[], message: string): void {
  const [topic = "", text = ""] = message.split(" ");
  for (const member of members) member.send(topic, text);
}

/** Resolves when every member has got from every other one as many messages as these; they must be these, in this order. */
async function allReceived(members: readonly NativeMember[], messages: readonly string[]): Promise<void> {
  for (const [member, peer] of directions(members)) await member.receivedFrom(peer, messages.length);
  for (const [member, peer] of directions(members)) {
    expect(member.received.get(peer.address), `what ${member.address} got from ${peer.address}`).toEqual(messages);
  }
}

/** Resolves when the server has reported so many times to each of them that all four are linked. */
async function allComplete(members: readonly NativeMember[], times: number): Promise<void> {
  const soFar = (member: NativeMember): number =>
    member.completions.filter((completion) => completion === completeMesh).length;
  for (const member of members) {
    await member.until(() => soFar(member) >= times, `has not got ${times} reports of the complete mesh`);
  }
}

/** Resolves when every link with one end in Python has a new connection. */
async function allRelinked(members: readonly NativeMember[]): Promise<void> {
  for (const [member, peer] of directions(members)) {
    if (!(member instanceof PythonMember || peer instanceof PythonMember)) continue;
    await member.until(() => member.relinks.includes(peer.address), `has no new connection with ${peer.address}`);
  }
}

/** Lets pending events be handled before going on. */
function yieldToEvents(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

describe("the vectors", () => {
  it("hold for a reader and writer that knows only PROTOCOL.md, at every split", async () => {
    const program = fileURLToPath(new URL("native/vectors.py", import.meta.url));
    const file = fileURLToPath(new URL("../vectors/native.json", import.meta.url));
    const { stdout, stderr } = await run(python, ["-B", program, file]);
    expect(stdout).toBe(`${vectors.frames.length} frames, ${vectors.streams.length} streams\n`);
    expect(stderr).toBe("");
  });
});

describe.each([
  ["Python, ours, Python, ours", ["python", "ours", "python", "ours"]],
  ["ours, Python, ours, Python", ["ours", "python", "ours", "python"]],
  ["Python, Python, ours, ours", ["python", "python", "ours", "ours"]],
  ["ours, ours, Python, Python", ["ours", "ours", "python", "python"]],
] as const)("members who join in the order %s", (_, kinds) => {
  it("link each of the 6 pairs once, dialed by the earlier member, exchange messages, and are notified of the end", async () => {
    const server = await startServer();
    const members = await gather(kinds, server);
    const orders = members.map(({ order }) => order);
    expect(orders).toEqual(orders.toSorted((a, b) => a - b));
    for (const member of members) expect(member.links.size).toBe(3);
    for (const [member, peer] of directions(members)) {
      const direction = member.order < peer.order ? "dialed" : "accepted";
      expect(member.links.get(peer.address), `${member.address} with ${peer.address}`).toBe(direction);
    }
    const messages = numbered("größe", 50);
    for (const message of messages) sendAll(members, message);
    await allReceived(members, messages);
    // What is still on its way when the end comes is delivered too.
    sendAll(members, "last 0");
    await server.teardown("enough");
    expect(await Promise.all(members.map((member) => member.end()))).toEqual(members.map(() => "enough"));
    expect(members.flatMap(({ problems: complaints }) => complaints)).toEqual([]);
    expect(members.flatMap(({ relinks }) => relinks)).toEqual([]);
    expect(members.map(({ unacknowledged }) => unacknowledged)).toEqual([0, 0, 0, 0]);
  });

  it("do so on local sockets, beside their server's", async () => {
    const folder = privateFolder();
    const members = await gather(kinds, await startServer(`unix:${folder}/mesh.sock`));
    for (const member of members) {
      expect(member.address).toMatch(new RegExp(`^unix:${folder}/m-[0-9a-f]{8}\\.sock$`));
      expect(member.links.size).toBe(3);
    }
    const messages = numbered("local", 50);
    for (const message of messages) sendAll(members, message);
    await allReceived(members, messages);
    expect(members.flatMap(({ problems }) => problems)).toEqual([]);
  });

  it("go on with the same links when connections break, without losing or repeating a message", async () => {
    const members = await gather(kinds, await startServer());
    const pythons = members.filter((member) => member instanceof PythonMember);
    const messages = numbered("count", 300);
    for (const [number, message] of messages.entries()) {
      sendAll(members, message);
      // Messages are on their way in both directions while connections break.
      if (number === 100) pythons[0]?.cut();
      if (number === 200) for (const member of pythons) member.cut();
      await yieldToEvents();
    }
    await allReceived(members, messages);
    await allRelinked(members);
    expect(members.flatMap(({ unlinks }) => unlinks)).toEqual([]);
    expect(members.map(({ links }) => links.size)).toEqual([3, 3, 3, 3]);
    // Once both ends of every pair have reported the attempt of now, the server finds the mesh complete again.
    await allComplete(members, 2);
  });

  it("lose only the link with the Python member that leaves, and get everything that it has sent", async () => {
    const members = await gather(kinds, await startServer());
    const leaver = members.find((member) => member instanceof PythonMember) as PythonMember;
    const others = members.filter((member) => member !== leaver);
    const messages = numbered("last", 50);
    for (const message of messages) sendAll([leaver], message);
    leaver.leave();
    await leaver.end();
    for (const member of others) {
      await member.until(() => member.unlinks.length > 0, "has not noticed that somebody left");
      expect(member.unlinks).toEqual([leaver.address]);
      expect(member.received.get(leaver.address)).toEqual(messages);
    }
    sendAll(others, "after 0");
    await allReceived(others, ["after 0"]);
    expect(leaver.problems).toEqual([]);
    expect(members.map(({ unacknowledged }) => unacknowledged)).toEqual([0, 0, 0, 0]);
  });
});

describe("a server that comes back with nothing in memory", () => {
  it("learns the mesh from members in Python and ours, whose links go on, and lets another one in behind them", async () => {
    const old = await startServer();
    const { address } = old;
    const members = await gather(["python", "ours", "python", "ours"], old);
    const orders = members.map(({ order }) => order);
    await old.close();
    const messages = numbered("away", 50);
    for (const message of messages) sendAll(members, message);
    await allReceived(members, messages);
    const server = await startServer(address);
    await allComplete(members, 2);
    expect(server.membersOf("default")).toEqual(members.map((member) => member.address));
    const newcomer = startMember("python", server);
    await newcomer.joined();
    expect(newcomer.order).toBeGreaterThan(Math.max(...orders));
    for (const member of members) await member.until(() => member.links.size === 4, "has no link with the newcomer");
    expect(members.flatMap(({ unlinks, relinks }) => [...unlinks, ...relinks])).toEqual([]);
    const pythons = members.filter((member) => member instanceof PythonMember);
    expect(pythons.map(({ problems, logs }) => [problems, logs])).toEqual(pythons.map(() => [[], 1]));
  });
});

describe.each([
  ["ours joined first", ["ours", "python"]],
  ["the one in Python joined first", ["python", "ours"]],
] as const)("one of ours and one in Python, when %s,", (_, kinds) => {
  async function pair(): Promise<{ own: OwnMember; python: PythonMember }> {
    const server = await startServer();
    const members: NativeMember[] = [];
    for (const kind of kinds) {
      const member = startMember(kind, server);
      members.push(member);
      await member.joined();
    }
    for (const member of members) await member.until(() => member.links.size === 1, "has no link");
    const own = members.find((member) => member instanceof OwnMember) as OwnMember;
    return { own, python: members.find((member) => member instanceof PythonMember) as PythonMember };
  }

  it("answer one another's requests, whatever form they have, and report topics without a handler", async () => {
    const { own, python } = await pair();
    const payload = Buffer.alloc(100_000, "ü");
    expect(Buffer.from((await own.node.request(python.address, "echo", payload)) as Uint8Array).equals(payload)).toBe(
      true,
    );
    expect(await own.node.request(python.address, "echo", { list: [1, "größe", null] })).toEqual({
      list: [1, "größe", null],
    });
    expect(await own.node.request(python.address, "echo")).toBeUndefined();
    await expect(own.node.request(python.address, "else")).rejects.toMatchObject({ code: "NO_HANDLER" });
    own.node.onRequest("größe", (asked) => Buffer.from(`${Buffer.from(asked as Uint8Array).toString()}, too`));
    python.ask("größe", "ä");
    python.ask("else", "ä");
    await python.until(() => python.outcomes.length === 2, "has not got the results of its requests");
    expect(python.outcomes).toEqual([`${own.address} ä, too`, `${own.address} NO_HANDLER`]);
    expect(python.problems).toEqual([]);
  });

  it("refuse streams of topics that they do not take, and go on", async () => {
    const { own, python } = await pair();
    const stream = own.node.openStream(python.address, "größe");
    stream.write(Buffer.alloc(200_000));
    const error = await new Promise((resolve) => {
      stream.once("error", resolve);
    });
    expect(error).toMatchObject({ code: "STREAM_ABORTED" });
    expect(
      Buffer.from((await own.node.request(python.address, "echo", Buffer.from("a"))) as Uint8Array).toString(),
    ).toBe("a");
    expect(python.problems).toEqual([]);
  });

  it("send more than was granted at first, as the other end grants more, while a connection breaks", async () => {
    const { own, python } = await pair();
    // Twice what is granted at first.
    const texts = Array.from({ length: 280 }, (_, number) => String(number).padEnd(30_000, "."));
    for (const [number, text] of texts.entries()) {
      own.send("much", text);
      python.send("much", text);
      if (number === 140) python.cut();
    }
    for (const [member, peer] of [
      [own, python],
      [python, own],
    ] as const) {
      await member.receivedFrom(peer, texts.length);
      expect(member.received.get(peer.address)?.map((message) => message.length)).toEqual(
        texts.map((text) => text.length + 5),
      );
    }
    expect(python.problems).toEqual([]);
  });
});

describe("one of ours that leaves", () => {
  it("is reported as gone by members in Python, which have got everything that it has sent", async () => {
    const members = await gather(["python", "ours", "python", "ours"], await startServer());
    const leaver = members[1] as OwnMember;
    const messages = numbered("last", 50);
    for (const message of messages) sendAll([leaver], message);
    leaver.leave();
    for (const member of members.filter((each) => each !== leaver)) {
      await member.until(() => member.unlinks.includes(leaver.address), "has not noticed that one of ours left");
      expect(member.received.get(leaver.address)).toEqual(messages);
    }
  });
});
