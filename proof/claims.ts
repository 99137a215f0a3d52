import { setTimeout as pause } from "node:timers/promises";
import { StartedProcess } from "../test/support/processes.js";
import type { Figures } from "./figures.js";
import { LoadedMesh, plainEnvironment, programPath } from "./loaded-mesh.js";

/** The claim lease, which is part of the protocol, and what the next in line may take to begin. */
const mostIdleMs = 10_000 + 2_000;

/** A line of the resource. */
interface ResourceLine {
  readonly type: "listening" | "began" | "late" | "fault" | "now";
  readonly by: number;
  readonly at: number;
  readonly token: number;
  readonly idleMs: number;
  readonly overlapMs: number;
  readonly port: number;
  readonly newest: { readonly last: number; readonly by: number };
}

/** Five processes that claim one key, the resource that they use with it, and what is done to them. */
class Contest implements AsyncDisposable {
  readonly #mesh: LoadedMesh;
  readonly #resource: StartedProcess;
  readonly #port: number;
  readonly #all: StartedProcess[] = [];
  /** Those that run, or are stopped for a while. */
  contenders: StartedProcess[] = [];
  readonly #stopped = new Set<StartedProcess>();
  /** When something was last done that may cost a lease: by it idleness is measured. */
  #disturbedAt = 0;

  private constructor(mesh: LoadedMesh, resource: StartedProcess, port: number) {
    this.#mesh = mesh;
    this.#resource = resource;
    this.#port = port;
    this.#all.push(resource);
  }

  static async start(): Promise<Contest> {
    const resource = new StartedProcess(process.execPath, [programPath("resource.mjs")], { hasStdin: true });
    const { port } = JSON.parse(await resource.line(() => true, "its address")) as ResourceLine;
    const contest = new Contest(await LoadedMesh.start(), resource, port);
    for (let count = 0; count < 5; count += 1) contest.add();
    return contest;
  }

  get lines(): ResourceLine[] {
    return this.#resource.lines.map((line) => JSON.parse(line) as ResourceLine);
  }

  add(): void {
    const args = [programPath("claim-contender.mjs"), this.#mesh.address, String(this.#port), "key"];
    const started = new StartedProcess(process.execPath, args, { env: plainEnvironment() });
    this.contenders.push(started);
    this.#all.push(started);
  }

  /** Resolves when a contender that runs uses the resource, with how long it was idle since the last disturbance or use. */
  async used(): Promise<number> {
    const from = Date.now();
    for (;;) {
      const { newest, at } = await this.#now();
      const isRunning = this.contenders.some((one) => one.pid === newest.by && !this.#stopped.has(one));
      if (isRunning && newest.last > Math.max(this.#disturbedAt, at - 500)) return newest.last - this.#disturbedAt;
      if (at - from > 60_000) return at - Math.max(this.#disturbedAt, newest.last);
      await pause(50);
    }
  }

  /** Kills one, or stops it for so long; the holder, if one that is not stopped is wanted and there is one. */
  async strike(isHolder: boolean, kind: "kill" | "stop", forMs: number): Promise<void> {
    const { newest } = await this.#now();
    const running = this.contenders.filter((one) => !this.#stopped.has(one));
    // One that has just been started is not in line yet.
    await Promise.all(
      running.map((one) => one.line((line) => line.includes('"registered"'), "that it is in", 120_000)),
    );
    const target = running.find((one) => (one.pid === newest.by) === isHolder) ?? running[0];
    if (target === undefined) return;
    this.#disturbedAt = Date.now();
    if (kind === "kill") {
      target.kill("SIGKILL");
      this.contenders = this.contenders.filter((one) => one !== target);
      this.add();
      return;
    }
    target.kill("SIGSTOP");
    this.#stopped.add(target);
    setTimeout(() => {
      target.kill("SIGCONT");
      this.#stopped.delete(target);
    }, forMs);
  }

  get stopped(): number {
    return this.#stopped.size;
  }

  /** The server is killed, and one that knows nothing is started. */
  async restartServer(awayMs: number): Promise<void> {
    await this.#mesh.killServer();
    await pause(awayMs);
    await this.#mesh.startServer();
    this.#disturbedAt = Date.now();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#all.map((one) => one.stop()));
    await this.#mesh[Symbol.asyncDispose]();
  }

  async #now(): Promise<ResourceLine> {
    const count = this.#resource.lines.length;
    this.#resource.writeLine("now");
    const find = (): string | undefined => this.#resource.lines.slice(count).find((line) => line.includes('"now"'));
    await this.#resource.line(() => find() !== undefined, "what the newest token is");
    return JSON.parse(find() as string) as ResourceLine;
  }
}

/**
 * Five processes claim one key, while they are killed, stopped for up to 20 s and woken, and the server is restarted. A
 * resource that is told the token and the time of each use finds two holders at a time, and how long there is none.
 */
export async function contestedClaim(figures: Figures, strikes: number, restarts: number, seed: number): Promise<void> {
  await using contest = await Contest.start();
  await contest.used();
  const random = seededRandom(seed);
  const restartEach = Math.ceil(strikes / Math.max(1, restarts));
  for (let count = 1; count <= strikes; count += 1) {
    // Two of the five at most are stopped at a time.
    const kind = contest.stopped < 2 && random() < 0.5 ? "stop" : "kill";
    await contest.strike(random() < 0.6, kind, 500 + random() * 19_500);
    figures.time(`until it is used again after a ${kind}`, await contest.used(), mostIdleMs);
    if (count % restartEach === 0) {
      await contest.restartServer(random() * 6_000);
      figures.time("until it is used again after a restart of the server", await contest.used(), mostIdleMs);
    }
    await pause(random() * 2_000);
  }
  const { lines } = contest;
  figures.count("holders in turn", lines.filter(({ type }) => type === "began").length);
  figures.none(
    "two holders at a time",
    lines.filter(({ type }) => type === "fault"),
  );
  // By its own clock the user had made sure of its claim after somebody else had begun.
  figures.none(
    "uses of an old token after the next holder had begun",
    lines.filter(({ type, overlapMs }) => type === "late" && overlapMs >= 0),
  );
  figures.count("late uses that the resource has refused", lines.filter(({ type }) => type === "late").length);
}

/** Numbers from 0 to 1, the same for the same seed. */
function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}
