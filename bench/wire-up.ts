import { waitFor } from "../src/api/waiting.js";
import { nowMs } from "./programs/program.js";
import { programOf } from "./roles.js";
import { median } from "./statistics.js";
import type { BenchContext, Measured } from "./types.js";

/** Runs of many processes, which are launched in one go. */

/** A program with many members, and the one where they meet. */
export interface WireUp {
  readonly member: URL;
  /** Where they meet: a rendezvous server, or a coordinator. */
  readonly meeting: URL;
  readonly size: number;
  readonly secret?: string;
}

/**
 * Launches so many processes. Two metrics, in milliseconds: `launched`, from the first launch until the last member is
 * complete, and `ready`, from the last member's being ready (it has registered, or has told the coordinator where it
 * listens) until then.
 */
export async function wireUp(stage: BenchContext, { member, meeting, size, secret }: WireUp): Promise<Measured> {
  const parameters = { size, ...(secret === undefined ? {} : { secret }) };
  const meetingPlace = stage.children.start(meeting, { ...parameters, role: "coordinate" });
  const server = await meetingPlace.told<string>("ready");
  const startedAt = nowMs();
  const members = Array.from({ length: size }, () =>
    stage.children.start(member, { ...parameters, role: "member", server }),
  );
  const complete = await Promise.all(members.map((child) => child.told<number>("complete")));
  const ready = await Promise.all(members.map((child) => child.told<number>("ready")));
  const last = Math.max(...complete);
  return { launched: last - startedAt, ready: last - Math.max(...ready) };
}

/** How long a program may take to leave the mesh and end. */
const patienceMs = 15_000;

/** How often a program is started in one run; the middle counts. */
const starts = 5;

/** The time from the start of a process until it has joined, or has connected, in milliseconds: `start`. */
export async function startUp(stage: BenchContext, program: URL): Promise<Measured> {
  const server = await stage.children.start(programOf("rendezvous"), {}).told<string>("ready");
  const times: number[] = [];
  for (let count = 0; count < starts; count += 1) {
    const startedAt = nowMs();
    const child = stage.children.start(program, { server });
    times.push((await child.told<number>("ready")) - startedAt);
    await waitFor(child.ended, { timeoutMs: patienceMs }, () => "a program that has left does not end");
  }
  return { start: median(times) };
}

/** Many members in one process; what `house-bare.ts` measures. */
export async function house(stage: BenchContext, program: URL, isMesh: boolean): Promise<Measured> {
  const { children, isQuick } = stage;
  const parameters = { members: isQuick ? 12 : 120, idleMs: isQuick ? 200 : 10_000 };
  const meeting = isMesh ? { server: await children.start(programOf("rendezvous"), {}).told<string>("ready") } : {};
  return await children.start(program, { ...parameters, ...meeting }, ["--expose-gc"]).told<Measured>("result");
}
