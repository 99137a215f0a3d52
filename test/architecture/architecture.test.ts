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
import { importCircles, importFaults, impurityFaults, type SourceFile } from "./rules.js";

const root = fileURLToPath(new URL("../../", import.meta.url));

function sources(): SourceFile[] {
  return ["src", "simulator", "bench", "proof"].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
      .filter((path) => path.endsWith(".ts") && !path.includes("node_modules"))
      .map((path) => ({ path: `${folder}/${path}`, text: readFileSync(join(root, folder, path), "utf8") })),
  );
}

describe("the architecture", () => {
  it("lets a folder import from lower floors only", () => {
    expect(sources().flatMap(importFaults)).toEqual([]);
  });

  it("keeps clocks, dice, sockets and logs off the pure floors", () => {
    expect(sources().flatMap(impurityFaults)).toEqual([]);
  });

  it("has no circle of imports, types included", () => {
    expect(importCircles(sources())).toEqual([]);
  });
});

/** Each wall is shown to stand by running against it. */
describe("a planted violation", () => {
  it.each([
    [
      "an import that goes up",
      importFaults,
      "src/core/x.ts",
      'import { MemberMachine } from "../mesh/member-machine.js";',
    ],
    ["an import that goes to the side", importFaults, "src/mesh/x.ts", 'import { Mesh } from "../rendezvous/mesh.js";'],
    [
      "an import of one way out of the process by another",
      importFaults,
      "src/etcd/x.ts",
      'import { nodeClock } from "../nodejs/clock.js";',
    ],
    [
      "an import of the library from below",
      importFaults,
      "src/nodejs/x.ts",
      'import { serve } from "../server/serve.js";',
    ],
    [
      "an import of the simulator by what is shipped",
      importFaults,
      "src/cli/x.ts",
      'import { run } from "../../simulator/run.js";',
    ],
    ["a clock on a pure floor", impurityFaults, "src/mesh/x.ts", "export const now = () => Date.now();"],
    ["dice on a pure floor", impurityFaults, "simulator/x.ts", "export const dice = () => Math.random();"],
    ["a socket on a pure floor", impurityFaults, "src/rendezvous/x.ts", 'import { connect } from "node:net";'],
  ])("is found: %s", (_name, faults, path, text) => {
    expect(faults({ path, text })).toHaveLength(1);
  });

  it("is found: a circle of type imports", () => {
    const files = [
      { path: "src/mesh/a.ts", text: 'import type { B } from "./b.js";' },
      { path: "src/mesh/b.ts", text: 'import type { C } from "./c.js";' },
      { path: "src/mesh/c.ts", text: 'import type { A } from "./a.js";' },
      { path: "src/mesh/d.ts", text: 'import type { A } from "./a.js";' },
    ];
    expect(importCircles(files)).toEqual(["src/mesh/a.ts", "src/mesh/b.ts", "src/mesh/c.ts"]);
  });

  it("fails the build: an import that goes up, and a timer on a pure floor", () => {
    const copy = mkdtempSync(join(tmpdir(), "fullmesh-walls-"));
    try {
      cpSync(join(root, "src"), join(copy, "src"), { recursive: true });
      for (const file of ["tsconfig.base.json", "package.json"]) cpSync(join(root, file), join(copy, file));
      symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
      appendFileSync(join(copy, "src/core/heap.ts"), "setTimeout(() => {}, 1);\n");
      writeFileSync(join(copy, "src/protocol/up.ts"), 'export { MemberMachine } from "../mesh/member-machine.js";\n');
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
