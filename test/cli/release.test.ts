import { once } from "node:events";
import { describe, expect, it, onTestFinished } from "vitest";
import { join } from "../../src/index.js";
import { Recorder } from "../support/sockets.js";
import { eventOf, fullmesh, startProgram, startServer } from "./command-line.js";

const entry = new URL("../../dist/bundle/index.js", import.meta.url).href;
const program = new URL("../support/request-handler.mjs", import.meta.url).pathname;
const limits = { silentMs: 1_500, probeMs: 500 };

describe("N19: fullmesh serve --on-full release", () => {
  it("goes with exit code 0 once the mesh is whole, and the mesh stays: a later kill shows at each member with its reason", async () => {
    const { server, address } = await startServer([
      "--capacity",
      "3",
      "--on-full",
      "release",
      "--lease",
      "2",
      "--silent",
      "1.5",
    ]);
    const node = await join(address, { limits, logger: false });
    onTestFinished(() => node.leave());
    const released = once(node, "released");
    const downs = new Recorder<string>();
    node.on("peer:down", ({ peer, reason }) => downs.add(`${peer.address} ${reason}`));
    const others = [1, 2].map(() => startProgram(program, [entry, address, "3", JSON.stringify({ limits })]));
    const addresses = await Promise.all(others.map((other) => other.line(() => other.lines.length > 0, "its address")));
    expect(await released).toEqual([{ type: "released", reason: "capacity reached" }]);
    expect(await server.exited()).toMatchObject({ code: 0 });
    expect(await eventOf(server, "released")).toMatchObject({ members: 3, links: 3, missing: [], absent: [] });
    await node.complete({ size: 3 });
    expect([node.leader, node.members.length]).toEqual([undefined, 3]);
    const outcomes = await node.requestAll("who");
    expect(outcomes.map((outcome) => ("reply" in outcome ? outcome.reply : outcome.error)).sort()).toEqual([1, 2]);
    await expect(node.claim("key")).rejects.toMatchObject({ code: "RELEASED" });

    const [victim, survivor] = others;
    victim?.kill("SIGKILL");
    const reason = /^\S+ not linked for 2 s: ./;
    expect(await downs.nth(1, () => true)).toMatch(reason);
    await survivor?.line((line) => line !== addresses[1], "that the link has ended");
    expect(survivor?.lines[1]).toMatch(reason);
    expect(node.members.map((member) => member.address)).toEqual([node.address, addresses[1]]);
    await expect(node.complete({ size: 2 })).rejects.toMatchObject({ code: "RELEASED" });
    expect(await node.request(String(addresses[1]), "who")).toBe(1);
  }, 60_000);

  it("takes native members only", async () => {
    const { address } = await startServer(["--capacity", "2", "--on-full", "release"]);
    await expect(join(address, { dialect: "classic", logger: false })).rejects.toMatchObject({ code: "REFUSED" });
    const wrong = fullmesh(["serve", "--on-full", "release", "--dialect", "classic"]);
    expect(await wrong.exited()).toMatchObject({ code: 2 });
  });
});

it("fullmesh run --on-full release leaves the mesh to its copies, and takes no copy back", async () => {
  const copy = `
    import { join } from ${JSON.stringify(entry)};
    const node = await join({ logger: false });
    await new Promise((resolve) => node.once("released", resolve));
    node.onRequest("rank", () => node.rank);
    await node.barrier("begin");
    console.log(await node.request(node.peers[0], "rank"));
    await node.barrier("end");
    await node.leave();
  `;
  const run = fullmesh(["run", "-n", "2", "--on-full", "release", "--", "node", "--input-type=module", "-e", copy]);
  expect(await run.exited()).toMatchObject({ code: 0 });
  expect(run.lines.toSorted()).toEqual(["[0] 1", "[1] 0"]);
  const wrong = fullmesh(["run", "-n", "2", "--on-full", "release", "--restart", "on-failure", "--", "true"]);
  expect(await wrong.exited()).toMatchObject({ code: 2 });
}, 60_000);
