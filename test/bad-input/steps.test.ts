import { describe, expect, onTestFinished, test } from "vitest";
import {
  FullmeshError,
  MeshNode,
  type NodeOptions,
  RendezvousServer,
  type ServerOptions,
  serve,
} from "../../src/index.js";
import { healthyMesh, RecordedNode, text } from "./fixtures.js";

function newNode(): MeshNode {
  return new RecordedNode().node;
}

function newServer(): RendezvousServer {
  const server = new RendezvousServer();
  onTestFinished(() => server.close());
  return server;
}

const wrongStep = (message: string): { code: string; message: string } => ({ code: "WRONG_STEP", message });

describe("a server's step out of order", () => {
  test("rejects with WRONG_STEP when sockListen comes before initSocket", async () => {
    await expect(newServer().sockListen()).rejects.toMatchObject(wrongStep("sockListen comes after initSocket"));
  });

  test("rejects with WRONG_STEP, and does not throw, when start comes before sockListen", async () => {
    const server = newServer();
    await server.initSocket("127.0.0.1", 0);
    let ended: Promise<string> | undefined;
    expect(() => {
      ended = server.start();
    }).not.toThrow();
    await expect(ended).rejects.toMatchObject(wrongStep("start comes after sockListen"));
  });

  test("rejects with WRONG_STEP when a step is taken twice, and the mesh goes on", async () => {
    const mesh = await healthyMesh();
    const again = wrongStep("the server listens already");
    await expect(mesh.server.initSocket("127.0.0.1", 0)).rejects.toMatchObject(again);
    await expect(mesh.server.sockListen()).rejects.toMatchObject(again);
    await mesh.undisturbed();
  });

  test("rejects with WRONG_STEP what comes while it begins to listen, and listens once", async () => {
    const server = newServer();
    await server.initSocket("127.0.0.1", 0);
    const listening = server.sockListen();
    const again = wrongStep("the server listens already");
    await expect(server.initSocket("127.0.0.1", 0)).rejects.toMatchObject(again);
    await expect(server.sockListen()).rejects.toMatchObject(again);
    expect(await listening).toBe(server.address);
  });
});

describe("a node's step out of order", () => {
  test("rejects with WRONG_STEP when sockListen comes before initListeningSocket", async () => {
    const expected = wrongStep("sockListen comes after initListeningSocket");
    await expect(newNode().sockListen()).rejects.toMatchObject(expected);
  });

  test("rejects with WRONG_STEP when registerWithServer comes first, or without one of the steps before it", async () => {
    const mesh = await healthyMesh();
    const expected = wrongStep("registerWithServer comes after connectToServer and sockListen");
    const node = newNode();
    await expect(node.registerWithServer()).rejects.toMatchObject(expected);
    await node.connectToServer(mesh.address);
    await expect(node.registerWithServer()).rejects.toMatchObject(expected);
    await node.initListeningSocket("127.0.0.1", 0);
    await expect(node.registerWithServer()).rejects.toMatchObject(expected);
    const deaf = newNode();
    await deaf.initListeningSocket("127.0.0.1", 0);
    await deaf.sockListen();
    await expect(deaf.registerWithServer()).rejects.toMatchObject(expected);
    // Taken in their order after all, the steps lead in.
    await node.sockListen();
    await node.registerWithServer();
    await node.complete({ size: 3 });
    const left = new Promise((resolve) => mesh.server.once("left", resolve));
    const { address = "" } = node;
    await node.leave();
    await left;
    await mesh.undisturbed({ guests: [address] });
  });

  test("rejects with WRONG_STEP when a step is taken twice, and the node stays linked", async () => {
    const mesh = await healthyMesh();
    const [{ node }] = mesh.members;
    await expect(node.connectToServer(mesh.address)).rejects.toMatchObject(
      wrongStep("connectToServer has been called already"),
    );
    const again = wrongStep("the node listens already");
    await expect(node.initListeningSocket("127.0.0.1", 0)).rejects.toMatchObject(again);
    await expect(node.sockListen()).rejects.toMatchObject(again);
    await node.registerWithServer();
    await mesh.undisturbed();
  });

  test("rejects with WRONG_STEP when start comes before registerWithServer, instead of waiting for ever", async () => {
    await expect(newNode().start()).rejects.toMatchObject(wrongStep("start comes after registerWithServer"));
  });

  test("rejects with ENDED after the node has left", async () => {
    const mesh = await healthyMesh();
    const node = newNode();
    await node.leave();
    await expect(node.connectToServer(mesh.address)).rejects.toMatchObject({ code: "ENDED" });
    await expect(node.complete()).rejects.toMatchObject({ code: "ENDED" });
    await mesh.undisturbed();
  });
});

describe.each(["native", "classic"] as const)("a send and a write to nobody, by a %s node", (dialect) => {
  test("throw UNKNOWN_PEER with the reason (no member, no address, the node itself), and ENDED after the end", async () => {
    const mesh = await healthyMesh({}, dialect);
    const [{ node, address }, other] = mesh.members;
    const expectUnknown = (peer: string, message: RegExp): void => {
      const unknown = { code: "UNKNOWN_PEER", message: expect.stringMatching(message) };
      expect(() => node.write(peer, text("lost"))).toThrow(expect.objectContaining(unknown));
      expect(() => node.send(peer, "", text("lost"))).toThrow(expect.objectContaining(unknown));
    };
    expectUnknown("127.0.0.1:14000", /to 127\.0\.0\.1:14000: the directory lists no member at this address$/);
    expectUnknown(String(address), /: that is this node itself$/);
    for (const peer of ["nonsense", ""]) expectUnknown(peer, /^no member is called ".*", and it is no address$/);
    await mesh.undisturbed();
    await node.leave();
    expect(() => node.write(other.address, text("lost"))).toThrow(expect.objectContaining({ code: "ENDED" }));
    expect(() => node.send(other.address, "", text("lost"))).toThrow(expect.objectContaining({ code: "ENDED" }));
  });
});

describe("an option with a value that it cannot take", () => {
  test.each<[unknown, string]>([
    ["127.0.0.1:4000", "a string"],
    [4000, "a number"],
    [["127.0.0.1:4000"], "an array"],
    [null, "null"],
  ])("is refused with BAD_OPTION where options are expected: %j", async (options, got) => {
    const message = `Expected an object of options, got ${got}`;
    await expect(serve(options as object)).rejects.toMatchObject({ code: "BAD_OPTION", message });
  });

  test("is refused with BAD_OPTION too when there is no such option", async () => {
    const misspelled = { capcity: 3 } as ServerOptions;
    const message = expect.stringContaining("There is no option `capcity`; there are listen, capacity");
    await expect(serve(misspelled)).rejects.toMatchObject({ code: "BAD_OPTION", message });
    expect(() => new MeshNode({ advertize: "127.0.0.1:1" } as NodeOptions)).toThrow("There is no option `advertize`");
  });

  const integer = "an integer >= 1";
  const milliseconds = "a finite number of milliseconds >= 0";
  const listenable =
    "an IP address and a port such as 127.0.0.1:4000, port 0 for any free one, or a local socket such as unix:/run/app/mesh.sock";

  test.each<[string, unknown, string]>([
    ["capacity", "eight", `Expected \`capacity\` to be ${integer}, got "eight"`],
    ["capacity", 0, `Expected \`capacity\` to be ${integer}, got 0`],
    ["capacity", 2.5, `Expected \`capacity\` to be ${integer}, got 2.5`],
    ["capacity", Number.NaN, `Expected \`capacity\` to be ${integer}, got NaN`],
    ["onFull", "explode", 'Expected `onFull` to be one of "teardown", "release", "hold", got "explode"'],
    ["limits", { settleMs: -1 }, `Expected \`limits.settleMs\` to be ${milliseconds}, got -1`],
    ["allowAdvertise", ["10.0.0.0"], 'Expected `allowAdvertise` to be a network such as 10.0.0.0/8, got "10.0.0.0"'],
    [
      "allowAdvertise",
      ["10.0.0.0/33"],
      'Expected `allowAdvertise` to be a network such as 10.0.0.0/8, got "10.0.0.0/33"',
    ],
    ["limits", { dialMs: "soon" }, `Expected \`limits.dialMs\` to be ${milliseconds}, got "soon"`],
    ["limits", { dailMs: 5 }, "Expected `limits.dailMs` to be the name of a limit, got 5"],
    [
      "limits",
      { silentMs: 20_001 },
      "Expected `limits.silentMs` to be at most limits.leaseMs, which is 20000, got 20001",
    ],
  ])("of a server is refused with BAD_OPTION: %s %j", (name, value, message) => {
    const options = { [name]: value } as ServerOptions;
    expect(() => new RendezvousServer(options)).toThrow(new FullmeshError("BAD_OPTION", message));
    expect(() => new RendezvousServer(options)).toThrow(expect.objectContaining({ code: "BAD_OPTION" }));
  });

  test.each<[string, unknown, string]>([
    [
      "advertise",
      "here:4000",
      'Expected `advertise` to be an address such as 10.0.0.1:4000, [::1]:4000 or unix:/run/app/a.sock, got "here:4000"',
    ],
    [
      "advertise",
      "0.0.0.0:4000",
      'Expected `advertise` to be an address such as 10.0.0.1:4000, [::1]:4000 or unix:/run/app/a.sock, got "0.0.0.0:4000"',
    ],
    [
      "limits",
      { queueHardBytes: Number.POSITIVE_INFINITY },
      `Expected \`limits.queueHardBytes\` to be an integer >= 1, got Infinity`,
    ],
    ["limits", { listBytes: 0.5 }, "Expected `limits.listBytes` to be an integer >= 1, got 0.5"],
    ["limits", { dialMs: -1 }, "Expected `limits.dialMs` to be a finite number of milliseconds >= 0, got -1"],
    [
      "limits",
      { queueSoftBytes: 16_777_217 },
      "Expected `limits.queueSoftBytes` to be at most limits.queueHardBytes, which is 16777216, got 16777217",
    ],
    [
      "limits",
      { streamWindowBytes: 200_000, streamWindowMaxBytes: 100_000 },
      "Expected `limits.streamWindowBytes` to be at most limits.streamWindowMaxBytes, which is 100000, got 200000",
    ],
    [
      "limits",
      { messageBytes: 65_599 },
      "Expected `limits.streamFrameBytes` to be at most limits.messageBytes - 64, which is 65535, got 65536",
    ],
  ])("of a node is refused with BAD_OPTION: %s %j", (name, value, message) => {
    const options = { [name]: value } as NodeOptions;
    expect(() => new MeshNode(options)).toThrow(new FullmeshError("BAD_OPTION", message));
    expect(() => new MeshNode(options)).toThrow(expect.objectContaining({ code: "BAD_OPTION" }));
  });

  test.each(["localhost:0", "127.0.0.1", "127.0.0.1:65536", "127.0.0.1:1e4", "127.0.0.1:080", "[::1%lo]:0"])(
    "is refused with BAD_OPTION where a server or a node is to listen on %s",
    async (listen) => {
      const bad = { code: "BAD_OPTION", message: `Expected \`listen\` to be ${listenable}, got "${listen}"` };
      await expect(serve({ listen })).rejects.toMatchObject(bad);
    },
  );

  test.each(["", "4000", "127.0.0.1:0", "127.0.0.1:70000", "two words:4000", "http://127.0.0.1:4000"])(
    'is refused with BAD_OPTION as the server\'s address: "%s"',
    async (address) => {
      await expect(newNode().connectToServer(address)).rejects.toMatchObject({
        code: "BAD_OPTION",
        message: `Expected \`server\` to be a server's address such as 127.0.0.1:4000, mesh.example:4000 or unix:/run/app/mesh.sock, got "${address}"`,
      });
    },
  );
});
