import { shownLine } from "../core/escaping.js";
import type { Member, Peer } from "../node/events.js";
import type { MeshNode } from "../node/mesh-node.js";
import { LineSplitter, type SplitLine } from "./line-splitter.js";
import { ndjson, type Output } from "./output.js";

/** How long the rest of a line may take before what there is of it is printed: simple programs send no newlines. */
const restMs = 200;
/** From so many bytes on a line is printed in pieces: what a peer sends without newlines costs no more than this. */
const longestRest = 64 * 1024;

/** Prints what comes from one peer, line by line. */
class BytesPrinter {
  readonly #lines = new LineSplitter();
  readonly #print: (line: Uint8Array) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(print: (line: Uint8Array) => void) {
    this.#print = print;
  }

  push(bytes: Uint8Array): void {
    clearTimeout(this.#timer);
    for (const line of this.#lines.push(bytes)) this.#printLine(line);
    if (this.#lines.restBytes < longestRest) this.#timer = setTimeout(() => this.flush(), restMs);
    else this.flush();
  }

  /** Prints what there is of a line without an end. */
  flush(): void {
    clearTimeout(this.#timer);
    const rest = this.#lines.rest();
    if (rest !== undefined) this.#printLine(rest);
  }

  #printLine(line: SplitLine): void {
    if (line instanceof Uint8Array) this.#print(line);
  }
}

/** Writes what a node tells, as a command prints it. */
export function reportNode(node: MeshNode, output: Output): void {
  output.expect(tellMessages(node, output));
  const tell = (event: string, fields: Readonly<Record<string, unknown>>, sentence?: string): void =>
    output.event(event, node.address ?? null, fields, sentence, node.mesh);
  tellMembership(node, output, tell);
  tellClaims(node, tell);
  tellLinks(node, tell);
  // What ends before it has begun is told as an error, not as an end.
  node.on("ended", ({ reason }) => {
    if (node.rank >= 0) tell("teardown", { reason }, `ended: ${reason}`);
  });
  node.on("closed", () => tell("closed", {}));
  node.on("note", (record) => output.note(record));
}

type EventPrinter = (event: string, fields: Readonly<Record<string, unknown>>, sentence?: string) => void;

function tellMembership(node: MeshNode, output: Output, tell: EventPrinter): void {
  node.on("listening", ({ address }) => {
    output.speaker = address;
    tell("listening", { address }, `listening on ${address}`);
  });
  node.on("registered", ({ address }) =>
    tell("registered", { address, order: node.order }, `registered as ${address}`),
  );
  node.on("waiting", ({ place }) => tell("waiting", { place }, `the mesh is full: place ${place} in line`));
  node.on("directory", ({ members }) => tell("directory", { members: members.map(({ address }) => address) }));
  node.on("fenced", ({ reason }) => {
    tell("fenced", { reason }, `this incarnation is over (${reason}); joining anew`);
  });
  node.on("rank", ({ rank }) => {
    tell("rank", { rank }, rank < 0 ? undefined : `rank ${rank} of ${node.members.length} members`);
  });
  node.on("leader", ({ leader }) => {
    const who = leader === node.address ? "this member leads" : `${leader} leads`;
    tell("leader", { leader: leader ?? null }, leader === undefined ? undefined : who);
  });
  node.on("complete", ({ members, links, unverified, revision, scope }) => {
    const fields = { members, links, unverified, revision, scope };
    const all = links === 1 ? "1 link" : `${links} links`;
    const sentence = scope === "mesh" ? `complete: ${all}` : `complete: linked with all others (${all})`;
    tell("complete", fields, members === 1 ? "alone so far" : sentence);
  });
  node.on("degraded", ({ count, missing }) => {
    const pairs = missing.map(([a, b, reason]) => `${a} - ${b} (${reason})`).join(", ");
    const more = count > missing.length ? ` and ${count - missing.length} more` : "";
    tell("degraded", { count, missing }, `degraded: ${count} pairs are missing: ${pairs}${more}`);
  });
}

function tellClaims(node: MeshNode, tell: EventPrinter): void {
  node.on("claimed", ({ key, holder, token }) => {
    tell("claimed", { key, holder: holder.address, token }, `${shown(holder)} holds "${key}"`);
  });
  node.on("unclaimed", ({ key, holder, token, reason }) => {
    tell(
      "unclaimed",
      { key, holder: holder.address, token, reason },
      `${shown(holder)} holds "${key}" no more: ${reason}`,
    );
  });
}

function tellLinks(node: MeshNode, tell: EventPrinter): void {
  /** Since when peers have been out of reach, in milliseconds of the monotonic clock. */
  const unreachableSince = new Map<string, number>();
  const linked = (event: "link" | "relink", peer: Peer, again: string): void => {
    const { address, direction, dialect, name, cipher } = peer;
    const named = { ...(name === undefined ? {} : { name }), ...(cipher === undefined ? {} : { cipher }) };
    tell(event, { peer: address, direction, dialect, ...named }, `linked with ${shown(peer)}${again} (${direction})`);
  };
  node.on("peer:up", ({ peer }) => linked("link", peer, ""));
  node.on("peer:unreachable", ({ peer, reason }) => {
    const { address } = peer;
    if (!unreachableSince.has(address)) unreachableSince.set(address, performance.now());
    tell("unreachable", { peer: address, reason }, `cannot reach ${shown(peer)}: ${reason}; what is sent to it waits`);
  });
  node.on("peer:back", ({ peer }) => {
    linked("relink", peer, " again");
    const since = unreachableSince.get(peer.address);
    if (since === undefined) return;
    unreachableSince.delete(peer.address);
    tell("back", { peer: peer.address, awayMs: Math.round(performance.now() - since) });
  });
  node.on("peer:down", ({ peer, reason, unacknowledged, wasUp }) => {
    const { address } = peer;
    unreachableSince.delete(address);
    // Nobody was told of a link that was never up.
    if (!wasUp && unacknowledged === 0) return;
    const lost = unacknowledged === 1 ? "1 message was" : `${unacknowledged} messages were`;
    const loss = unacknowledged === 0 ? "" : `; ${lost} not acknowledged`;
    const what = wasUp ? "unlinked from" : "never linked with";
    tell("unlink", { peer: address, reason, unacknowledged, wasUp }, `${what} ${shown(peer)}: ${reason}${loss}`);
  });
}

function shown({ address, name }: Member): string {
  return name === undefined ? address : `${name} at ${address}`;
}

/** Writes what peers send. Resolves when all messages of native peers have been written. */
function tellMessages(node: MeshNode, output: Output): Promise<void> {
  const inboxes = new Map<string, BytesPrinter>();
  const inboxOf = (peer: string): BytesPrinter => {
    const inbox =
      inboxes.get(peer) ?? new BytesPrinter((line) => output.data(lineOf(node, output, peer, "", decode(line))));
    inboxes.set(peer, inbox);
    return inbox;
  };
  node.on("bytes", ({ peer: { address }, bytes }) => inboxOf(address).push(bytes));
  node.on("peer:down", ({ peer: { address } }) => {
    inboxes.get(address)?.flush();
    inboxes.delete(address);
  });
  node.on("closed", () => {
    for (const inbox of inboxes.values()) inbox.flush();
  });
  node.on("message", () => output.announce());
  return deliverMessages(node, output);
}

/** Takes messages at the pace of stdout: what is not taken yet may not be sent by more than a bound, so senders feel it. */
async function deliverMessages(node: MeshNode, output: Output): Promise<void> {
  for await (const { peer, topic, payload } of node.subscribe()) {
    output.deliver(lineOf(node, output, peer.address, topic, payloadText(payload), peer.name));
    if (output.isBehind) await output.room();
  }
}

/** A message as it is printed. */
function lineOf(node: MeshNode, output: Output, peer: string, topic: string, message: Text, name = peer): string {
  if (output.options.json) return ndjson("message", node.address ?? null, { peer, topic, ...message }, node.mesh);
  const head = topic === "" ? name : `${name} ${topic}`;
  return shownLine(`${head} ${textOf(message)}`);
}

/** A message as a line of JSON has it: bytes as text or base64, a value as it is, nothing as an empty text. */
type Text = { readonly text: string } | { readonly base64: string } | { readonly value: unknown };

function textOf(message: Text): string {
  if ("text" in message) return message.text;
  return "base64" in message ? message.base64 : JSON.stringify(message.value);
}

function payloadText(payload: unknown): Text {
  if (payload instanceof Uint8Array) return decode(payload);
  return payload === undefined ? { text: "" } : { value: payload };
}

/** A line as text if it is UTF-8, and as base64 otherwise. */
function decode(line: Uint8Array): Text {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(line) };
  } catch {
    return { base64: Buffer.from(line).toString("base64") };
  }
}
