import { readdirSync, statSync } from "node:fs";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import {
  type JoinOptions,
  join,
  type ListeningServer,
  type MeshNode,
  makeSecret,
  MeshNode as Node,
  RendezvousServer,
  type ServeOptions,
  serve,
} from "../../src/index.js";
import { privateFolder } from "../support/folders.js";

let folder: string;
let at: string;

beforeEach(() => {
  folder = privateFolder();
  at = `unix:${folder}/mesh.sock`;
});

async function serveLocally(options: ServeOptions = {}): Promise<ListeningServer> {
  const server = await serve({ listen: at, logger: false, ...options });
  onTestFinished(() => server.close());
  return server;
}

async function member(options: JoinOptions = {}): Promise<MeshNode> {
  const node = await join(at, { logger: false, ...options });
  onTestFinished(() => node.leave());
  return node;
}

describe.each([
  ["in the open", undefined],
  ["with a secret", makeSecret()],
])("a mesh on local sockets, %s", (_, secret) => {
  const keyed = secret === undefined ? {} : { secret };

  test("has members that listen beside their server, and are linked", async () => {
    const server = await serveLocally(keyed);
    expect(server.address).toBe(at);
    const nodes = await Promise.all([1, 2, 3].map(() => member(keyed)));
    await Promise.all(nodes.map((node) => node.complete({ size: 3 })));
    for (const node of nodes) {
      expect(node.address).toMatch(new RegExp(`^unix:${folder}/m-[0-9a-f]{8}\\.sock$`));
      expect(statSync(String(node.address).slice("unix:".length)).mode & 0o7777).toBe(0o600);
      expect(node.peers.map(({ state }) => state)).toEqual(["up", "up"]);
    }
    expect(readdirSync(folder)).toHaveLength(4);
    await Promise.all(nodes.map((node) => node.leave()));
    await server.close();
    expect(readdirSync(folder)).toEqual([]);
  });

  test("carries requests, and bytes of several frames", async () => {
    await serveLocally(keyed);
    const [one, two] = [await member(keyed), await member(keyed)];
    await one.complete({ size: 2 });
    const [peer] = one.peers;
    if (peer === undefined) throw new Error("there is no peer");
    two.onRequest("size", (payload) => (payload as Uint8Array).length);
    expect(await one.request(peer, "size", new Uint8Array(2 ** 19))).toBe(2 ** 19);
  });
});

test("a member listens where it is told, on local sockets too", async () => {
  await serveLocally();
  const own = `unix:${folder}/own/a.sock`;
  expect((await member({ listen: own })).address).toBe(own);
  const other = await member();
  await other.complete({ size: 2 });
  expect(other.peers.map(({ address }) => address)).toEqual([own]);
});

test("the steps take a local socket in place of an IP", async () => {
  const server = new RendezvousServer({ logger: false });
  onTestFinished(() => server.close());
  await server.initSocket(at);
  expect(await server.sockListen()).toBe(at);
  const node = new Node({ logger: false });
  onTestFinished(() => node.leave());
  expect(await node.connectToServer(at)).toEqual({ path: "" });
  await node.initListeningSocket(`unix:${folder}/a.sock`);
  expect(await node.sockListen()).toBe(`unix:${folder}/a.sock`);
  await node.registerWithServer();
  expect(node.rank).toBe(0);
});

test("needs no secret and no `insecure`", async () => {
  await serveLocally({ insecure: false });
  await member({ insecure: false });
});

test("a server that has ended is looked for, and found again, while links stay", async () => {
  const server = await serveLocally();
  const [one, two] = [await member(), await member()];
  await one.complete({ size: 2 });
  const back = new Promise((resolve) => one.once("server:back", resolve));
  const lost: unknown[] = [];
  for (const node of [one, two]) node.on("peer:down", (peer) => lost.push(peer));
  await server.close();
  await serveLocally();
  await back;
  await one.complete({ size: 2 });
  expect(lost).toEqual([]);
});

describe("a mesh is all on local sockets or not at all", () => {
  test("several servers of both kinds are refused at once", async () => {
    await expect(join(`${at},127.0.0.1:4000`)).rejects.toMatchObject({ code: "LOCAL_MIX" });
    await expect(join(["127.0.0.1:4000", at])).rejects.toMatchObject({ code: "LOCAL_MIX" });
  });

  test.each<[string, JoinOptions]>([
    ["listen", { listen: "127.0.0.1:0" }],
    ["advertise", { advertise: "127.0.0.1:4001" }],
  ])("a member that is to %s over TCP is refused before it dials", async (_, options) => {
    await expect(join(at, options)).rejects.toMatchObject({ code: "LOCAL_MIX" });
  });

  test("a member of a server over TCP that is to listen on a local socket is refused before it dials", async () => {
    const mix = { code: "LOCAL_MIX", message: `the server is reached over TCP, and ${at} is not` };
    await expect(join("127.0.0.1:1", { listen: at })).rejects.toMatchObject(mix);
    await expect(join("127.0.0.1:1", { advertise: at })).rejects.toMatchObject(mix);
  });

  test("a classic member is told that it has to be native", async () => {
    await expect(join(at, { dialect: "classic" })).rejects.toMatchObject({
      code: "BAD_OPTION",
      message: expect.stringContaining("native with a server on a local socket"),
    });
  });
});

test("a folder that is not this user's alone is refused by who listens and by who connects", async () => {
  const open = "unix:/usr/mesh.sock";
  await expect(serve({ listen: open, logger: false })).rejects.toMatchObject({ code: "UNSAFE_FOLDER" });
  await expect(join(open, { logger: false })).rejects.toMatchObject({ code: "UNSAFE_FOLDER" });
});

test.each([
  ["no path", "unix:"],
  ["a relative path", "unix:mesh.sock"],
  ["a folder", "unix:/run/"],
  ["the folder above", "unix:/run/../mesh.sock"],
])("%s is refused as an address", async (_, address) => {
  await expect(serve({ listen: address })).rejects.toMatchObject({ code: "BAD_OPTION" });
  await expect(join(address)).rejects.toMatchObject({ code: "BAD_OPTION" });
});

test("a path that is too long is refused with PATH_TOO_LONG, also where it would be the default", async () => {
  const long = `unix:/${"a".repeat(107)}`;
  await expect(serve({ listen: long })).rejects.toMatchObject({ code: "PATH_TOO_LONG" });
  await expect(join(long)).rejects.toMatchObject({ code: "PATH_TOO_LONG" });
  at = `unix:${folder}/${"d".repeat(95 - folder.length)}/mesh.sock`;
  await serveLocally();
  await expect(join(at, { logger: false })).rejects.toMatchObject({ code: "PATH_TOO_LONG" });
});
