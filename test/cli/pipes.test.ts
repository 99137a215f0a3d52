import { mkdtempSync, openSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { defaultLimits } from "../../src/core/limits.js";
import { messageFrameBytes } from "../../src/protocol/native/message.js";
import { RawReader } from "../interop/raw-reader.js";
import type { StartedProcess } from "../support/processes.js";
import { eventOf, fullmesh, parseLines, startServer } from "./command-line.js";

const maxLineBytes = defaultLimits.messageBytes - messageFrameBytes;

async function rawMember(address: string): Promise<RawReader> {
  const reader = await RawReader.join(address);
  onTestFinished(() => reader.close());
  await reader.until(() => reader.fromServer.join("").includes(reader.address), "has not been admitted");
  return reader;
}

function textsOf(process: StartedProcess): unknown[] {
  return parseLines(process.lines)
    .filter(({ event }) => event === "message")
    .map(({ text }) => text);
}

describe("output of a classic peer without newlines", () => {
  it.each(["native", "classic"])("is printed in pieces by a %s member, which goes on", async (dialect) => {
    const { address } = await startServer();
    const peer = await rawMember(address);
    const member = fullmesh(["join", address, "--json", "--dialect", dialect]);
    const { address: own } = await eventOf(member, "registered");
    // More than 65,535 bytes in one piece: more arguments than one call can have.
    const bytes = 3 * 65_537;
    peer.dial(String(own), `Hello from:${peer.address}`);
    await eventOf(member, "link");
    peer.sendToDialed("x".repeat(bytes));
    const printed = (): number => textsOf(member).join("").length;
    await member.line(() => printed() === bytes, "all of it");
    peer.sendToDialed("\nafter\n");
    await eventOf(member, "message", ({ text }) => text === "after");
  });
});

describe("a line of stdin", () => {
  it("is one message, up to the longest message, and the next line is another", async () => {
    const { address } = await startServer();
    const reader = fullmesh(["join", address, "--json"]);
    await eventOf(reader, "registered");
    const writer = fullmesh(["join", address], { hasStdin: true });
    const lines = [65_535, 65_536, 65_537, 200_000, maxLineBytes, 3].map((length) => "x".repeat(length));
    for (const line of lines) writer.writeLine(line);
    await eventOf(reader, "message", ({ text }) => text === "xxx");
    expect(textsOf(reader).map((text) => String(text).length)).toEqual(lines.map(({ length }) => length));
  });

  it("that is too long is not sent, is reported with its number and length, and makes the exit code 1", async () => {
    const { address } = await startServer(["--capacity", "3"]);
    const writer = fullmesh(["join", address, "--json"], { hasStdin: true });
    await eventOf(writer, "registered");
    const reader = fullmesh(["join", address, "--json"]);
    for (const line of ["first", "x".repeat(2 * maxLineBytes), "third"]) writer.writeLine(line);
    await eventOf(reader, "message", ({ text }) => text === "third");
    expect(textsOf(reader)).toEqual(["first", "third"]);
    const message = `line 2 of stdin has ${2 * maxLineBytes} bytes, and may have ${maxLineBytes}; it is not sent`;
    expect(writer.errors).toContain(`MESSAGE_TOO_LARGE: ${message}`);
    expect(writer.errors).toContain(`a line of stdin has more than ${maxLineBytes} bytes and is skipped`);
    // The third member completes the mesh, which ends it.
    fullmesh(["join", address]);
    expect(await reader.exited()).toEqual({ code: 0, signal: null });
    expect(await writer.exited()).toEqual({ code: 1, signal: null });
    expect(writer.errors).toContain("MESSAGE_TOO_LARGE: 1 line of stdin was too long and not sent");
  });

  it("waits while there is no peer", async () => {
    const { address } = await startServer();
    const writer = fullmesh(["join", address, "--json"], { hasStdin: true });
    await eventOf(writer, "registered");
    const first = fullmesh(["join", address, "--json"]);
    await eventOf(writer, "link");
    first.kill();
    await eventOf(writer, "unlink");
    writer.writeLine("is anybody there?");
    const second = fullmesh(["join", address, "--json"]);
    expect(await eventOf(second, "message")).toMatchObject({ text: "is anybody there?" });
  });

  it("of an unreadable stdin is reported as an error, and the member stays", async () => {
    const { address } = await startServer();
    const other = fullmesh(["join", address, "--json"]);
    await eventOf(other, "registered");
    // Reading a file that is open for writing only is an error.
    const member = fullmesh(["join", address, "--json"], { stdin: openSync("/dev/null", "w") });
    await member.error((text) => text.includes("STDIO_FAILED: stdin cannot be read: EBADF"), "the error");
    other.kill();
    await eventOf(member, "unlink");
    expect(member.errors).not.toContain("    at ");
  });
});

/** A command whose stdout is not read until `resumeStdout` is called. */
function unread(args: readonly string[]): StartedProcess {
  return fullmesh(args, { isStdoutPaused: true });
}

describe("a stdout that is not read", () => {
  it.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)("does not keep a member from leaving at %s", async (signal) => {
    const { server, address } = await startServer();
    const member = unread(["join", address, "--json"]);
    const { address: own } = await eventOf(server, "joined");
    const writer = fullmesh(["join", address, "--json"], { hasStdin: true });
    await eventOf(writer, "link");
    // More than the pipe holds, so the member is in the middle of a write.
    for (let count = 0; count < 300; count += 1) writer.writeLine("x".repeat(4_000));
    await eventOf(writer, "complete", (line) => line.members === 2);
    member.kill(signal);
    expect((await member.exited()).code).toBe(128 + constants.signals[signal]);
    await eventOf(server, "left", (line) => line.address === own);
  });

  it("does not keep a second signal from ending a member at once", async () => {
    const { server, address } = await startServer();
    const member = unread(["join", address, "--json"]);
    await eventOf(server, "joined");
    server.kill("SIGSTOP");
    onTestFinished(() => server.kill("SIGCONT"));
    member.kill("SIGTERM");
    member.kill("SIGTERM");
    expect((await member.exited()).code).toBe(143);
  });

  it("slows the senders, and loses nothing that they have sent", async () => {
    const { server, address } = await startServer();
    let onLast = (): void => {};
    const last = new Promise<void>((resolve) => {
      onLast = resolve;
    });
    const onLine = (line: string): void => (line.endsWith(" last") ? onLast() : undefined);
    const member = fullmesh(["join", address, "--quiet"], { isStdoutPaused: true, onLine });
    await eventOf(server, "joined");
    const writer = fullmesh(["join", address, "--json"], { hasStdin: true });
    await eventOf(writer, "link");
    // Several times the flow control window, so that most of it waits in the stdin of the writer.
    const lines = Array.from({ length: 8_000 }, (_, index) => `line ${index} ${"x".repeat(4_000)}`);
    writer.writeLine(lines.join("\n"));
    writer.writeLine("last");
    member.resumeStdout();
    await last;
    expect(member.lines.map((line) => line.slice(line.indexOf(" ") + 1))).toEqual([...lines, "last"]);
  });
});

describe("a stdout that is closed", () => {
  it("makes a member leave, with code 0 and no output", async () => {
    const { server, address } = await startServer();
    const member = fullmesh(["join", address, "--json"]);
    const { address: own } = await eventOf(member, "registered");
    member.closeStdout();
    fullmesh(["join", address, "--json"]);
    expect(await member.exited()).toEqual({ code: 0, signal: null });
    expect(member.errors).toBe("");
    await eventOf(server, "left", (line) => line.address === own);
  });

  it("does not end a server", async () => {
    const { server, address } = await startServer();
    server.closeStdout();
    const members = [1, 2].map(() => fullmesh(["join", address, "--json"]));
    for (const member of members) await eventOf(member, "complete", (line) => line.members === 2);
    await server.error((text) => text.includes("the reader of stdout has closed it; the server goes on"), "the notice");
  });
});

describe("a trace that cannot be written", () => {
  it.each([
    ["from the start, on a full disk", (_folder: string): string => "/dev/full", "ENOSPC"],
    ["at the end, where its folder is gone", (folder: string): string => join(folder, "run.mmd"), "ENOENT"],
  ])("%s, is reported, and the mesh goes on", async (_name, pathIn, errno) => {
    const folder = mkdtempSync(join(tmpdir(), "fullmesh-trace-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const { server, address } = await startServer(["--capacity", "2", "--trace", pathIn(folder)]);
    rmSync(folder, { recursive: true });
    const members = [1, 2].map(() => fullmesh(["join", address, "--json"]));
    for (const member of members) expect(await member.exited()).toEqual({ code: 0, signal: null });
    expect(await server.exited()).toEqual({ code: 0, signal: null });
    expect(server.errors).toContain(`TRACE_FAILED: the trace cannot be written: ${errno}`);
    await eventOf(server, "error", ({ code }) => code === "TRACE_FAILED");
    await eventOf(server, "complete", (line) => line.members === 2);
  });
});

describe("a stdout on a full disk", () => {
  it("is reported, and does not end a server", async () => {
    const server = fullmesh(["serve", "--listen", "127.0.0.1:0", "--json"], { stdout: openSync("/dev/full", "w") });
    await server.error((text) => text.includes("STDIO_FAILED: stdout cannot be written: ENOSPC"), "the error");
    server.kill();
    // During a write to the disk the signal itself ends the process; shells report 143 in both cases.
    const { code, signal } = await server.exited();
    expect(code ?? signal).toBeOneOf([143, "SIGTERM"]);
    expect(server.errors).not.toContain("    at ");
  });
});
