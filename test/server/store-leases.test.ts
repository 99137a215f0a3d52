import { describe, expect, it, onTestFinished } from "vitest";
import { type EventLine, eventOf, startServer } from "../cli/command-line.js";
import { EtcdCluster } from "../support/etcd.js";
import { findTool } from "../support/tools.js";
import { eventsOf, type JoinedMember, joinAt, known, listedAt, type Server, whole } from "./members.js";

const hasEtcd = findTool("etcd") !== undefined;
/** The shortest times with which who dies is found out: seconds. */
const [silent, lease] = [2, 4];

describe.skipIf(!hasEtcd)("two servers with members of short leases", () => {
  const short = ["--silent", String(silent)];

  async function start(): Promise<{
    readonly etcd: EtcdCluster;
    readonly a: Server;
    readonly b: Server;
    readonly members: JoinedMember[];
  }> {
    const etcd = await EtcdCluster.start();
    onTestFinished(() => etcd.stop());
    const args = ["--store", etcd.url(), "--lease", String(lease), ...short];
    const [a, b] = [await startServer(args), await startServer(args)];
    await known(a, b);
    const members = await Promise.all([a, a, b, b].map(({ address }) => joinAt(address, short)));
    await whole(members);
    return { etcd, a, b, members };
  }

  /**
   * Somebody hangs, and both servers find that out: that takes a whole lease, so whoever were to be lost for what was before
   * would be lost by then.
   */
  async function expectOnlyLost(
    hanging: JoinedMember,
    servers: readonly Server[],
    members: readonly JoinedMember[],
  ): Promise<void> {
    hanging.member.kill("SIGSTOP");
    for (const { server } of servers) await eventOf(server, "lost", ({ address }) => address === hanging.address);
    for (const { server } of servers)
      expect(eventsOf(server, "lost", "left").map(({ address }) => address)).toEqual([hanging.address]);
    const rest = members.filter((member) => member !== hanging).map(({ address }) => address);
    for (const server of servers) expect((await listedAt(server)).sort()).toEqual([...rest].sort());
  }

  it("lose nobody when the store is away until every lease has run out, and lose who dies then", async () => {
    const { etcd, a, b, members } = await start();
    const [storeMember] = etcd.members;
    storeMember?.pause();
    for (const { server } of [a, b]) await eventOf(server, "store:lost");
    // Longer than the lease of a server and that of a member.
    await new Promise((resolve) => setTimeout(resolve, 8_000));
    storeMember?.resume();
    for (const { server } of [a, b]) await eventOf(server, "store:back");
    await Promise.all(members.map(({ member }) => eventOf(member, "server:back")));
    await expectOnlyLost(members[0] as JoinedMember, [a, b], members);
  });

  it("lose nobody when one of them hangs for longer than its lease, and wakes", async () => {
    const { a, b, members } = await start();
    b.server.kill("SIGSTOP");
    await eventOf(a.server, "server:gone", ({ address }) => address === b.address);
    for (const { member } of members.slice(2))
      expect(await eventOf(member, "server:back")).toMatchObject({ server: a.address });
    b.server.kill("SIGCONT");
    const wakes = ({ address }: EventLine): boolean => address === b.address;
    const again = (): boolean => eventsOf(a.server, "server:joined").filter(wakes).length > 1;
    await a.server.line(again, "that the other server is there again");
    const late = await joinAt(b.address, short);
    await whole([...members, late]);
    await expectOnlyLost(members[0] as JoinedMember, [a, b], [...members, late]);
    for (const { member } of members.slice(1)) expect(eventsOf(member, "fenced")).toEqual([]);
  });
});
