import { AsyncLocalStorage } from "node:async_hooks";
import { subscribe, tracingChannel, unsubscribe } from "node:diagnostics_channel";
import { readFileSync } from "node:fs";
import { describe, expect, it, onTestFinished } from "vitest";
import type { MeshNode, NodeEvent } from "../../src/index.js";
import { nodeEventNames } from "../../src/node/events.js";
import { addressOf } from "./outcomes.js";
import { pair } from "./pair.js";

interface Published {
  readonly node: MeshNode;
  readonly event: NodeEvent;
}

/** All that is published on these channels until the end of the test. */
function published(...types: readonly string[]): Published[] {
  const messages: Published[] = [];
  const keep = (message: unknown): void => void messages.push(message as Published);
  for (const type of types) {
    subscribe(`fullmesh:${type}`, keep);
    onTestFinished(() => void unsubscribe(`fullmesh:${type}`, keep));
  }
  return messages;
}

describe("the diagnostics channels", () => {
  it("get each event of every node in the process, with the node", async () => {
    const messages = published("peer:up", "peer:down", "complete");
    const { first, second } = await pair();
    const down = new Promise((resolve) => {
      first.once("peer:down", resolve);
    });
    await second.leave();
    const event = await down;
    expect(messages.filter(({ event: { type } }) => type === "peer:up").map(({ node }) => node.address)).toEqual(
      expect.arrayContaining([first.address, second.address]),
    );
    expect(messages.filter(({ node }) => node === first).map(({ event: { type } }) => type)).toEqual(
      expect.arrayContaining(["peer:up", "complete", "peer:down"]),
    );
    expect(messages.find(({ node, event: { type } }) => node === first && type === "peer:down")?.event).toBe(event);
  });

  it("follow requests at both ends, each in the context of its tracer, to the reply or the error", async () => {
    const { first, second } = await pair();
    const spans = new AsyncLocalStorage<string>();
    const seen: unknown[] = [];
    for (const name of ["request", "handler"]) {
      const tracing = tracingChannel(`fullmesh:${name}`);
      const begun = (): string => `span of ${name}`;
      tracing.start.bindStore(spans, begun);
      const record = (stage: string) => (message: object) => {
        const { peer, topic, result, error } = message as Readonly<Record<string, unknown>>;
        seen.push([name, stage, peer, topic, result ?? (error as { code: string } | undefined)?.code]);
      };
      const subscribers = { asyncEnd: record("end"), error: record("error") };
      tracing.subscribe(subscribers as Parameters<typeof tracing.subscribe>[0]);
      onTestFinished(() => {
        tracing.start.unbindStore(spans);
        tracing.unsubscribe(subscribers as Parameters<typeof tracing.unsubscribe>[0]);
      });
    }
    let within: string | undefined;
    second.onRequest("double", (value) => {
      within = spans.getStore();
      return Number(value) * 2;
    });
    second.onRequest("fail", () => {
      throw Object.assign(new Error("no"), { code: "NO_SUCH_ROW" });
    });
    expect(await first.request(addressOf(second), "double", 21)).toBe(42);
    expect(within).toBe("span of handler");
    await expect(first.request(addressOf(second), "fail")).rejects.toMatchObject({ code: "NO_SUCH_ROW" });
    const [one, two] = [first.address, second.address];
    expect(seen).toEqual([
      ["handler", "end", one, "double", 42],
      ["request", "end", two, "double", 42],
      ["handler", "error", one, "fail", "NO_SUCH_ROW"],
      ["handler", "end", one, "fail", "NO_SUCH_ROW"],
      ["request", "error", two, "fail", "NO_SUCH_ROW"],
      ["request", "end", two, "fail", "NO_SUCH_ROW"],
    ]);
  });

  it("are named in docs/api.md, all of them", () => {
    const page = readFileSync(new URL("../../docs/api.md", import.meta.url), "utf8");
    const [, section = ""] = /^### Tracing\n(.*?)^##/ms.exec(page) ?? [];
    const names = nodeEventNames
      .filter((type) => type !== "message" && type !== "bytes")
      .map((type) => `fullmesh:${type}`);
    for (const name of [...names, "tracing:fullmesh:request", "tracing:fullmesh:handler"])
      expect(section).toContain(`\`${name}`);
  });
});
