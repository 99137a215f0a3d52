import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { join, type MeshNode } from "../../src/index.js";
import { eventOf, fullmesh, startServer } from "../cli/command-line.js";
import { EtcdCluster } from "../support/etcd.js";
import { findTool } from "../support/tools.js";
import { eventsOf, joinAt, known } from "./members.js";

const hasEtcd = findTool("etcd") !== undefined;

interface Status {
  readonly complete: boolean;
  readonly members: readonly {
    readonly address: string;
    readonly state: string;
    readonly order: number;
    readonly since: number;
    readonly server?: string;
  }[];
  readonly links: { readonly expected: number; readonly up: number };
}

/** What a server says of the mesh. */
async function statusAt(address: string): Promise<Status> {
  const status = fullmesh(["status", address, "--json"]);
  expect(await status.exited()).toMatchObject({ code: 0 });
  return JSON.parse(status.lines.join("")) as Status;
}

/** A member in this process that sends each peer numbered messages, and notes what must not happen. */
class SendingMember {
  readonly node: MeshNode;
  readonly #sent = new Map<string, number>();
  readonly #received = new Map<string, number[]>();
  readonly #unwanted: string[] = [];
  readonly #timer: NodeJS.Timeout;

  static async join(server: string): Promise<SendingMember> {
    const member = new SendingMember(await join(server, { logger: false }));
    onTestFinished(() => {
      member.stop();
      return member.node.leave();
    });
    return member;
  }

  private constructor(node: MeshNode) {
    this.node = node;
    node.onMessage("counted", ({ peer, payload }) => {
      this.#received.set(peer.address, [...(this.#received.get(peer.address) ?? []), payload as number]);
    });
    node.onRequest("received", (_, { peer }) => this.#received.get(peer.address) ?? []);
    for (const type of ["peer:down", "peer:unreachable", "fenced"] as const)
      node.on(type, () => this.#unwanted.push(type));
    this.#timer = setInterval(() => this.#sendAll(), 20);
  }

  #sendAll(): void {
    for (const peer of this.node.peers) {
      const number = (this.#sent.get(peer.address) ?? 0) + 1;
      this.node.send(peer, "counted", number);
      this.#sent.set(peer.address, number);
    }
  }

  /** It sends nothing more. */
  stop(): void {
    clearInterval(this.#timer);
  }

  /** Each peer has got all that was sent to it, in order and once. */
  async expectAllArrived(): Promise<void> {
    for (const [peer, count] of [...this.#sent]) {
      const received = (await this.node.request(peer, "received")) as number[];
      expect(received.slice(0, count)).toEqual(Array.from({ length: count }, (_, index) => index + 1));
    }
    expect(this.#unwanted).toEqual([]);
  }
}

describe.skipIf(!hasEtcd)("two servers that share an etcd", () => {
  let etcd: EtcdCluster;
  beforeAll(async () => {
    etcd = await EtcdCluster.start();
  });
  afterAll(() => etcd?.stop());

  async function startTwo(prefix: string, args: readonly string[] = []) {
    const store = ["--store", etcd.url(prefix), ...args];
    const servers = [await startServer(store), await startServer(store)] as const;
    await known(...servers);
    return servers;
  }

  /** Two members at each server, all linked. */
  async function startMembers(servers: readonly { readonly address: string }[]) {
    const at = servers.flatMap(({ address }) => [address, address]);
    const members = await Promise.all(at.map((address) => joinAt(address)));
    await Promise.all(members.map(({ member }) => eventOf(member, "complete", (line) => line.members === 4)));
    return members;
  }

  it("have one mesh of the members of both, in one order, and say the same of it", async () => {
    const [a, b] = await startTwo("/one-mesh");
    const members = await startMembers([a, b]);
    const [first, second] = await Promise.all([statusAt(a.address), statusAt(b.address)]);
    expect(first).toMatchObject({ complete: true, links: { expected: 6, up: 6 } });
    // When each of them has learned it is its own, and so is who is at the other one.
    const lists = [first, second].map((status) => status.members.map(({ since: _, server: __, ...member }) => member));
    expect(lists[1]).toEqual(lists[0]);
    const elsewhere = [first, second].map((status) => status.members.map(({ server }) => server));
    for (const [index, server] of (elsewhere[0] ?? []).entries()) {
      expect([server, elsewhere[1]?.[index]]).toEqual(
        server === undefined ? [undefined, a.address] : [b.address, undefined],
      );
    }
    expect(second.links).toEqual(first.links);
    expect(first.members.map(({ address }) => address).sort()).toEqual(members.map(({ address }) => address).sort());
  });

  it.each(["SIGKILL", "SIGTERM"] as const)(
    "lose one by %s: its members go on at the other within seconds, no link moves, and joins go on",
    async (signal) => {
      const [a, b] = await startTwo(`/lose-${signal}`);
      const members = await startMembers([a, b]);
      a.server.kill(signal);
      for (const { member } of members.slice(0, 2)) {
        expect(await eventOf(member, "server:back")).toMatchObject({ server: b.address });
      }
      await eventOf(b.server, "server:gone", ({ address }) => address === a.address);
      const late = await joinAt(b.address);
      await eventOf(late.member, "complete", (line) => line.members === 5);
      expect(await statusAt(b.address)).toMatchObject({ complete: true, links: { expected: 10, up: 10 } });
      const { members: listed } = await statusAt(b.address);
      expect(listed.map(({ state }) => state)).toEqual(Array(5).fill("member"));
      for (const { member } of members) {
        expect(eventsOf(member, "unlink", "unreachable", "relink", "fenced")).toEqual([]);
      }
      expect(eventsOf(b.server, "lost", "left")).toEqual([]);
    },
    60_000,
  );

  it("remove a member that dies at either of them", async () => {
    const [a, b] = await startTwo("/dies");
    const members = await startMembers([a, b]);
    const [first, , third] = members;
    first?.member.kill("SIGKILL");
    for (const { server } of [a, b]) await eventOf(server, "lost", ({ address }) => address === first?.address);
    third?.member.kill("SIGTERM");
    for (const { server } of [a, b]) await eventOf(server, "left", ({ address }) => address === third?.address);
    expect((await statusAt(a.address)).members).toHaveLength(2);
    expect((await statusAt(b.address)).members).toHaveLength(2);
  });

  it("have one capacity, and end together", async () => {
    const [a, b] = await startTwo("/capacity", ["--capacity", "3"]);
    const members = await Promise.all([a, b, a].map(({ address }) => joinAt(address)));
    for (const { member } of members) expect(await member.exited()).toMatchObject({ code: 0 });
    for (const { server } of [a, b]) {
      expect(await server.exited()).toMatchObject({ code: 0 });
      expect(eventsOf(server, "teardown")).toMatchObject([{ members: 3, links: 3, missing: [] }]);
    }
  });

  it("take the place of a server without a store: no link ends, no message is lost, and orders and tokens go on rising", async () => {
    const alone = await startServer();
    const members = await Promise.all([0, 1, 2].map(() => SendingMember.join(alone.address)));
    const nodes = members.map(({ node }) => node);
    await Promise.all(nodes.map((node) => node.complete({ size: 3 })));
    const [holder, next] = nodes as [MeshNode, MeshNode];
    const claim = await holder.claim("job");
    const orders = nodes.map(({ order }) => Number(order));
    alone.server.kill();
    await alone.server.exited();
    const store = ["--store", etcd.url("/grown")];
    const first = fullmesh(["serve", "--json", "--listen", alone.address, ...store]);
    await eventOf(first, "gathered");
    const [second, third] = [await startServer(store), await startServer(store)];
    const late = await SendingMember.join(third.address);
    await Promise.all([...nodes, late.node].map((node) => node.complete({ size: 4 })));
    expect(nodes.map(({ order }) => order)).toEqual(orders);
    expect(late.node.order).toBeGreaterThan(Math.max(...orders));
    expect((await statusAt(second.address)).members.map(({ order }) => order).slice(0, 3)).toEqual([...orders].sort());
    expect(claim.isHeld).toBe(true);
    claim.release();
    expect((await next.claim("job")).token).toBeGreaterThan(claim.token);
    for (const member of [...members, late]) member.stop();
    for (const member of [...members, late]) await member.expectAllArrived();
  });
});

describe.skipIf(!hasEtcd)("three servers that share three etcd", () => {
  it("are stopped and started one by one, and no link moves", async () => {
    const etcd = await EtcdCluster.start({ size: 3 });
    onTestFinished(() => etcd.stop());
    const store = ["--store", etcd.url()];
    const servers = [await startServer(store), await startServer(store), await startServer(store)];
    const members = await Promise.all(servers.map(({ address }) => joinAt(address)));
    await Promise.all(members.map(({ member }) => eventOf(member, "complete", (line) => line.members === 3)));
    for (const { server, address } of servers) {
      server.kill();
      await server.exited();
      const next = fullmesh(["serve", "--json", "--listen", address, ...store]);
      await eventOf(next, "listening");
      const late = await joinAt(address);
      late.member.kill();
      await late.member.exited();
    }
    for (const { member } of members) {
      const strangers = eventsOf(member, "unlink").filter(({ reason }) => reason !== "left");
      expect([strangers, eventsOf(member, "fenced", "unreachable")]).toEqual([[], []]);
    }
    for (const { member } of members) expect(eventsOf(member, "server:lost").length).toBeGreaterThanOrEqual(1);
  }, 90_000);
});
