import { FullmeshError } from "../core/errors.js";
import type { MeshNode } from "../node.js";
import type { Peer } from "../node-events.js";
import { Lines } from "./lines.js";
import type { Output } from "./output.js";

/**
 * Sends each line of stdin to every peer: as a message with an empty topic to a native one, with its newline to a classic
 * one. While one of them does not take what is sent, nothing more is read from stdin either: a pipe into the mesh runs at
 * the pace of its slowest member, and loses nothing.
 */
export function speakLines(node: MeshNode, output: Output): void {
  const lines = new Lines();
  const slow = new Set<string>();
  const send = (line: Uint8Array): void => {
    const peers = node.peers;
    if (peers.length === 0) output.talk("nobody is there any more; the line is not sent");
    for (const peer of peers) if (!say(node, peer, line)) slow.add(peer.address);
    if (slow.size > 0) process.stdin.pause();
  };
  const goOn = (peer: string): void => {
    slow.delete(peer);
    if (slow.size === 0) process.stdin.resume();
  };
  const onBytes = (bytes: Buffer): void => {
    for (const line of lines.push(bytes)) send(line);
  };
  const onEnd = (): void => {
    const rest = lines.rest();
    if (rest !== undefined) send(rest);
  };
  const start = (): void => {
    // What is typed, or piped in, before everybody who is listed is linked waits in the pipe.
    if (node.peers.length === 0 || node.peers.length < node.members.length - 1) return;
    node.off("peer:up", start).on("drain", goOn).on("peer:down", goOn);
    process.stdin.on("data", onBytes).on("end", onEnd);
  };
  node.on("peer:up", start);
  start();
  node.once("ended", () => {
    node.off("peer:up", start).off("drain", goOn).off("peer:down", goOn);
    process.stdin.off("data", onBytes).off("end", onEnd).pause();
  });
}

/** False if the peer is behind; one that is on its way out gets nothing. */
function say(node: MeshNode, peer: Peer, line: Uint8Array): boolean {
  try {
    if (peer.dialect === "native") return node.send(peer, "", line);
    return node.write(peer, Buffer.concat([line, Buffer.from("\n")]));
  } catch (error) {
    if (error instanceof FullmeshError && error.code === "NOT_LINKED") return true;
    throw error;
  }
}
