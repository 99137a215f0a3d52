import { describe, expect, it, onTestFinished } from "vitest";
import { siblings } from "../../src/index.js";
import type { MeshStatus } from "../../src/protocol/status.js";
import { meetingPlaceOf } from "../../src/siblings/meeting-place.js";
import { ownFolder } from "../siblings/processes.js";
import { fullmesh } from "./command-line.js";

describe("fullmesh siblings", () => {
  it("prints the mesh as status does, once or with each change, and is no member", async () => {
    ownFolder();
    const node = await siblings("my-app", { logger: false, name: "one" });
    onTestFinished(() => node.leave());
    const { address } = meetingPlaceOf("my-app");
    const once = fullmesh(["siblings", "my-app"]);
    expect((await once.exited()).code).toBe(0);
    expect(once.lines[0]).toContain(`mesh "my-app" at ${address}: 1 member, 0 of 0 links`);
    const watch = fullmesh(["siblings", "my-app", "--watch", "--json"]);
    const statusOf = (line: string): MeshStatus => JSON.parse(line) as MeshStatus;
    await watch.line((line) => statusOf(line).members.length === 1, "that there is one member");
    const other = await siblings("my-app", { logger: false });
    onTestFinished(() => other.leave());
    await watch.line((line) => statusOf(line).links.up === 1, "that they are linked");
    expect(node.members).toHaveLength(2);
  });

  it("says where it has looked if nobody is there, and serves nobody", async () => {
    ownFolder();
    const { path } = meetingPlaceOf("my-app");
    const look = fullmesh(["siblings", "my-app"]);
    expect((await look.exited()).code).toBe(1);
    expect(look.errors).toContain(`NO_SIBLINGS: nobody serves siblings of this name at ${path}`);
  });

  it("refuses a name that is none", async () => {
    const look = fullmesh(["siblings", "a".repeat(65)]);
    expect((await look.exited()).code).toBe(2);
  });
});
