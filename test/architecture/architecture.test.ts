import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { importFaults, impurityFaults, type SourceFile } from "./rules.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

function sources(): SourceFile[] {
  return readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .map((path) => ({ path, text: readFileSync(join(root, "src", path), "utf8") }));
}

describe("the architecture", () => {
  it("lets a folder import from lower floors only", () => {
    expect(sources().flatMap(importFaults)).toEqual([]);
  });

  it("keeps clocks, dice, sockets and logs off the pure floors", () => {
    expect(sources().flatMap(impurityFaults)).toEqual([]);
  });
});

/** Each wall is shown to stand by running against it. */
describe("a planted violation", () => {
  it.each([
    ["an import that goes up", importFaults, "core/x.ts", 'import { run } from "../mesh/member.js";'],
    ["an import that goes to the side", importFaults, "mesh/x.ts", 'import { Roll } from "../rendezvous/roll.js";'],
    ["an import of the public face from a floor", importFaults, "nodejs/x.ts", 'import { serve } from "../server.js";'],
    ["a clock on a pure floor", impurityFaults, "mesh/x.ts", "export const now = () => Date.now();"],
    ["dice on a pure floor", impurityFaults, "simulator/x.ts", "export const dice = () => Math.random();"],
    ["a socket on a pure floor", impurityFaults, "rendezvous/x.ts", 'import { connect } from "node:net";'],
  ])("is found: %s", (_name, faults, path, text) => {
    expect(faults({ path, text })).toHaveLength(1);
  });

  it("fails the build: an import that goes up, and a timer on a pure floor", () => {
    const copy = mkdtempSync(join(tmpdir(), "fullmesh-walls-"));
    try {
      cpSync(join(root, "src"), join(copy, "src"), { recursive: true });
      for (const file of ["tsconfig.base.json", "package.json"]) cpSync(join(root, file), join(copy, file));
      symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
      appendFileSync(join(copy, "src/core/heap.ts"), "setTimeout(() => {}, 1);\n");
      writeFileSync(join(copy, "src/protocol/up.ts"), 'export { Member } from "../mesh/member.js";\n');
      const errors = build(copy);
      expect(errors).toMatch(/heap\.ts.*TS2304: Cannot find name 'setTimeout'/);
      expect(build(copy, "src/protocol")).toMatch(/up\.ts.*TS6307|TS6059/);
    } finally {
      rmSync(copy, { recursive: true, force: true });
    }
  });
});

/** What the compiler says of a folder that must not compile. */
function build(folder: string, project = "src/core"): string {
  const compiler = createRequire(import.meta.url).resolve("typescript/bin/tsc");
  const heap = join(folder, "src/core/heap.ts");
  // The upward import is looked at on its own: a floor below that does not compile would hide it.
  if (project !== "src/core") writeFileSync(heap, readFileSync(heap, "utf8").replace("setTimeout(() => {}, 1);\n", ""));
  try {
    execFileSync(process.execPath, [compiler, "--build", project], { cwd: folder, encoding: "utf8" });
    return "";
  } catch (error) {
    return String((error as { stdout?: unknown }).stdout);
  }
}
