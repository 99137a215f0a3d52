import { waitWithin } from "../src/api/waiting.js";
import { newSocketFolder, programOf } from "./program-run.js";
import { nowMs } from "./programs/program.js";
import { median } from "./statistics.js";
import type { BenchContext, Measured } from "./types.js";

/** The runs of many processes, of one process at its start, and of many members in one process. */

/** The programs of a wire-up. */
interface WireUpPrograms {
  readonly member: URL;
  /** A rendezvous server or a coordinator. */
  readonly server: URL;
  readonly size: number;
  readonly isLocal: boolean;
  readonly secret?: string;
}

/**
 * Launches `size` processes. Three metrics, in milliseconds: `launched`, from the first launch until the last member is
 * complete; `ready`, from when the last member has registered until then; `cpu`, the CPU time of a member from its start until
 * it is complete, the mean of all.
 */
export async function wireUp(
  context: BenchContext,
  { member, server, size, isLocal, secret }: WireUpPrograms,
): Promise<Measured> {
  const parameters = {
    size,
    ...(secret === undefined ? {} : { secret }),
    ...(isLocal ? { socketFolder: newSocketFolder(context) } : {}),
  };
  const coordinator = context.children.start(server, { ...parameters, role: "coordinate" });
  const address = await coordinator.reported<string>("ready");
  const startedAt = nowMs();
  const members = Array.from({ length: size }, () =>
    context.children.start(member, { ...parameters, role: "member", server: address }),
  );
  const reported = (field: string): Promise<number[]> =>
    Promise.all(members.map((child) => child.reported<number>(field)));
  const [complete, ready, cpuMs] = [await reported("complete"), await reported("ready"), await reported("cpuMs")];
  const last = Math.max(...complete);
  const cpu = cpuMs.reduce((sum, ms) => sum + ms, 0) / size;
  return { launched: last - startedAt, ready: last - Math.max(...ready), cpu };
}

/** How long a program may take to leave the mesh and exit. */
const exitTimeoutMs = 15_000;

/** Starts of a program in one run; their median counts. */
const starts = 5;

/** The time from the start of a process until it has joined, or has connected, in milliseconds: `start`. */
export async function startUp(context: BenchContext, program: URL): Promise<Measured> {
  const server = await context.children.start(programOf("rendezvous"), {}).reported<string>("ready");
  const times: number[] = [];
  for (let count = 0; count < starts; count += 1) {
    const startedAt = nowMs();
    const child = context.children.start(program, { server });
    times.push((await child.reported<number>("ready")) - startedAt);
    await waitWithin(
      child.ended,
      { timeoutMs: exitTimeoutMs },
      () => "the program has left the mesh, but does not exit",
    );
  }
  return { start: median(times) };
}

/** Many members in one process. */
export async function singleProcess(context: BenchContext, program: URL, isMesh: boolean): Promise<Measured> {
  const { children, isQuick } = context;
  const parameters = { members: isQuick ? 12 : 120, idleMs: isQuick ? 200 : 10_000 };
  const server = isMesh ? { server: await children.start(programOf("rendezvous"), {}).reported<string>("ready") } : {};
  return await children.start(program, { ...parameters, ...server }, ["--expose-gc"]).reported<Measured>("result");
}
