import { shownLine } from "../core/escaping.js";
import type { Member, Peer } from "../node/events.js";
import type { MeshNode } from "../node/mesh-node.js";
import { missingPairsText, renamedPair } from "../protocol/missing-pair.js";
import { LineSplitter, type SplitLine } from "./line-splitter.js";
import { ndjson, type Output } from "./output.js";

/** The time after which a line without an end is printed. Simple programs send no newlines. */
const unfinishedMs = 200;
/** A line is printed in pieces of this length, so that a peer that sends no newlines costs no more memory. */
const maxUnfinishedBytes = 64 * 1024;

/** Prints the bytes of one classic peer, line by line. */
export class BytesPrinter {
  readonly #lines = new LineSplitter();
  readonly #print: (line: Uint8Array) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(print: (line: Uint8Array) => void) {
    this.#print = print;
  }

  push(bytes: Uint8Array): void {
    clearTimeout(this.#timer);
    for (const line of this.#lines.push(bytes)) this.#printLine(line);
    if (this.#lines.unfinishedBytes < maxUnfinishedBytes) this.#timer = setTimeout(() => this.flush(), unfinishedMs);
    else this.flush();
  }

  /** Prints the unfinished line. */
  flush(): void {
    clearTimeout(this.#timer);
    const line = this.#lines.takeUnfinished();
    if (line !== undefined) this.#printLine(line);
  }

  #printLine(line: SplitLine): void {
    if (line instanceof Uint8Array) this.#print(line);
  }
}

/** Prints the events, messages and log of a node. */
export function reportNode(node: MeshNode, output: Output): void {
  output.flushAfter(printMessages(node, output));
  const print = (event: string, fields: Readonly<Record<string, unknown>>, sentence?: string): void =>
    output.event(event, node.address ?? null, fields, sentence, node.mesh);
  printMembership(node, output, print);
  printClaims(node, print);
  printLinks(node, print);
  // The end of a node that never registered is an error of `join`.
  node.on("ended", ({ reason }) => {
    if (node.rank >= 0) print("teardown", { reason }, `ended: ${reason}`);
  });
  node.on("closed", () => print("closed", {}));
}

type EventPrinter = (event: string, fields: Readonly<Record<string, unknown>>, sentence?: string) => void;

function printMembership(node: MeshNode, output: Output, print: EventPrinter): void {
  node.on("listening", ({ address }) => {
    output.errorNode = address;
    print("listening", { address }, `listening on ${address}`);
  });
  node.on("registered", ({ address }) =>
    print("registered", { address, order: node.order }, `registered as ${address}`),
  );
  node.on("waiting", ({ place }) => print("waiting", { place }, `the mesh is full: waiting at place ${place}`));
  node.on("directory", ({ members }) => print("directory", { members: members.map(({ address }) => address) }));
  node.on("fenced", ({ reason }) => {
    print("fenced", { reason }, `this incarnation is over (${reason}); joining again`);
  });
  node.on("server:lost", ({ since, reason }) => {
    print("server:lost", { since, reason }, `the server is gone (${reason}); links go on, and it is looked for`);
  });
  node.on("server:back", ({ awayMs, server }) => {
    const sentence = `the server at ${server} has taken this node back, after ${(awayMs / 1000).toFixed(1)} s`;
    print("server:back", { awayMs, server }, sentence);
  });
  node.on("released", ({ reason }) => {
    print("released", { reason }, `the server has left the mesh to its members (${reason}): links go on, nobody joins`);
  });
  node.on("rank", ({ rank }) => {
    print("rank", { rank }, rank < 0 ? undefined : `rank ${rank} of ${node.members.length} members`);
  });
  node.on("leader", ({ leader }) => {
    const isSelf = leader !== undefined && leader.address === node.address;
    const who = leader === undefined || isSelf ? "this member leads" : `${labelOf(leader)} leads`;
    print("leader", { leader: leader?.address ?? null }, leader === undefined ? undefined : who);
  });
  node.on("complete", ({ members, links, unverified, revision, scope }) => {
    const fields = { members, links, unverified, revision, scope };
    const all = links === 1 ? "1 link" : `${links} links`;
    const sentence = scope === "mesh" ? `complete: ${all}` : `complete: linked with all others (${all})`;
    print("complete", fields, members === 1 ? "alone so far" : sentence);
  });
  node.on("degraded", ({ count, missing }) => {
    const rows = missing.map((pair) => renamedPair(pair, ({ address }) => address));
    const named = missing.map((pair) => renamedPair(pair, labelOf));
    print("degraded", { count, missing: rows }, `degraded: ${missingPairsText(count, named, Date.now())}`);
  });
}

function printClaims(node: MeshNode, print: EventPrinter): void {
  node.on("claimed", ({ key, holder, token }) => {
    print("claimed", { key, holder: holder.address, token }, `${labelOf(holder)} holds "${key}"`);
  });
  node.on("unclaimed", ({ key, holder, token, reason }) => {
    print(
      "unclaimed",
      { key, holder: holder.address, token, reason },
      `${labelOf(holder)} no longer holds "${key}": ${reason}`,
    );
  });
}

function printLinks(node: MeshNode, print: EventPrinter): void {
  /** Since when peers have been unreachable, in milliseconds of `performance.now()`. */
  const unreachableSince = new Map<string, number>();
  const linked = (event: "link" | "relink", peer: Peer, again: string): void => {
    const { address, direction, dialect, name, cipher } = peer;
    const named = { ...(name === undefined ? {} : { name }), ...(cipher === undefined ? {} : { cipher }) };
    print(
      event,
      { peer: address, direction, dialect, ...named },
      `linked with ${labelOf(peer)}${again} (${direction})`,
    );
  };
  node.on("peer:up", ({ peer }) => linked("link", peer, ""));
  node.on("peer:unreachable", ({ peer, reason }) => {
    const { address } = peer;
    if (!unreachableSince.has(address)) unreachableSince.set(address, performance.now());
    print(
      "unreachable",
      { peer: address, reason },
      `cannot reach ${labelOf(peer)}: ${reason}; what is sent to it waits`,
    );
  });
  node.on("peer:outage", ({ peer, reason, since }) => {
    const forS = Math.round((Date.now() - since) / 1000);
    print(
      "outage",
      { peer: peer.address, reason, since },
      `no link with ${labelOf(peer)} for ${forS} s (${reason}); what is sent to it waits, up to a bound`,
    );
  });
  node.on("peer:back", ({ peer }) => {
    linked("relink", peer, " again");
    const since = unreachableSince.get(peer.address);
    if (since === undefined) return;
    unreachableSince.delete(peer.address);
    print("back", { peer: peer.address, awayMs: Math.round(performance.now() - since) });
  });
  node.on("peer:down", ({ peer, reason, unacknowledged, wasUp }) => {
    const { address } = peer;
    unreachableSince.delete(address);
    // No `link` event came before.
    if (!wasUp && unacknowledged === 0) return;
    const lost = unacknowledged === 1 ? "1 message was" : `${unacknowledged} messages were`;
    const loss = unacknowledged === 0 ? "" : `; ${lost} not acknowledged`;
    const what = wasUp ? "unlinked from" : "never linked with";
    print("unlink", { peer: address, reason, unacknowledged, wasUp }, `${what} ${labelOf(peer)}: ${reason}${loss}`);
  });
}

function labelOf({ address, name }: Member): string {
  return name === undefined ? address : `${name} at ${address}`;
}

/** Prints what peers send. Resolves when all messages of native peers are written. */
function printMessages(node: MeshNode, output: Output): Promise<void> {
  const printers = new Map<string, BytesPrinter>();
  const printerOf = (peer: string): BytesPrinter => {
    const printer =
      printers.get(peer) ?? new BytesPrinter((line) => output.result(lineOf(node, output, peer, "", decode(line))));
    printers.set(peer, printer);
    return printer;
  };
  node.on("bytes", ({ peer: { address }, bytes }) => printerOf(address).push(bytes));
  node.on("peer:down", ({ peer: { address } }) => {
    printers.get(address)?.flush();
    printers.delete(address);
  });
  node.on("closed", () => {
    for (const printer of printers.values()) printer.flush();
  });
  node.on("message", () => output.messageArrived());
  return writeMessages(node, output);
}

/** Takes messages at the pace of stdout, so that flow control slows their senders. */
async function writeMessages(node: MeshNode, output: Output): Promise<void> {
  for await (const { peer, topic, payload } of node.subscribe()) {
    output.writeMessage(lineOf(node, output, peer.address, topic, payloadFields(payload), peer.name));
    if (output.isBehind) await output.drained();
  }
}

/** A message as a line. */
function lineOf(
  node: MeshNode,
  output: Output,
  peer: string,
  topic: string,
  message: PayloadFields,
  name = peer,
): string {
  if (output.options.json) return ndjson("message", node.address ?? null, { peer, topic, ...message }, node.mesh);
  const head = topic === "" ? name : `${name} ${topic}`;
  return shownLine(`${head} ${textOf(message)}`);
}

/** The fields of a payload in JSON: bytes as text or base64, a value as it is, no payload as an empty text. */
type PayloadFields = { readonly text: string } | { readonly base64: string } | { readonly value: unknown };

export function textOf(message: PayloadFields): string {
  if ("text" in message) return message.text;
  return "base64" in message ? message.base64 : JSON.stringify(message.value);
}

export function payloadFields(payload: unknown): PayloadFields {
  if (payload instanceof Uint8Array) return decode(payload);
  return payload === undefined ? { text: "" } : { value: payload };
}

/** Bytes as text if they are UTF-8, else as base64. */
export function decode(line: Uint8Array): PayloadFields {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(line) };
  } catch {
    return { base64: Buffer.from(line).toString("base64") };
  }
}
