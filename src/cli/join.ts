import type { Command } from "commander";
import { joinWith } from "../join.js";
import { MeshNode } from "../node.js";
import { badOption } from "../options.js";
import { type CommandContext, runCommand } from "./command.js";
import { type CommonFlags, flag, withCommonFlags, withInsecureFlag } from "./flags.js";
import { Lines } from "./lines.js";
import { type Output, plainText } from "./output.js";

interface JoinFlags extends CommonFlags {
  readonly insecure?: true;
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
  withInsecureFlag(
    withCommonFlags(command, "how long to wait until registered and linked with all (default: for ever)"),
  );
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

/**
 * Sends each line of stdin to every peer. While one of them does not read, nothing more is read from stdin either: a pipe
 * into the mesh runs at the pace of its slowest member, and loses nothing.
 */
function sendLines(node: MeshNode, output: Output): void {
  const lines = new Lines();
  const slow = new Set<string>();
  const send = (line: Uint8Array): void => {
    const peers = node.peers;
    if (peers.length === 0) output.talk("nobody is there any more; the line is not sent");
    const message = Buffer.concat([line, Buffer.from("\n")]);
    for (const { address } of peers) if (!node.write(address, message)) slow.add(address);
    if (slow.size > 0) process.stdin.pause();
  };
  const goOn = (peer: string): void => {
    slow.delete(peer);
    if (slow.size === 0) process.stdin.resume();
  };
  const onData = (bytes: Buffer): void => {
    for (const line of lines.push(bytes)) send(line);
  };
  const onEnd = (): void => {
    const rest = lines.rest();
    if (rest !== undefined) send(rest);
  };
  const start = (): void => {
    node.on("drain", goOn).on("peer:down", goOn);
    process.stdin.on("data", onData).on("end", onEnd);
  };
  // What is typed, or piped in, before anybody is there waits in the pipe.
  void node.complete({ size: 2 }).then(start, () => {});
  node.once("ended", () => {
    node.off("drain", goOn).off("peer:down", goOn);
    process.stdin.off("data", onData).off("end", onEnd).pause();
  });
}

/** How long the rest of a line may take before what there is of it is printed: simple programs send no newlines. */
const restMs = 200;

/** Prints what comes from one peer, line by line. */
class Inbox {
  readonly #lines = new Lines();
  readonly #print: (line: Uint8Array) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(print: (line: Uint8Array) => void) {
    this.#print = print;
  }

  push(bytes: Uint8Array): void {
    clearTimeout(this.#timer);
    for (const line of this.#lines.push(bytes)) this.#print(line);
    this.#timer = setTimeout(() => this.flush(), restMs);
  }

  /** Prints what there is of a line without an end. */
  flush(): void {
    clearTimeout(this.#timer);
    const rest = this.#lines.rest();
    if (rest !== undefined) this.#print(rest);
  }
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
    tell("complete", fields, links === 0 ? "alone so far" : `complete: linked with all ${links} of the others`);
  });
  const inboxes = new Map<string, Inbox>();
  const inboxOf = (peer: string): Inbox => {
    const inbox = inboxes.get(peer) ?? new Inbox((line) => print(peer, decode(line)));
    inboxes.set(peer, inbox);
    return inbox;
  };
  const print = (peer: string, message: { readonly text?: string; readonly base64?: string }): void => {
    tell("message", { peer, topic: "", ...message });
    if (!output.options.json) output.data(`${peer} ${plainText(message.text ?? message.base64 ?? "")}`);
  };
  node.on("bytes", ({ peer, bytes }) => inboxOf(peer).push(bytes));
  node.on("peer:down", (peer) => {
    inboxes.get(peer)?.flush();
    inboxes.delete(peer);
  });
  // What ends before it has begun is told as an error, not as an end.
  node.on("ended", (reason) => {
    if (node.rank >= 0) tell("teardown", { reason }, `ended: ${reason}`);
  });
  node.on("closed", () => {
    for (const inbox of inboxes.values()) inbox.flush();
    tell("closed", {});
  });
  node.on("note", (record) => output.note(record));
}

/** A line as text if it is UTF-8, and as base64 otherwise. */
function decode(line: Uint8Array): { readonly text: string } | { readonly base64: string } {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(line) };
  } catch {
    return { base64: Buffer.from(line).toString("base64") };
  }
}
