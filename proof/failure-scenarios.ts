import { setTimeout as pause } from "node:timers/promises";
import type { FailureTable } from "./failure-table.js";
import { type Happening, type Watched, WatchedMesh } from "./watched-mesh.js";

/** Something that happens to a mesh. */
export interface Scenario {
  /** What happens, as the table says it. */
  readonly failure: string;
  /** The hosts of the members, in the order of joining. */
  readonly hosts: readonly string[];
  readonly run: (mesh: WatchedMesh, note: Note) => Promise<void>;
}

/** Notes what was measured of one scenario. */
export interface Note {
  /** `observer` has noticed it at `at`, after the failure began at `since`. */
  (observer: string, sees: string, at: number, since: number, atMost?: number): void;
  none(meaning: string, found: readonly unknown[]): void;
}

export function noteFor(table: FailureTable, failure: string): Note {
  const note = (observer: string, sees: string, at: number, since: number, atMost?: number): void =>
    table.add(failure, observer, sees, at - since, atMost);
  return Object.assign(note, {
    none: (meaning: string, found: readonly unknown[]): void => table.none(failure, meaning, found),
  });
}

const five = ["h0", "h1", "h2", "h3", "h4"];
/** The key that the oldest member claims where that is to be measured; the second one waits for it. */
const key = "job";

/** When the last of these has it happen. */
async function last(members: readonly Watched[], type: string, since: number, of?: Watched): Promise<number> {
  const isWanted = ({ peer }: Happening): boolean => of === undefined || peer === of.name;
  const happenings = await Promise.all(members.map((member) => member.next(type, since, isWanted)));
  return Math.max(...happenings.map(({ at }) => at));
}

/** When the last of these knows that the member at this address leads, or, with null, that it does not know who does. */
async function leaderKnown(members: readonly Watched[], address: unknown, since: number): Promise<number> {
  const told = await Promise.all(
    members.map((member) => member.next("leader", since, ({ leader }) => leader === address)),
  );
  return Math.max(...told.map(({ at }) => at));
}

async function addressOf(member: Watched): Promise<unknown> {
  return (await member.next("registered")).address;
}

/** What has happened since then to the links and identities of these members. */
function disturbances(members: readonly Watched[], since: number): unknown[] {
  return members.flatMap((member) =>
    ["peer:unreachable", "peer:down", "fenced"].flatMap((type) =>
      member.seen(type, since).map(({ peer, reason }) => [member.name, type, peer, reason]),
    ),
  );
}

/** The oldest member holds a key, and the second one waits for it. */
async function claimed(mesh: WatchedMesh): Promise<void> {
  const [holder, next] = [mesh.member(0), mesh.member(1)];
  holder.process.writeLine(`claim ${key}`);
  await holder.next("claim");
  next.process.writeLine(`claim ${key}`);
}

/** What is noticed when the oldest member, which leads and holds a claim, is gone at `since` for the others. */
async function noteLossOfOldest(mesh: WatchedMesh, note: Note, since: number): Promise<void> {
  const [dead, next] = [mesh.member(0), mesh.member(1)];
  const rest = mesh.others(dead);
  const address = await addressOf(next);
  await Promise.all([
    last(rest, "peer:unreachable", since, dead).then((at) => note("its peers", "`peer:unreachable`", at, since)),
    last(rest, "peer:down", since, dead).then(async (at) => {
      note("its peers", "`peer:down`", at, since);
      note("its peers", "`complete` without it", await mesh.whole(rest), since);
    }),
    mesh.server.next("lost", since).then(({ at }) => note("the server", "`lost`", at, since)),
    next.next("claim", since).then(({ at }) => note("the next in line", "holds its claim", at, since)),
    leaderKnown(rest, address, since).then((at) => note("its peers", "`leader`, the next one", at, since)),
  ]);
}

/** What is noticed when the oldest member is there again, after it was lost. */
async function noteReturn(mesh: WatchedMesh, note: Note, since: number): Promise<void> {
  const returned = mesh.member(0);
  note("itself, from then on", "`fenced`", (await returned.next("fenced", since)).at, since);
  note("all, from then on", "`complete` with it", await mesh.whole(mesh.members), since, 20);
}

const leave: Scenario = {
  failure: "a member leaves (`leave()`)",
  hosts: five,
  run: async (mesh, note) => {
    const gone = mesh.member(1);
    const rest = mesh.others(gone);
    const since = Date.now();
    gone.process.writeLine("leave");
    note("its peers", "`peer:down`", await last(rest, "peer:down", since, gone), since);
    note("the server", "`left`", (await mesh.server.next("left", since)).at, since);
    note("its peers", "`complete` without it", await mesh.whole(rest), since);
  },
};

const kill: Scenario = {
  failure: "a member's process is killed (`kill -9`); it led, and held a claim",
  hosts: five,
  run: async (mesh, note) => {
    await claimed(mesh);
    const since = Date.now();
    mesh.member(0).process.kill("SIGKILL");
    await noteLossOfOldest(mesh, note, since);
  },
};

const hang: Scenario = {
  failure: "a member hangs (`SIGSTOP`), and goes on after it was lost; it led, and held a claim",
  hosts: five,
  run: async (mesh, note) => {
    await claimed(mesh);
    const since = Date.now();
    mesh.member(0).process.kill("SIGSTOP");
    await noteLossOfOldest(mesh, note, since);
    const back = Date.now();
    mesh.member(0).process.kill("SIGCONT");
    note("itself, from then on", "its claim's `signal`", (await mesh.member(0).next("claim:lost", back)).at, back);
    await noteReturn(mesh, note, back);
  },
};

const cable: Scenario = {
  failure: "the cable of a member's host is pulled until it was lost; it led, and held a claim",
  hosts: five,
  run: async (mesh, note) => {
    await claimed(mesh);
    const since = Date.now();
    mesh.hosts.unplug("h0");
    const cutOff = mesh.member(0);
    await Promise.all([
      noteLossOfOldest(mesh, note, since),
      cutOff.next("claim:lost", since).then(({ at }) => note("itself", "its claim's `signal`", at, since)),
      cutOff.next("server:lost", since).then(({ at }) => note("itself", "`server:lost`", at, since)),
    ]);
    const back = Date.now();
    mesh.hosts.plug("h0");
    await noteReturn(mesh, note, back);
  },
};

const sleep: Scenario = {
  failure: "a member's machine sleeps for 60 s",
  hosts: five,
  run: async (mesh, note) => {
    const sleeper = mesh.member(0);
    const rest = mesh.others(sleeper);
    const since = Date.now();
    mesh.hosts.unplug("h0");
    sleeper.process.kill("SIGSTOP");
    await Promise.all([
      last(rest, "peer:unreachable", since, sleeper).then((at) => note("its peers", "`peer:unreachable`", at, since)),
      last(rest, "peer:down", since, sleeper).then((at) => note("its peers", "`peer:down`", at, since)),
      pause(60_000),
    ]);
    const back = Date.now();
    mesh.hosts.plug("h0");
    sleeper.process.kill("SIGCONT");
    await noteReturn(mesh, note, back);
  },
};

const power: Scenario = {
  failure: "a host with two members loses its power",
  hosts: ["h0", "h1", "h1", "h2", "h3"],
  run: async (mesh, note) => {
    const dead = [mesh.member(1), mesh.member(2)];
    const rest = mesh.others(...dead);
    const since = Date.now();
    mesh.hosts.unplug("h1");
    for (const { process } of dead) process.kill("SIGKILL");
    await Promise.all([
      ...dead.map(async (one) =>
        note("their peers", "`peer:unreachable`", await last(rest, "peer:unreachable", since, one), since),
      ),
      ...dead.map(async (one) => note("their peers", "`peer:down`", await last(rest, "peer:down", since, one), since)),
    ]);
    note("their peers", "`complete` without them", await mesh.whole(rest), since);
    note.none(
      "the others stay",
      rest.flatMap((member) => member.seen("fenced", since)),
    );
  },
};

/** One pair of eight members is cut for 60 s: in both directions, or in one. */
function pairCut(failure: string, ways: readonly (readonly [from: string, to: string])[]): Scenario {
  return {
    failure,
    hosts: ["h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7"],
    run: async (mesh, note) => {
      const [one, other] = [mesh.member(3), mesh.member(7)];
      const since = Date.now();
      for (const [from, to] of ways) mesh.hosts.cut(from, to);
      await Promise.all([
        one.next("peer:unreachable", since).then(({ at }) => note("the two", "`peer:unreachable`", at, since)),
        other.next("peer:unreachable", since).then(({ at }) => note("the two", "`peer:unreachable`", at, since)),
        last(mesh.members, "degraded", since).then((at) =>
          note("all, and the server", "`degraded`, which names the two", at, since, 20),
        ),
      ]);
      for (const member of mesh.members) {
        const text = JSON.stringify(member.seen("degraded", since).map(({ missing }) => missing));
        const named = ["h0", "h1", "h2", "h3", "h4", "h5", "h6", "h7"].filter((host) =>
          text.includes(`${mesh.hosts.address(host)}:`),
        );
        note.none(
          "only the two are named",
          named.filter((host) => host !== "h3" && host !== "h7"),
        );
      }
      await pause(Math.max(0, since + 60_000 - Date.now()));
      const back = Date.now();
      for (const [from, to] of ways) mesh.hosts.mend(from, to);
      note("the two, from then on", "`peer:back`", await last([one, other], "peer:back", back), back);
      note("all, from then on", "`complete`", await mesh.whole(mesh.members), back, 20);
      note.none("no other link moves", disturbances(mesh.others(one, other), since));
      note.none(
        "nor ends",
        mesh.members.flatMap((member) => member.seen("peer:down", since)),
      );
    },
  };
}

/** Two groups of members are apart for 60 s; the server is with the first one, or reaches both. */
function groups(failure: string, isServerCut: boolean): Scenario {
  return {
    failure,
    hosts: five,
    run: async (mesh, note) => {
      const first = ["h0", "h1", ...(isServerCut ? ["server"] : [])];
      const ways = first.flatMap((one) =>
        ["h2", "h3", "h4"].flatMap(
          (other) =>
            [
              [one, other],
              [other, one],
            ] as const,
        ),
      );
      const [stay, away] = [mesh.members.slice(0, 2), mesh.members.slice(2)];
      const since = Date.now();
      for (const [from, to] of ways) mesh.hosts.cut(from, to);
      await Promise.all(
        stay.flatMap((one) =>
          away.map(async (other) =>
            note(
              "all",
              "`peer:unreachable`",
              (await one.next("peer:unreachable", since, ({ peer }) => peer === other.name)).at,
              since,
            ),
          ),
        ),
      );
      if (isServerCut) {
        for (const other of away) {
          note("the first group", "`peer:down`", await last(stay, "peer:down", since, other), since);
        }
      } else note("all, and the server", "`degraded`", await last(mesh.members, "degraded", since), since, 20);
      await pause(Math.max(0, since + 60_000 - Date.now()));
      const back = Date.now();
      for (const [from, to] of ways) mesh.hosts.mend(from, to);
      if (isServerCut) note("the second group, from then on", "`fenced`", await last(away, "fenced", back), back);
      note("all, from then on", "`complete`", await mesh.whole(mesh.members), back, 20);
      const ends = isServerCut ? [] : mesh.members.flatMap((member) => member.seen("peer:down", since));
      note.none("no link ends", ends);
    },
  };
}

/** The server is gone for a time: `begin` and `end` do that. No link may move, and nobody may be lost. */
function serverAway(
  failure: string,
  awayMs: number,
  begin: (mesh: WatchedMesh) => void,
  end: (mesh: WatchedMesh) => Promise<number>,
): Scenario {
  return {
    failure,
    hosts: five,
    run: async (mesh, note) => {
      const since = Date.now();
      begin(mesh);
      await pause(awayMs);
      const lost = await last(mesh.members, "server:lost", since);
      const back = await end(mesh);
      note("all members", "`server:lost`", lost, since);
      note("all members, from then on", "`server:back`", await last(mesh.members, "server:back", back), back);
      note("all members, from then on", "`complete`", await mesh.whole(mesh.members), back);
      const leaderless = mesh.members.map((member) =>
        member.seen("leader", since).find(({ leader }) => leader === null),
      );
      const at = leaderless.flatMap((happening) => (happening === undefined ? [] : [happening.at]));
      if (at.length === mesh.members.length) note("all members", "`leader`: none", Math.max(...at), since);
      note.none("no link moves", disturbances(mesh.members, since));
    },
  };
}

/** The oldest member cannot reach the server, only that: it leads, and holds a claim. */
const cutFromServer: Scenario = {
  failure: "the leader and the server cannot reach one another for 60 s; it holds a claim",
  hosts: five,
  run: async (mesh, note) => {
    await claimed(mesh);
    const [cutOff, next] = [mesh.member(0), mesh.member(1)];
    const rest = mesh.others(cutOff);
    const since = Date.now();
    cutServerFrom(mesh, cutOff);
    await Promise.all([
      cutOff.next("server:lost", since).then(({ at }) => note("itself", "`server:lost`", at, since)),
      cutOff.next("claim:lost", since).then(({ at }) => note("itself", "its claim's `signal`", at, since)),
      leaderKnown([cutOff], null, since).then((at) => note("itself", "`leader`: none", at, since)),
      next.next("claim", since).then(({ at }) => note("the next in line", "holds its claim", at, since)),
      addressOf(next)
        .then((address) => leaderKnown(rest, address, since))
        .then((at) => note("its peers", "`leader`, the next one", at, since)),
    ]);
    await pause(Math.max(0, since + 60_000 - Date.now()));
    const back = Date.now();
    mendServerTo(mesh, cutOff);
    note("itself, from then on", "`server:back`", (await cutOff.next("server:back", back)).at, back);
    note("all, from then on", "`leader` again", await leaderKnown(mesh.members, await addressOf(cutOff), back), back);
    note("all, from then on", "`complete`", await mesh.whole(mesh.members), back);
    note.none("no link moves", disturbances(mesh.members, since));
  },
};

/** A member that only the server cannot reach, while that is started again with nothing in memory. */
const cutWhileRestarted: Scenario = {
  failure: "a member and the server cannot reach one another for 60 s, and the server starts anew meanwhile",
  hosts: five,
  run: async (mesh, note) => {
    const cutOff = mesh.member(2);
    const since = Date.now();
    cutServerFrom(mesh, cutOff);
    note("itself", "`server:lost`", (await cutOff.next("server:lost", since)).at, since);
    await mesh.server.process.stop();
    const started = await mesh.startServer();
    const others = await last(mesh.others(cutOff), "server:back", started);
    note("the others, from its start on", "`server:back`", others, started);
    await pause(Math.max(0, since + 60_000 - Date.now()));
    const back = Date.now();
    mendServerTo(mesh, cutOff);
    note("itself, from then on", "`server:back`", (await cutOff.next("server:back", back)).at, back);
    note("all, from then on", "`complete`", await mesh.whole(mesh.members), back);
    note.none("no link moves", disturbances(mesh.members, since));
  },
};

function cutServerFrom({ hosts }: WatchedMesh, { host }: Watched): void {
  hosts.cut("server", host);
  hosts.cut(host, "server");
}

function mendServerTo({ hosts }: WatchedMesh, { host }: Watched): void {
  hosts.mend("server", host);
  hosts.mend(host, "server");
}

/** All that is measured, in the order of the table. */
export const scenarios: Readonly<Record<string, Scenario>> = {
  leave,
  kill,
  hang,
  cable,
  sleep,
  power,
  "pair-both-ways": pairCut("the network between two of eight members is cut for 60 s", [
    ["h3", "h7"],
    ["h7", "h3"],
  ]),
  "pair-one-way": pairCut("the same, in one direction only", [["h7", "h3"]]),
  groups: groups("two groups of members cannot reach one another for 60 s; both reach the server", false),
  split: groups("two groups of members cannot reach one another for 60 s; the second one not the server either", true),
  "server-restart": serverAway(
    "the server is killed, and started again 5 s later",
    5_000,
    (mesh) => mesh.server.process.kill("SIGKILL"),
    (mesh) => mesh.startServer(),
  ),
  "server-away": serverAway(
    "the server is killed, and started again 60 s later",
    60_000,
    (mesh) => mesh.server.process.kill("SIGKILL"),
    (mesh) => mesh.startServer(),
  ),
  "server-hang": serverAway(
    "the server hangs for 30 s",
    30_000,
    (mesh) => mesh.server.process.kill("SIGSTOP"),
    async (mesh) => {
      mesh.server.process.kill("SIGCONT");
      return Date.now();
    },
  ),
  "server-cable": serverAway(
    "the server's cable is out for 60 s",
    60_000,
    (mesh) => mesh.hosts.unplug("server"),
    async (mesh) => {
      mesh.hosts.plug("server");
      return Date.now();
    },
  ),
  "cut-from-server": cutFromServer,
  "cut-while-restarted": cutWhileRestarted,
};

/** Runs a scenario once with a mesh of its own. */
export async function runOnce(scenario: Scenario, table: FailureTable): Promise<void> {
  const mesh = await WatchedMesh.start(scenario.hosts);
  try {
    await scenario.run(mesh, noteFor(table, scenario.failure));
  } finally {
    await mesh.remove();
  }
}
