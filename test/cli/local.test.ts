import { readdirSync } from "node:fs";
import { beforeEach, describe, expect, it } from "vitest";
import { privateFolder } from "../support/folders.js";
import type { StartedProcess } from "../support/processes.js";
import { eventOf, fullmesh, parseLines } from "./command-line.js";

let folder: string;
let address: string;

beforeEach(() => {
  folder = privateFolder();
  address = `unix:${folder}/mesh.sock`;
});

async function serveLocally(): Promise<StartedProcess> {
  const server = fullmesh(["serve", "--json", "--listen", address]);
  expect(await eventOf(server, "listening")).toMatchObject({ address });
  return server;
}

/** Members that see one another. */
async function members(count: number): Promise<StartedProcess[]> {
  const started = Array.from({ length: count }, (_, index) =>
    fullmesh(["join", address, "--json", "--name", `m${index}`]),
  );
  await Promise.all(started.map((each) => eventOf(each, "complete", (line) => line.members === count)));
  return started;
}

describe("serve and join on a local socket", () => {
  it("link their members, and `status` shows them with their sockets", async () => {
    await serveLocally();
    await members(2);
    const status = fullmesh(["status", address]);
    expect((await status.exited()).code).toBe(0);
    expect(status.lines[0]).toBe(`mesh "default" at ${address}: 2 members, 1 of 1 link, complete`);
    expect(status.lines[1]).toMatch(/m\d \(unix:\/.*\/m-[0-9a-f]{8}\.sock\)/);
  });

  it("lose a member that is killed, and take the places of the dead when all were killed", async () => {
    const server = await serveLocally();
    const started = await members(3);
    started[1]?.kill("SIGKILL");
    expect(await eventOf(server, "lost")).toMatchObject({ event: "lost" });
    await Promise.all([...started, server].map((each) => each.stop()));
    expect(readdirSync(folder)).toHaveLength(4);
    await serveLocally();
    await members(3);
    // Those of the dead are gone: these are of the living.
    expect(readdirSync(folder)).toHaveLength(4);
  });

  it("keep links when the server is killed and started again", async () => {
    const server = await serveLocally();
    const started = await members(2);
    server.kill("SIGKILL");
    await server.exited();
    await serveLocally();
    await Promise.all(started.map((each) => eventOf(each, "server:back")));
    for (const each of started) {
      expect(parseLines(each.lines).filter(({ event }) => event === "peer:down" || event === "unlink")).toEqual([]);
    }
  });

  it("refuse what cannot be, with a code", async () => {
    await serveLocally();
    for (const [args, code] of [
      [["join", `${address},127.0.0.1:4000`], "LOCAL_MIX"],
      [["join", address, "--listen", "127.0.0.1:0"], "LOCAL_MIX"],
      [["join", "unix:mesh.sock"], "BAD_OPTION"],
      [["serve", "--listen", address], "PATH_IN_USE"],
      [["serve", "--listen", "unix:/usr/mesh.sock"], "UNSAFE_FOLDER"],
      [["serve", "--listen", `unix:/${"a".repeat(120)}`], "PATH_TOO_LONG"],
    ] as const) {
      const refused = fullmesh(args);
      expect((await refused.exited()).code, args.join(" ")).not.toBe(0);
      expect(refused.errors).toContain(code);
    }
  });
});

describe("doctor with a local socket", () => {
  it("finds nothing wrong where a member could join", async () => {
    await serveLocally();
    const doctor = fullmesh(["doctor", address]);
    expect((await doctor.exited()).code).toBe(0);
    expect(doctor.lines.join("\n")).toContain(`the server reaches unix:${folder}/m-`);
    expect(readdirSync(folder)).toEqual(["mesh.sock"]);
  });

  it("says that nobody listens there, and how to start a server", async () => {
    const doctor = fullmesh(["doctor", address]);
    expect((await doctor.exited()).code).not.toBe(0);
    expect(doctor.lines.join("\n")).toContain(`nobody listens on ${folder}/mesh.sock (ENOENT)`);
    expect(doctor.lines.join("\n")).toContain(`fullmesh serve --listen ${address}`);
  });
});
