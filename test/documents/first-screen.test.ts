/** The programs of the README's first screen, as processes of their own. */
import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, it, onTestFinished } from "vitest";
import { privateFolder } from "../support/folders.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const folder = `${root}examples/cache/`;

interface Program {
  readonly child: ChildProcessWithoutNullStreams;
  readonly lines: Interface;
}

/** Runs one of the programs on the build. */
function run(temporary: string, file: string, ...args: readonly string[]): Program {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("FULLMESH_")));
  const child = spawn(process.execPath, [`${folder}${file}`, ...args], { env: { ...env, TMPDIR: temporary } });
  onTestFinished(() => void child.kill("SIGKILL"));
  return { child, lines: createInterface(child.stdout) };
}

async function nextLine({ lines }: Program): Promise<string> {
  const [line] = (await once(lines, "line")) as [string];
  return line;
}

it("invalidates an entry in every other process, and ends each program at SIGTERM", async () => {
  const temporary = privateFolder();
  const [first, ...others] = ["api-1", "api-2", "api-3"].map((name) => run(temporary, "service.mjs", name));
  const printed = await Promise.all(others.map(nextLine));
  const readme = readFileSync(`${root}README.md`, "utf8");
  const [, output = ""] = /```text\n(api-2.*?)```/s.exec(readme) ?? [];
  expect(printed.toSorted()).toEqual(output.trimEnd().split("\n"));
  for (const program of [first, ...others]) {
    const ended = once(program?.child ?? process, "close");
    program?.child.kill("SIGTERM");
    expect(await ended).toEqual([0, null]);
  }
});

it("shows the program as it is", () => {
  const readme = readFileSync(`${root}README.md`, "utf8");
  const program = readFileSync(`${folder}service.mjs`, "utf8");
  expect(readme).toContain(`\`\`\`js\n// service.mjs\n${program}\`\`\``);
});
