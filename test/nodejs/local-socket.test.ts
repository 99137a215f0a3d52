import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { listenLocally, pathBeside, removeDeadBeside, requireSafeFolder } from "../../src/nodejs/local-socket.js";
import { privateFolder } from "../support/folders.js";
import { StartedProcess } from "../support/processes.js";
import { requireTool } from "../support/tools.js";

const entry = new URL("../../dist/src/nodejs/local-socket.js", import.meta.url).href;
const program = new URL("../support/local-listener.mjs", import.meta.url).pathname;

let folder: string;
let path: string;

beforeEach(() => {
  folder = privateFolder();
  path = `${folder}/mesh.sock`;
});

function newServer(): Server {
  const server = createServer((socket) => socket.destroy());
  onTestFinished(() => void server.close());
  return server;
}

async function listen(at = path): Promise<() => void> {
  const close = await listenLocally(newServer(), at, 16);
  onTestFinished(close);
  return close;
}

/** A process that listens at the path once it is told to. */
async function listenerOf(at = path): Promise<StartedProcess> {
  const started = new StartedProcess(process.execPath, [program, entry, at], { hasStdin: true });
  onTestFinished(() => started.stop());
  await started.line((line) => line === "{}", "that it has started");
  return started;
}

async function outcomeOf(started: StartedProcess): Promise<{ readonly path?: string; readonly code?: string }> {
  return JSON.parse(await started.line((line) => line !== "{}", "what it has come to"));
}

/** Leaves the socket of a process that was killed. */
async function leaveDeadSocket(at = path): Promise<void> {
  const killed = await listenerOf(at);
  killed.writeLine("go");
  expect(await outcomeOf(killed)).toEqual({ path: at });
  await killed.stop();
  expect(lstatSync(at).isSocket()).toBe(true);
}

function mode(file: string): number {
  return statSync(file).mode & 0o7777;
}

describe("a socket", () => {
  test("has the mode 0600, and is removed with its listener", async () => {
    const close = await listen();
    expect(mode(path)).toBe(0o600);
    expect(readdirSync(folder)).toEqual(["mesh.sock"]);
    close();
    expect(readdirSync(folder)).toEqual([]);
  });

  test("is removed when its process ends by itself", async () => {
    const server = await listenerOf();
    server.writeLine("go");
    expect(await outcomeOf(server)).toEqual({ path });
    expect(existsSync(path)).toBe(true);
    server.endStdin();
    await server.exited();
    expect(readdirSync(folder)).toEqual([]);
  });

  test("that was replaced meanwhile is not removed", async () => {
    const close = await listen();
    unlinkSync(path);
    writeFileSync(path, "another file");
    close();
    expect(existsSync(path)).toBe(true);
  });

  test("of a living listener is not taken, and the listener notices nothing", async () => {
    await listen();
    const before = lstatSync(path).ino;
    await expect(listen()).rejects.toMatchObject({ code: "PATH_IN_USE", message: `a process listens on ${path}` });
    expect(lstatSync(path).ino).toBe(before);
    expect(readdirSync(folder)).toEqual(["mesh.sock"]);
  });

  test("of a process that was killed is replaced", async () => {
    await leaveDeadSocket();
    await listen();
    expect(mode(path)).toBe(0o600);
    expect(readdirSync(folder)).toEqual(["mesh.sock"]);
  });

  test("that another program listens on, without the lock, is not taken", async () => {
    const stranger = newServer();
    await new Promise<void>((resolve) => stranger.listen(path, resolve));
    await expect(listen()).rejects.toMatchObject({ code: "PATH_IN_USE" });
  });

  test("is not made where there is something else", async () => {
    writeFileSync(path, "what somebody has written");
    await expect(listen()).rejects.toMatchObject({
      code: "PATH_IN_USE",
      message: expect.stringContaining("no socket"),
    });
    mkdirSync(`${folder}/other.sock`);
    await expect(listen(`${folder}/other.sock`)).rejects.toMatchObject({ code: "PATH_IN_USE" });
    expect(statSync(path).size).toBeGreaterThan(0);
  });

  test("with a path that the system does not take fails with PATH_TOO_LONG", async () => {
    const most = process.platform === "linux" ? 107 : 103;
    const longest = `${folder}/${"a".repeat(most - folder.length - 1)}`;
    await listen(longest);
    expect(existsSync(longest)).toBe(true);
    await expect(listen(`${longest}a`)).rejects.toMatchObject({ code: "PATH_TOO_LONG" });
  });
});

test("of 20 processes that start at one moment where a dead socket is, exactly one gets the path", async () => {
  await leaveDeadSocket();
  const started = await Promise.all(Array.from({ length: 20 }, () => listenerOf()));
  for (const each of started) each.writeLine("go");
  const outcomes = await Promise.all(started.map(outcomeOf));
  expect(outcomes.filter((outcome) => outcome.path !== undefined)).toEqual([{ path }]);
  expect(outcomes.filter(({ code }) => code === "PATH_IN_USE")).toHaveLength(19);
  expect(readdirSync(folder)).toEqual(["mesh.sock"]);
}, 60_000);

describe("a folder", () => {
  test("that is not there is made with the mode 0700, and its parents too", async () => {
    await listen(`${folder}/run/app/mesh.sock`);
    expect(mode(`${folder}/run/app`)).toBe(0o700);
    expect(mode(`${folder}/run`)).toBe(0o700);
  });

  test.each([0o755, 0o710, 0o701, 0o777])("of the mode %o is refused with UNSAFE_FOLDER", async (bits) => {
    chmodSync(folder, bits);
    const unsafe = { code: "UNSAFE_FOLDER", message: expect.stringContaining(`0${bits.toString(8)}`) };
    await expect(listen()).rejects.toMatchObject(unsafe);
    expect(() => requireSafeFolder(path)).toThrow(expect.objectContaining(unsafe));
    expect(readdirSync(folder)).toEqual([]);
  });

  test("of another user is refused with UNSAFE_FOLDER", async (context) => {
    const setpriv = requireTool(context, "setpriv");
    if (process.getuid?.() !== 0) context.skip("skipped for lack of a privilege: only root becomes another user");
    const args = ["--reuid=65534", "--clear-groups", process.execPath, program, entry, path];
    chownSync(folder, 65_533, 65_533);
    await expect(listen()).rejects.toMatchObject({
      code: "UNSAFE_FOLDER",
      message: `${folder} belongs to the user 65533 and has the mode 0700; this process runs as the user 0`,
    });
    chownSync(folder, 65_534, 65_534);
    const other = new StartedProcess(setpriv, args, { hasStdin: true });
    onTestFinished(() => other.stop());
    await other.line((line) => line === "{}", "that it has started");
    other.writeLine("go");
    expect(await outcomeOf(other)).toEqual({ path });
  });

  test("is not made below one that others may write", async () => {
    mkdirSync(`${folder}/open`);
    chmodSync(`${folder}/open`, 0o777);
    await expect(listen(`${folder}/open/app/mesh.sock`)).rejects.toMatchObject({ code: "UNSAFE_FOLDER" });
    expect(readdirSync(`${folder}/open`)).toEqual([]);
    // Where others cannot replace what is not theirs, it is.
    chmodSync(`${folder}/open`, 0o1777);
    await listen(`${folder}/open/app/mesh.sock`);
    expect(mode(`${folder}/open/app`)).toBe(0o700);
  });

  test("that is a file is refused with UNSAFE_FOLDER", async () => {
    writeFileSync(`${folder}/file`, "");
    await expect(listen(`${folder}/file/mesh.sock`)).rejects.toMatchObject({
      code: "UNSAFE_FOLDER",
      message: `${folder}/file is no folder`,
    });
  });

  test("that is a link leads to one that is looked at", async () => {
    mkdirSync(`${folder}/real`, { mode: 0o700 });
    symlinkSync(`${folder}/real`, `${folder}/link`);
    await listen(`${folder}/link/mesh.sock`);
    await expect(listen(`${folder}/real/mesh.sock`)).rejects.toMatchObject({ code: "PATH_IN_USE" });
  });
});

test("sockets of dead members beside a server's are removed, and nothing else is", async () => {
  const dead = `${folder}/m-00000001.sock`;
  await leaveDeadSocket(dead);
  await leaveDeadSocket(`${folder}/mine.sock`);
  await listen(`${folder}/m-00000002.sock`);
  writeFileSync(`${folder}/m-00000003.sock`, "");
  await removeDeadBeside(path);
  expect(readdirSync(folder).sort()).toEqual(["m-00000002.sock", "m-00000003.sock", "mine.sock"]);
});

test("a path beside another one is in its folder, and new each time", () => {
  expect(pathBeside("/run/app/mesh.sock")).toMatch(/^\/run\/app\/m-[0-9a-f]{8}\.sock$/);
  expect(pathBeside(path)).not.toBe(pathBeside(path));
});
