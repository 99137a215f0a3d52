import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { LoadedMesh } from "../../proof/loaded-mesh.js";

/** The server is away for so long. It is the time itself that is tested. */
const awayMs = 2_000;

describe("a mesh whose server is killed and started again with nothing in memory", () => {
  it("goes on: no link ends, no message is lost or repeated, orders and ranks stay, and who came meanwhile gets in", async () => {
    await using mesh = await LoadedMesh.start();
    for (let index = 0; index < 6; index += 1) {
      mesh.add({ name: `m${index}` });
      await mesh.members[index]?.nth("registered");
    }
    await Promise.all(mesh.members.map((member) => member.complete(6)));
    const before = await Promise.all(mesh.members.map((member) => member.report()));
    for (let round = 1; round <= 2; round += 1) {
      await mesh.killServer();
      await Promise.all(mesh.members.slice(0, 6).map((member) => member.nth("server:lost", round)));
      const newcomer = mesh.add({ name: `newcomer${round}` });
      await pause(awayMs);
      await mesh.startServer();
      await newcomer.nth("registered");
      await Promise.all(mesh.members.map((member) => member.complete(6 + round)));
    }
    const after = await mesh.settle();
    expect(after.slice(0, 6).map(({ id, order, rank }) => [id, order, rank])).toEqual(
      before.map(({ id, order, rank }) => [id, order, rank]),
    );
    const happened = mesh.members.flatMap(({ happenings }) => happenings);
    expect(happened.filter(({ type }) => type === "peer:down" || type === "fenced")).toEqual([]);
    expect(after.flatMap(({ faults }) => faults)).toEqual([]);
    // Orders grow: each newcomer has a larger one than all that were there before it.
    const orders = after.map(({ order }) => order);
    expect(orders).toEqual([...orders].sort((a, b) => a - b));
  }, 120_000);
});
