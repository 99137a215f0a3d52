import { setTimeout as pause } from "node:timers/promises";
import { afterAll, expect, type TestContext, test } from "vitest";
import { type Happening, LoadedMember, loadedMemberArgs } from "../../proof/loaded-mesh.js";
import { secret } from "../nodejs/connection-ends.js";
import { Hosts } from "../support/namespaces.js";
import type { StartedProcess } from "../support/processes.js";
import { requireHosts } from "../support/tools.js";

const entry = new URL("../../dist/bundle/index.js", import.meta.url).href;
const program = new URL("../support/event-printer.mjs", import.meta.url).pathname;
const names = ["m0", "m1", "m2", "m3", "m4"] as const;
const port = 4000;

/** Seven times as quick as by default to notice that somebody is gone. */
const limits = {
  probeMs: 500,
  silentMs: 2_000,
  leaseMs: 3_000,
  challengeMs: 1_500,
  dialMs: 1_500,
  degradedMs: 500,
  serverRedialMaxMs: 500,
};

/** Longer than a lease. It is the time itself that is tested. */
const longMs = 3_500;

/** A server, and members under load, each on a host of its own. */
class HostedMesh {
  readonly hosts = new Hosts("server", ...names);
  readonly members: LoadedMember[];
  server: StartedProcess;

  constructor() {
    this.server = this.#serve();
    this.members = names.map((name) => this.add(name));
  }

  add(host: string): LoadedMember {
    const server = `${this.hosts.address("server")}:${port}`;
    const args = loadedMemberArgs(server, { secret, limits, name: host });
    return new LoadedMember(this.hosts.run(host, args, { hasStdin: true }));
  }

  /** Cuts these hosts off from those, in both directions. */
  cut(some: readonly string[], others: readonly string[]): void {
    for (const [one, other] of pairs(some, others)) {
      this.hosts.cut(one, other);
      this.hosts.cut(other, one);
    }
  }

  /** Undoes `cut`. */
  mend(some: readonly string[], others: readonly string[]): void {
    for (const [one, other] of pairs(some, others)) {
      this.hosts.mend(one, other);
      this.hosts.mend(other, one);
    }
  }

  /** Kills the server, and starts one that knows nothing. */
  async restartServer(): Promise<void> {
    await this.server.stop();
    this.server = this.#serve();
  }

  #serve(): StartedProcess {
    const options = { listen: `${this.hosts.address("server")}:${port}`, secret, limits };
    return this.hosts.run("server", [program, entry, "serve", JSON.stringify(options)]);
  }
}

/** One mesh for all tests of this file, which leave it as they found it: to start one takes longer than most of them. */
let shared: HostedMesh | undefined;
afterAll(() => shared?.hosts.remove());

/** The mesh, whole, with nothing that has happened before. */
async function wholeMesh(context: TestContext): Promise<HostedMesh> {
  requireHosts(context);
  shared ??= new HostedMesh();
  await whole(shared.members);
  for (const member of shared.members) member.forget();
  return shared;
}

/** Resolves when the server says to each of these that the mesh is whole with them. */
async function whole(members: readonly LoadedMember[]): Promise<void> {
  await Promise.all(members.map((member) => member.complete(members.length)));
}

function pairs(some: readonly string[], others: readonly string[]): (readonly [one: string, other: string])[] {
  return some.flatMap((one) => others.map((other) => [one, other] as const));
}

/** What has happened to the links and identities of these members. */
function disturbances(members: readonly LoadedMember[]): string[] {
  const types = new Set(["peer:down", "peer:unreachable", "fenced"]);
  return members.flatMap(({ happenings }) => happenings.map(({ type }) => type).filter((type) => types.has(type)));
}

/** Messages that were lost or repeated at these members. */
async function faultsOf(members: readonly LoadedMember[]): Promise<string[]> {
  const reports = await Promise.all(members.map((member) => member.report()));
  return reports.flatMap(({ faults }) => faults);
}

for (const [meaning, cuts] of [
  ["both ways", ["m1 m3", "m3 m1"]],
  ["one way", ["m3 m1"]],
] as const) {
  test(`a network that is cut between two members only, ${meaning}: exactly this pair is named, and no other link moves`, async (context) => {
    const { hosts, members } = await wholeMesh(context);
    const before = await Promise.all(members.map((member) => member.report()));
    const [first, one, middle, other, last] = members as [
      LoadedMember,
      LoadedMember,
      LoadedMember,
      LoadedMember,
      LoadedMember,
    ];
    const ways = cuts.map((cut) => cut.split(" ") as [string, string]);
    for (const [from, to] of ways) hosts.cut(from, to);
    const told = await Promise.all(members.map((member) => member.nth("degraded")));
    for (const [from, to] of ways) hosts.mend(from, to);
    for (const { count, missing } of told) {
      expect(count).toBe(1);
      expect(names.filter((name) => JSON.stringify(missing).includes(`${hosts.address(name)}:`))).toEqual(["m1", "m3"]);
    }
    await Promise.all([one.nth("peer:back"), other.nth("peer:back")]);
    await whole(members);
    expect(disturbances([first, middle, last])).toEqual([]);
    expect(disturbances([one, other])).toEqual(["peer:unreachable", "peer:unreachable"]);
    const after = await Promise.all(members.map((member) => member.report()));
    expect(after.map(({ reconnects }, index) => reconnects - (before[index]?.reconnects ?? 0))).toEqual([
      0, 1, 0, 1, 0,
    ]);
    expect(await faultsOf(members)).toEqual([]);
  });
}

test("a server whose cable is out for longer than a lease: no link moves, nobody is lost, and all have it back", async (context) => {
  const { hosts, members, server } = await wholeMesh(context);
  hosts.unplug("server");
  await Promise.all(members.map((member) => member.nth("server:lost")));
  await pause(longMs);
  hosts.plug("server");
  await Promise.all(members.map((member) => member.nth("server:back")));
  await whole(members);
  expect(disturbances(members)).toEqual([]);
  expect(lost(server)).toEqual([]);
  expect(await faultsOf(members)).toEqual([]);
});

test("a member that is cut off from the server only, while that starts again with nothing: no link moves", async (context) => {
  const mesh = await wholeMesh(context);
  mesh.cut(["server"], ["m2"]);
  await mesh.restartServer();
  const [cutOff] = mesh.members.splice(2, 1) as [LoadedMember];
  await Promise.all(mesh.members.map((member) => member.nth("server:back")));
  await pause(longMs);
  mesh.mend(["server"], ["m2"]);
  await cutOff.nth("server:back");
  mesh.members.splice(2, 0, cutOff);
  await whole(mesh.members);
  expect(disturbances(mesh.members)).toEqual([]);
  expect(lost(mesh.server)).toEqual([]);
  expect(await faultsOf(mesh.members)).toEqual([]);
});

test("two groups that reach the server, but not one another: no link within them moves, and nobody is lost", async (context) => {
  const mesh = await wholeMesh(context);
  const { members } = mesh;
  mesh.cut(["m0", "m1"], ["m2", "m3", "m4"]);
  for (const member of members.slice(0, 2)) await member.nth("peer:unreachable", 3);
  for (const member of members.slice(2)) await member.nth("peer:unreachable", 2);
  mesh.mend(["m0", "m1"], ["m2", "m3", "m4"]);
  await whole(members);
  expect(disturbances(members)).toEqual(Array(12).fill("peer:unreachable"));
  expect(await faultsOf(members)).toEqual([]);
});

test("a group that reaches neither the others nor the server for longer than a lease is lost, and joins again", async (context) => {
  const mesh = await wholeMesh(context);
  const { members } = mesh;
  mesh.cut(["server", "m0", "m1"], ["m2", "m3", "m4"]);
  for (const member of members.slice(0, 2)) await member.nth("peer:down", 3);
  mesh.mend(["server", "m0", "m1"], ["m2", "m3", "m4"]);
  for (const member of members.slice(2)) await member.nth("fenced");
  await whole(members);
  expect(disturbances(members.slice(0, 2))).not.toContain("fenced");
  expect(await faultsOf(members)).toEqual([]);
});

test("a host with two members that loses its power: both are lost, and the others are whole", async (context) => {
  const mesh = await wholeMesh(context);
  const { hosts, members, server } = mesh;
  const linesBefore = lost(server).length;
  members.push(mesh.add("m4"));
  await whole(members);
  const dead = members.splice(4);
  // The cable first: nothing that the system sends for a process that has ended leaves the host.
  hosts.unplug("m4");
  for (const { process } of dead) process.kill("SIGKILL");
  for (const member of members) await member.nth("peer:down", 2);
  await whole(members);
  expect(disturbances(members).toSorted()).toEqual([
    ...Array(8).fill("peer:down"),
    ...Array(8).fill("peer:unreachable"),
  ]);
  expect(lost(server)).toHaveLength(linesBefore + 2);
});

/** What the server has said of members that it has given up. */
function lost(server: StartedProcess): Happening[] {
  return server.lines.map((line) => JSON.parse(line) as Happening).filter(({ type }) => type === "lost");
}
