import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { join, type MeshNode } from "../../src/index.js";
import type { StartedProcess } from "../support/processes.js";
import { eventOf, fullmesh, startServer } from "./command-line.js";

/** Characters that must not reach a terminal or a JSON line unescaped, but for newlines, which separate lines. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are the characters to find.
const unsafe = /[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufffe]|\p{Surrogate}/u;

/** The names of meshes and members may contain anything but control characters. */
const mesh = "%%{init:{'theme':'dark'}}%%;#\u202e\u2028";
const name = "\u2066<b>\u200f end";
const hostileText = "\x1b[2J\r\n\x07\x7f\x9b31m\u061c\u202e\u2028\u2029\u2069 end";
const meta = { [hostileText]: hostileText };

async function hostileMember(server: string): Promise<MeshNode> {
  const node = await join(server, { mesh, name, meta });
  onTestFinished(() => node.leave());
  return node;
}

/** Everything that a process has written, one text for each stream. */
function written(process: StartedProcess): readonly string[] {
  return [process.lines.join("\n"), process.errors];
}

/** Sends every kind of message and a request. */
async function sendEverything(node: MeshNode): Promise<void> {
  const [peer] = node.peers;
  if (peer === undefined) throw new Error("no peer");
  node.send(peer, hostileText, hostileText);
  node.send(peer, hostileText, { [hostileText]: [hostileText] });
  node.send(peer, hostileText, new TextEncoder().encode(hostileText));
  // What cannot be handled is logged with its topic.
  await node.request(peer, hostileText).catch(() => {});
  node.send(peer, "last", "last");
}

describe("text of other programs", () => {
  it("is escaped in NDJSON and in the log, and unchanged once parsed", async () => {
    const { server, address } = await startServer();
    const member = fullmesh(["join", address, "--json", "--mesh", mesh, "--name", name]);
    await eventOf(member, "registered");
    const hostile = await hostileMember(address);
    await hostile.complete({ size: 2 });
    await sendEverything(hostile);
    const isLast = ({ topic }: { readonly [field: string]: unknown }): boolean => topic === "last";
    await eventOf(member, "message", isLast);
    await hostile.leave();
    await eventOf(member, "unlink");
    await eventOf(server, "left");
    for (const text of [member, server].flatMap(written)) expect(text).not.toMatch(unsafe);
    const messages = member.lines.map((line) => JSON.parse(line)).filter(({ event }) => event === "message");
    expect(messages.slice(0, 3)).toMatchObject([
      { mesh, topic: hostileText, value: hostileText },
      { topic: hostileText, value: { [hostileText]: [hostileText] } },
      { topic: hostileText, text: hostileText },
    ]);
    expect(await eventOf(member, "link")).toMatchObject({ name });
  });

  it("is escaped in plain lines and in a sequence diagram", async () => {
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
    await sendEverything(hostile);
    await member.line((line) => line.endsWith(' last "last"'), "the last message");
    await hostile.leave();
    await member.error((text) => text.includes("unlinked"), "that it is unlinked");
    server.kill("SIGINT");
    await server.exited();
    for (const text of [member, server].flatMap(written)) expect(text).not.toMatch(unsafe);
    expect(member.lines[0]).toContain("\\x1b[2J\\x0d\\x0a\\x07\\x7f\\x9b31m\\u061c\\u202e\\u2028\\u2029\\u2069 end");
    const diagram = readFileSync(trace, "utf8");
    expect(diagram).toContain("init:");
    expect(diagram).not.toMatch(unsafe);
    expect(diagram).not.toContain("%%");
    expect(diagram.replaceAll(/#\d+;/g, "").replaceAll("->>", "")).not.toMatch(/[#;<>%]/);
  });
});
