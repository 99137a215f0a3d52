import { expect, it, onTestFinished } from "vitest";
import { serve } from "../../src/index.js";
import { privateFolder } from "../support/folders.js";
import { StartedProcess } from "../support/processes.js";

const entry = new URL("../../dist/src/index.js", import.meta.url).href;
const program = new URL("../support/cluster.mjs", import.meta.url).pathname;
const size = 3;

/** What each worker says of itself. */
interface Said {
  readonly address?: string;
  readonly peers?: readonly string[];
  readonly code?: string;
}

/** A primary and its workers, all of which join; `listen`: where each of them is to listen. */
async function workersOf(listen?: (server: string) => string, on = "127.0.0.1:0"): Promise<Said[]> {
  const server = await serve({ listen: on, allowAdvertise: ["127.0.0.0/8"] });
  onTestFinished(() => server.close());
  const address = String(server.address);
  const args = [program, entry, address, String(size), ...(listen === undefined ? [] : [listen(address)])];
  const primary = new StartedProcess(process.execPath, args);
  onTestFinished(() => primary.stop());
  await primary.line(() => primary.lines.length === size, "what each worker has come to");
  return primary.lines.map((line): Said => JSON.parse(line));
}

it("workers of node:cluster join one mesh, each with a port of its own", async () => {
  const workers = await workersOf();
  const addresses = workers.map(({ address }) => address);
  expect(new Set(addresses).size).toBe(size);
  for (const { address, peers } of workers) {
    expect([...(peers ?? []), address].sort()).toEqual([...addresses].sort());
  }
});

it("workers of node:cluster on local sockets join one mesh, each with a socket of its own", async () => {
  const workers = await workersOf(undefined, `unix:${privateFolder()}/mesh.sock`);
  const addresses = workers.map(({ address }) => address);
  expect(new Set(addresses).size).toBe(size);
  for (const { peers } of workers) expect(peers).toHaveLength(size - 1);
});

it("workers of node:cluster that are given one local socket are told that it is in use, all but one", async () => {
  const folder = privateFolder();
  const workers = await workersOf(() => `unix:${folder}/one.sock`, `unix:${folder}/mesh.sock`);
  expect(workers.map(({ code }) => code ?? "joined").sort()).toEqual(["PATH_IN_USE", "PATH_IN_USE", "joined"]);
});

it("workers of node:cluster that are given one port are told that it is in use, all but one", async () => {
  // The server's own port but on another loopback address: nobody else has it.
  const workers = await workersOf((server) => server.replace("127.0.0.1", "127.0.0.2"));
  expect(workers.map(({ code }) => code ?? "joined").sort()).toEqual(["PORT_IN_USE", "PORT_IN_USE", "joined"]);
});
