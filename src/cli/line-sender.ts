import { FullmeshError } from "../core/errors.js";
import { defaultLimits } from "../core/limits.js";
import type { Peer } from "../node/events.js";
import type { MeshNode } from "../node/mesh-node.js";
import { messageFrameBytes } from "../protocol/native/message.js";
import { LineSplitter, type SplitLine } from "./line-splitter.js";
import type { Output } from "./output.js";

/** A line is one message, with an empty topic. */
const longestLine = defaultLimits.messageBytes - messageFrameBytes;

/**
 * Sends each line of stdin to every peer: as a message with an empty topic to a native one, with its newline to a classic
 * one. While a peer does not take what is sent, or nobody is there, nothing more is read from stdin either: a pipe into the
 * mesh runs at the pace of its slowest member, and loses nothing. A line that is longer than a message is reported and not
 * sent.
 */
export class LineSender {
  readonly #node: MeshNode;
  readonly #output: Output;
  readonly #lines = new LineSplitter(longestLine);
  /** Lines that have been read and not sent yet: from `#next` on. */
  #waiting: SplitLine[] = [];
  #next = 0;
  #sent = 0;
  #refused = 0;
  /** The line that is being skipped has been mentioned. */
  #isSkipping = false;
  /** Peers that have been given the next line already, while others have no room for it. */
  readonly #served = new Set<string>();
  /** Peers to whom nothing more is sent before they have taken some of what waits. */
  readonly #slow = new Set<string>();

  constructor(node: MeshNode, output: Output) {
    this.#node = node;
    this.#output = output;
    node.on("peer:up", this.#start).on("peer:down", this.#start).once("ended", this.#stop);
    this.#start();
  }

  /** Throws if a line was too long to be sent: what was asked for has not been done. */
  requireAllSent(): void {
    if (this.#refused === 0) return;
    const lines = this.#refused === 1 ? "1 line of stdin was" : `${this.#refused} lines of stdin were`;
    throw new FullmeshError("MESSAGE_TOO_LARGE", `${lines} too long, and not sent`);
  }

  /** What is typed, or piped in, before everybody who is listed is linked waits in the pipe. */
  readonly #start = (): void => {
    const { peers } = this.#node;
    if (peers.length === 0 || peers.some(({ state }) => state === "waiting")) return;
    this.#node.off("peer:up", this.#start).off("peer:down", this.#start);
    this.#node.on("peer:up", this.#goOn).on("peer:down", this.#goOn).on("drain", this.#goOn);
    process.stdin.on("data", this.#read).on("end", this.#finish).on("error", this.#fail);
  };

  readonly #stop = (): void => {
    this.#node
      .off("peer:up", this.#start)
      .off("peer:down", this.#start)
      .off("peer:up", this.#goOn)
      .off("peer:down", this.#goOn)
      .off("drain", this.#goOn);
    // Nobody needs it any more: what goes wrong with it now is of no interest.
    process.stdin
      .off("data", this.#read)
      .off("end", this.#finish)
      .off("error", this.#fail)
      .on("error", () => {});
    process.stdin.pause();
    const unsent = this.#waiting.length - this.#next;
    if (unsent > 0) this.#output.talk(`the mesh has ended; ${unsent} lines of stdin were not sent`);
  };

  readonly #read = (bytes: Buffer): void => {
    for (const line of this.#lines.push(bytes)) this.#waiting.push(line);
    this.#send();
    if (this.#lines.restBytes <= longestLine) {
      this.#isSkipping = false;
    } else if (!this.#isSkipping) {
      this.#isSkipping = true;
      this.#output.talk(`a line of stdin has more than ${longestLine} bytes; it is skipped to its end`);
    }
  };

  readonly #finish = (): void => {
    const rest = this.#lines.rest();
    if (rest !== undefined) this.#waiting.push(rest);
    this.#send();
  };

  readonly #fail = (error: Error): void => {
    this.#report(new FullmeshError("STDIO_FAILED", `stdin cannot be read: ${error.message}`));
  };

  readonly #goOn = ({ peer }: { readonly peer: Peer }): void => {
    this.#slow.delete(peer.address);
    this.#send();
  };

  /** Sends what waits, as long as all take it; reads on when nothing waits. */
  #send(): void {
    while (this.#slow.size === 0) {
      const line = this.#waiting[this.#next];
      if (line === undefined) {
        this.#waiting = [];
        this.#next = 0;
        process.stdin.resume();
        return;
      }
      if (line instanceof Uint8Array ? !this.#sendToAll(line) : !this.#refuse(line.tooLong)) break;
      this.#next += 1;
    }
    process.stdin.pause();
  }

  #refuse(length: number): true {
    this.#refused += 1;
    const line = `line ${this.#sent + this.#refused} of stdin has ${length} bytes, and may have ${longestLine}`;
    this.#report(new FullmeshError("MESSAGE_TOO_LARGE", `${line}; it is not sent`));
    return true;
  }

  /** False if nobody is there, or if somebody has no room for it yet. */
  #sendToAll(line: Uint8Array): boolean {
    let hasRoom = true;
    for (const peer of this.#node.peers) {
      if (!this.#served.has(peer.address) && !this.#sendTo(peer, line)) hasRoom = false;
    }
    if (!hasRoom || this.#served.size === 0) return false;
    this.#served.clear();
    this.#sent += 1;
    return true;
  }

  /** False if the peer has no room for it. One that is on its way out gets nothing. */
  #sendTo(peer: Peer, line: Uint8Array): boolean {
    try {
      const { address, dialect } = peer;
      const isBehind =
        dialect === "native"
          ? !this.#node.send(peer, "", line)
          : !this.#node.write(peer, Buffer.concat([line, Buffer.from("\n")]));
      if (isBehind) this.#slow.add(address);
      this.#served.add(address);
      return true;
    } catch (error) {
      if (!(error instanceof FullmeshError)) throw error;
      if (error.code === "NOT_LINKED" || error.code === "UNKNOWN_PEER" || error.code === "PEER_GONE") return true;
      if (error.code !== "QUEUE_FULL") throw error;
      this.#slow.add(peer.address);
      return false;
    }
  }

  #report({ code, message, remedy }: FullmeshError): void {
    this.#output.error(code, message, remedy);
  }
}
