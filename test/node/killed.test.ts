import { describe, expect, it, onTestFinished } from "vitest";
import { join, serve } from "../../src/index.js";
import { StartedProcess } from "../support/processes.js";

const entry = new URL("../../dist/src/index.js", import.meta.url).href;
const program = new URL("../support/request-handler.mjs", import.meta.url).pathname;

/** A member here, and others in processes of their own that answer it. */
async function besideProcesses(count: number) {
  const server = await serve({ listen: "127.0.0.1:0" });
  onTestFinished(() => server.close());
  const node = await join(String(server.address));
  onTestFinished(() => node.leave());
  const args = [program, entry, String(server.address), String(count + 1)];
  const others = Array.from({ length: count }, () => new StartedProcess(process.execPath, args));
  onTestFinished(async () => {
    await Promise.all(others.map((other) => other.stop()));
  });
  const addresses = await Promise.all(others.map((other) => other.line(() => other.lines.length > 0, "its address")));
  return { node, others, addresses };
}

describe("requests to members in processes of their own", () => {
  it("are answered by all of them", async () => {
    const { node, addresses } = await besideProcesses(3);
    const outcomes = await node.requestAll("who");
    expect(outcomes.map(({ peer }) => peer.address).sort()).toEqual([...addresses].sort());
    expect(outcomes.map((outcome) => ("reply" in outcome ? outcome.reply : outcome.error)).sort()).toEqual([1, 2, 3]);
  });

  it("settle with the others' replies when one of them is killed in the middle, without waiting for a time-out", async () => {
    const { node, others, addresses } = await besideProcesses(3);
    const [victim] = others;
    const gone = addresses[0];
    // The victim has the request, and never answers it.
    const stalled = node.peers.find(({ address }) => address === gone);
    if (victim === undefined || stalled === undefined) throw new Error("nobody there");
    const lost = node.request(stalled, "stall", undefined, { timeoutMs: Number.POSITIVE_INFINITY });
    const settled = expect(lost).rejects.toMatchObject({ code: "PEER_DOWN" });
    // A stopped process takes the next request and does not answer it; then it is killed.
    victim.kill("SIGSTOP");
    const all = node.requestAll("who", undefined, { timeoutMs: Number.POSITIVE_INFINITY });
    victim.kill("SIGKILL");
    const outcomes = await all;
    const codes = outcomes.map((outcome) => ("error" in outcome ? outcome.error.code : "replied")).sort();
    expect(codes).toEqual(["PEER_DOWN", "replied", "replied"]);
    expect(outcomes.find((outcome) => "error" in outcome)?.peer.address).toBe(gone);
    await settled;
  });
});
