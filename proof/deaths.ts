import { freePort } from "../test/support/free-port.js";
import type { Figures } from "./figures.js";
import { type Happening, LoadedMesh } from "./loaded-mesh.js";

/** A lease, which nobody from before is waited for longer than, and the time in which the rest comes about. */
const leaseAndMoreMs = 20_000 + 5_000;

/**
 * The server and all members but the first `survivors` are killed at once, and `returning` of them are started again at the
 * same addresses: they are others, with new ids.
 */
export async function killedAtOnce(
  figures: Figures,
  size: number,
  survivors: number,
  returning: number,
): Promise<void> {
  await using mesh = await LoadedMesh.start();
  const listens: string[] = [];
  for (let index = 0; index < size; index += 1) listens.push(`127.0.0.1:${await freePort()}`);
  for (const listen of listens) mesh.add({ listen });
  await Promise.all(mesh.members.map((member) => member.complete(size)));
  const before = new Set((await Promise.all(mesh.members.map((member) => member.report()))).map(({ id }) => id));
  const killed = mesh.members.slice(survivors);
  await Promise.all([mesh.killServer(), ...killed.map((member) => member.process.stop())]);
  for (const member of killed) mesh.forget(member);
  const backAt = await mesh.startServer();
  for (const listen of listens.slice(survivors, survivors + returning)) mesh.add({ listen });
  const now = survivors + returning;
  const isWithout = ({ members, at }: Happening): boolean => at >= backAt && members === now;
  const whole = await Promise.all(mesh.members.map((member) => member.complete(now)));
  const started = await Promise.all(mesh.members.map((member) => member.nth("started")));
  const lastAt = Math.max(backAt, ...started.map(({ at }) => at));
  figures.time("whole again", Math.max(...whole.map(({ at }) => at)) - lastAt, leaseAndMoreMs);
  const rid = await Promise.all(mesh.members.map((member) => member.when(isWithout, "that nobody else is listed")));
  figures.time("until nobody lists one from before", Math.max(...rid.map(({ at }) => at)) - lastAt, leaseAndMoreMs);
  const counts = await mesh.settle();
  figures.none(
    "messages lost or repeated",
    counts.flatMap(({ faults }) => faults),
  );
  figures.none(
    "ids from before that are back",
    counts.slice(survivors).filter(({ id }) => before.has(id)),
  );
  figures.none(
    "survivors fenced",
    mesh.members.slice(0, survivors).flatMap(({ happenings }) => happenings.filter(({ type }) => type === "fenced")),
  );
}
