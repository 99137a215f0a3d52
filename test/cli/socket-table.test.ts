import { execFileSync } from "node:child_process";
import { expect, it } from "vitest";
import { makeSecret } from "../../src/nodejs/secret.js";
import type { StartedProcess } from "../support/processes.js";
import { requireTool } from "../support/tools.js";
import { eventOf, fullmesh, plainEnvironment, startServer } from "./command-line.js";

const size = 12;

/** An established connection, seen from one end. */
interface Row {
  readonly local: string;
  readonly remote: string;
  readonly pid: number;
}

/** The established connections of these processes, from the kernel. */
function socketTable(ss: string, pids: ReadonlySet<number>): Row[] {
  const table = execFileSync(ss, ["-Htnp", "state", "established"], { encoding: "utf8" });
  return table
    .split("\n")
    .map((line) => /^\d+\s+\d+\s+(\S+)\s+(\S+)\s+.*pid=(\d+)/.exec(line))
    .filter((match) => match !== null)
    .map(([, local = "", remote = "", pid]) => ({ local, remote, pid: Number(pid) }))
    .filter(({ pid }) => pids.has(pid));
}

interface Variant {
  readonly name: string;
  readonly flags: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

const variants: readonly Variant[] = [
  { name: "classic", flags: ["--dialect", "classic"], env: {} },
  { name: "native", flags: [], env: {} },
  { name: "native, with a secret", flags: [], env: { FULLMESH_SECRET: makeSecret() } },
];

it.for(variants)(
  "has one connection for every pair of members and one to the server, and no more, by the table of the kernel: $name",
  async ({ flags, env: extra }, context) => {
    const ss = requireTool(context, "ss");
    const env = plainEnvironment(extra);
    const { server, address } = await startServer(["--capacity", String(size), "--on-full", "hold"], { env });
    const members = Array.from({ length: size }, () => fullmesh(["join", address, "--json", ...flags], { env }));
    for (const member of members) await eventOf(member, "complete", (line) => line.members === size);
    const pidsOf = (processes: readonly StartedProcess[]): Set<number> =>
      new Set(processes.map(({ pid }) => pid ?? -1));
    const rows = socketTable(ss, pidsOf([server, ...members]));
    const pairs = (size * (size - 1)) / 2;
    // Each connection is printed from both of its ends.
    expect(rows).toHaveLength(2 * (pairs + size));
    expect(rows.filter(({ local, remote }) => local === address || remote === address)).toHaveLength(2 * size);
    const owners = new Map(rows.map(({ local, remote, pid }) => [`${local} ${remote}`, pid]));
    const joined = new Set<string>();
    for (const { local, remote, pid } of rows) {
      const other = owners.get(`${remote} ${local}`) ?? 0;
      joined.add([pid, other].sort((a, b) => a - b).join(" "));
    }
    expect(joined.size).toBe(pairs + size);
  },
);
