import { createInterface } from "node:readline";
import type { Command } from "commander";
import { joinWith } from "../join.js";
import { MeshNode } from "../node.js";
import { badOption } from "../options.js";
import { type CommandContext, runCommand } from "./command.js";
import { type CommonFlags, flag, withCommonFlags } from "./flags.js";
import { type Output, plainText } from "./output.js";

interface JoinFlags extends CommonFlags {
  readonly listen?: string;
  readonly advertise?: string;
}

/** Adds `fullmesh join`. */
export function addJoin(program: Command): void {
  const command = program
    .command("join")
    .argument("[server]", "the rendezvous server's address, host:port (env: FULLMESH_SERVER)")
    .summary("join a mesh as one member")
    .description(
      "Joins the mesh of a rendezvous server and stays until it ends. Lines from stdin go to all peers; what peers send is " +
        "printed with their address. The end of stdin does not end the member.",
    )
    .addOption(
      flag("--listen <ip:port>", "where to listen (default: the address that reaches the server, any free port)"),
    )
    .addOption(flag("--advertise <ip:port>", "the address to register, if others reach this member by another one"));
  withCommonFlags(command, "how long to wait until registered and linked with all (default: for ever)");
  command.action((server: string | undefined) =>
    runCommand(command.opts<JoinFlags>(), (context) => runJoin(server, command.opts<JoinFlags>(), context)),
  );
}

async function runJoin(
  given: string | undefined,
  flags: JoinFlags,
  { output, onSignal }: CommandContext,
): Promise<void> {
  const server = given ?? process.env.FULLMESH_SERVER;
  if (server === undefined) badOption("server", "given as an argument or as FULLMESH_SERVER", server);
  const node = new MeshNode({
    insecure: flags.insecure === true,
    ...(flags.advertise === undefined ? {} : { advertise: flags.advertise }),
  });
  const broken = new AbortController();
  onSignal(() => {
    broken.abort();
    void node.leave();
  });
  tellNode(node, output);
  const startedAt = performance.now();
  const timeoutMs = flags.timeout === undefined ? undefined : flags.timeout * 1000;
  const leftMs = (): number | undefined =>
    timeoutMs === undefined ? undefined : Math.max(0, timeoutMs - (performance.now() - startedAt));
  const wait = { signal: broken.signal, timeoutMs };
  await joinWith(node, server, { ...wait, ...(flags.listen === undefined ? {} : { listen: flags.listen }) });
  sendLines(node, output);
  try {
    if (timeoutMs !== undefined) await node.complete({ signal: broken.signal, timeoutMs: leftMs() });
    await node.start();
  } finally {
    await node.leave();
  }
}

/** Sends each line of stdin to every peer. */
function sendLines(node: MeshNode, output: Output): void {
  createInterface({ input: process.stdin }).on("line", (line) => {
    const full = node.writeAll(Buffer.from(`${line}\n`));
    if (full.length > 0) output.talk(`not sent to ${full.join(", ")}: they do not read`);
  });
}

/** Writes what a node tells. */
function tellNode(node: MeshNode, output: Output): void {
  const tell = (event: string, fields: Readonly<Record<string, unknown>>, sentence?: string): void =>
    output.event(event, node.address ?? null, fields, sentence);
  node.on("listening", (address) => {
    output.speaker = address;
    output.event("listening", address, { address }, `listening on ${address}`);
  });
  node.on("registered", (address) => tell("registered", { address, order: null }, `registered as ${address}`));
  node.on("directory", (members) => tell("directory", { members }));
  node.on("peer:up", ({ address, direction }) => {
    tell("link", { peer: address, direction, dialect: "classic" }, `linked with ${address} (${direction})`);
  });
  node.on("peer:down", (peer, reason) => tell("unlink", { peer, reason }, `unlinked from ${peer}: ${reason}`));
  node.on("complete", (members) => {
    const links = members - 1;
    const unverified = (members * links) / 2 - links;
    const fields = { members, links, unverified, revision: null, scope: "own" };
    tell("complete", fields, `complete: linked with all ${links} others`);
  });
  node.on("bytes", ({ peer, bytes }) => {
    for (const message of splitLines(bytes)) {
      tell("message", { peer, topic: "", ...message });
      if (!output.options.json) output.data(`${peer} ${plainText(message.text ?? message.base64 ?? "")}`);
    }
  });
  // What ends before it has begun is told as an error, not as an end.
  node.on("ended", (reason) => {
    if (node.rank >= 0) tell("teardown", { reason }, `ended: ${reason}`);
  });
  node.on("closed", () => tell("closed", {}));
  node.on("note", (record) => output.note(record));
}

/** What came from a peer, line by line; a classic link keeps no boundaries, so a piece without an end counts as a line. */
function splitLines(bytes: Uint8Array): { readonly text?: string; readonly base64?: string }[] {
  const lines: { text?: string; base64?: string }[] = [];
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline < 0 ? bytes.length : newline;
    lines.push(decode(bytes.subarray(start, end)));
    start = end + 1;
  }
  return lines;
}

function decode(line: Uint8Array): { readonly text: string } | { readonly base64: string } {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(line) };
  } catch {
    return { base64: Buffer.from(line).toString("base64") };
  }
}
