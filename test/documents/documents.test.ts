import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { failureTable } from "../../src/core/errors.js";
import { MeshNode, RendezvousServer } from "../../src/index.js";
import { classicSessionTransitions as classicSession } from "../../src/mesh/classic/session.js";
import { acceptorTransitions, ownerTransitions } from "../../src/mesh/native/link-states.js";
import { nativeSessionTransitions } from "../../src/mesh/native/session.js";
import { memberSessionTransitions as serverSession } from "../../src/rendezvous/member-session.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const inDocs = readdirSync(`${root}docs`, { recursive: true }).map((file) => `docs/${String(file)}`);
const documents = [...readdirSync(root), ...inDocs].filter((file) => file.endsWith(".md"));

function read(path: string): string {
  return readFileSync(`${root}${path}`, "utf8");
}

/** Runs a program of this project with Node; nothing of our own FULLMESH_* variables reaches it. */
function node(...args: readonly string[]): { readonly status: number | null; readonly stdout: string } {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith("FULLMESH_")));
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, env, encoding: "utf8" });
  return { status, stdout: status === 0 ? stdout : stdout + stderr };
}

/** The code blocks of a document in one language, in order. */
function blocks(text: string, language: string): string[] {
  return Array.from(text.matchAll(/^```([a-z]*)\n(.*?)^```$/gms))
    .filter(([, name]) => name === language)
    .map(([, , block]) => block ?? "");
}

/** Everything that stands between backticks in running text. */
function quoted(text: string): string[] {
  return Array.from(text.matchAll(/`([^`\n]+)`/g), ([, words]) => words ?? "");
}

describe("the generated parts of the documents", () => {
  it("are up to date", () => {
    expect(node("scripts/documents.mjs", "--check")).toEqual({ status: 0, stdout: "" });
  });

  it("draw every state of the sessions and of both ends of a link", () => {
    const diagrams = ["PROTOCOL.md", "docs/protocol/classic.md", "docs/protocol/native.md"]
      .flatMap((page) => blocks(read(page), "mermaid"))
      .filter((block) => block.startsWith("stateDiagram"));
    const tables = [serverSession, classicSession, ownerTransitions, acceptorTransitions, nativeSessionTransitions];
    expect(diagrams).toHaveLength(tables.length);
    for (const [index, table] of tables.entries()) {
      for (const state of Object.keys(table)) expect(diagrams[index]).toContain(` ${state} -->`);
    }
  });
});

describe("docs/api.md", () => {
  it("shows examples/three.mjs, in at most 15 lines, and what it prints", () => {
    const page = read("docs/api.md");
    const program = read("examples/three.mjs");
    expect(blocks(page, "js")).toEqual([program]);
    expect(program.split("\n").length - 1).toBeLessThanOrEqual(15);
    const [output = ""] = blocks(page, "text");
    expect(node("examples/three.mjs")).toEqual({ status: 0, stdout: output });
  });

  it("lists every option of join", () => {
    const [, table = ""] = /^### Options of `join`\n(.*?)^## /ms.exec(read("docs/api.md")) ?? [];
    const listed = table.split("\n").flatMap((row) => quoted(row.split("|")[1] ?? ""));
    let refusal = "";
    try {
      new MeshNode({ nothing: 1 } as object);
    } catch (error) {
      refusal = (error as Error).message.split("there are ")[1] ?? "";
    }
    expect(listed.toSorted()).toEqual(refusal.split(", ").toSorted());
  });

  it("names everything that a node and a server can be asked or told to do", () => {
    const named = read("docs/api.md");
    const names = [MeshNode, RendezvousServer].flatMap((type) => Object.getOwnPropertyNames(type.prototype));
    expect(names.length).toBeGreaterThan(30);
    expect(names.filter((name) => name !== "constructor" && !new RegExp(`\\b${name}\\b`).test(named))).toEqual([]);
  });
});

describe("ARCHITECTURE.md", () => {
  it("describes every folder of the source", () => {
    const folders = readdirSync(`${root}src`, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    const described = quoted(read("ARCHITECTURE.md"));
    expect(folders.filter(({ name }) => !described.includes(`src/${name}/`)).map(({ name }) => name)).toEqual([]);
  });
});

describe("the names of types in ARCHITECTURE.md and CONTRIBUTING.md", () => {
  it("are declared in the source", () => {
    const sources = ["src", "simulator"].flatMap((folder) =>
      readdirSync(`${root}${folder}`, { recursive: true }).map((file) => `${folder}/${String(file)}`),
    );
    const text = sources
      .filter((file) => file.endsWith(".ts"))
      .map(read)
      .join("\n");
    const declared = new Set(Array.from(text.matchAll(/\b(?:class|interface|type) (\w+)/g), ([, name]) => name));
    const named = ["ARCHITECTURE.md", "CONTRIBUTING.md"].flatMap((file) => quoted(read(file)));
    const unknown = named.filter((name) => /^(?:[A-Z][a-z]+){2,}$/.test(name) && !declared.has(name));
    expect(unknown).toEqual([]);
  });
});

describe("the README", () => {
  const readme = read("README.md");

  it("fits on a few screens", () => {
    expect(readme.split("\n").length - 1).toBeLessThanOrEqual(130);
    expect(read("ARCHITECTURE.md").split("\n").length - 1).toBeLessThanOrEqual(220);
  });

  it("names the two commands, and the scripts are there", () => {
    const { scripts, engines } = JSON.parse(read("package.json")) as {
      scripts: Readonly<Record<string, string>>;
      engines: { readonly node: string };
    };
    expect(readme).toContain("npm ci && npm start");
    expect(readme).toContain("npm ci && npm test");
    expect(scripts.start).toMatch(/ up 8$/);
    expect(quoted(readme)).toContain(engines.node.replaceAll(/(\.0)+(?= |$)/g, ""));
    const named = documents.flatMap((file) =>
      Array.from(read(file).matchAll(/npm run ([a-z]+)/g), ([, name = ""]) => name),
    );
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });
});

describe("docs/cli.md", () => {
  const page = read("docs/cli.md");

  it.each(["serve", "join", "up", "run", "secret"])("says what every flag of fullmesh %s does", (command) => {
    const { status, stdout } = node("dist/bundle/main.js", command, "--help");
    expect(status).toBe(0);
    const flags = new Set(stdout.match(/--[a-z][a-z-]+/g));
    expect(flags.size).toBeGreaterThan(2);
    expect([...flags].filter((flag) => !new RegExp(`\`${flag}[ \`]`).test(page))).toEqual([]);
  });
});

describe("what the documents point to", () => {
  it("exists: every relative link", () => {
    const dead = documents.flatMap((file) =>
      Array.from(read(file).matchAll(/\]\(([^)#\s]+)[^)]*\)/g), ([, target = ""]) => target)
        .filter((target) => !/^[a-z]+:/.test(target) && !existsSync(join(root, dirname(file), target)))
        .map((target) => `${file}: ${target}`),
    );
    expect(dead).toEqual([]);
  });

  it("exists: every path in backticks", () => {
    const folders = /^(?:src|test|scripts|examples|simulator|bench|docs)\//;
    const dead = documents.flatMap((file) =>
      quoted(read(file))
        .filter((path) => folders.test(path) && !existsSync(`${root}${path}`))
        .map((path) => `${file}: ${path}`),
    );
    expect(dead).toEqual([]);
  });

  it("exists: every failure code", () => {
    const looksLikeCode = /^[A-Z]+(?:_[A-Z]+)+$/;
    const unknown = documents.flatMap((file) =>
      quoted(read(file)).filter(
        (word) =>
          looksLikeCode.test(word) && !/^(?:FULLMESH_|NO_COLOR$|NOTIFY_SOCKET$)/.test(word) && !(word in failureTable),
      ),
    );
    expect(unknown).toEqual([]);
  });
});

/** The anchors of a document's headings, as GitHub makes them. */
function anchors(path: string): string[] {
  return Array.from(read(path).matchAll(/^#+ (.+)$/gm), ([, title = ""]) =>
    title
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

describe("links to headings", () => {
  it("point to headings that there are", () => {
    const dead = documents.flatMap((file) =>
      Array.from(read(file).matchAll(/\]\(([^)#\s]*)#([^)]+)\)/g))
        .filter(([, target = ""]) => !/^[a-z]+:/.test(target))
        .filter(([, target = "", anchor = ""]) => {
          const page = target === "" ? file : join(dirname(file), target);
          return !anchors(page).includes(anchor);
        })
        .map(([link]) => `${file}: ${link}`),
    );
    expect(dead).toEqual([]);
  });
});

describe("SECURITY.md", () => {
  const text = read("SECURITY.md");
  /** The items that are claims; those without a bold beginning say what is not protected. */
  const claims = Array.from(text.matchAll(/^- \*\*.+\n(?: {2}\S.*\n)*/gm), ([claim]) => claim);
  const proofs = claims.map((claim) => (claim.split(/^ {2}Test: /m)[1] ?? "").replaceAll(/\s+/g, " "));

  it("names a test behind each claim", () => {
    expect(claims.length).toBeGreaterThan(40);
    expect(claims.filter((_, index) => !/^`test\/[a-z/-]+\.test\.ts`/.test(proofs[index] ?? ""))).toEqual([]);
  });

  /** All texts in a source, among which are the titles of its tests. */
  const textsIn = (path: string): Set<string | undefined> =>
    new Set(
      Array.from(read(path).matchAll(/"((?:\\.|[^"\\\n])*)"|`([^`]*)`/g), ([, title, template]) => title ?? template),
    );

  it("names tests that there are, in the files that it names", () => {
    // Each file with the titles behind it.
    const named = proofs.flatMap((proof) => proof.split(/(?=`test\/)/).map((part) => part.split("`").slice(1)));
    const unknown = named.flatMap(([path = "", rest = ""]) => {
      const texts = textsIn(path);
      const titles = Array.from(rest.matchAll(/"([^"]+)"/g), ([, title]) => title);
      // A file alone does not say which of its tests is the one.
      if (titles.length === 0) return [`${path}: none`];
      return titles.filter((title) => !texts.has(title)).map((title) => `${path}: ${title}`);
    });
    expect(unknown).toEqual([]);
  });
});
