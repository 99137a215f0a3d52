import { describe, expect, it, onTestFinished, vi } from "vitest";
import { type GangPlace, type JoinOptions, join, MeshNode, makeSecret, serve } from "../../src/index.js";

const variables = ["SERVER", "MESH", "SECRET", "RANK", "SIZE"].map((name) => `FULLMESH_${name}`);

/** Sets these variables, and no other that `join` reads. */
function setEnvironment(set: Readonly<Record<string, string>>): void {
  for (const name of variables) vi.stubEnv(name, set[name]);
  onTestFinished(() => void vi.unstubAllEnvs());
}

async function gangServer(gangSize: number, secret?: string): Promise<string> {
  const server = await serve({ listen: "127.0.0.1:0", gangSize, ...(secret === undefined ? {} : { secret }) });
  onTestFinished(() => server.close());
  return server.address;
}

async function joined(...args: [options?: JoinOptions] | [server: string, options?: JoinOptions]): Promise<MeshNode> {
  const node = await (join as (...all: unknown[]) => Promise<MeshNode>)(...args);
  onTestFinished(() => node.leave());
  return node;
}

describe("join without an address", () => {
  it("takes server, mesh, secret and place in the gang from the environment; options win", async () => {
    const secret = makeSecret();
    const FULLMESH_SERVER = await gangServer(2, secret);
    setEnvironment({
      FULLMESH_SERVER,
      FULLMESH_MESH: "named",
      FULLMESH_SECRET: secret,
      FULLMESH_RANK: "0",
      FULLMESH_SIZE: "2",
    });
    const first = await joined();
    const second = await joined({ name: "second", gang: { rank: 1, size: 2 } });
    await second.complete({ size: 2 });
    expect([first.rank, second.rank, first.mesh, second.mesh]).toEqual([0, 1, "named", "named"]);
    expect(second.members.map(({ name, meta }) => [name, meta])).toEqual([
      [undefined, { rank: 0 }],
      ["second", { rank: 1 }],
    ]);
  });

  it("is in no gang where the environment names none", async () => {
    const server = await serve({ listen: "127.0.0.1:0" });
    onTestFinished(() => server.close());
    setEnvironment({ FULLMESH_SERVER: server.address, FULLMESH_MESH: "", FULLMESH_RANK: "" });
    const node = await joined();
    expect([node.mesh, node.rank, node.members[0]?.meta]).toEqual(["default", 0, undefined]);
  });

  it.each([
    [{}, "BAD_OPTION: Expected `server` to be given as an argument or as FULLMESH_SERVER, got undefined"],
    [{ FULLMESH_SERVER: "" }, "BAD_OPTION: Expected `server` to be given as an argument or as FULLMESH_SERVER"],
    [{ FULLMESH_SERVER: "x:1", FULLMESH_RANK: "-1" }, "BAD_OPTION: Expected `FULLMESH_RANK` to be an integer >= 0"],
    [{ FULLMESH_SERVER: "x:1", FULLMESH_RANK: "1" }, "BAD_OPTION: Expected `FULLMESH_SIZE` to be an integer >= 1"],
    [
      { FULLMESH_SERVER: "x:1", FULLMESH_RANK: "2", FULLMESH_SIZE: "2" },
      "BAD_OPTION: Expected `FULLMESH_RANK` to be an integer below 2",
    ],
    [{ FULLMESH_SERVER: "x:1", FULLMESH_SECRET: "" }, "BAD_SECRET: "],
  ])("says what is wrong with %j", async (set, expected) => {
    setEnvironment(set);
    const error = (await join().catch((thrown: unknown) => thrown)) as { code: string; message: string };
    expect(`${error.code}: ${error.message}`).toContain(expected);
  });
});

describe("the option gang", () => {
  it.each([
    [{ rank: 2, size: 2 }, {}, "Expected `gang.rank` to be an integer below 2, got 2"],
    [{ rank: -1, size: 2 }, {}, "Expected `gang.rank` to be an integer >= 0, got -1"],
    [{ rank: 0, size: 0 }, {}, "Expected `gang.size` to be an integer >= 1, got 0"],
    [{ rank: 0, size: 1, place: 3 }, {}, "There is no option `place`"],
    [3, {}, "Expected an object of options, got a number"],
    [{ rank: 0, size: 1 }, { meta: { rank: 7 } }, "Expected `meta.rank` to be absent in a gang"],
    [{ rank: 0, size: 1 }, { dialect: "classic" as const }, "Expected `gang` to be absent with the classic dialect"],
  ])("is refused as %j with %j", (gang, more, expected) => {
    expect(() => new MeshNode({ gang: gang as GangPlace, ...more })).toThrow(expected);
  });

  it("is refused with a meta that has no room for the rank", () => {
    const meta = { text: "x".repeat(1_012) };
    expect(() => new MeshNode({ meta })).not.toThrow();
    expect(() => new MeshNode({ meta, gang: { rank: 0, size: 1 } })).toThrow("1,024 bytes as JSON, the rank included");
  });

  it("gives the node its rank for life, whoever comes and goes", async () => {
    const server = await gangServer(3);
    const gang = (rank: number): JoinOptions => ({ gang: { rank, size: 3 }, meta: { zone: "x" } });
    const [first, second, third] = await Promise.all([
      joined(server, gang(0)),
      joined(server, gang(1)),
      joined(server, gang(2)),
    ]);
    const ranks: number[] = [];
    third.on("rank", ({ rank }) => ranks.push(rank));
    await first.leave();
    await second.complete({ size: 2 });
    const again = await joined(server, gang(0));
    await again.complete({ size: 3 });
    expect([second.rank, third.rank, again.rank, ranks]).toEqual([1, 2, 0, []]);
    expect(again.members.map(({ meta }) => meta)).toEqual([1, 2, 0].map((rank) => ({ zone: "x", rank })));
  });

  it("ends a node whose server does not come back: whoever has started the gang has gone", async () => {
    const server = await serve({ listen: "127.0.0.1:0", gangSize: 1 });
    const node = await joined(server.address, { gang: { rank: 0, size: 1 } });
    await server.close();
    await expect(node.closed).rejects.toMatchObject({ code: "SERVER_VANISHED" });
  });
});

it("a gang refuses whoever has no rank", async () => {
  const error = (await join(await gangServer(2)).catch((thrown: unknown) => thrown)) as Record<string, string>;
  expect(error.code).toBe("REFUSED");
  expect(error.message).toMatch(/^BAD_RANK: .* has no rank from 0 to 1, and this mesh is a gang of 2/);
  expect(error.remedy).toContain("fullmesh run");
});
