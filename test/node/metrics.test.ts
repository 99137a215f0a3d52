import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { describe, expect, it, onTestFinished } from "vitest";
import { join, serve } from "../../src/index.js";
import { nodeMetrics } from "../../src/node/metrics.js";
import { type Family, parseExposition } from "../support/exposition.js";
import { requireTool } from "../support/tools.js";
import { addressOf } from "./outcomes.js";
import { pair } from "./pair.js";

/** The value of one series; `labels` as they are written. */
function seriesValue(
  families: readonly Family[],
  name: string,
  labels: Readonly<Record<string, string>>,
): number | undefined {
  const samples = families.flatMap((family) => family.samples);
  const found = samples.find(
    (sample) => sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value),
  );
  return found?.value;
}

describe("the metrics of a node", () => {
  it("are every series of the table, in the format of Prometheus, with what `stats` has, and none of one peer", async () => {
    const limits = { probeMs: 20, silentMs: 10_000 };
    const { server, first, second } = await pair({ limits });
    const mesh = "default";
    first.broadcast("topic", "text");
    await expect.poll(() => second.stats().messages.received).toBe(1);
    await expect.poll(() => Object.keys(first.stats().roundTripMs)).toEqual([second.address]);
    const families = parseExposition(first.metrics());
    expect(families.map(({ name, type, help }) => [name, { type, help }])).toEqual(Object.entries(nodeMetrics));
    const text = first.metrics();
    for (const address of [first.address, second.address, server.address]) expect(text).not.toContain(address);

    const { messages, links } = first.stats();
    expect(seriesValue(families, "fullmesh_node_messages_sent_total", { mesh })).toBe(messages.sent);
    expect(seriesValue(families, "fullmesh_node_links", { mesh, state: "up" })).toBe(links.up);
    expect(seriesValue(families, "fullmesh_node_links", { mesh, state: "broken" })).toBe(0);
    expect(seriesValue(families, "fullmesh_node_members", { mesh })).toBe(2);
    expect(seriesValue(families, "fullmesh_node_server_connected", { mesh })).toBe(1);
    const count = seriesValue(families, "fullmesh_node_round_trip_seconds_count", { mesh }) ?? 0;
    expect(count).toBeGreaterThan(0);
    expect(seriesValue(families, "fullmesh_node_round_trip_seconds_bucket", { mesh, le: "10" })).toBe(count);
  });

  it("pass `promtool check metrics`, and those of a server do", async (context) => {
    const promtool = requireTool(context, "promtool");
    const server = await serve({ listen: "127.0.0.1:0", http: "127.0.0.1:0", logger: false });
    onTestFinished(() => server.close());
    const node = await join(server.address, { logger: false });
    onTestFinished(() => node.leave());
    await join(server.address, { logger: false, advertise: "10.1.2.3:4" }).catch(() => {});
    const ofServer = await (await fetch(`http://${server.httpAddress}/metrics`)).text();
    expect(ofServer).toContain("fullmesh_refusals_total{");
    for (const text of [ofServer, node.metrics()]) {
      const { status, stdout, stderr } = spawnSync(promtool, ["check", "metrics"], { input: text, encoding: "utf8" });
      expect([status, stdout, stderr]).toEqual([0, "", ""]);
    }
  });

  it("say that the server is away, and that it has taken the node back", async () => {
    const { server, first } = await pair();
    const isConnected = (): number | undefined =>
      seriesValue(parseExposition(first.metrics()), "fullmesh_node_server_connected", { mesh: "default" });
    const lost = once(first, "server:lost");
    await server.close();
    await lost;
    expect(isConnected()).toBe(0);
    await first.leave();
    expect(isConnected()).toBe(0);
  });

  it("of a classic node lack the round trips, which it does not measure", async () => {
    const { first } = await pair({ dialect: "classic" });
    const names = parseExposition(first.metrics()).map(({ name }) => name);
    const expected = Object.keys(nodeMetrics).filter((name) => name !== "fullmesh_node_round_trip_seconds");
    expect(names).toEqual(expected);
    expect(first.stats().links.up).toBe(1);
    expect(addressOf(first)).toBe(first.address);
  });
});
