import { setTimeout as pause } from "node:timers/promises";
import type { StartedProcess } from "../test/support/processes.js";
import type { Figures } from "./figures.js";
import { plainEnvironment, programPath, settle } from "./loaded-mesh.js";
import { type ClientAct, checkHistory } from "./mesh-history.js";
import { reportUntouched, SharedSite, type SiteKind } from "./shared-site.js";

/** Slots of each mesh, and how many come at once: more, so that there is always somebody in line. */
const capacity = 8;
const clientHosts = ["c0", "c1"];
const atOnce = 8;
/** A mesh beside the storm, whose links are to stay. */
const residents = 6;
/** How long joins through the others may stand still when something fails. */
const standstillMs = 5_000;
const overMs = 240_000;

type Fault = "killed" | "stopped" | "cut off";

/** What a client process writes. */
type Line = ClientAct | { readonly act: "started" | "over" | "fenced"; readonly at: number; readonly id?: string };

/**
 * Storms of joins over three servers that share their logs through three members of etcd, while in turn one of them is killed,
 * stopped and cut off for a while: every join is answered, what the clients have seen is linearizable, and no link of a mesh
 * beside it ends.
 */
export async function storms(figures: Figures, joins: number, faultMs: number): Promise<void> {
  await using site = await SharedSite.start(clientHosts, ["--capacity", String(capacity), "--on-full", "hold"]);
  const others = Array.from({ length: residents }, (_, index) => {
    return site.member(clientHosts[index % clientHosts.length] as string, index, { mesh: "residents" });
  });
  await Promise.all(others.map((member) => member.complete(residents)));
  const kinds: readonly SiteKind[] = ["server", "etcd"];
  for (const kind of kinds) {
    for (const fault of ["killed", "stopped", "cut off"] as const) {
      const victim = kind === "etcd" ? await site.leader() : 1;
      await storm(figures, site, { kind, fault, victim, joins, faultMs });
      await Promise.all(others.map((member) => member.complete(residents)));
    }
  }
  reportUntouched(figures, others);
  const counts = await settle(others);
  figures.none(
    "messages lost or repeated",
    counts.flatMap(({ faults }) => faults),
  );
}

interface Storm {
  readonly kind: SiteKind;
  readonly fault: Fault;
  readonly victim: number;
  readonly joins: number;
  readonly faultMs: number;
}

async function storm(
  figures: Figures,
  site: SharedSite,
  { kind, fault, victim, joins, faultMs }: Storm,
): Promise<void> {
  const what = `a ${kind} ${fault}`;
  const mesh = `storm ${what}`;
  const clients = clientHosts.map((host): StartedProcess => {
    const options = {
      ...{ mesh, joins: joins / clientHosts.length, atOnce, stayMs: 200, key: "job", timeoutMs: 120_000 },
      ...{ listen: `${site.hosts.address(host)}:0`, insecure: true },
    };
    const args = [programPath("churning-clients.mjs"), site.servers.join(","), JSON.stringify(options)];
    return site.hosts.run(host, args, { env: plainEnvironment(), hasStdin: true });
  });
  await Promise.all(
    clients.map((client) => client.line((line) => line.includes('"join"'), "that somebody is in", overMs)),
  );
  await pause(2_000);
  const failsAt = performance.timeOrigin + performance.now();
  if (fault === "killed") site.kill(kind, victim);
  else if (fault === "stopped") site.stop(kind, victim);
  else site.cut(kind, victim);
  await pause(faultMs);
  const mendedAt = performance.timeOrigin + performance.now();
  if (fault === "killed") await site.startAgain(kind, victim);
  else if (fault === "stopped") site.goOn(kind, victim);
  else site.mend(kind, victim);
  await Promise.all(
    clients.map((client) => client.line((line) => line.includes('"over"'), "that all have come", overMs)),
  );
  const lines = clients.flatMap((client) => client.lines.map((line) => JSON.parse(line) as Line));
  const acts = lines.filter((line): line is ClientAct => "begunAt" in line);
  const joined = acts.flatMap((act) => (act.act === "join" ? [act] : []));
  figures.count(`${what}: joins answered`, joined.length);
  figures.none(
    `${what}: joins that were refused`,
    joined.filter(({ refused }) => refused !== undefined),
  );
  figures.none(
    `${what}: clients fenced`,
    lines.filter(({ act }) => act === "fenced"),
  );
  figures.time(`${what}: longest time without an admission`, longestGap(joined, failsAt, mendedAt), standstillMs);
  const { isLinearizable, longest, stuck } = checkHistory(acts, capacity);
  figures.none(
    `${what}: histories that no log explains`,
    isLinearizable
      ? []
      : [`after ${longest.length} of ${acts.length}: ${longest.slice(-3).join("; ")} |stuck| ${stuck.join("; ")}`],
  );
}

/** The longest time between two admissions while something is broken. */
function longestGap(
  joined: readonly { readonly endedAt?: number; readonly order?: number }[],
  from: number,
  until: number,
): number {
  const times = joined.flatMap(({ endedAt, order }) => (endedAt === undefined || order === undefined ? [] : [endedAt]));
  const within = times.filter((at) => at > from && at < until).sort((a, b) => a - b);
  const all = [from, ...within, Math.min(until, Math.max(from, ...times))];
  return Math.max(...all.slice(1).map((at, index) => at - (all[index] as number)));
}
