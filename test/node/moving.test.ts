import { expect, type TestContext, test } from "vitest";
import { secret } from "../nodejs/connection-ends.js";
import { Hosts } from "../support/namespaces.js";
import type { StartedProcess } from "../support/processes.js";
import { requireHosts } from "../support/tools.js";

const entry = new URL("../../dist/src/index.js", import.meta.url).href;
const program = new URL("../support/event-printer.mjs", import.meta.url).pathname;
/** Quick to notice that somebody is gone. */
const limits = { probeMs: 500, silentMs: 2_000, leaseMs: 4_000, challengeMs: 2_000 };

interface Happening {
  readonly type: string;
  readonly address?: string;
  readonly peers?: readonly string[];
  readonly reason?: string;
  readonly code?: string;
  readonly message?: string;
}

/** Waits until this has happened to a process. */
async function happening(
  who: StartedProcess,
  meaning: string,
  isIt: (happening: Happening) => boolean,
): Promise<Happening> {
  return JSON.parse(await who.line((line) => isIt(JSON.parse(line)), meaning, 50_000));
}

/** A server, a member that stays, and one whose machine is about to get another address. */
async function movingMesh(context: TestContext, options: object) {
  requireHosts(context);
  const hosts = new Hosts("server", "stays", "moves");
  context.onTestFinished(() => hosts.remove());
  const serveOptions = JSON.stringify({ listen: "10.77.0.1:0", secret, limits });
  const server = hosts.run("server", [program, entry, "serve", serveOptions]);
  const { address = "" } = await happening(server, "where it listens", ({ type }) => type === "listening");
  const member = (host: string, size: number, more = {}): StartedProcess =>
    hosts.run(host, [program, entry, address, JSON.stringify({ secret, limits, size, ...more })]);
  const stays = member("stays", 2);
  await happening(stays, "that it is in", ({ type }) => type === "registered");
  const moves = member("moves", 2, options);
  await happening(moves, "that the mesh is whole", ({ type }) => type === "complete");
  hosts.readdress("moves", "10.77.0.3", "10.77.0.33");
  return { moves, member };
}

test("a member whose machine gets another address is back under it, and the mesh is whole with all that are there", async (context) => {
  const { moves, member } = await movingMesh(context, {});
  const back = await happening(moves, "its new address", ({ type, address }) => {
    return type === "registered" && address?.startsWith("10.77.0.33:") === true;
  });
  const fenced = await happening(moves, "why", ({ type }) => type === "fenced");
  expect(fenced.reason).toContain("from 10.77.0.3 to 10.77.0.33");
  const newcomer = member("stays", 3);
  const { peers = [] } = await happening(newcomer, "that the mesh is whole", ({ type }) => type === "complete");
  expect(peers).toContain(back.address);
  expect(peers.filter((peer) => peer.startsWith("10.77.0.3:"))).toEqual([]);
});

test("a member that was told where to listen ends with the server's code when its machine gets another address", async (context) => {
  const { moves, member } = await movingMesh(context, { listen: "10.77.0.3:7000" });
  const end = await happening(moves, "why it has ended", ({ type }) => type === "failed");
  expect(end.code).toBe("REFUSED");
  expect(end.message).toMatch(/^(ADDRESS_UNPROVED: 10\.77\.0\.3:7000|FENCED)/);
  await happening(
    moves,
    "what the server has said",
    ({ type, code }) => type === "note" && code === "ADDRESS_UNPROVED",
  );
  const newcomer = member("stays", 2);
  const { peers = [] } = await happening(newcomer, "that the mesh is whole", ({ type }) => type === "complete");
  expect(peers).toHaveLength(1);
});
