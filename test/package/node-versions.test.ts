import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { installPackage, root } from "./packed.js";

const folder = mkdtempSync(join(tmpdir(), "fullmesh-versions-"));

/** The npm package that holds Node for this system. */
const nodePackage = `node-${process.platform}-${process.arch}`;

/** A mesh of two, and a message and a request in it. */
const mesh = `
async function run({ join, serve }) {
  const server = await serve({ listen: "127.0.0.1:0" });
  const setup = (node) => node.onRequest("double", (payload) => payload * 2);
  const nodes = [await join(server.address, { setup }), await join(server.address, { setup })];
  await Promise.all(nodes.map((node) => node.complete({ size: 2 })));
  const received = new Promise((resolve) => nodes[1].onMessage("greeting", ({ payload }) => resolve(payload)));
  nodes[0].send(nodes[0].peers[0], "greeting", "hello");
  console.log(await received, await nodes[1].request(nodes[1].peers[0], "double", 21));
  await server.teardown();
}
`;

beforeAll(() => {
  installPackage(folder);
  writeFileSync(join(folder, "import.mjs"), `import * as fullmesh from "fullmesh";\n${mesh}\nawait run(fullmesh);\n`);
  writeFileSync(join(folder, "require.cjs"), `const fullmesh = require("fullmesh");\n${mesh}\nrun(fullmesh);\n`);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

/** Node of this major version: the one that runs the tests, or one that npm has put into .cache/node. */
function nodeOf(major: number): string | undefined {
  if (process.versions.node.startsWith(`${major}.`)) return process.execPath;
  const path = join(root, `.cache/node/${major}/node_modules/${nodePackage}/bin/node`);
  return existsSync(path) ? path : undefined;
}

describe.each([20, 22, 24, 26])("the published package on Node %i", (major) => {
  it("forms a mesh by `import`, by `require`, and by the command", (context) => {
    const node = nodeOf(major);
    const install = `npm install --no-save --prefix .cache/node/${major} ${nodePackage}@${major}`;
    if (node === undefined) return context.skip(`Node ${major} is not here; to install it: ${install}`);
    const run = (...args: readonly string[]): string =>
      execFileSync(node, args, { cwd: folder, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], timeout: 50_000 });
    expect(run("--version")).toMatch(new RegExp(`^v${major}\\.`));
    expect(run("import.mjs")).toBe("hello 42\n");
    expect(run("require.cjs")).toBe("hello 42\n");
    expect(run("node_modules/fullmesh/dist/bundle/main.js", "up", "2")).toContain(
      "1 of 1 links, 0 duplicate, 0 missing",
    );
  });
});
