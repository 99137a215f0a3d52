import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { badOption, listenArguments, listenOption } from "../api/options.js";
import { waitWithin } from "../api/waiting.js";
import { defaultLimits, type Limits } from "../core/limits.js";
import type { Dialect } from "../protocol/directory.js";
import type { OnFull } from "../rendezvous/types.js";
import type { ServerOptions } from "../server/options.js";
import { RendezvousServer } from "../server/rendezvous-server.js";
import { type CommandContext, runCommand } from "./command.js";
import {
  type CommonFlags,
  flag,
  parseCount,
  parseSecondsOrZero,
  withCommonFlags,
  withDialectFlag,
  withInsecureFlag,
  withLeaseFlag,
  withSilentFlag,
} from "./flags.js";
import { secretFrom, withSecretFlag } from "./secret-source.js";
import { reportServer } from "./server-reporter.js";
import { notifySystemd } from "./systemd.js";
import { TraceFile } from "./trace-file.js";

interface ServeFlags extends CommonFlags {
  /** Seconds. */
  readonly silent?: number;
  /** Seconds. */
  readonly lease?: number;
  readonly insecure?: true;
  readonly listen: string;
  readonly capacity?: number;
  readonly onFull: OnFull;
  /** Seconds. */
  readonly settle?: number;
  /** Seconds. */
  readonly finish?: number;
  readonly dialect: Dialect | "any";
  readonly allowAdvertise?: readonly string[];
  readonly trace?: string;
  readonly http?: string;
  readonly httpHost?: readonly string[];
  readonly store?: string;
  readonly storeCa?: string;
  readonly storeCert?: string;
  readonly storeKey?: string;
  readonly advertise?: string;
}

/** Adds `fullmesh serve`. */
export function addServe(program: Command): void {
  const command = program
    .command("serve")
    .summary("start a rendezvous server")
    .description(
      "Starts a rendezvous server: processes register with it, learn of one another, and connect directly. " +
        "With a capacity, the mesh ends when it has that many members and every pair is linked. With --on-full release " +
        "only the server goes, with --on-full hold the mesh goes on, and newcomers wait.",
    )
    .addOption(
      flag(
        "--listen <address>",
        "where to listen: ip:port, port 0 for any free one, or a local socket, unix:/path",
      ).default("127.0.0.1:4000"),
    )
    .addOption(
      flag("--capacity <n>", "the most members of a mesh; without it 1,024, and no mesh ends by itself").argParser(
        (text) => parseCount("capacity", text),
      ),
    )
    .addOption(
      flag("--on-full <what>", "at capacity: end the mesh, leave it to its members and go, or make newcomers wait")
        .choices(["teardown", "release", "hold"])
        .default("teardown"),
    )
    .addOption(
      flag("--settle <seconds>", "from the last list at capacity to the teardown (default: 2)").argParser((text) =>
        parseSecondsOrZero("settle", text),
      ),
    )
    .addOption(
      flag(
        "--finish <seconds>",
        "from when the capacity is first reached until a mesh that is not complete ends with exit code 3 (default: 60)",
      ).argParser((text) => parseSecondsOrZero("finish", text)),
    )
    .addOption(
      flag(
        "--allow-advertise <cidr>",
        "a network whose addresses may be registered from elsewhere; repeat, or separate by commas",
      ).argParser((text, before: readonly string[] | undefined) => [...(before ?? []), ...text.split(",")]),
    )
    .addOption(
      flag("--http <ip:port>", "show the mesh in a browser here, with /status.json, /events, /metrics and /healthz"),
    )
    .addOption(
      flag(
        "--http-host <name>",
        "a host name by which browsers may ask for it, besides IP addresses and localhost; repeat, or separate by commas",
      ).argParser((text, before: readonly string[] | undefined) => [...(before ?? []), ...text.split(",")]),
    )
    .addOption(
      flag(
        "--store <url>",
        "the etcd that this server shares with others: etcd://[user:password@]host:port,.../prefix, or etcd+https://...",
      ),
    )
    .addOption(flag("--store-ca <file>", "the authority of its certificate, in PEM (default: those that Node knows)"))
    .addOption(flag("--store-cert <file>", "the certificate that this server shows to it, in PEM"))
    .addOption(flag("--store-key <file>", "the key of that certificate, in PEM"))
    .addOption(
      flag(
        "--advertise <ip:port>",
        "where members reach this server, for the other servers to say (default: where it listens)",
      ),
    )
    .addOption(flag("--trace <file>", "write the run as a Mermaid sequence diagram"));
  withLeaseFlag(withSilentFlag(command));
  withDialectFlag(command, ["any", "native", "classic"]);
  withSecretFlag(command);
  withInsecureFlag(
    withCommonFlags(command, "how long to wait for the store, and for the capacity to be reached (default: for ever)"),
  );
  command.action(() =>
    runCommand(command.opts<ServeFlags>(), (context) => runServe(command.opts<ServeFlags>(), context)),
  );
}

/** The limits that these flags choose. A connection must be known to be silent before the lease of its member is over. */
function detectionLimits({ silent, lease }: ServeFlags): Partial<Limits> {
  const leaseS = lease ?? defaultLimits.leaseMs / 1_000;
  const silentS = silent ?? defaultLimits.silentMs / 1_000;
  if (silentS > leaseS) badOption("silent", `at most the lease (--lease), which is ${leaseS} s`, silentS);
  return { silentMs: silentS * 1_000, leaseMs: leaseS * 1_000 };
}

async function runServe(flags: ServeFlags, { output, onSignal, onStdoutClosed }: CommandContext): Promise<void> {
  if (flags.timeout !== undefined && flags.capacity === undefined && flags.store === undefined) {
    badOption("timeout", "given together with --capacity or --store, which it waits for", flags.timeout);
  }
  const on = listenOption("listen", flags.listen);
  const trace = flags.trace === undefined ? undefined : await TraceFile.open(flags.trace, output);
  const secret = await secretFrom(flags, output);
  const store = await storeFrom(flags);
  const server = new RendezvousServer({
    onFull: flags.onFull,
    dialect: flags.dialect,
    insecure: flags.insecure === true,
    logger: output.logger,
    limits: {
      ...detectionLimits(flags),
      ...(flags.finish === undefined ? {} : { finishMs: flags.finish * 1000 }),
      ...(flags.settle === undefined ? {} : { settleMs: flags.settle * 1000 }),
    },
    ...(secret === undefined ? {} : { secret }),
    ...(flags.capacity === undefined ? {} : { capacity: flags.capacity }),
    ...(flags.allowAdvertise === undefined ? {} : { allowAdvertise: flags.allowAdvertise }),
    ...(flags.http === undefined ? {} : { http: flags.http }),
    ...(flags.httpHost === undefined ? {} : { httpHosts: flags.httpHost }),
    ...store,
    ...(trace === undefined ? {} : { trace: (record) => trace.add(record) }),
  });
  reportServer(server, output, flags.capacity);
  const [at, port] = listenArguments(on);
  await server.initSocket(at, port);
  onSignal(() => void server.close());
  await server.sockListen(flags.timeout === undefined ? {} : { timeoutMs: flags.timeout * 1000 });
  const { httpAddress } = server;
  if (httpAddress !== undefined) output.info(`the mesh is shown at http://${httpAddress}/`);
  notifySystemd(output);
  onStdoutClosed(() => output.info("the reader of stdout has closed it; the server goes on"));
  try {
    await capacityReached(server, flags);
    await server.start();
  } finally {
    await server.close();
    await trace?.write();
  }
}

/** What these flags say of a store that servers share. */
async function storeFrom(flags: ServeFlags): Promise<Pick<ServerOptions, "store" | "advertise">> {
  const certificates: { ca?: string; cert?: string; key?: string } = {};
  const files = { ca: flags.storeCa, cert: flags.storeCert, key: flags.storeKey };
  for (const [name, file] of Object.entries(files)) {
    if (file === undefined) continue;
    if (flags.store === undefined) badOption(`store-${name}`, "given together with --store", file);
    certificates[name as keyof typeof files] = await contentOf(`store-${name}`, file);
  }
  return {
    ...(flags.store === undefined ? {} : { store: { url: flags.store, ...certificates } }),
    ...(flags.advertise === undefined ? {} : { advertise: flags.advertise }),
  };
}

async function contentOf(name: string, file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    return badOption(name, `a file that can be read (${(error as NodeJS.ErrnoException).code})`, file);
  }
}

/** Resolves when a mesh reaches the capacity, at once without --timeout. Rejects with `TIMED_OUT`. */
async function capacityReached(server: RendezvousServer, { capacity, timeout }: ServeFlags): Promise<void> {
  if (capacity === undefined || timeout === undefined) return;
  const meshes = new Set<string>();
  const reached = new Promise<void>((resolve) => {
    server.on("joined", ({ mesh }) => meshes.add(mesh));
    server.once("full", () => resolve());
    server.once("closed", resolve);
  });
  await waitWithin(reached, { timeoutMs: timeout * 1000 }, () => {
    let most = 0;
    for (const mesh of meshes) most = Math.max(most, server.presentIn(mesh).length);
    return `${most} of ${capacity} members have joined`;
  });
}
