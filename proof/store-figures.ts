import { StartedProcess } from "../test/support/processes.js";
import type { Figures } from "./figures.js";
import { LoadedMesh, plainEnvironment, programPath } from "./loaded-mesh.js";
import type { ClientAct } from "./mesh-history.js";
import { SharedSite } from "./shared-site.js";

/** A line of a client process that comes and goes. */
type Line = ClientAct | { readonly act: "started" | "over"; readonly at: number };

const overMs = 300_000;

/** Joins a second, and how long each takes, with so many on the way at once: with the log in memory, and with one that is shared. */
export async function storeThroughput(figures: Figures, inFlight: readonly number[], joins: number): Promise<void> {
  await using site = await SharedSite.start(["c0"], []);
  await using single = await LoadedMesh.start();
  for (const atOnce of inFlight) {
    const options = {
      mesh: `flight-${atOnce}`,
      joins: Math.max(joins, 3 * atOnce),
      atOnce,
      stayMs: 0,
      timeoutMs: 60_000,
    };
    const program = programPath("churning-clients.mjs");
    const inMemory = new StartedProcess(process.execPath, [program, single.address, JSON.stringify(options)], {
      env: plainEnvironment(),
      hasStdin: true,
    });
    note(figures, `${atOnce} in flight, memory`, await linesOf(inMemory));
    const own = { ...options, listen: `${site.hosts.address("c0")}:0`, insecure: true };
    const shared = site.hosts.run("c0", [program, site.servers.join(","), JSON.stringify(own)], {
      env: plainEnvironment(),
      hasStdin: true,
    });
    note(figures, `${atOnce} in flight, three servers and three members of etcd`, await linesOf(shared));
  }
}

/** Who comes and goes beside the members of a mesh: so many in all, four at once, and how long each stays. */
export interface Churn {
  readonly joins: number;
  readonly stayMs: number;
  /** How long it may take, in all. */
  readonly withinMs: number;
}

/** What a mesh takes in the store while others come and go beside its members: no more in the second half than in the first. */
export async function storeBytes(figures: Figures, members: number, { joins, stayMs, withinMs }: Churn): Promise<void> {
  await using site = await SharedSite.start(["c0"], []);
  const at = { listen: `${site.hosts.address("c0")}:0`, insecure: true, timeoutMs: 60_000 };
  const program = programPath("churning-clients.mjs");
  const start = (options: object): StartedProcess => {
    const args = [program, site.servers.join(","), JSON.stringify({ ...at, ...options })];
    return site.hosts.run("c0", args, { env: plainEnvironment(), hasStdin: true });
  };
  // One process for all but one: so many processes would keep a small machine busy for minutes.
  const others = members - 1;
  start({ joins: others, atOnce: others, stayMs: 2 * withinMs });
  await site.member("c0", 0, { everyMs: 5_000 }).complete(members);
  figures.count("bytes in the store, whole mesh", await site.storedBytes());
  const client = start({ joins, atOnce: 4, stayMs });
  let isOver = false;
  const over = client
    .line((line) => line.includes('"over"'), "that all have come", withinMs)
    .then(() => {
      isOver = true;
    });
  const sizes: number[] = [];
  let failed = 0;
  while (!isOver) {
    await Promise.race([over, new Promise((resolve) => setTimeout(resolve, 5_000))]);
    // On a machine that is too busy etcdctl gives up. An hour does not hang on one reading.
    try {
      sizes.push(await site.storedBytes());
    } catch {
      failed += 1;
    }
  }
  figures.count("readings that failed", failed);
  const half = sizes.length / 2;
  const first = sizes.slice(0, half);
  const second = sizes.slice(half);
  for (const size of first) figures.count("bytes in the store, first half of the churn", size);
  for (const size of second) figures.count("bytes in the store, second half of the churn", size);
  figures.count("joins and leaves", joins);
  const growth = medianOf(second) / medianOf(first);
  if (growth > mostGrowth) figures.faults.push(`the store grew by a factor of ${growth.toFixed(2)} from half to half`);
}

/** Between two medians of a store that does not grow: entries that wait for the next snapshot make it go up and down. */
const mostGrowth = 1.1;

function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

async function linesOf(client: StartedProcess): Promise<Line[]> {
  try {
    await client.line((line) => line.includes('"over"'), "that all have come", overMs);
    await client.exited();
  } finally {
    await client.stop();
  }
  return client.lines.map((line) => JSON.parse(line) as Line);
}

function note(figures: Figures, what: string, lines: readonly Line[]): void {
  const joined = lines.flatMap((line) => (line.act === "join" ? [line] : []));
  figures.none(
    `${what}: refused`,
    joined.filter(({ refused }) => refused !== undefined),
  );
  for (const { begunAt, endedAt = begunAt } of joined) figures.time(`${what}: a join`, endedAt - begunAt);
  const [from = 0, until = 0] = lines.flatMap((line) =>
    line.act === "started" || line.act === "over" ? [line.at] : [],
  );
  figures.count(`${what}: joins a second`, Math.round((1_000 * joined.length) / (until - from)));
}
