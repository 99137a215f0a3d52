import { expect, type TestContext, test } from "vitest";
import { LoadedMember, loadedMemberArgs } from "../../proof/loaded-mesh.js";
import { secret } from "../nodejs/connection-ends.js";
import { Hosts } from "../support/namespaces.js";
import { requireHosts, requireTool } from "../support/tools.js";

const entry = new URL("../../dist/bundle/index.js", import.meta.url).href;
const program = new URL("../support/event-printer.mjs", import.meta.url).pathname;

/** Quick to notice that somebody is gone, and to try another way. */
const limits = { probeMs: 500, silentMs: 2_000, leaseMs: 6_000, openingMs: 1_000, dialMs: 1_500 };

/** A server and three members under load, each on a host of its own; the first cannot dial the last, for good. */
async function hinderedMesh(context: TestContext): Promise<{ hosts: Hosts; members: LoadedMember[] }> {
  requireHosts(context);
  requireTool(context, "nft");
  const hosts = new Hosts("server", "first", "middle", "last");
  context.onTestFinished(() => hosts.remove());
  const server = `${hosts.address("server")}:4000`;
  hosts.run("server", [program, entry, "serve", JSON.stringify({ listen: server, secret, limits })]);
  hosts.forbidDialing("first", "last");
  const members: LoadedMember[] = [];
  for (const name of ["first", "middle", "last"]) {
    const args = loadedMemberArgs(server, { secret, limits, name });
    const member = new LoadedMember(hosts.run(name, args, { hasStdin: true }));
    await member.nth("registered");
    members.push(member);
  }
  return { hosts, members };
}

test("a mesh whose earlier member cannot dial a later one is whole by that one's dial, and whole again after a cut", async (context) => {
  const { hosts, members } = await hinderedMesh(context);
  await Promise.all(members.map((member) => member.complete(3)));
  for (const member of members) member.forget();

  hosts.cut("first", "last");
  const [first, middle, last] = members as [LoadedMember, LoadedMember, LoadedMember];
  await Promise.all([first.nth("peer:unreachable"), last.nth("peer:unreachable")]);
  hosts.mend("first", "last");
  await Promise.all([first.nth("peer:back"), last.nth("peer:back")]);
  await Promise.all(members.map((member) => member.complete(3)));

  const types = new Set(["peer:unreachable", "peer:down", "fenced"]);
  const disturbances = (member: LoadedMember): string[] =>
    member.happenings.map(({ type }) => type).filter((type) => types.has(type));
  expect([first, middle, last].map(disturbances)).toEqual([["peer:unreachable"], [], ["peer:unreachable"]]);
  const reports = await Promise.all(members.map((member) => member.report()));
  expect(reports.map(({ rank }) => rank)).toEqual([0, 1, 2]);
  expect(reports.flatMap(({ faults }) => faults)).toEqual([]);
});
