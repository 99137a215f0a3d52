import { setTimeout as pause } from "node:timers/promises";
import type { Figures } from "./figures.js";
import { type Counts, type Happening, type LoadedMember, LoadedMesh } from "./loaded-mesh.js";

/** How often, and for how long, a server is away. */
export interface RestartRounds {
  readonly members: number;
  readonly rounds: number;
  readonly awayMs: number;
  /** Each is claimed by two members all the time. */
  readonly keys: number;
  readonly secret?: string;
  /** The clock of the servers that are started again. */
  readonly fakeTime?: { readonly env: Readonly<Record<string, string>>; readonly offsetMs: number };
}

/**
 * The server of a mesh with load in all directions is killed and started again with nothing in memory, round after round. In
 * each round one more process is started while the server is away, and leaves when the mesh is whole again.
 */
export async function serverRestarts(
  figures: Figures,
  { members, rounds, awayMs, keys, secret, fakeTime }: RestartRounds,
): Promise<void> {
  await using mesh = await LoadedMesh.start(secret === undefined ? {} : { secret });
  for (let index = 0; index < members; index += 1) {
    mesh.add(index < 2 * keys ? { claim: `key ${index % keys}` } : {});
  }
  await Promise.all(mesh.members.map((member) => member.complete(members)));
  const residents = [...mesh.members];
  await allHeld(keys, residents);
  const before = await Promise.all(residents.map((member) => member.report()));
  for (let round = 1; round <= rounds; round += 1) {
    await mesh.killServer();
    const killedAt = performance.now();
    await Promise.all(residents.map((member) => member.nth("server:lost", round)));
    const newcomer = mesh.add();
    await pause(awayMs - (performance.now() - killedAt));
    const backAt = await mesh.startServer(fakeTime);
    const [started, registered, ...whole] = await Promise.all([
      newcomer.nth("started"),
      newcomer.nth("registered"),
      ...mesh.members.map((member) => member.complete(members + 1)),
    ]);
    figures.time("newcomer is in", registered.at - Math.max(backAt, started.at), 2_000);
    const wholeAt = Math.max(...whole.map(({ at }) => at));
    figures.time("whole again", wholeAt - Math.max(backAt, started.at), 3_000);
    const counts = await mesh.settle();
    reportCounts(figures, before, counts);
    await remove(newcomer, residents, mesh);
    mesh.resume();
    // A server that starts grants nothing for 10 s: in most rounds no key has a new holder.
    if (round % 5 === 0 || round === rounds) await allHeld(keys, residents);
  }
  reportHappenings(figures, residents);
}

/** Resolves when so many keys have a holder. */
async function allHeld(keys: number, [first]: readonly LoadedMember[]): Promise<void> {
  while (((await first?.report())?.claims ?? keys) < keys) await pause(100);
}

/** It leaves, and everybody has read so. */
async function remove(newcomer: LoadedMember, residents: readonly LoadedMember[], mesh: LoadedMesh): Promise<void> {
  const { id } = await newcomer.nth("registered");
  await newcomer.leave();
  const isEnd = ({ type, peer }: Happening): boolean => type === "peer:down" && peer === id;
  await Promise.all(residents.map((member) => member.when(isEnd, "that the newcomer has left")));
  mesh.forget(newcomer);
}

/** `counts`: of those that were there before, in the same order, and of newcomers behind them. */
function reportCounts(figures: Figures, before: readonly Counts[], counts: readonly Counts[]): void {
  figures.none(
    "messages lost or repeated",
    counts.flatMap(({ faults }) => faults),
  );
  const place = ({ id, order, rank }: Counts): string => `${id} has order ${order} and rank ${rank}`;
  const now = counts.slice(0, before.length).map(place);
  figures.none(
    "ids, orders or ranks changed",
    before.map(place).filter((was, index) => was !== now[index]),
  );
  const highest = Math.max(...before.map(({ order }) => order));
  figures.none(
    "newcomers with an order that is not the highest",
    counts.slice(before.length).filter(({ order }) => order <= highest),
  );
}

/** Links end only with those that have left; nobody is fenced; tokens of each key rise, as each member has read them. */
function reportHappenings(figures: Figures, residents: readonly LoadedMember[]): void {
  const all = residents.map(({ happenings }) => happenings);
  const happened = all.flat();
  const isUnwanted = ({ type, reason }: Happening): boolean => type === "peer:down" && reason !== "left";
  figures.none("peer:down", happened.filter(isUnwanted));
  for (const unwanted of ["fenced", "closed", "peer:unreachable"]) {
    figures.none(
      unwanted,
      happened.filter(({ type }) => type === unwanted),
    );
  }
  figures.none("tokens that did not grow", all.flatMap(fallingTokens));
  figures.count("claims granted", happened.filter(({ type }) => type === "holds").length);
}

/** The `claimed` of one member's history whose token is lower than an earlier one of its key. */
export function fallingTokens(history: readonly Happening[]): Happening[] {
  const highest = new Map<unknown, number>();
  return history.filter(({ type, key, token }) => {
    if (type !== "claimed") return false;
    const before = highest.get(key) ?? 0;
    highest.set(key, Math.max(before, Number(token)));
    return Number(token) < before;
  });
}

/** The server is killed while the members of a mesh join, when so many have been admitted, and started again soon after. */
export async function restartInWireUp(figures: Figures, members: number, killAt: readonly number[]): Promise<void> {
  for (const admitted of killAt) {
    await using mesh = await LoadedMesh.start({ memberOptions: { everyMs: 1_000 } });
    for (let index = 0; index < members; index += 1) mesh.add();
    const registered = mesh.members.map((member) => member.nth("registered"));
    await countOf(registered, admitted);
    await mesh.killServer();
    await pause(2_000);
    const backAt = await mesh.startServer();
    const whole = await Promise.all(mesh.members.map((member) => member.complete(members)));
    const started = await Promise.all(mesh.members.map((member) => member.nth("started")));
    const lastAt = Math.max(backAt, ...started.map(({ at }) => at));
    figures.time("whole", Math.max(...whole.map(({ at }) => at)) - lastAt, 10_000);
    const counts = await mesh.settle();
    figures.none(
      "messages lost or repeated",
      counts.flatMap(({ faults }) => faults),
    );
    const happened = mesh.members.flatMap(({ happenings }) => happenings);
    for (const unwanted of ["peer:down", "fenced", "closed"]) {
      figures.none(
        unwanted,
        happened.filter(({ type }) => type === unwanted),
      );
    }
  }
}

/** Resolves when so many of them have. */
function countOf(promises: readonly Promise<unknown>[], count: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let resolved = 0;
    for (const promise of promises) {
      promise.then(() => {
        resolved += 1;
        if (resolved >= count) resolve();
      }, reject);
    }
  });
}
