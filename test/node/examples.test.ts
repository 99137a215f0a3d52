import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, it, onTestFinished } from "vitest";
import { MeshNode } from "../../src/index.js";

const folder = fileURLToPath(new URL("../../examples/", import.meta.url));
const examples = readdirSync(folder).filter((file) => file.endsWith(".mjs"));
/** docs/api.md shows this one, and what it prints. */
const shown = "three.mjs";

function programOf(file: string): string {
  return readFileSync(`${folder}${file}`, "utf8");
}

/** What an example says at its end that it prints. */
function promiseOf(file: string): string {
  const [, comment = ""] = /\n\/\/ Prints:\n((?:\/\/ .*\n)+)$/.exec(programOf(file)) ?? [];
  return comment.replaceAll(/^\/\/ /gm, "");
}

/** What it prints, and with which code it ends. It runs on the build. */
async function run(file: string): Promise<{ readonly code: unknown; readonly output: string }> {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^FULLMESH_|COLOR/.test(name)));
  const child = spawn(process.execPath, [`${folder}${file}`], { env, stdio: ["ignore", "pipe", "pipe"] });
  onTestFinished(() => void child.kill());
  const ended = once(child, "close");
  const [output, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  return { code: (await ended)[0] as unknown, output: output + errors };
}

describe("the examples", () => {
  it.each(examples.filter((file) => file !== shown))("print what they say: %s", async (file) => {
    expect(promiseOf(file)).not.toBe("");
    expect(await run(file)).toEqual({ code: 0, output: promiseOf(file) });
  });

  it("name everything that a node can be asked or told to do", () => {
    const programs = examples.map(programOf).join("\n");
    const names = Object.getOwnPropertyNames(MeshNode.prototype).filter((name) => name !== "constructor");
    expect(names.length).toBeGreaterThan(20);
    expect(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(programs))).toEqual([]);
  });
});
