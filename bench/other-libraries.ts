import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { promisify } from "node:util";
import { FullmeshError } from "../src/core/errors.js";
import type { StartServer } from "./program-run.js";

/** Other libraries that carry messages between processes. */

/** A program that does the jobs `one-way`, `request` and `broadcast` with another library. */
export interface LibraryProgram {
  readonly name: string;
  readonly program: URL;
  readonly startServer?: StartServer;
}

/** The libraries that can be measured on this machine. */
export interface OtherLibraries {
  readonly programs: readonly LibraryProgram[];
  readonly versions: Readonly<Record<string, string>>;
  /** Which ones are left out, and why. */
  readonly notes: readonly string[];
}

/** Without the flag, none are measured. */
export const noLibraries: OtherLibraries = {
  programs: [],
  versions: {},
  notes: ["ws and NATS are left out; `--other-libraries` measures them"],
};

/** Where the programs and their packages are. */
const folder = new URL("../../bench/other-libraries/", import.meta.url);

/** How long npm may take to install two small packages. */
const installMs = 120_000;

/** Debian installs it in /usr/sbin, which is not in every PATH. */
const serverPaths = ["nats-server", "/usr/sbin/nats-server"];

const run = promisify(execFile);

/**
 * Installs the packages into `bench/other-libraries/node_modules` unless they are there, and finds which libraries can be
 * measured.
 *
 * @throws {FullmeshError} `CHILD_FAILED` if npm cannot install them
 */
export async function findLibraries(signal: AbortSignal): Promise<OtherLibraries> {
  if (!existsSync(new URL("node_modules/.package-lock.json", folder))) await install(signal);
  const ws = { name: "ws", program: new URL("ws.mjs", folder) };
  const versions = { ws: versionOf("ws") };
  const server = await natsServer();
  if (server === undefined) {
    return { programs: [ws], versions, notes: ["NATS is left out: there is no nats-server on this machine"] };
  }
  const nats = { name: "nats", program: new URL("nats.mjs", folder), startServer: natsStarter(server.path) };
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
      // Not installed there, or not executable.
    }
  }
  return undefined;
}

/** The server reports its port only in its log, so it gets a free one. Its clients retry until it listens. */
function natsStarter(path: string): StartServer {
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
