import { describe, expect, it } from "vitest";
import { reportNode } from "../../src/cli/node-reporter.js";
import type { Output } from "../../src/cli/output.js";
import { MeshNode } from "../../src/node/mesh-node.js";
import type { StartedProcess } from "../support/processes.js";
import { proxyBefore } from "../support/proxy.js";
import { freePort } from "../support/sockets.js";
import { type EventLine, eventOf, fullmesh, parseLines, startServer } from "./command-line.js";

function linesOf(process: StartedProcess, ...events: string[]): EventLine[] {
  return parseLines(process.lines).filter(({ event }) => events.includes(event));
}

describe("fullmesh join --json", () => {
  it("prints an event and a sentence when a peer is unreachable, and when it is reachable again", async () => {
    const { address } = await startServer();
    const port = await freePort();
    const proxy = await proxyBefore(() => port);
    const watchers = [fullmesh(["join", address, "--json"]), fullmesh(["join", address])] as const;
    await eventOf(watchers[0], "registered");
    await watchers[1].error((text) => text.includes("registered as"), "its registration");
    const behind = ["--listen", `127.0.0.1:${port}`, "--advertise", proxy.address, "--name", "api-1"];
    const peer = fullmesh(["join", address, "--json", ...behind]);
    await eventOf(peer, "complete", ({ members }) => members === 3);
    await eventOf(watchers[0], "link", (line) => line.peer === proxy.address);
    await watchers[1].error((text) => text.includes(`linked with api-1 at ${proxy.address}`), "the link");
    proxy.cut();
    await eventOf(watchers[0], "back", (line) => line.peer === proxy.address);
    const printed = linesOf(watchers[0], "unreachable", "relink", "back").filter((line) => line.peer === proxy.address);
    expect(printed).toMatchObject([
      { event: "unreachable", reason: expect.any(String) },
      { event: "relink", name: "api-1" },
      { event: "back", awayMs: expect.any(Number) },
    ]);
    await watchers[1].error((text) => text.includes(`linked with api-1 at ${proxy.address} again`), "that it is back");
    expect(watchers[1].errors).toMatch(
      new RegExp(`cannot reach api-1 at ${proxy.address}: .*; what is sent to it waits`),
    );
  });

  it("prints events for the place of a waiting member, the rank and the leader", async () => {
    const { address } = await startServer(["--capacity", "2", "--on-full", "hold"]);
    const first = fullmesh(["join", address, "--json"]);
    const { address: oldest } = await eventOf(first, "registered");
    const second = fullmesh(["join", address, "--json"]);
    await eventOf(second, "rank", ({ rank }) => rank === 1);
    await eventOf(second, "leader", ({ leader }) => leader === oldest);
    const third = fullmesh(["join", address, "--json"]);
    expect(await eventOf(third, "waiting")).toMatchObject({ place: 1 });
    first.kill();
    await eventOf(second, "rank", ({ rank }) => rank === 0);
    const { address: next } = await eventOf(second, "registered");
    await eventOf(second, "leader", ({ leader }) => leader === next);
    await eventOf(third, "leader", ({ leader }) => leader === next);
  });

  it("prints that the server is gone, and that it is back; the next server prints that the member came back", async () => {
    const { server, address } = await startServer();
    const member = fullmesh(["join", address, "--json"]);
    const { order } = await eventOf(member, "registered");
    server.kill();
    expect(await eventOf(member, "server:lost")).toMatchObject({
      since: expect.any(Number),
      reason: expect.any(String),
    });
    const next = fullmesh(["serve", "--json", "--listen", address]);
    expect(await eventOf(next, "joined")).toMatchObject({ order, returned: true });
    expect(await eventOf(member, "server:back")).toMatchObject({ awayMs: expect.any(Number) });
    expect(linesOf(member, "fenced")).toEqual([]);
  });

  it("prints rare events, too", () => {
    const node = new MeshNode();
    const printed: unknown[] = [];
    const event = (name: string, _node: unknown, fields: object, sentence?: string): void => {
      printed.push({ event: name, ...fields, sentence });
    };
    reportNode(node, { options: { json: true, quiet: false }, event, flushAfter: () => {} } as unknown as Output);
    const a = { address: "10.0.0.1:1", dialect: "native", name: "api-1" } as const;
    const b = { address: "10.0.0.2:1", dialect: "native" } as const;
    const since = 1_732_324_320_000;
    const missingPair = { a, b, owner: a, stage: "dialing", attempt: 3, reason: "ECONNREFUSED", since } as const;
    node.emit("fenced", { type: "fenced", reason: "silent for too long" });
    node.emit("leader", { type: "leader", leader: undefined });
    node.emit("rank", { type: "rank", rank: -1 });
    node.emit("server:lost", { type: "server:lost", since: 1_732_324_320_000, reason: "reset" });
    node.emit("server:back", { type: "server:back", awayMs: 2_340, server: "10.0.0.9:6200" });
    node.emit("degraded", { type: "degraded", count: 2, missing: [missingPair] });
    expect(printed).toEqual([
      {
        event: "fenced",
        reason: "silent for too long",
        sentence: "this incarnation is over (silent for too long); joining again",
      },
      { event: "leader", leader: null, sentence: undefined },
      { event: "rank", rank: -1, sentence: undefined },
      {
        event: "server:lost",
        since: 1_732_324_320_000,
        reason: "reset",
        sentence: "the server is gone (reset); links go on, and it is looked for",
      },
      {
        event: "server:back",
        awayMs: 2_340,
        server: "10.0.0.9:6200",
        sentence: "the server at 10.0.0.9:6200 has taken this node back, after 2.3 s",
      },
      {
        event: "degraded",
        count: 2,
        missing: [{ ...missingPair, a: "10.0.0.1:1", b: "10.0.0.2:1", owner: "10.0.0.1:1" }],
        sentence: expect.stringMatching(
          /^degraded: 2 pairs are not linked: api-1 at 10.0.0.1:1 should dial 10.0.0.2:1 \(dialing, attempt 3, for [0-9.]+ s\): ECONNREFUSED; and 1 more$/,
        ),
      },
    ]);
  });
});
