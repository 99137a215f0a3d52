import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { promisify } from "node:util";
import { FullmeshError } from "../src/core/errors.js";
import type { StartServer } from "./program-run.js";

/** Other libraries that carry messages between processes. */

/** A program that does the jobs `one-way` and `request` with another library. */
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
  notes: ["ws, NATS, ZeroMQ and Erlang are left out; `--other-libraries` measures them"],
};

/** Where the programs and their packages are. */
const folder = new URL("../../bench/other-libraries/", import.meta.url);

/** How long npm may take to install a few packages, one of which has 40 MB of native code. */
const installMs = 120_000;
/** How long a program may take to say its version. */
const versionMs = 10_000;

/** Debian installs it in /usr/sbin, which is not in every PATH. */
const natsServerPaths = ["nats-server", "/usr/sbin/nats-server"];
/** From this release on, nodes can find one another without epmd. */
const oldestOtp = 24;

const run = promisify(execFile);

/**
 * Installs the packages into `bench/other-libraries/node_modules` unless they are there, and finds which libraries can be
 * measured. What is no npm package is used if the machine has it.
 *
 * @throws {FullmeshError} `CHILD_FAILED` if npm cannot install them
 */
export async function findLibraries(signal: AbortSignal): Promise<OtherLibraries> {
  if (!isInstalled()) await install(signal);
  const found = [ws(), await nats(), await zeromq(), await erlang()];
  return {
    programs: found.flatMap((of) => (typeof of === "string" ? [] : [of.library])),
    versions: Object.assign({}, ...found.map((of) => (typeof of === "string" ? {} : of.versions))),
    notes: found.filter((of) => typeof of === "string"),
  };
}

/** A library that can be measured, or a note why it is left out. */
type Found = { readonly library: LibraryProgram; readonly versions: Readonly<Record<string, string>> } | string;

function ws(): Found {
  return { library: { name: "ws", program: programOf("ws") }, versions: { ws: versionOf("ws") ?? "" } };
}

async function nats(): Promise<Found> {
  for (const path of natsServerPaths) {
    const version = await outputOf(path, ["--version"]);
    if (version === undefined) continue;
    const versions = { nats: versionOf("nats") ?? "", "nats-server": version.replace(/^\D*/, "") };
    return { library: { name: "nats", program: programOf("nats"), startServer: natsStarter(path) }, versions };
  }
  return "NATS is left out: there is no nats-server on this machine";
}

async function zeromq(): Promise<Found> {
  const script = "import { version } from 'zeromq'; console.log(version)";
  const version = await outputOf(process.execPath, ["--input-type=module", "-e", script]);
  if (version === undefined) return "ZeroMQ is left out: the package has no native code for this machine";
  const versions = { zeromq: versionOf("zeromq") ?? "", libzmq: version };
  return { library: { name: "zeromq", program: programOf("zeromq") }, versions };
}

async function erlang(): Promise<Found> {
  const script = "io:put_chars(erlang:system_info(otp_release)), halt().";
  const release = await outputOf("erl", ["-noshell", "-boot", "no_dot_erlang", "-eval", script]);
  if (release === undefined) return "Erlang is left out: there is no erl on this machine";
  if (Number(release) < oldestOtp) return `Erlang is left out: OTP ${release} is older than ${oldestOtp}`;
  return { library: { name: "erlang", program: programOf("erlang") }, versions: { "Erlang/OTP": release } };
}

function programOf(name: string): URL {
  return new URL(`${name}.mjs`, folder);
}

function isInstalled(): boolean {
  const { dependencies } = JSON.parse(readFileSync(new URL("package.json", folder), "utf8")) as {
    readonly dependencies: Readonly<Record<string, string>>;
  };
  return Object.entries(dependencies).every(([name, version]) => versionOf(name) === version);
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

/** The version of an installed package; undefined if it is not installed. */
function versionOf(name: string): string | undefined {
  const manifest = new URL(`node_modules/${name}/package.json`, folder);
  if (!existsSync(manifest)) return undefined;
  return (JSON.parse(readFileSync(manifest, "utf8")) as { readonly version: string }).version;
}

/** What a command prints, run among the packages; undefined if it is not installed or fails. */
async function outputOf(command: string, args: readonly string[]): Promise<string | undefined> {
  try {
    return (await run(command, args, { cwd: folder, timeout: versionMs })).stdout.trim();
  } catch {
    return undefined;
  }
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
