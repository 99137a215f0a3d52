import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Direction } from "../../src/index.js";
import { Condition, StartedProcess } from "../support/processes.js";
import { endpointOf, type ObservedNode } from "./observed-node.js";

const run = promisify(execFile);

/** The independent programs in C that speak the classic dialect, compiled. */
export class ClassicPrograms {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async compile(compiler: string): Promise<ClassicPrograms> {
    const folder = await mkdtemp(join(tmpdir(), "fullmesh-interop-"));
    const partners = new ClassicPrograms(folder);
    try {
      const flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1"];
      for (const name of ["node", "server"]) {
        const source = join(import.meta.dirname, "classic", `${name}.c`);
        await run(compiler, [...flags, source, "-o", join(folder, name)]);
      }
    } catch (error) {
      await partners.remove();
      throw error;
    }
    return partners;
  }

  /** Starts a C node that joins the mesh of this server. */
  node(server: string): ClassicNode {
    return new ClassicNode(join(this.#folder, "node"), server);
  }

  /** Starts a C server, which ends the mesh when it has been full for `settleMs`. */
  server(capacity: number, settleMs: number): StartedProcess {
    return new StartedProcess(join(this.#folder, "server"), ["127.0.0.1", "0", `${capacity}`, `${settleMs}`]);
  }

  async remove(): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** A node that runs as a process of its own, observed through the lines that it writes. */
abstract class ProcessNode implements ObservedNode {
  readonly process: StartedProcess;
  readonly lists: string[][] = [];
  readonly dialed: string[] = [];
  readonly accepted: string[] = [];
  readonly unlinked: string[] = [];
  /** Lines about input that it did not understand. */
  readonly misread: string[] = [];
  protected endText = "no end";
  readonly #changed = new Condition();
  #address = "";

  protected constructor(command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
    const onLine = (line: string): void => {
      this.handleLine(line);
      this.#changed.notify();
    };
    this.process = new StartedProcess(command, args, { env, onLine });
  }

  get address(): string {
    return this.#address;
  }

  protected set address(address: string) {
    this.#address = address;
  }

  get problems(): string[] {
    return [...this.misread, ...this.process.errors.split("\n").filter((line) => line !== "")];
  }

  /** Resolves when it has a list. No server sends one to a node that is not in it. */
  async joined(): Promise<void> {
    await this.until(() => this.lists.length > 0, "has got no list");
  }

  async until(condition: () => boolean, missing: string): Promise<void> {
    const explain = (): string => `${this.#address} ${missing}; it wrote\n${this.process.lines.join("\n")}`;
    await this.#changed.until(() => condition() || undefined, explain);
  }

  async end(): Promise<string> {
    const exit = await this.process.exited();
    if (exit.code !== 0) throw new Error(`${this.#address} ended with ${JSON.stringify(exit)}: ${this.process.errors}`);
    return this.endText;
  }

  protected abstract handleLine(line: string): void;
}

/** A C node. */
export class ClassicNode extends ProcessNode {
  /** All bytes of each peer after its hello, as the C program prints it. */
  readonly received = new Map<string, string>();
  #dials = 0;

  constructor(program: string, server: string) {
    const { host, port } = endpointOf(server);
    super(program, [host, "0", host, port]);
  }

  override get problems(): string[] {
    const failedDials = this.#dials - this.dialed.length;
    return [...super.problems, ...(failedDials === 0 ? [] : [`${failedDials} dials without a hello`])];
  }

  protected override handleLine(line: string): void {
    const [event, ...fields] = line.split(" ");
    const [first = ""] = fields;
    if (event === "listening") this.address = first;
    else if (event === "list") this.lists.push(fields);
    else if (event === "dial") this.#dials += 1;
    else if (event === "hello-sent") this.dialed.push(first);
    else if (event === "hello-received") this.accepted.push(first);
    else if (event === "unlink") this.unlinked.push(first);
    else if (event === "end") this.endText = fields.join(" ");
    else if (event === "bytes") this.#keep(first, line.slice(`bytes ${first} `.length));
    else if (event !== "registered") this.misread.push(line);
  }

  #keep(peer: string, text: string): void {
    this.received.set(peer, (this.received.get(peer) ?? "") + text);
  }
}

/** One line of our command with `--json`, as far as it matters here. */
interface Line {
  readonly event: string;
  readonly address?: string;
  readonly members?: string[];
  readonly peer?: string;
  readonly direction?: Direction;
  readonly reason?: string;
}

/** One of our nodes as a process, which speaks classic: the command `join`. */
export class CommandNode extends ProcessNode {
  constructor(server: string) {
    const program = join(import.meta.dirname, "../../dist/bundle/main.js");
    // What the tests' own environment asks of the command is no part of the test.
    const env = Object.entries(process.env).filter(([name]) => !name.startsWith("FULLMESH_"));
    super(process.execPath, [program, "join", server, "--json", "--dialect", "classic"], Object.fromEntries(env));
  }

  protected override handleLine(text: string): void {
    const { event, address = "", members = [], peer = "", direction, reason = "" } = JSON.parse(text) as Line;
    if (event === "listening") this.address = address;
    else if (event === "directory") this.lists.push(members);
    else if (event === "link" && direction !== undefined) this[direction].push(peer);
    else if (event === "unlink") this.unlinked.push(peer);
    else if (event === "teardown") this.endText = reason;
    else if (event === "error") this.misread.push(text);
  }
}
