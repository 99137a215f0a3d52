import { setTimeout as pause } from "node:timers/promises";
import type { Figures } from "./figures.js";
import { type Happening, type LoadedMember, LoadedMesh } from "./loaded-mesh.js";

/** A member that is stopped for `stopMs` and woken: what the others see, and that it is in again with its handlers. */
export async function memberStops(figures: Figures, stopMs: number, isLost: boolean): Promise<void> {
  await using mesh = await wholeMesh(6);
  const stopped = mesh.members[3] as LoadedMember;
  const others = mesh.members.filter((member) => member !== stopped);
  const { id } = await stopped.report();
  const stoppedAt = Date.now();
  stopped.process.kill("SIGSTOP");
  if (isLost) {
    const isEnd = ({ type, peer }: Happening): boolean => type === "peer:down" && peer === id;
    const ends = await Promise.all(others.map((member) => member.when(isEnd, "that it is lost", stopMs)));
    for (const { at } of ends) figures.time("until a peer is told that it is lost", at - stoppedAt, 40_000);
  }
  await pause(stopMs - (Date.now() - stoppedAt));
  const wokenAt = Date.now();
  stopped.process.kill("SIGCONT");
  if (isLost) figures.time("until it is fenced", (await stopped.nth("fenced")).at - wokenAt, 5_000);
  const whole = await Promise.all(mesh.members.map((member) => member.complete(6)));
  figures.time("until the mesh is whole", Math.max(...whole.map(({ at }) => at)) - wokenAt, 5_000);
  const counts = await mesh.settle();
  figures.none(
    "messages lost or repeated",
    counts.flatMap(({ faults }) => faults),
  );
  const now = await stopped.report();
  const reached = new Set(now.received.filter(([, count]) => count > 0).map(([from]) => from));
  figures.none(
    "peers whose messages do not reach it",
    counts.filter((count) => count.id !== now.id && !reached.has(count.id)).map((count) => count.id),
  );
  const isUnwanted = ({ type, peer }: Happening): boolean =>
    (type === "peer:down" && !(isLost && peer === id)) || type === "fenced" || type === "closed";
  figures.none(
    "other links ended, or members fenced",
    others.flatMap(({ happenings }) => happenings.filter(isUnwanted)),
  );
  if (isLost) return;
  figures.none("links ended, or fenced, at the stopped one", stopped.happenings.filter(isUnwanted));
}

/**
 * The leader, which holds a claim, is stopped for a minute: the next one leads, and holds the key, within the bounds of a
 * silent connection, a lease and a claim lease.
 */
export async function leaderStops(figures: Figures): Promise<void> {
  await using mesh = await LoadedMesh.start();
  const members: LoadedMember[] = [];
  for (let index = 0; index < 4; index += 1) {
    const member = mesh.add({ claim: "leader's key" });
    members.push(member);
    await member.nth("registered");
  }
  await Promise.all(members.map((member) => member.complete(4)));
  const [leader, next, ...others] = members as [LoadedMember, LoadedMember, ...LoadedMember[]];
  await leader.nth("holds");
  const { address } = await next.nth("registered");
  const { id } = await leader.report();
  const stoppedAt = Date.now();
  leader.process.kill("SIGSTOP");
  const isNext = (happening: Happening): boolean => happening.type === "leader" && happening.leader === address;
  const holds = Promise.any([next, ...others].map((member) => member.nth("holds")));
  const told = [next, ...others].map((member) => member.when(isNext, "that the next one leads"));
  figures.time("until the next one holds the leader's key", (await holds).at - stoppedAt, 12_000);
  for (const { at } of await Promise.all(told))
    figures.time("until a member sees the next one lead", at - stoppedAt, 40_000);
  await pause(60_000 - (Date.now() - stoppedAt));
  const wokenAt = Date.now();
  leader.process.kill("SIGCONT");
  const stops = await leader.nth("holds no more");
  figures.time("until the old leader knows that it holds nothing", stops.at - wokenAt, 1_000);
  figures.time("until it is fenced", (await leader.nth("fenced")).at - wokenAt, 5_000);
  await Promise.all(members.map((member) => member.complete(4)));
  const isUnwanted = ({ type, peer }: Happening): boolean => type === "peer:down" && peer !== id;
  figures.none(
    "links of others ended",
    [next, ...others].flatMap(({ happenings }) => happenings.filter(isUnwanted)),
  );
}

/** The server is stopped for so long, and woken: nobody is lost. */
export async function serverStops(figures: Figures, stopMs: number): Promise<void> {
  await using mesh = await wholeMesh(6);
  mesh.server.kill("SIGSTOP");
  const newcomer = mesh.add();
  await pause(stopMs);
  const wokenAt = Date.now();
  mesh.server.kill("SIGCONT");
  const whole = await Promise.all(mesh.members.map((member) => member.complete(7)));
  figures.time("until the mesh is whole with one more", Math.max(...whole.map(({ at }) => at)) - wokenAt, 5_000);
  const counts = await mesh.settle();
  figures.none(
    "messages lost or repeated",
    counts.flatMap(({ faults }) => faults),
  );
  const members = mesh.members.filter((member) => member !== newcomer);
  for (const unwanted of ["peer:down", "fenced", "closed", "peer:unreachable"]) {
    figures.none(
      unwanted,
      members.flatMap(({ happenings }) => happenings.filter(({ type }) => type === unwanted)),
    );
  }
}

async function wholeMesh(size: number): Promise<LoadedMesh> {
  const mesh = await LoadedMesh.start();
  for (let index = 0; index < size; index += 1) mesh.add();
  await Promise.all(mesh.members.map((member) => member.complete(size)));
  return mesh;
}
