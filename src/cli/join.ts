import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { badOption } from "../api/options.js";
import { FullmeshError } from "../core/errors.js";
import { type GangPlace, gangFrom } from "../node/gang.js";
import { joinWith } from "../node/join.js";
import { MeshNode } from "../node/mesh-node.js";
import type { Dialect } from "../protocol/directory.js";
import type { ChatTerminal } from "./chat-terminal.js";
import { type CommandContext, runCommand } from "./command.js";
import {
  type CommonFlags,
  flag,
  parseSeconds,
  withCommonFlags,
  withDialectFlag,
  withInsecureFlag,
  withListenFlags,
  withSilentFlag,
} from "./flags.js";
import { LineSender } from "./line-sender.js";
import { reportNode } from "./node-reporter.js";
import type { Output } from "./output.js";
import { secretFrom, withSecretFlag } from "./secret-source.js";

interface JoinFlags extends CommonFlags {
  /** Seconds. */
  readonly silent?: number;
  readonly insecure?: true;
  readonly dialect: Dialect;
  readonly mesh?: string;
  readonly name?: string;
  /** Seconds. */
  readonly serverLost?: number;
  readonly listen?: string;
  readonly advertise?: string;
}

/** Adds `fullmesh join`. */
export function addJoin(program: Command): void {
  const command = program
    .command("join")
    .argument(
      "[server]",
      "the rendezvous server's address, host:port or unix:/path, or several between commas (env: FULLMESH_SERVER)",
    )
    .summary("join a mesh as one member")
    .description(
      "Joins the mesh of a rendezvous server and stays until it ends. Lines from stdin go to all peers; what peers send is " +
        "printed with their address. The end of stdin does not end the member.",
    );
  withListenFlags(command);
  command
    .addOption(flag("--mesh <name>", "the mesh to join (default: default)"))
    .addOption(flag("--name <name>", "what people are shown instead of an address"))
    .addOption(
      flag("--server-lost <seconds>", "end when the server has been away for so long (default: never)").argParser(
        (text) => parseSeconds("server-lost", text),
      ),
    );
  withSilentFlag(command);
  withDialectFlag(command, ["native", "classic"]);
  withSecretFlag(command);
  withInsecureFlag(
    withCommonFlags(command, "how long to wait until registered and complete (default: 30 until registered)"),
  );
  command.action((server: string | undefined) =>
    runCommand(command.opts<JoinFlags>(), (context) => runJoin(server, command.opts<JoinFlags>(), context)),
  );
}

async function runJoin(
  argument: string | undefined,
  flags: JoinFlags,
  { output, onSignal, onStdoutClosed }: CommandContext,
): Promise<void> {
  const server = argument ?? process.env.FULLMESH_SERVER;
  if (server === undefined) badOption("server", "given as an argument or as FULLMESH_SERVER", server);
  const secret = await secretFrom(flags, output);
  // A copy that `fullmesh run` has started.
  const gang = argument === undefined ? gangFrom(process.env) : undefined;
  const node = createNode(flags, secret, gang, output);
  const stopped = new AbortController();
  const stop = (): void => {
    stopped.abort();
    void node.leave();
  };
  onSignal(stop);
  onStdoutClosed(stop);
  let hasQuit = false;
  const quit = (): void => {
    hasQuit = true;
    stop();
  };
  const chat = await openChat(node, output, quit);
  if (chat === undefined) reportNode(node, output);
  try {
    await stay(node, server, flags, stopped.signal, () => new LineSender(node, output, chat?.lines));
  } catch (error) {
    // Whoever has left before the node had joined has broken off nothing.
    if (!hasQuit) throw error;
  } finally {
    await node.leave();
    chat?.close();
  }
}

function createNode(
  flags: JoinFlags,
  secret: string | undefined,
  gang: GangPlace | undefined,
  output: Output,
): MeshNode {
  const { mesh, name, serverLost, advertise, dialect, insecure, silent } = flags;
  return new MeshNode({
    limits: silent === undefined ? {} : { silentMs: silent * 1_000 },
    dialect,
    insecure: insecure === true,
    logger: output.logger,
    ...(secret === undefined ? {} : { secret }),
    ...(mesh === undefined ? {} : { mesh }),
    ...(name === undefined ? {} : { name }),
    ...(gang === undefined ? {} : { gang }),
    ...(serverLost === undefined ? {} : { serverLostMs: serverLost * 1000 }),
    ...(advertise === undefined ? {} : { advertise }),
  });
}

/** A chat, where a person types and reads. It is loaded for nobody else. */
async function openChat(node: MeshNode, output: Output, quit: () => void): Promise<ChatTerminal | undefined> {
  const isTerminal = process.stdin.isTTY === true && process.stdout.isTTY === true;
  if (!isTerminal || output.options.json) return undefined;
  const { ChatTerminal } = await import("./chat-terminal.js");
  return new ChatTerminal(node, output, quit);
}

/** Joins, and stays until the mesh ends. `send`: begins to send what comes from stdin. */
async function stay(
  node: MeshNode,
  server: string,
  flags: JoinFlags,
  signal: AbortSignal,
  send: () => LineSender,
): Promise<void> {
  const startedAt = performance.now();
  const timeoutMs = flags.timeout === undefined ? undefined : flags.timeout * 1000;
  const remainingMs = (): number => Math.max(0, (timeoutMs ?? 0) - (performance.now() - startedAt));
  const joining = joinWith(node, server, {
    signal,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(flags.listen === undefined ? {} : { listen: flags.listen }),
  });
  await (timeoutMs === undefined
    ? joining
    : Promise.race([joining, rejectIfStillWaiting(node, server, timeoutMs, remainingMs)]));
  const sender = send();
  if (timeoutMs !== undefined) await node.complete({ signal, timeoutMs: remainingMs() });
  await node.start();
  sender.requireAllSent();
}

/** Rejects when the time is up while the node stands in the waiting line, which the time-out of `join` does not count. */
async function rejectIfStillWaiting(
  node: MeshNode,
  server: string,
  timeoutMs: number,
  remainingMs: () => number,
): Promise<never> {
  let place = 0;
  node.on("waiting", (event) => {
    place = event.place;
  });
  await once(node, "waiting");
  await sleep(remainingMs());
  const inLine = `which is number ${place} in the waiting line`;
  throw new FullmeshError("TIMED_OUT", `after ${timeoutMs} ms ${server} has not admitted ${node.address}, ${inLine}`);
}
