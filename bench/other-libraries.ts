import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { promisify } from "node:util";
import { FullmeshError } from "../src/core/errors.js";
import type { Meeting } from "./roles.js";

/** Other programs that carry messages between processes. */

/** One of them: a program that does the jobs `one-way`, `request` and `broadcast`, and the place where its processes meet. */
interface PeerProgram {
  readonly name: string;
  readonly program: URL;
  readonly meeting?: Meeting;
}

export type PeerPrograms = readonly PeerProgram[];

/** Those that can be measured here, and what is to be said of those that cannot. */
export interface OtherLibraries {
  readonly programs: PeerPrograms;
  readonly versions: Readonly<Record<string, string>>;
  readonly notes: readonly string[];
}

/** What there is when nobody has asked for them. */
export const noPeers: OtherLibraries = {
  programs: [],
  versions: {},
  notes: ["ws and NATS are left out: `--peers` measures them"],
};

/** Their programs, and what npm installs for them. */
const folder = new URL("../../bench/other-libraries/", import.meta.url);

/** How long npm may take to install two small packages. */
const installMs = 120_000;

/** Where Debian puts servers is not in everybody's path. */
const serverPaths = ["nats-server", "/usr/sbin/nats-server"];

const run = promisify(execFile);

/**
 * Installs what the peers need in `bench/other-libraries/node_modules`, unless that is there, and finds out which of them can be measured.
 *
 * @throws {FullmeshError} `CHILD_FAILED` if npm cannot install them
 */
export async function findPeers(signal: AbortSignal): Promise<OtherLibraries> {
  if (!existsSync(new URL("node_modules/.package-lock.json", folder))) await install(signal);
  const ws = { name: "ws", program: new URL("ws.mjs", folder) };
  const versions = { ws: versionOf("ws") };
  const server = await natsServer();
  if (server === undefined) {
    return { programs: [ws], versions, notes: ["NATS is left out: there is no nats-server on this machine"] };
  }
  const nats = { name: "nats", program: new URL("nats.mjs", folder), meeting: serverAt(server.path) };
  return {
    programs: [ws, nats],
    versions: { ...versions, nats: versionOf("nats"), "nats-server": server.version },
    notes: [],
  };
}

async function install(signal: AbortSignal): Promise<void> {
  try {
    await run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], {
      cwd: folder,
      timeout: installMs,
      signal,
    });
  } catch (error) {
    throw new FullmeshError("CHILD_FAILED", `npm ci in ${folder.pathname} failed: ${String(error)}`, { cause: error });
  }
}

function versionOf(name: string): string {
  const text = readFileSync(new URL(`node_modules/${name}/package.json`, folder), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}

async function natsServer(): Promise<{ readonly path: string; readonly version: string } | undefined> {
  for (const path of serverPaths) {
    try {
      const { stdout } = await run(path, ["--version"], { timeout: 5_000 });
      return { path, version: stdout.replace(/^\D*/, "").trim() };
    } catch {
      // It is not there, or cannot be run.
    }
  }
  return undefined;
}

/** The server says where it listens in its log only, so it is told; its clients try until it does. */
function serverAt(path: string): Meeting {
  return async ({ children }) => {
    const port = await freePort();
    children.spawn(path, ["--addr", "127.0.0.1", "--port", `${port}`]);
    return `127.0.0.1:${port}`;
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
