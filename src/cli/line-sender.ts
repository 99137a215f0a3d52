import type { Readable } from "node:stream";
import { FullmeshError } from "../core/errors.js";
import { defaultLimits } from "../core/limits.js";
import type { Peer } from "../node/events.js";
import type { MeshNode } from "../node/mesh-node.js";
import { messageFrameBytes } from "../protocol/native/message.js";
import { LineSplitter, type SplitLine } from "./line-splitter.js";
import type { Output } from "./output.js";

/** The longest line that fits into a message. */
const maxLineBytes = defaultLimits.messageBytes - messageFrameBytes;

/**
 * Sends each line of stdin to every peer: to a native one as a message with an empty topic, to a classic one with its newline.
 * Stdin is read only while there are peers and all of them have room, so a pipe into the mesh runs at the pace of its slowest
 * member and loses nothing. A line that is longer than a message is reported and not sent.
 */
export class LineSender {
  readonly #node: MeshNode;
  readonly #output: Output;
  readonly #input: Readable;
  readonly #lines = new LineSplitter(maxLineBytes);
  /** Lines that have been read; those from `#next` on are not sent yet. */
  #queue: SplitLine[] = [];
  #next = 0;
  #sent = 0;
  #refused = 0;
  /** True within a line that is too long, once that is reported. */
  #isSkipping = false;
  /** The addresses of peers that have the next line, while others have no room for it. */
  readonly #sentTo = new Set<string>();
  /** The addresses of peers whose queue is full until their `drain`. */
  readonly #behind = new Set<string>();

  constructor(node: MeshNode, output: Output, input: Readable = process.stdin) {
    this.#node = node;
    this.#output = output;
    this.#input = input;
    node.on("peer:up", this.#start).on("peer:down", this.#start).once("ended", this.#stop);
    this.#start();
  }

  /** Throws `MESSAGE_TOO_LARGE` if a line was too long to be sent. */
  requireAllSent(): void {
    if (this.#refused === 0) return;
    const lines = this.#refused === 1 ? "1 line of stdin was" : `${this.#refused} lines of stdin were`;
    throw new FullmeshError("MESSAGE_TOO_LARGE", `${lines} too long and not sent`);
  }

  /** Reads from stdin once every listed peer has been linked. */
  readonly #start = (): void => {
    const { peers } = this.#node;
    if (peers.length === 0 || peers.some(({ state }) => state === "waiting")) return;
    this.#node.off("peer:up", this.#start).off("peer:down", this.#start);
    this.#node.on("peer:up", this.#resume).on("peer:down", this.#resume).on("drain", this.#resume);
    this.#input.on("data", this.#read).on("end", this.#finish).on("error", this.#fail);
  };

  readonly #stop = (): void => {
    this.#node
      .off("peer:up", this.#start)
      .off("peer:down", this.#start)
      .off("peer:up", this.#resume)
      .off("peer:down", this.#resume)
      .off("drain", this.#resume);
    // Nothing is read any more, so its errors do not matter.
    this.#input
      .off("data", this.#read)
      .off("end", this.#finish)
      .off("error", this.#fail)
      .on("error", () => {});
    this.#input.pause();
    const unsent = this.#queue.length - this.#next;
    if (unsent > 0)
      this.#output.info(unsent === 1 ? "1 line of stdin was not sent" : `${unsent} lines of stdin were not sent`);
  };

  readonly #read = (bytes: Buffer): void => {
    for (const line of this.#lines.push(bytes)) this.#queue.push(line);
    this.#send();
    if (this.#lines.unfinishedBytes <= maxLineBytes) {
      this.#isSkipping = false;
    } else if (!this.#isSkipping) {
      this.#isSkipping = true;
      this.#output.info(`a line of stdin has more than ${maxLineBytes} bytes and is skipped`);
    }
  };

  readonly #finish = (): void => {
    const line = this.#lines.takeUnfinished();
    if (line !== undefined) this.#queue.push(line);
    this.#send();
  };

  readonly #fail = (error: Error): void => {
    this.#report(new FullmeshError("STDIO_FAILED", `stdin cannot be read: ${error.message}`));
  };

  readonly #resume = ({ peer }: { readonly peer: Peer }): void => {
    this.#behind.delete(peer.address);
    this.#send();
  };

  /** Sends the queue while all peers have room, and reads on when it is empty. */
  #send(): void {
    while (this.#behind.size === 0) {
      const line = this.#queue[this.#next];
      if (line === undefined) {
        this.#queue = [];
        this.#next = 0;
        this.#input.resume();
        return;
      }
      if (line instanceof Uint8Array ? !this.#sendToAll(line) : !this.#refuse(line.tooLong)) break;
      this.#next += 1;
    }
    this.#input.pause();
  }

  #refuse(length: number): true {
    this.#refused += 1;
    const line = `line ${this.#sent + this.#refused} of stdin has ${length} bytes, and may have ${maxLineBytes}`;
    this.#report(new FullmeshError("MESSAGE_TOO_LARGE", `${line}; it is not sent`));
    return true;
  }

  /** False if there are no peers, or if one has no room for the line yet. */
  #sendToAll(line: Uint8Array): boolean {
    let hasRoom = true;
    for (const peer of this.#node.peers) {
      if (!this.#sentTo.has(peer.address) && !this.#sendTo(peer, line)) hasRoom = false;
    }
    if (!hasRoom || this.#sentTo.size === 0) return false;
    this.#sentTo.clear();
    this.#sent += 1;
    return true;
  }

  /** False if the peer has no room for the line. A peer that is leaving gets nothing. */
  #sendTo(peer: Peer, line: Uint8Array): boolean {
    try {
      const { address, dialect } = peer;
      const isBehind =
        dialect === "native"
          ? !this.#node.send(peer, "", line)
          : !this.#node.write(peer, Buffer.concat([line, Buffer.from("\n")]));
      if (isBehind) this.#behind.add(address);
      this.#sentTo.add(address);
      return true;
    } catch (error) {
      if (!(error instanceof FullmeshError)) throw error;
      if (error.code === "NOT_LINKED" || error.code === "UNKNOWN_PEER" || error.code === "PEER_GONE") return true;
      if (error.code !== "QUEUE_FULL") throw error;
      this.#behind.add(peer.address);
      return false;
    }
  }

  #report({ code, message, remedy }: FullmeshError): void {
    this.#output.error(code, message, remedy);
  }
}
