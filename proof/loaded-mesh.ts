import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { freePort } from "../test/support/free-port.js";
import { StartedProcess } from "../test/support/processes.js";

const root = dirname(createRequire(import.meta.url).resolve("fullmesh/package.json"));
/** The command. */
export const main = join(root, "dist/bundle/main.js");
/** How long anything is waited for, at most: a machine that is busy with other things takes minutes to start processes. */
const waitMs = 120_000;

/** A program of this folder. */
export function programPath(name: string): string {
  return join(root, "proof/programs", name);
}

/** The environment without the variables that the command reads. */
export function plainEnvironment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith("FULLMESH_"));
  return { ...Object.fromEntries(inherited), ...extra };
}

/** The arguments of Node for a member under load. */
export function loadedMemberArgs(server: string, options: object): string[] {
  return [programPath("loaded-member.mjs"), server, JSON.stringify(options)];
}

/** One thing that has happened to a member of a loaded mesh. */
export interface Happening {
  readonly type: string;
  /** By the wall clock, in milliseconds. */
  readonly at: number;
  readonly [field: string]: unknown;
}

/** What a member has counted. */
export interface Counts {
  readonly id: string;
  readonly order: number;
  readonly rank: number;
  /** The address of who leads, as far as it knows. */
  readonly leader?: string;
  readonly reconnects: number;
  /** Keys that are held, by whomever. */
  readonly claims: number;
  readonly sent: readonly (readonly [id: string, count: number])[];
  readonly received: readonly (readonly [id: string, count: number])[];
  readonly faults: readonly string[];
}

/** A member under load, in a process of its own; see `programs/loaded-member.mjs`. */
export class LoadedMember {
  readonly process: StartedProcess;
  readonly #parsed: Happening[] = [];
  #forgotten = 0;

  /** `process` runs Node with `loadedMemberArgs`, and has a stdin. */
  constructor(process: StartedProcess) {
    this.process = process;
  }

  /** All that has happened so far, or since `forget`. */
  get happenings(): Happening[] {
    const { lines } = this.process;
    while (this.#parsed.length < lines.length) {
      this.#parsed.push(JSON.parse(lines[this.#parsed.length] as string) as Happening);
    }
    return this.#parsed.slice(this.#forgotten);
  }

  /** What has happened so far counts no more. */
  forget(): void {
    this.#forgotten = this.process.lines.length;
  }

  /** The first happening that `isWanted`, past or to come; it is waited for. */
  async when(isWanted: (happening: Happening) => boolean, meaning: string, withinMs = waitMs): Promise<Happening> {
    const find = (): Happening | undefined => this.happenings.find(isWanted);
    await this.process.line(() => find() !== undefined, meaning, withinMs);
    return find() as Happening;
  }

  /** The `nth` happening of a type, past or to come; it is waited for. */
  async nth(type: string, nth = 1, withinMs = waitMs): Promise<Happening> {
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
  async complete(size: number, withinMs = waitMs): Promise<Happening> {
    const before = this.happenings.filter(({ type }) => type === "complete").length;
    this.process.writeLine(`complete ${size}`);
    return this.nth("complete", before + 1, withinMs);
  }

  /** Leaves the mesh, and ends. */
  async leave(): Promise<void> {
    this.process.writeLine("leave");
    await this.process.exited(waitMs);
  }
}

/** How a loaded mesh is run. */
export interface LoadedMeshOptions {
  /** Further arguments of `fullmesh serve`. */
  readonly serveArgs?: readonly string[];
  readonly secret?: string;
  /** Options of every member. */
  readonly memberOptions?: object;
}

/** A server that can be killed and started empty at the same address, and members under load. */
export class LoadedMesh implements AsyncDisposable {
  readonly address: string;
  /** Those that are there. */
  readonly members: LoadedMember[] = [];
  readonly #started: StartedProcess[] = [];
  readonly #options: LoadedMeshOptions;
  #server: StartedProcess | undefined;

  private constructor(address: string, options: LoadedMeshOptions) {
    this.address = address;
    this.#options = options;
  }

  /** Starts a server, and waits until it listens. */
  static async start(options: LoadedMeshOptions = {}): Promise<LoadedMesh> {
    const mesh = new LoadedMesh(`127.0.0.1:${await freePort()}`, options);
    await mesh.startServer();
    return mesh;
  }

  /** Starts another member, which finds the server at `address`. */
  add(options: object = {}, address = this.address): LoadedMember {
    const { secret, memberOptions } = this.#options;
    const args = loadedMemberArgs(address, { ...(secret && { secret }), ...memberOptions, ...options });
    const started = new StartedProcess(process.execPath, args, { env: plainEnvironment(), hasStdin: true });
    this.#started.push(started);
    const member = new LoadedMember(started);
    this.members.push(member);
    return member;
  }

  get server(): StartedProcess {
    if (this.#server === undefined) throw new Error("no server has been started");
    return this.#server;
  }

  /**
   * A new server at the same address, which knows nothing. Resolves with the time at which it listens, by the clock of this
   * machine; `fakeTime` says which clock it has itself, and by how many milliseconds that differs.
   */
  async startServer(fakeTime?: {
    readonly env: Readonly<Record<string, string>>;
    readonly offsetMs: number;
  }): Promise<number> {
    const { serveArgs = [], secret } = this.#options;
    const args = [main, "serve", "--json", "--listen", this.address, ...serveArgs];
    const env = plainEnvironment({ ...(secret && { FULLMESH_SECRET: secret }), ...fakeTime?.env });
    const server = new StartedProcess(process.execPath, args, { env });
    this.#server = server;
    this.#started.push(server);
    const listening = await server.line((line) => line.includes('"listening"'), "where it listens", waitMs);
    return (JSON.parse(listening) as { at: number }).at - (fakeTime?.offsetMs ?? 0);
  }

  async killServer(): Promise<void> {
    await this.server.stop();
  }

  /** A member has ended, or is to be left alone: it is no longer one of `members`. */
  forget(member: LoadedMember): void {
    this.members.splice(this.members.indexOf(member), 1);
  }

  /** As `settle` of these members. */
  settle(withinMs = waitMs): Promise<Counts[]> {
    return settle(this.members, withinMs);
  }

  resume(): void {
    for (const { process } of this.members) process.writeLine("resume");
  }

  /** Kills every process, and resolves when they have ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#started.map((started) => started.stop()));
  }
}

/**
 * Lets the members send no more, waits until each has received all that was sent to it, and returns what they have counted.
 * What was sent to ids that are not there any more need not have come.
 */
export async function settle(members: readonly LoadedMember[], withinMs = waitMs): Promise<Counts[]> {
  for (const { process } of members) process.writeLine("pause");
  const until = performance.now() + withinMs;
  for (;;) {
    const counts = await Promise.all(members.map((member) => member.report()));
    const missing = missingOf(counts);
    if (missing.length === 0) return counts;
    if (performance.now() > until) throw new Error(`not received after ${withinMs} ms: ${missing.join("; ")}`);
  }
}

/** What was sent to a member that is there, and has not been received by it. */
function missingOf(counts: readonly Counts[]): string[] {
  const byId = new Map(counts.map((count) => [count.id, count]));
  return counts.flatMap(({ id, sent }) =>
    sent.flatMap(([to, number]) => {
      const receiver = byId.get(to);
      if (receiver === undefined) return [];
      const got = new Map(receiver.received).get(id) ?? 0;
      return got === number ? [] : [`${number} of ${id} to ${to}, which has ${got}`];
    }),
  );
}
