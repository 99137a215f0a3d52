import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { join, type MeshNode } from "../../src/index.js";
import type { StartedProcess } from "../support/processes.js";
import { eventOf, fullmesh, startServer } from "./command-line.js";

/** What neither a terminal nor a line of JSON may be given as it is; newlines are what separates lines. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is these that must not get through.
const steering = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufffe]|\p{Surrogate}/u;

/** A name of a mesh or a member may not have control characters; everything else may. */
const mesh = "%%{init:{'theme':'dark'}}%%;#\u202e\u2028";
const name = "\u2066<b>\u200f end";
const words = "\x1b[2J\r\n\x07\x7f\x9b31m\u061c\u202e\u2028\u2029\u2069 end";
const meta = { [words]: words };

async function hostileMember(server: string): Promise<MeshNode> {
  const node = await join(server, { mesh, name, meta });
  onTestFinished(() => node.leave());
  return node;
}

/** All that a process has written, as one text for each of its pipes. */
function written(process: StartedProcess): readonly string[] {
  return [process.lines.join("\n"), process.errors];
}

/** Says everything that a member can say to one that is the command. */
async function sayEverything(node: MeshNode): Promise<void> {
  const [peer] = node.peers;
  if (peer === undefined) throw new Error("nobody is there");
  node.send(peer, words, words);
  node.send(peer, words, { [words]: [words] });
  node.send(peer, words, new TextEncoder().encode(words));
  // Values that cannot be read are noted with their topic.
  await node.request(peer, words).catch(() => {});
  node.send(peer, "last", "last");
}

describe("words of others", () => {
  it("steer nothing in NDJSON and in the log beside it, and mean what they meant", async () => {
    const { server, address } = await startServer();
    const member = fullmesh(["join", address, "--json", "--mesh", mesh, "--name", name]);
    await eventOf(member, "registered");
    const hostile = await hostileMember(address);
    await hostile.complete({ size: 2 });
    await sayEverything(hostile);
    const isLast = ({ topic }: { readonly [field: string]: unknown }): boolean => topic === "last";
    await eventOf(member, "message", isLast);
    await hostile.leave();
    await eventOf(member, "unlink");
    await eventOf(server, "left");
    for (const text of [member, server].flatMap(written)) expect(text).not.toMatch(steering);
    const messages = member.lines.map((line) => JSON.parse(line)).filter(({ event }) => event === "message");
    expect(messages.slice(0, 3)).toMatchObject([
      { mesh, topic: words, value: words },
      { topic: words, value: { [words]: [words] } },
      { topic: words, text: words },
    ]);
    expect(await eventOf(member, "link")).toMatchObject({ name });
  });

  it("steer nothing in lines for people, and act on nothing in a diagram", async () => {
    const folder = mkdtempSync(joinPath(tmpdir(), "fullmesh-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const trace = joinPath(folder, "trace.mmd");
    const server = fullmesh(["serve", "--listen", "127.0.0.1:0", "--trace", trace]);
    const heading = await server.error((text) => /listening on (\S+);/.test(text), "where it listens");
    const address = /listening on (\S+);/.exec(heading)?.[1] ?? "";
    const member = fullmesh(["join", address, "--mesh", mesh, "--name", name]);
    await member.error((text) => text.includes("registered"), "that it is registered");
    const hostile = await hostileMember(address);
    await hostile.complete({ size: 2 });
    await sayEverything(hostile);
    await member.line((line) => line.endsWith(' last "last"'), "the last message");
    await hostile.leave();
    await member.error((text) => text.includes("unlinked"), "that it is unlinked");
    server.kill("SIGINT");
    await server.exited();
    for (const text of [member, server].flatMap(written)) expect(text).not.toMatch(steering);
    expect(member.lines[0]).toContain("\\x1b[2J\\x0d\\x0a\\x07\\x7f\\x9b31m\\u061c\\u202e\\u2028\\u2029\\u2069 end");
    const diagram = readFileSync(trace, "utf8");
    expect(diagram).toContain("init:");
    expect(diagram).not.toMatch(steering);
    expect(diagram).not.toContain("%%");
    expect(diagram.replaceAll(/#\d+;/g, "").replaceAll("->>", "")).not.toMatch(/[#;<>%]/);
  });
});
