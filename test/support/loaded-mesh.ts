import { onTestFinished } from "vitest";
import { main, plainEnvironment } from "../cli/command-line.js";
import { StartedProcess } from "./processes.js";
import { freePort } from "./sockets.js";

const entry = new URL("../../dist/bundle/index.js", import.meta.url).href;
const program = new URL("./loaded-member.mjs", import.meta.url).pathname;

/** The arguments of Node for a member under load. */
export function loadedMemberArgs(server: string, options: object): string[] {
  return [program, entry, server, JSON.stringify(options)];
}

/** One thing that has happened to a member of a loaded mesh. */
export interface Happening {
  readonly type: string;
  readonly at: number;
  readonly [field: string]: unknown;
}

/** What a member has counted. */
interface Counts {
  readonly id: string;
  readonly order: number;
  readonly rank: number;
  readonly reconnects: number;
  readonly sent: readonly (readonly [id: string, count: number])[];
  readonly received: readonly (readonly [id: string, count: number])[];
  readonly faults: readonly string[];
}

/** A member under load, in a process of its own; see `loaded-member.mjs`. */
export class LoadedMember {
  readonly process: StartedProcess;
  #forgotten = 0;

  /** `process` runs Node with `loadedMemberArgs`, and has a stdin. */
  constructor(process: StartedProcess) {
    this.process = process;
  }

  /** All that has happened so far, or since `forget`. */
  get happenings(): Happening[] {
    return this.process.lines.slice(this.#forgotten).map((line) => JSON.parse(line) as Happening);
  }

  /** What has happened so far counts no more. */
  forget(): void {
    this.#forgotten = this.process.lines.length;
  }

  /** The `nth` happening of a type, past or to come; it is waited for. */
  async nth(type: string, nth = 1, withinMs?: number): Promise<Happening> {
    const find = (): Happening | undefined => this.happenings.filter((happening) => happening.type === type)[nth - 1];
    await this.process.line(() => find() !== undefined, `"${type}" for the ${nth}. time`, withinMs);
    return find() as Happening;
  }

  async report(): Promise<Counts> {
    const before = this.happenings.filter(({ type }) => type === "report").length;
    this.process.writeLine("report");
    return (await this.nth("report", before + 1)) as unknown as Counts;
  }

  /** Resolves when the mesh is whole with so many members, as asked now. */
  async complete(size: number, withinMs?: number): Promise<Happening> {
    const before = this.happenings.filter(({ type }) => type === "complete").length;
    this.process.writeLine(`complete ${size}`);
    return this.nth("complete", before + 1, withinMs);
  }
}

/** A server that can be killed and started empty at the same address, and members under load. */
export class LoadedMesh {
  readonly address: string;
  readonly members: LoadedMember[] = [];
  readonly #serveArgs: readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  server: StartedProcess;

  private constructor(address: string, serveArgs: readonly string[], env: Readonly<Record<string, string>>) {
    this.address = address;
    this.#serveArgs = serveArgs;
    this.#env = env;
    this.server = this.#serve();
  }

  /** Starts a server, and waits until it listens. */
  static async start(
    serveArgs: readonly string[] = [],
    env: Readonly<Record<string, string>> = {},
  ): Promise<LoadedMesh> {
    const mesh = new LoadedMesh(`127.0.0.1:${await freePort()}`, serveArgs, env);
    await mesh.listening();
    return mesh;
  }

  /** Starts another member. */
  add(options: object = {}): LoadedMember {
    const started = new StartedProcess(process.execPath, loadedMemberArgs(this.address, options), {
      env: plainEnvironment(),
      hasStdin: true,
    });
    onTestFinished(() => started.stop());
    const member = new LoadedMember(started);
    this.members.push(member);
    return member;
  }

  async listening(): Promise<void> {
    await this.server.line((line) => line.includes('"listening"'), "where it listens");
  }

  async killServer(): Promise<void> {
    await this.server.stop();
  }

  /** A new server at the same address, which knows nothing. `env` for this one only. */
  async startServer(env: Readonly<Record<string, string>> = {}): Promise<void> {
    this.server = this.#serve(env);
    await this.listening();
  }

  /**
   * Lets the members send no more, waits until each has received all that was sent to it, and returns what they have counted.
   * `others`: ids of members that have ended, to which and from which not all need have come.
   */
  async settle(others: ReadonlySet<string> = new Set(), withinMs = 30_000): Promise<Counts[]> {
    for (const { process } of this.members) process.writeLine("pause");
    const until = performance.now() + withinMs;
    for (;;) {
      const counts = await Promise.all(this.members.map((member) => member.report()));
      const missing = missingOf(counts, others);
      if (missing.length === 0) return counts;
      if (performance.now() > until) throw new Error(`not received after ${withinMs} ms: ${missing.join("; ")}`);
    }
  }

  resume(): void {
    for (const { process } of this.members) process.writeLine("resume");
  }

  #serve(env: Readonly<Record<string, string>> = {}): StartedProcess {
    const args = [main, "serve", "--json", "--listen", this.address, ...this.#serveArgs];
    const server = new StartedProcess(process.execPath, args, { env: plainEnvironment({ ...this.#env, ...env }) });
    onTestFinished(() => server.stop());
    return server;
  }
}

/** What was sent to a member that is there, and has not been received by it. */
function missingOf(counts: readonly Counts[], others: ReadonlySet<string>): string[] {
  const byId = new Map(counts.map((count) => [count.id, count]));
  return counts.flatMap(({ id, sent }) =>
    sent.flatMap(([to, number]) => {
      if (others.has(to)) return [];
      const got = new Map(byId.get(to)?.received).get(id) ?? 0;
      return got === number ? [] : [`${number} of ${id} to ${to}, which has ${got}`];
    }),
  );
}
