/** The programs of the README's first screen, as processes of their own. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = `${root}examples/cache/`;

interface Program {
  readonly child: ChildProcessWithoutNullStreams;
  readonly lines: Interface;
}

/** Runs one of the programs on the build. */
function run(mesh: string, file: string, ...args: readonly string[]): Program {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("FULLMESH_")));
  const child = spawn(process.execPath, [`${folder}${file}`, ...args], { env: { ...env, MESH: mesh } });
  onTestFinished(() => void child.kill("SIGKILL"));
  return { child, lines: createInterface(child.stdout) };
}

async function nextLine({ lines }: Program): Promise<string> {
  const [line] = (await once(lines, "line")) as [string];
  return line;
}

it("invalidates an entry in every other process, and ends each program at SIGTERM", async () => {
  const server = run("127.0.0.1:0", "server.mjs");
  const address = (await nextLine(server)).replace("listening on ", "");
  const [first, ...others] = ["api-1", "api-2", "api-3"].map((name) => run(address, "service.mjs", name));
  const printed = await Promise.all(others.map(nextLine));
  const readme = readFileSync(`${root}README.md`, "utf8");
  const [, output = ""] = /```text\nlistening on 127\.0\.0\.1:4000\n(.*?)```/s.exec(readme) ?? [];
  expect(printed.toSorted()).toEqual(output.trimEnd().split("\n"));
  for (const program of [first, ...others, server]) {
    const ended = once(program?.child ?? process, "close");
    program?.child.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
  }
});

it("shows the programs as they are", () => {
  const readme = readFileSync(`${root}README.md`, "utf8");
  for (const file of ["server.mjs", "service.mjs"]) {
    expect(readme).toContain(`\`\`\`js\n// ${file}\n${readFileSync(`${folder}${file}`, "utf8")}\`\`\``);
  }
});
