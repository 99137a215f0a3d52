import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "../..");

const beginning = `import { defineContract, join, type StandardSchema, type } from ${JSON.stringify(join(root, "dist/src/index.js"))};
declare const key: StandardSchema<string, number>;
const contract = defineContract({
  messages: { drop: type<{ key: string }>(), ping: type<undefined>(), move: key },
  requests: { stats: { payload: type<{ since: number }>(), reply: type<{ hits: number }>() }, now: { payload: type<void>(), reply: key } },
  streams: ["dump"],
});
const node = await join("127.0.0.1:4000", { contract });
const free = await join("127.0.0.1:4000");
`;

/** What compiles. */
const right = `
const hits: number = (await node.request("api-2", "stats", { since: 1 }, { timeoutMs: 5 })).hits;
const now: number = await node.request("api-2", "now");
node.send("api-2", "drop", { key: "a" });
node.broadcast("ping");
node.broadcast("move", "7");
node.onMessage("move", ({ payload }) => payload.toFixed() + hits + now);
node.onRequest("stats", async ({ since }) => ({ hits: since }));
node.onRequest("now", () => "7");
node.onStream("dump", (stream, { peer }) => stream.pipe(node.openStream(peer, "dump")));
for await (const { payload } of node.subscribe("drop")) payload.key.trim();
for await (const { topic, payload } of node.subscribe()) console.log(topic, payload);
for (const outcome of await node.requestAll("now")) if ("reply" in outcome) outcome.reply.toFixed();
await join({ contract, setup(member) { member.broadcast("ping"); } });
free.onMessage("anything", ({ payload }) => String(payload));
free.onRequest("anything", (payload) => payload);
const reply: unknown = await free.request("api-2", "anything", 1n);
console.log(reply);
`;

/** What does not, and what the compiler says. */
const wrong: readonly (readonly [what: string, program: string, message: string])[] = [
  [
    "a topic that the contract has not",
    'node.broadcast("dropp", { key: "a" });',
    `Argument of type '"dropp"' is not assignable to parameter of type '"move" | "drop" | "ping"'.`,
  ],
  [
    "a request's topic for a message",
    'node.onMessage("stats", () => {});',
    `Argument of type '"stats"' is not assignable to parameter of type '"move" | "drop" | "ping"'.`,
  ],
  [
    "a stream's topic that the contract has not",
    'node.openStream("api-2", "backup");',
    `Argument of type '"backup"' is not assignable to parameter of type '"dump"'.`,
  ],
  [
    "a payload of another type",
    'node.send("api-2", "drop", { key: 7 });',
    "Type 'number' is not assignable to type 'string'.",
  ],
  ["a message without its payload", 'node.broadcast("drop");', "Expected 2 arguments, but got 1."],
  ["a request without its payload", 'await node.request("api-2", "stats");', "Expected 3-4 arguments, but got 2."],
  [
    "a reply that is taken for another type",
    'const reply: { hits: string } = await node.request("api-2", "stats", { since: 1 });',
    "Type '{ hits: number; }' is not assignable to type '{ hits: string; }'.",
  ],
  [
    "a handler that returns another reply",
    'node.onRequest("stats", () => ({ hits: "7" }));',
    "Type 'string' is not assignable to type 'number'.",
  ],
  [
    "a listener that takes what a schema makes for what was sent",
    'node.onMessage("move", ({ payload }) => payload.trim());',
    "Property 'trim' does not exist on type 'number'.",
  ],
  [
    "a field that an event has not",
    'node.on("peer:down", ({ peer, because }) => console.log(peer, because));',
    `Property 'because' does not exist on type '{ readonly type: "peer:down"; readonly peer: Peer;`,
  ],
  ["an event that there is not", 'node.on("peer:lost", () => {});', "is not assignable to parameter of type 'never'."],
  [
    "an option that `join` has not",
    'await join("127.0.0.1:4000", { contract, timeout: 5 });',
    "'timeout' does not exist in type 'JoinOptions<",
  ],
  [
    "a contract with something that is no schema",
    'defineContract({ messages: { drop: "string" } });',
    "Type 'string' is not assignable to type 'StandardSchema<unknown, unknown>'.",
  ],
  [
    "a payload whose type is not known, without a contract",
    'free.onMessage("a", ({ payload }) => payload.key);',
    "'payload' is of type 'unknown'.",
  ],
];

let errors: string[] = [];

/** Compiles all programs at once, which takes as long as one. */
beforeAll(() => {
  const folder = mkdtempSync(join(tmpdir(), "fullmesh-types-"));
  const programs = [right, ...wrong.map(([, program]) => program)];
  const files = programs.map((_, index) => join(folder, `${index}.mts`));
  for (const [index, file] of files.entries()) writeFileSync(file, `${beginning}${programs[index]}\n`);
  const compiler = createRequire(import.meta.url).resolve("typescript/bin/tsc");
  const flags = ["--strict", "--noEmit", "--pretty", "false", "--target", "es2023", "--module", "nodenext"];
  const types = ["--types", "node", "--typeRoots", join(root, "node_modules/@types"), "--skipLibCheck"];
  const { stdout } = spawnSync(process.execPath, [compiler, ...flags, ...types, ...files], {
    cwd: folder,
    encoding: "utf8",
  });
  rmSync(folder, { recursive: true, force: true });
  errors = stdout.split("\n").filter((line) => /^\S/.test(line));
}, 60_000);

const errorsOf = (program: number): string[] => errors.filter((line) => line.startsWith(`${program}.mts(`));

describe("the types", () => {
  it("fit what the documents say", () => {
    expect(errorsOf(0)).toEqual([]);
    expect(errors).toHaveLength(wrong.length);
  });

  it.each([...wrong.entries()].map(([index, [what, , message]]) => [what, index + 1, message] as const))(
    "refuse %s",
    (_, program, message) => {
      expect(errorsOf(program)).toEqual([expect.stringContaining(message)]);
    },
  );
});
