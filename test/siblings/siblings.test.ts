import { chmodSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { dirname } from "node:path";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { type MeshNode, siblings } from "../../src/index.js";
import { releasePath, reservePath } from "../../src/nodejs/local-socket.js";
import { meetingPlaceOf } from "../../src/siblings/meeting-place.js";
import { Hosts } from "../support/namespaces.js";
import { requireHosts } from "../support/tools.js";
import { ownFolder, Sibling, servingOf, siblingArgs } from "./processes.js";

const name = "my-app";
let folder: string;

beforeEach(() => {
  folder = ownFolder();
});

async function sibling(options: Parameters<typeof siblings>[1] = {}): Promise<MeshNode> {
  const node = await siblings(name, { logger: false, ...options });
  onTestFinished(() => node.leave());
  return node;
}

describe("processes that call it with one name are one mesh", () => {
  test("four forked ones, of which one serves", async () => {
    const members = Array.from({ length: 4 }, () => Sibling.start(name));
    const whole = await Promise.all(members.map((member) => member.complete(4)));
    expect(whole.map(({ members: count }) => count)).toEqual([4, 4, 4, 4]);
    expect(members).toContain(servingOf(name, members));
  });

  test("four workers of node:cluster, each of which is named by its number and listens itself", async () => {
    const primary = Sibling.start(name, {}, "cluster");
    await primary.nth("complete", 4);
    const joined = primary.all("joined");
    expect(joined.map((worker) => worker.name).sort()).toEqual(["1", "2", "3", "4"]);
    expect(new Set(joined.map(({ address }) => address)).size).toBe(4);
    expect(joined.map(({ pid }) => pid)).not.toContain(primary.process.pid);
  });

  test("two nodes of one process", async () => {
    const nodes = await Promise.all([sibling({ name: "a" }), sibling({ name: "b" })]);
    await Promise.all(nodes.map((node) => node.complete({ size: 2 })));
    expect(nodes[0]?.mesh).toBe(name);
  });
});

describe("processes do not meet", () => {
  test("with two names, though they differ in case alone, or have letters that no path has", async () => {
    const names = ["my-app", "My-App", "müller/../x", "a".repeat(64), "~", "."];
    const nodes = await Promise.all(names.map((each) => siblings(each, { logger: false })));
    onTestFinished(() => Promise.all(nodes.map((node) => node.leave())).then(() => {}));
    expect(nodes.map(({ members }) => members.length)).toEqual(names.map(() => 1));
    expect(nodes.map(({ mesh }) => mesh)).toEqual(names);
  });

  test("of two users with one name", async (context) => {
    if (process.getuid?.() !== 0) context.skip("skipped for lack of a privilege: only root becomes another user");
    const members = [Sibling.start(name), Sibling.start(name, {}, "user")];
    const whole = await Promise.all(members.map((member) => member.complete(1)));
    expect(whole.map(({ members: count }) => count)).toEqual([1, 1]);
    expect(readdirSync(folder).sort()).toEqual(["fullmesh-0", "fullmesh-65534"]);
  });

  test("in two network namespaces that share a folder", async (context) => {
    requireHosts(context);
    const hosts = new Hosts("a", "b");
    onTestFinished(() => hosts.remove());
    const members = ["a", "a", "b", "b"].map((host) => {
      return new Sibling(hosts.run(host, siblingArgs(name), { hasStdin: true }));
    });
    const whole = await Promise.all(members.map((member) => member.complete(2)));
    expect(whole.map(({ members: count }) => count)).toEqual([2, 2, 2, 2]);
  });
});

describe("when the process that serves goes, another one serves, and links stay", () => {
  test("after it has left, which ends the process", async () => {
    const members = [Sibling.start(name)];
    await members[0]?.nth("joined");
    members.push(Sibling.start(name), Sibling.start(name));
    await Promise.all(members.map((member) => member.complete(3)));
    const serving = servingOf(name, members);
    const others = members.filter((member) => member !== serving);
    await serving.leave();
    await Promise.all(others.map((member) => member.nth("server:back")));
    await Promise.all(others.map((member) => member.complete(2)));
    for (const member of others) {
      expect(member.all("peer:down")).toMatchObject([{ reason: "left" }]);
    }
    expect(others).toContain(servingOf(name, others));
    await Promise.all(others.map((member) => member.leave()));
    expect(readdirSync(dirname(meetingPlaceOf(name).path))).toEqual([]);
  });

  test.each([
    ["SIGTERM", true],
    ["SIGINT", true],
    ["SIGTERM", false],
  ] as const)("after %s, with a program that handles it: %s", async (signal, isHandled) => {
    const members = [Sibling.start(name, {}, ...(isHandled ? ["signals"] : []))];
    await members[0]?.nth("joined");
    members.push(Sibling.start(name), Sibling.start(name));
    await Promise.all(members.map((member) => member.complete(3)));
    const [serving, ...others] = members as [Sibling, Sibling, Sibling];
    serving.process.endStdin();
    serving.process.kill(signal);
    expect(await serving.process.exited()).toMatchObject(isHandled ? { code: 0 } : { signal });
    await Promise.all(others.map((member) => member.nth("peer:down")));
    await Promise.all(others.map((member) => member.complete(2)));
    for (const member of others) expect(member.all("peer:down")).toHaveLength(1);
    const [served] = await Promise.all([sibling()]);
    await served?.complete({ size: 3 });
    // The sockets of this test's node and of the two, and the server's: none of the dead.
    expect(readdirSync(dirname(meetingPlaceOf(name).path))).toHaveLength(4);
  });
});

describe("what is in the way is named", () => {
  test("a process that has taken the socket and is no server", async () => {
    const { path } = meetingPlaceOf(name);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const squatter = createServer((socket) => socket.on("error", () => {}).end("220 ready\r\n")).listen(path);
    onTestFinished(() => void squatter.close());
    const message = expect.stringMatching(new RegExp(`the process ${process.pid} \\(.*\\): it has the socket ${path}`));
    await expect(siblings(name, { logger: false, timeoutMs: 2_000 })).rejects.toMatchObject({
      code: "SIBLINGS_BLOCKED",
      message,
    });
  });

  test("a process that holds the lock and does not serve", async () => {
    const { path } = meetingPlaceOf(name);
    expect(await reservePath(path)).toBe("reserved");
    onTestFinished(() => releasePath(path));
    const message = expect.stringMatching(new RegExp(`the process ${process.pid} .*the lock of ${path}$`));
    await expect(siblings(name, { logger: false, timeoutMs: 200 })).rejects.toMatchObject({
      code: "SIBLINGS_BLOCKED",
      message,
    });
  });

  test("a sibling that serves and hangs", async () => {
    const serving = Sibling.start(name);
    await serving.nth("joined");
    serving.process.kill("SIGSTOP");
    const message = expect.stringContaining(`the process ${serving.process.pid} (`);
    await expect(siblings(name, { logger: false, timeoutMs: 500 })).rejects.toMatchObject({
      code: "SIBLINGS_BLOCKED",
      message,
    });
    serving.process.kill("SIGCONT");
    await (await sibling()).complete({ size: 2 });
  });

  test("something at its path that is no socket", async () => {
    const { path } = meetingPlaceOf(name);
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    writeFileSync(path, "");
    await expect(siblings(name, { logger: false })).rejects.toMatchObject({ code: "PATH_IN_USE" });
  });

  test("a folder that others may write to", async () => {
    const top = `${folder}/fullmesh-${process.geteuid?.()}`;
    mkdirSync(top);
    chmodSync(top, 0o777);
    await expect(siblings(name, { logger: false })).rejects.toMatchObject({ code: "UNSAFE_FOLDER" });
  });
});

describe("bad input is refused", () => {
  test.each([
    ["a name that is too long", "a".repeat(65)],
    ["an empty one", ""],
    ["none", undefined],
    ["a control character", "a\n"],
  ])("%s", async (_, bad) => {
    await expect(siblings(bad as string)).rejects.toMatchObject({ code: "BAD_OPTION" });
  });

  test.each([
    ["an option of join that it does not take", { listen: "127.0.0.1:0" }],
    ["one with a value that it cannot take", { timeoutMs: -1 }],
    ["no object", "my-app"],
  ])("%s", async (_, options) => {
    await expect(siblings(name, options as object)).rejects.toMatchObject({ code: "BAD_OPTION" });
  });

  test("a folder for temporary files whose path is too long", async () => {
    process.env.TMPDIR = `${folder}/${"t".repeat(80)}`;
    mkdirSync(process.env.TMPDIR, { mode: 0o700 });
    await expect(siblings(name, { logger: false })).rejects.toMatchObject({ code: "PATH_TOO_LONG" });
  });
});

test("a wait is ended by its signal, and nothing is left behind", async () => {
  const { path } = meetingPlaceOf(name);
  expect(await reservePath(path)).toBe("reserved");
  const stopped = siblings(name, { logger: false, signal: AbortSignal.timeout(50) });
  await expect(stopped).rejects.toMatchObject({ code: "ABORTED" });
  releasePath(path);
  const node = await sibling();
  await node.leave();
  expect(readdirSync(dirname(path))).toEqual([]);
});
