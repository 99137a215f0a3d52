import { expect, it, onTestFinished } from "vitest";
import { StartedProcess } from "../support/processes.js";

const build = new URL("../../dist", import.meta.url).href;
const serverProgram = new URL("../support/measured-server.mjs", import.meta.url).pathname;
const hostileProgram = new URL("../support/hostile.mjs", import.meta.url).pathname;
/** Short, so that the test is. */
const leaseMs = 4_000;

interface Held {
  readonly members: number;
  /** The most that the machine has kept meanwhile. */
  readonly most: number;
  readonly heapUsed: number;
  readonly rss: number;
}

function start(args: readonly string[], hasStdin = false): StartedProcess {
  const started = new StartedProcess(process.execPath, args, { hasStdin });
  onTestFinished(async () => {
    await started.stop();
  });
  return started;
}

it("a server is as it was a lease after those who claimed addresses, vouched for the dead and came and went have gone", async () => {
  const server = start(["--expose-gc", serverProgram, build, `${leaseMs}`], true);
  const address = await server.line(() => server.lines.length > 0, "its address");

  /** Everybody does their worst, the claimants are killed while the others vouch for them, and then the others, too. */
  async function suffer(): Promise<void> {
    const [claimants, liars] = ["registrations", "reports"].map((role) =>
      start([hostileProgram, build, address, role]),
    );
    if (claimants === undefined || liars === undefined) throw new Error("not started");
    await claimants.line((line) => line === "done", "that all is claimed");
    await liars.line((line) => line === "done", "that all is said");
    claimants.kill("SIGKILL");
    await claimants.exited();
    liars.kill("SIGKILL");
    await liars.exited();
  }

  async function held(name: string): Promise<Held> {
    server.writeLine(name);
    const line = await server.line((text) => text.includes(`"line":"${name}"`), `what it holds ${name}`);
    return JSON.parse(line) as Held;
  }

  // Once before it counts: what is compiled and cached stays.
  await suffer();
  const before = await held("before");
  await suffer();
  const after = await held("after");
  expect(after.most).toBeGreaterThan(400);
  expect(after.members).toBe(0);
  expect(after.heapUsed - before.heapUsed).toBeLessThan(1024 * 1024);
  expect(after.rss - before.rss).toBeLessThan(32 * 1024 * 1024);
});
