import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { meetingPlaceOf } from "../src/siblings/meeting-place.js";
import { holderOf } from "../src/siblings/socket-holder.js";
import { StartedProcess } from "../test/support/processes.js";
import type { Figures } from "./figures.js";
import { type Happening, LoadedMember, loadedMemberArgs, plainEnvironment, settle } from "./loaded-mesh.js";

const application = "proof";

/** Siblings under load, in a folder of their own. */
class LoadedSiblings implements AsyncDisposable {
  /** Those that are there. */
  readonly members: LoadedMember[] = [];
  readonly #started: StartedProcess[] = [];
  readonly #outer = process.env.TMPDIR;
  readonly #folder: string;

  constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), "fm-"));
    process.env.TMPDIR = this.#folder;
  }

  add(): LoadedMember {
    const args = loadedMemberArgs(`siblings:${application}`, { logger: false });
    const started = new StartedProcess(process.execPath, args, { env: plainEnvironment(), hasStdin: true });
    this.#started.push(started);
    const member = new LoadedMember(started);
    this.members.push(member);
    return member;
  }

  /** The member that serves is killed. Returns it, and it is no longer one of `members`. */
  async killServing(): Promise<LoadedMember> {
    const { pid } = holderOf(meetingPlaceOf(application).path);
    const serving = this.members.find(({ process }) => process.pid === pid);
    if (serving === undefined) throw new Error(`no member serves, but process ${pid}`);
    this.members.splice(this.members.indexOf(serving), 1);
    await serving.process.stop();
    return serving;
  }

  /** Kills every process. */
  async killAll(): Promise<void> {
    this.members.length = 0;
    await Promise.all(this.#started.map((started) => started.stop()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.killAll();
    if (this.#outer === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = this.#outer;
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/**
 * The sibling that serves is killed under load in all directions, round after round, and another process is started in its
 * place. At the end all are killed at once and started again.
 */
export async function servingProcessKilled(figures: Figures, size: number, rounds: number): Promise<void> {
  await using mesh = new LoadedSiblings();
  for (let index = 0; index < size; index += 1) mesh.add();
  await Promise.all(mesh.members.map((member) => member.complete(size)));
  const killed = new Set<unknown>();
  const all = new Set(mesh.members);
  for (let round = 1; round <= rounds; round += 1) {
    const serving = await mesh.killServing();
    const killedAt = Date.now();
    const { id } = await serving.nth("registered");
    killed.add(id);
    const isBack = ({ type, at }: Happening): boolean => type === "server:back" && at >= killedAt;
    const back = await Promise.all(mesh.members.map((member) => member.when(isBack, "that another one serves")));
    figures.time("another one serves", latest(back) - killedAt);
    const isEnd = ({ type, peer }: Happening): boolean => type === "peer:down" && peer === id;
    const ends = await Promise.all(mesh.members.map((member) => member.when(isEnd, "that the one is gone")));
    figures.time("the end of the one is known", latest(ends) - killedAt);
    const newcomer = mesh.add();
    all.add(newcomer);
    const started = await newcomer.nth("started");
    const whole = await Promise.all(mesh.members.map((member) => member.complete(size)));
    figures.time("whole with a newcomer, from when that has loaded", latest(whole) - started.at);
    const counts = await settle(mesh.members);
    figures.none(
      "messages lost or repeated",
      counts.flatMap(({ faults }) => faults),
    );
    for (const { process } of mesh.members) process.writeLine("resume");
  }
  const happened = [...all].flatMap(({ happenings }) => happenings);
  figures.none(
    "links ended, or broken, with one that was not killed",
    happened.filter(({ type, peer }) => ["peer:down", "peer:unreachable"].includes(type) && !killed.has(peer)),
  );
  figures.none(
    "fenced or closed",
    happened.filter(({ type }) => ["fenced", "closed"].includes(type)),
  );
  await mesh.killAll();
  for (let index = 0; index < size; index += 1) mesh.add();
  const whole = await Promise.all(mesh.members.map((member) => member.complete(size)));
  const started = await Promise.all(mesh.members.map((member) => member.nth("started")));
  figures.time("whole after all were killed, from when the last has loaded", latest(whole) - latest(started));
}

function latest(happenings: readonly Happening[]): number {
  return Math.max(...happenings.map(({ at }) => at));
}
