import { createInterface, type Interface } from "node:readline";
import { PassThrough, Writable } from "node:stream";
import { FullmeshError } from "../core/errors.js";
import { shownLine } from "../core/escaping.js";
import type { Member, Peer } from "../node/events.js";
import type { MeshNode } from "../node/mesh-node.js";
import { BytesPrinter, decode, payloadFields, textOf } from "./node-reporter.js";
import type { Output } from "./output.js";

/** The topic of what is for one member alone. */
const privateTopic = "to";
/** For names (ECMA-48): no red, which is for errors. */
const colours = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94] as const;

const help = [
  "What you type goes to all. A line that begins with // is sent with one / less.",
  "/members        who is here",
  "/to NAME TEXT   a line for one member alone, by its name or address",
  "/quit           leave; so does Ctrl-D",
  "/help           this",
];

/** A member as a chat on a terminal: a prompt that stays where it is while lines come in, names, and commands. */
export class ChatTerminal {
  /** The lines for all members. */
  readonly lines = new PassThrough();
  readonly #node: MeshNode;
  readonly #output: Output;
  readonly #quit: () => void;
  readonly #terminal: Interface & { prevRows?: number };
  readonly #isColoured = process.stdout.hasColors();
  #isClosed = false;
  /** This member is the one that has gone, not its peers. */
  #hasLeft = false;

  /** `quit`: the person wants to leave. */
  constructor(node: MeshNode, output: Output, quit: () => void) {
    this.#node = node;
    this.#output = output;
    this.#quit = quit;
    this.#terminal = createInterface({
      input: process.stdin,
      output: terminalOutput(output),
      terminal: true,
      prompt: "> ",
    });
    // In raw mode the terminal sends no signal.
    this.#terminal.on("SIGINT", () => process.kill(process.pid, "SIGINT"));
    this.#terminal.on("line", (line) => this.#typed(line));
    this.#terminal.on("close", () => {
      if (!this.#isClosed) quit();
    });
    output.keepPrompt((write) => this.#around(write));
    node.on("closed", () => this.close());
    this.#printMembership();
    this.#printBytes();
    output.flushAfter(this.#printMessages());
    this.#terminal.prompt();
  }

  /** Gives the terminal back. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#output.keepPrompt(undefined);
    this.#terminal.close();
    void this.#output.relay("stdout", Buffer.from("\r\u001b[J"));
  }

  #typed(line: string): void {
    const [, command = "", rest = ""] = /^\/(\w*) *(.*)$/.exec(line) ?? [];
    if (line.startsWith("//")) this.#send(line.slice(1));
    else if (!line.startsWith("/")) this.#send(line);
    else if (command === "members") this.#printMembers();
    else if (command === "to") this.#sendTo(rest);
    else if (command === "quit") this.#quit();
    else if (command === "help") for (const text of help) this.#print(text);
    else this.#print(`there is no command ${shownLine(line.split(" ", 1)[0] ?? "")}; /help shows those that there are`);
    if (!this.#isClosed) this.#terminal.prompt();
  }

  #send(line: string): void {
    if (line === "") return;
    if (this.#node.peers.length === 0) this.#print("nobody else is here; it is sent when somebody comes");
    // A long text that is pasted waits in the terminal.
    if (this.lines.write(`${line}\n`)) return;
    this.#terminal.pause();
    this.lines.once("drain", () => this.#terminal.resume());
  }

  #sendTo(rest: string): void {
    const [, name, text] = /^(\S+) +(.+)$/.exec(rest) ?? [];
    if (name === undefined || text === undefined) {
      this.#print("/to NAME TEXT");
      return;
    }
    try {
      const peer = this.#node.peers.find(({ address }) => address === name);
      if (peer?.dialect === "classic") this.#node.write(peer, Buffer.from(`${text}\n`));
      else this.#node.send(name, privateTopic, Buffer.from(text));
    } catch (error) {
      if (!(error instanceof FullmeshError)) throw error;
      this.#output.error(error.code, error.message);
    }
  }

  #printMembers(): void {
    const { address: own, peers, members } = this.#node;
    for (const member of members) {
      const peer = peers.find(({ address }) => address === member.address);
      const state = member.address === own ? " (you)" : peer?.state === "up" ? "" : " (cannot be reached now)";
      const at = member.name === undefined ? "" : ` at ${member.address}`;
      this.#print(`${this.#nameOf(member)}${at}${state}`);
    }
  }

  #printMembership(): void {
    const node = this.#node;
    node.on("registered", ({ address }) => {
      this.#remark(`you are ${address} in the mesh ${shownLine(node.mesh)}; /help shows what you can do`);
    });
    node.on("waiting", ({ place }) => this.#remark(`the mesh is full: waiting at place ${place}`));
    node.on("fenced", ({ reason }) => this.#remark(`you were taken for gone (${shownLine(reason)}); joining again`));
    // Whoever was there before dials this member.
    node.on("peer:up", ({ peer }) =>
      this.#remark(`${this.#nameOf(peer)} ${peer.direction === "accepted" ? "is here" : "has come"}`),
    );
    node.on("peer:unreachable", ({ peer, reason }) =>
      this.#remark(`${this.#nameOf(peer)} cannot be reached (${shownLine(reason)}); what you write waits`),
    );
    node.on("peer:back", ({ peer }) => this.#remark(`${this.#nameOf(peer)} is back`));
    node.on("peer:down", ({ peer, reason, unacknowledged }) => {
      const name = this.#nameOf(peer);
      const lost = unacknowledged === 0 ? "" : `${unacknowledged} of your lines may not have arrived`;
      if (!this.#hasLeft) this.#remark(`${name} has gone: ${shownLine(reason)}${lost && `; ${lost}`}`);
      else if (lost !== "") this.#remark(`${lost} at ${name}`);
    });
    node.on("ended", ({ reason }) => {
      this.#hasLeft = reason === "left";
      this.#remark(this.#hasLeft ? "you have left" : `the mesh has ended: ${shownLine(reason)}`);
    });
  }

  #printBytes(): void {
    const printers = new Map<string, BytesPrinter>();
    this.#node.on("bytes", ({ peer, bytes }) => {
      const printer =
        printers.get(peer.address) ?? new BytesPrinter((line) => this.#printFrom(peer, "", textOf(decode(line))));
      printers.set(peer.address, printer);
      printer.push(bytes);
    });
    this.#node.on("peer:down", ({ peer: { address } }) => {
      printers.get(address)?.flush();
      printers.delete(address);
    });
  }

  /** Takes messages at the pace of the terminal, so that flow control slows their senders. */
  async #printMessages(): Promise<void> {
    for await (const { peer, topic, payload } of this.#node.subscribe()) {
      this.#printFrom(peer, topic, textOf(payloadFields(payload)));
      if (this.#output.isBehind) await this.#output.drained();
    }
  }

  #printFrom(peer: Peer, topic: string, text: string): void {
    const to = topic === "" ? "" : topic === privateTopic ? " (to you)" : ` [${shownLine(topic)}]`;
    this.#print(`${this.#nameOf(peer)}${to}: ${shownLine(text)}`);
  }

  /** A line about the mesh, unless quiet. */
  #remark(text: string): void {
    if (!this.#output.options.quiet) this.#print(`* ${text}`);
  }

  #nameOf({ address, name = address }: Member): string {
    const shown = shownLine(name);
    if (!this.#isColoured) return shown;
    let sum = 0;
    for (const letter of name) sum = (31 * sum + (letter.codePointAt(0) ?? 0)) % 1_000_003;
    return `\u001b[${colours[sum % colours.length]}m${shown}\u001b[0m`;
  }

  /** Prints a line that is safe for a terminal already. */
  #print(text: string): void {
    this.#around(() => void this.#output.relay("stdout", Buffer.from(`${text}\n`)));
  }

  /** Takes the prompt away, lets a line be written, and puts the prompt back with what has been typed. */
  #around(write: () => void): void {
    if (this.#isClosed) {
      write();
      return;
    }
    const { rows } = this.#terminal.getCursorPos();
    void this.#output.relay("stdout", Buffer.from(`${rows === 0 ? "" : `\u001b[${rows}A`}\r\u001b[J`));
    write();
    // What is drawn begins in this row, wherever the cursor was before.
    this.#terminal.prevRows = 0;
    this.#terminal.prompt(true);
  }
}

/** Where the terminal draws: in order with all other lines. */
function terminalOutput(output: Output): NodeJS.WritableStream {
  const drawn = new Writable({
    write: (bytes: Buffer, _, done) => {
      void output.relay("stdout", bytes);
      done();
    },
  });
  Object.defineProperty(drawn, "columns", { get: () => process.stdout.columns || 80 });
  process.stdout.on("resize", () => drawn.emit("resize"));
  return drawn;
}
