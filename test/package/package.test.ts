import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { publint } from "publint";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { installPackage, root } from "./packed.js";

const folder = mkdtempSync(join(tmpdir(), "fullmesh-package-"));
const installed = join(folder, "node_modules/fullmesh");
const main = join(installed, "dist/bundle/main.js");

let files: string[] = [];

beforeAll(() => {
  files = installPackage(folder);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

describe("the published package", () => {
  it("holds the bundle, its types and the documents, and neither tests nor the simulator nor build records", () => {
    expect(files).toEqual(
      expect.arrayContaining([
        "dist/bundle/index.js",
        "dist/bundle/main.js",
        "dist/src/index.d.ts",
        "README.md",
        "LICENSE",
      ]),
    );
    expect(
      files.filter((path) =>
        /^(src|test|scripts|simulator|bench|proof)\/|dist\/(simulator|bench|proof|test)\/|tsbuildinfo/.test(path),
      ),
    ).toEqual([]);
    expect(files.filter((path) => path.endsWith(".js") && !path.startsWith("dist/bundle/"))).toEqual([]);
    const notices = readFileSync(join(installed, "dist/bundle/licenses.txt"), "utf8");
    for (const name of ["commander", "log-update"]) expect(notices).toContain(`\n${name} `);
  });

  it("has nothing that publint objects to", async () => {
    const { messages } = await publint({ pkgDir: installed, pack: false });
    expect(messages).toEqual([]);
  });

  it("gives a strict TypeScript program its types, without skipping the check of libraries", () => {
    writeFileSync(
      join(folder, "program.ts"),
      [
        'import { FullmeshError, join, type MeshNode, RendezvousServer, serve } from "fullmesh";',
        'const server: RendezvousServer = await serve({ listen: "127.0.0.1:0", capacity: 2, onFull: "hold" });',
        "const node: MeshNode = await join(String(server.address), { timeoutMs: 5_000 });",
        'node.on("bytes", ({ peer, bytes }) => console.log(peer.address.length, bytes.byteLength));',
        'node.on("peer:up", ({ peer }) => peer.direction === "dialed" && node.write(peer, new Uint8Array(1)));',
        "try { await node.complete({ size: 1 }); } catch (error) {",
        '  if (error instanceof FullmeshError && error.code === "TIMED_OUT") console.log(error.code, error.remedy);',
        "}",
        "await server.teardown();",
        "// @ts-expect-error: there is no such way to behave at capacity",
        'await serve({ onFull: "explode" });',
      ].join("\n"),
    );
    const compiler = createRequire(import.meta.url).resolve("typescript/bin/tsc");
    const flags = [
      "--strict",
      "--noEmit",
      "--module",
      "nodenext",
      "--target",
      "es2022",
      "--types",
      "node",
      "program.ts",
    ];
    const output = (() => {
      try {
        return execFileSync(process.execPath, [compiler, ...flags], { cwd: folder, encoding: "utf8" });
      } catch (error) {
        return String((error as { stdout?: unknown }).stdout);
      }
    })();
    expect(output).toBe("");
  });

  it("runs its command from where it is installed", () => {
    const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
    expect(execFileSync(process.execPath, [main, "--version"], { encoding: "utf8" }).trim()).toBe(version);
    const report = execFileSync(process.execPath, [main, "up", "3"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    });
    expect(report).toContain("3 of 3 links, 0 duplicate, 0 missing");
  });

  it("joins without a secret and loads two files, nothing of a server, and nothing of Node that only a secret needs", () => {
    writeFileSync(
      join(folder, "modules.js"),
      [
        'import { join, serve } from "fullmesh";',
        'const server = await serve({ listen: "127.0.0.1:0" });',
        "const node = await join(server.address);",
        "await node.complete({ size: 1 });",
        "console.log(JSON.stringify(process.moduleLoadList));",
        "await server.teardown();",
      ].join("\n"),
    );
    const told = execFileSync(process.execPath, ["modules.js"], { cwd: folder, encoding: "utf8" });
    const loaded = (JSON.parse(told) as string[]).map((name) => name.replace("NativeModule ", ""));
    expect(loaded).toContain("net");
    expect(loaded.filter((name) => ["tls", "_tls_wrap", "_tls_common", "crypto"].includes(name))).toEqual([]);
    const face = readFileSync(join(installed, "dist/bundle/index.js"), "utf8");
    expect(face.match(/(?<=^import .*from ").*(?=")/gm)).toEqual(["./library/node.js"]);
    const library = readFileSync(join(installed, "dist/bundle/library/node.js"), "utf8");
    // Neither other files nor Node's own modules, which are asked for by a call.
    expect(library.match(/^import .*from/gm)).toBeNull();
    expect(library).toMatch(/^[\0-\x7f]*$/);
    expect(library).not.toMatch(/commander|log-update|\bRendezvous = class/);
  });
});
