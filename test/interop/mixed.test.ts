import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { join, type RendezvousServer, serve } from "../../src/index.js";
import { encodeControl } from "../../src/protocol/native/control.js";
import { encodePreface } from "../../src/protocol/native/preface.js";
import { proxyBefore } from "../support/proxy.js";
import { freePort, type RawConnection, rawClient } from "../support/sockets.js";
import { findTool, requireAddress, requireTool } from "../support/tools.js";
import { ClassicPrograms } from "./classic-programs.js";
import { expectFullMesh, expectGrowingLists, longMessageGap, type ObservedNode, OwnNode } from "./observed-node.js";

async function startServer(): Promise<RendezvousServer> {
  const server = await serve({ listen: "127.0.0.1:0", limits: longMessageGap });
  onTestFinished(() => server.close());
  return server;
}

/** Resolves when the server reports a complete mesh of so many members. */
function completed(server: RendezvousServer, size: number): Promise<unknown> {
  return new Promise((resolve) => {
    server.on("complete", (completeness) => completeness.members === size && resolve(completeness));
  });
}

/** How many established connections the kernel knows of, by the listening address at their accepting ends. */
function acceptedBy(ss: string, addresses: readonly string[]): number {
  const table = execFileSync(ss, ["-Htn", "state", "established"], { encoding: "utf8" });
  return table.split("\n").filter((line) => addresses.includes(line.split(/\s+/)[2] ?? "")).length;
}

interface NineMembers {
  /** All of them. */
  readonly witnesses: readonly ObservedNode[];
  readonly natives: readonly OwnNode[];
}

/** Three C programs, three classic members of ours and three native ones, in turns, all at once. */
function startNine(partners: ClassicPrograms, server: string): NineMembers {
  const natives: OwnNode[] = [];
  const witnesses: ObservedNode[] = [];
  for (let round = 0; round < 3; round += 1) {
    const program = partners.node(server);
    onTestFinished(() => program.process.stop());
    const classic = new OwnNode(server, "classic");
    const native = new OwnNode(server, "native");
    for (const { node } of [classic, native]) onTestFinished(() => node.leave());
    natives.push(native);
    witnesses.push(program, classic, native);
  }
  return { witnesses, natives };
}

/** A message from each of them to all others. */
async function exchangeMessages(natives: readonly OwnNode[]): Promise<void> {
  for (const { node } of natives) {
    const skipped = node.broadcast("", Buffer.from(`I am ${node.rank}`));
    const classic = node.peers.filter(({ dialect }) => dialect === "classic");
    expect(new Map(skipped.map(({ peer, code }) => [peer.address, code]))).toEqual(
      new Map(classic.map(({ address }) => [address, "CLASSIC_PEER"])),
    );
  }
  for (const native of natives) {
    const others = natives.filter((other) => other !== native);
    await native.until(
      () => native.received.size === others.length,
      "has not got the messages of the other native members",
    );
    const expected = others.map(({ address, node }) => [address, `I am ${node.rank}`] as const);
    expect(new Map(native.received)).toEqual(new Map(expected));
  }
}

describe("a mesh of three C programs, three classic members of ours and three native ones", () => {
  it("has one connection for each of the 36 pairs, carries messages, and ends for all", async (context) => {
    const partners = await ClassicPrograms.compile(requireTool(context, "cc"));
    onTestFinished(() => partners.remove());
    const server = await startServer();
    const address = String(server.address);
    const order: string[] = [];
    server.on("joined", (member) => order.push(member.address));
    const completion = completed(server, 9);
    const { witnesses, natives } = startNine(partners, address);
    for (const witness of witnesses) {
      await witness.until(() => witness.dialed.length + witness.accepted.length === 8, "is not linked with all others");
    }
    // The six classic members report nothing to the server.
    expect(await completion).toMatchObject({ members: 9, links: 36 - 15, unverified: 15 });
    const ss = findTool("ss");
    if (ss !== undefined) expect([acceptedBy(ss, order), acceptedBy(ss, [address])]).toEqual([36, 9]);

    await exchangeMessages(natives);
    await server.teardown("enough");
    for (const witness of witnesses) {
      expect(await witness.end()).toBe(natives.includes(witness as OwnNode) ? "enough" : "teardown");
      expectGrowingLists(witness, order);
    }
    expectFullMesh(witnesses, order);
  });
});

/** Sends an unauthenticated registration, and returns the server's answer to it. */
async function register(server: string, dialect: "native" | "classic", address: string, id = newId()): Promise<string> {
  const client = await rawClient(server);
  const control = encodeControl({ type: "register", mesh: "default", id, address: address as `${string}:${number}` });
  await client.write(dialect === "classic" ? address : Buffer.concat([encodePreface(), control]));
  return await answer(client);
}

async function answer(client: RawConnection): Promise<string> {
  await client.ended;
  client.end();
  return /[A-Z]+_[A-Z_]+/.exec(client.text)?.[0] ?? client.text;
}

function newId(): string {
  return randomBytes(16).toString("hex");
}

describe.each(["native", "classic"] as const)("an unauthenticated %s registrant", (dialect) => {
  it("that advertises a third party's host causes not one connection to it", async (context) => {
    await requireAddress(context, "127.0.0.2", "a second loopback address");
    let connections = 0;
    const thirdParty = createServer((socket) => {
      connections += 1;
      socket.destroy();
    }).listen(0, "127.0.0.2");
    onTestFinished(() => void thirdParty.close());
    await once(thirdParty, "listening");
    const server = await startServer();
    const address = String(server.address);
    for (const member of ["native", "classic"] as const) {
      const node = await join(address, { dialect: member });
      onTestFinished(() => node.leave());
    }
    const before = server.members;
    const { port } = thirdParty.address() as AddressInfo;
    expect(await register(address, dialect, `127.0.0.2:${port}`)).toBe("FOREIGN_HOST");
    // Whatever the server and its members would dial, they have dialed before they are linked with a later member.
    const later = await join(address);
    onTestFinished(() => later.leave());
    await later.complete({ size: 3 });
    expect(server.members).toEqual([...before, later.address]);
    expect(connections).toBe(0);
  });

  it.each(["native", "classic"] as const)(
    "that claims the address of a live %s member is refused, and the member notices nothing",
    async (victimDialect) => {
      const server = await startServer();
      const address = String(server.address);
      const peer = await join(address);
      const port = await freePort();
      const proxy = await proxyBefore(() => port);
      const listen = { listen: `127.0.0.1:${port}`, advertise: proxy.address, dialect: victimDialect };
      const member = await join(address, listen);
      for (const node of [peer, member]) onTestFinished(() => node.leave());
      await Promise.all([peer.complete({ size: 2 }), member.complete({ size: 2 })]);
      const events: string[] = [];
      for (const event of ["directory", "peer:unreachable", "peer:back", "peer:down", "fenced", "ended"] as const) {
        member.on(event, () => events.push(event));
        peer.on(event, () => events.push(event));
      }
      const before = proxy.accepted;
      expect(await register(address, dialect, proxy.address)).toBe("ADDRESS_IN_USE");
      // A native registrant could be the member itself, started again: only the address can tell, and it refuses.
      const dialBacks = dialect === "native" && victimDialect === "native" ? 1 : 0;
      expect(proxy.accepted - before).toBe(dialBacks);
      const own = `127.0.0.1:${await freePort()}`;
      const id = member.id;
      if (id !== undefined) expect(await register(address, "native", own, id)).toBe("ID_IN_USE");
      expect(proxy.accepted - before).toBe(dialBacks);
      expect([events, server.members]).toEqual([[], [peer.address, proxy.address]]);
      expect(peer.peers).toMatchObject([{ address: proxy.address, state: "up", dialect: victimDialect }]);
      const received = once(peer, victimDialect === "native" ? "message" : "bytes");
      if (victimDialect === "native") member.broadcast("", Buffer.from("still here"));
      else member.writeAll(Buffer.from("still here"));
      await received;
    },
  );
});
