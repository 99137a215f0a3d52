import { createServer } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import type { StartedProcess } from "../support/processes.js";
import { type EventLine, eventOf, fullmesh, parseLines, plainEnvironment, startServer } from "./command-line.js";

const dialects = ["native", "classic"] as const;

function joinProcess(address: string, dialect: string = "native"): StartedProcess {
  return fullmesh(["join", address, "--json", "--dialect", dialect]);
}

/** An address of this machine without a listener. */
async function freeAddress(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return `127.0.0.1:${port}`;
}

describe("fullmesh serve and fullmesh join", () => {
  it.each([
    ["native", { members: 3, links: 3, unverified: 0, scope: "mesh" }, "capacity reached", { links: 3, unverified: 0 }],
    ["classic", { members: 3, links: 2, unverified: 1, scope: "own" }, "teardown", { links: 0, unverified: 3 }],
  ])("end with the teardown and code 0 when the capacity is reached, with %s members", async (...cases) => {
    const [dialect, complete, reason, counts] = cases;
    const { server, address } = await startServer(["--capacity", "3", "--settle", "0.3"]);
    const members = [1, 2, 3].map(() => joinProcess(address, dialect));
    for (const member of members) {
      expect(await member.exited()).toEqual({ code: 0, signal: null });
      const events = parseLines(member.lines);
      const named = (name: string): EventLine[] => events.filter(({ event }) => event === name);
      expect(named("link")).toHaveLength(2);
      expect(named("teardown")).toMatchObject([{ reason }]);
      expect(events.at(-1)).toMatchObject({ event: "closed" });
      expect(named("complete").at(-1)).toMatchObject(complete);
    }
    expect((await server.exited()).code).toBe(0);
    // The server prints once that the mesh is complete, as far as members have reported, and then ends it.
    const ends = parseLines(server.lines).filter(({ event }) => ["complete", "teardown"].includes(event));
    expect(ends).toMatchObject([
      { event: "complete", node: null, members: 3, scope: "mesh", ...counts },
      { event: "teardown", node: null, members: 3, reason: "capacity reached", missing: [], ...counts },
    ]);
  });

  it.each(dialects)("make %s newcomers wait, and admit the first one when a member is killed", async (dialect) => {
    const { server, address } = await startServer(["--capacity", "2", "--on-full", "hold"]);
    const first = joinProcess(address, dialect);
    await eventOf(first, "registered");
    const second = joinProcess(address, dialect);
    await eventOf(second, "complete", ({ members }) => members === 2);
    const third = joinProcess(address, dialect);
    const { address: waiting, place } = await eventOf(server, "waiting");
    expect(place).toBe(1);
    first.kill("SIGKILL");
    await eventOf(third, "complete", ({ members }) => members === 2);
    const directory = parseLines(third.lines).findLast(({ event }) => event === "directory");
    expect(directory?.members).toEqual([(await eventOf(second, "registered")).address, waiting]);
  });

  it.each([
    ["native", "lost"],
    ["classic", "left"],
  ])("keep the other %s links when a member is killed, and free its slot", async (dialect, departure) => {
    const { server, address } = await startServer(["--capacity", "3", "--on-full", "hold"]);
    const members = [1, 2, 3].map(() => joinProcess(address, dialect));
    for (const member of members) await eventOf(member, "complete", ({ members: size }) => size === 3);
    const [victim, ...others] = members;
    if (victim === undefined) throw new Error("no victim");
    const gone = (await eventOf(victim, "registered")).address;
    victim.kill("SIGKILL");
    await eventOf(server, departure, (line) => line.address === gone);
    const newcomer = joinProcess(address, dialect);
    await eventOf(newcomer, "complete", ({ members: size }) => size === 3);
    for (const member of [...others, newcomer]) {
      const events = parseLines(member.lines);
      const newest = events.findLast(({ event }) => event === "directory");
      expect(newest?.members).not.toContain(gone);
      const lost = events.filter(({ event }) => event === "unlink").map(({ peer }) => peer);
      expect(lost.filter((peer) => peer !== gone)).toEqual([]);
    }
  });

  it("send lines of stdin to all, print messages, and go on after the end of stdin", async () => {
    const { address } = await startServer();
    const options = { hasStdin: true };
    const alice = fullmesh(["join", address], options);
    const bob = fullmesh(["join", address, "--json"], options);
    await eventOf(bob, "complete", ({ members }) => members === 2);
    bob.writeLine("good morning, \u00fcnal");
    const printed = await alice.line((line) => line.includes("good morning"), "the message");
    const bobs = (await eventOf(bob, "registered")).address;
    expect(printed).toBe(`${bobs} good morning, \u00fcnal`);
    bob.endStdin();
    alice.writeLine("and to you");
    expect(await eventOf(bob, "message")).toMatchObject({ topic: "", text: "and to you" });
  });

  it("keep piped lines until there is a peer", async () => {
    const { address } = await startServer();
    const early = fullmesh(["join", address], { hasStdin: true });
    early.writeLine("first words");
    early.endStdin();
    await early.error((text) => text.includes("registered as"), "its registration");
    const late = joinProcess(address);
    expect(await eventOf(late, "message")).toMatchObject({ text: "first words" });
  });

  it.each(dialects)("carry every line of a long pipe in %s, in order, at the pace of its reader", async (dialect) => {
    const { address } = await startServer();
    let onLast = (): void => {};
    const last = new Promise<void>((resolve) => {
      onLast = resolve;
    });
    const reader = fullmesh(["join", address, "--quiet", "--dialect", dialect], {
      onLine: (line) => {
        if (line.includes("line 59999 ")) onLast();
      },
    });
    const writer = fullmesh(["join", address, "--dialect", dialect], { hasStdin: true });
    await writer.error((text) => text.includes("linked with"), "that it is linked");
    const lines = Array.from({ length: 60_000 }, (_, index) => `line ${index} ${"x".repeat(90)}`);
    writer.writeLine(lines.join("\n"));
    await last;
    expect(reader.lines.map((line) => line.slice(line.indexOf(" ") + 1))).toEqual(lines);
  });

  it("escape control characters for a terminal", async () => {
    const { address } = await startServer();
    const alice = fullmesh(["join", address], { hasStdin: true });
    const bob = fullmesh(["join", address, "--json"], { hasStdin: true });
    await eventOf(bob, "complete", ({ members }) => members === 2);
    bob.writeLine("\u001b[2Jgone");
    expect(await alice.line((line) => line.endsWith("gone"), "the message")).toContain("\\x1b[2J");
  });

  it.each([
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const)("leave cleanly at %s and exit with %i", async (signal, code) => {
    const { server, address } = await startServer();
    const member = joinProcess(address);
    await eventOf(member, "registered");
    member.kill(signal);
    expect(await member.exited()).toEqual({ code, signal: null });
    await eventOf(server, "left");
    // For a classic member the mesh ends with its server; a native one would look for it.
    const other = joinProcess(address, "classic");
    await eventOf(other, "registered");
    server.kill(signal);
    expect(await server.exited()).toEqual({ code, signal: null });
    expect(await other.exited()).toEqual({ code: 0, signal: null });
    expect(parseLines(other.lines).findLast(({ event }) => event === "teardown")?.reason).toBe("the server closed");
  });

  it("exit with 3 and name the address when the server is not there in time, and say once that they wait for it", async () => {
    const address = await freeAddress();
    const member = fullmesh(["join", address, "--timeout", "0.5"]);
    expect((await member.exited()).code).toBe(3);
    const lines = member.errors.split("\n");
    expect(lines.filter((line) => line.includes("SERVER_AWAITED"))).toHaveLength(1);
    expect(lines.slice(-3)).toEqual([
      `fullmesh: TIMED_OUT: after 500 ms no connection to ${address}: ECONNREFUSED`,
      "  try: Check the address, and that the server is running (fullmesh serve).",
      "",
    ]);
  });

  it.each(["native", "classic"])("%s: are in when the server starts after them", async (dialect) => {
    const address = await freeAddress();
    const member = joinProcess(address, dialect);
    await member.error((text) => text.includes("SERVER_AWAITED"), "that the server is awaited");
    await startServer(["--listen", address]);
    await eventOf(member, "registered");
  });

  it("exit with 4 and the reason when the server refuses", async () => {
    const { address } = await startServer();
    const member = fullmesh(["join", address, "--advertise", "10.9.8.7:4000"]);
    expect((await member.exited()).code).toBe(4);
    expect(member.errors).toContain("REFUSED: FOREIGN_HOST: 10.9.8.7:4000 was registered from 127.0.0.1");
  });

  it.each([
    ["native", "native"],
    ["native", "classic"],
    ["classic", "native"],
    ["classic", "classic"],
  ])("%s: exit with 4 when what they join is a %s member, and say what it is", async (dialect, other) => {
    const { address } = await startServer();
    const member = joinProcess(address, other);
    const { address: wrong } = await eventOf(member, "registered");
    const joiner = fullmesh(["join", String(wrong), "--dialect", dialect]);
    expect((await joiner.exited()).code).toBe(4);
    const sentence = `this is a member, not the rendezvous server, which is at ${address}`;
    const speaksClassic = dialect === "native" && other === "classic";
    expect(joiner.errors).toContain(
      speaksClassic ? "WRONG_DIALECT: this is a member that speaks classic only" : `REGISTRATION_AT_NODE: ${sentence}`,
    );
  });

  it("exit with 3 when a wait has run out: in line, or for a server to fill", async () => {
    const { server, address } = await startServer(["--capacity", "1", "--on-full", "hold"]);
    await eventOf(joinProcess(address), "registered");
    const waiting = fullmesh(["join", address, "--timeout", "0.3"]);
    expect((await waiting.exited()).code).toBe(3);
    expect(waiting.errors).toMatch(/TIMED_OUT: after 300 ms .* has not admitted 127\.0\.0\.1:\d+/);
    expect(server.lines.length).toBeGreaterThan(0);
    const empty = fullmesh(["serve", "--listen", "127.0.0.1:0", "--capacity", "2", "--timeout", "0.1"]);
    expect((await empty.exited()).code).toBe(3);
    expect(empty.errors).toContain("TIMED_OUT: after 100 ms 0 of 2 members have joined");
  });

  it("exit with 1 when the port is in use, and say what to try", async () => {
    const { address } = await startServer();
    const second = fullmesh(["serve", "--listen", address]);
    expect((await second.exited()).code).toBe(1);
    expect(second.errors).toContain(`PORT_IN_USE: cannot listen on ${address}: EADDRINUSE`);
    expect(second.errors).toContain("try: Choose another port");
  });

  it.each([
    ["a capacity that is no number", ["serve", "--capacity", "eight"], 'got "eight"'],
    ["listening beyond loopback in plain text", ["serve", "--listen", "0.0.0.0:0"], "INSECURE_LISTEN"],
    ["an unknown dialect", ["join", "127.0.0.1:1", "--dialect", "latin"], "Allowed choices are native, classic"],
    ["a server of an unknown dialect", ["serve", "--dialect", "latin"], "Allowed choices are any, native, classic"],
    ["an unknown flag", ["serve", "--fast"], "unknown option '--fast'"],
    ["a server without a port", ["join", "localhost"], "Expected `server` to be a server's address"],
    ["no server", ["join"], "Expected `server` to be given as an argument or as FULLMESH_SERVER"],
    ["a network that is none", ["serve", "--allow-advertise", "10.0.0.0"], "Expected `allowAdvertise` to be a network"],
    ["a timeout without a capacity", ["serve", "--timeout", "3"], "together with --capacity"],
  ])("exit with 2 for %s", async (_name, args, message) => {
    const started = fullmesh(args);
    expect((await started.exited()).code).toBe(2);
    expect(started.errors).toContain(message);
  });

  it.each([["serve"], ["join", "127.0.0.1:1"], ["up", "2"]])(
    "refuse to go on in classic when a secret is set: %s",
    async (...args) => {
      const env = plainEnvironment({ FULLMESH_SECRET: "x" });
      const started = fullmesh([...args, "--dialect", "classic"], { env });
      expect((await started.exited()).code).toBe(2);
      expect(started.errors).toContain("SECRET_IN_CLASSIC");
      expect(started.errors).not.toContain('"x"');
    },
  );

  it("take each flag from the environment too, where the flag wins and a switch can be off", async () => {
    const env = plainEnvironment({
      FULLMESH_LISTEN: "127.0.0.1:0",
      FULLMESH_JSON: "1",
      FULLMESH_CAPACITY: "1",
      FULLMESH_QUIET: "0",
    });
    const server = fullmesh(["serve", "--capacity", "2", "--settle", "0.1"], { env });
    const { address } = await eventOf(server, "listening");
    const members = [1, 2].map(() =>
      fullmesh(["join"], { env: plainEnvironment({ FULLMESH_SERVER: String(address) }) }),
    );
    for (const member of members) expect((await member.exited()).code).toBe(0);
    expect((await server.exited()).code).toBe(0);
    expect(members[0]?.errors).toContain("registered as 127.0.0.1:");
  });

  it("say nothing on stderr with --quiet but errors", async () => {
    const { address } = await startServer(["--capacity", "1", "--settle", "0"]);
    const member = fullmesh(["join", address, "--quiet"]);
    expect((await member.exited()).code).toBe(0);
    expect(member.errors).toBe("");
    expect(member.lines).toEqual([]);
  });

  it.each([
    [["--help"], /serve.*\n.*join.*\n.*up/],
    [["serve", "--help"], /FULLMESH_CAPACITY/],
    [["--version"], /^\d+\.\d+\.\d+$/m],
  ])("show what %s asks for on stdout and exit with 0", async (args, text) => {
    const help = fullmesh(args);
    expect((await help.exited()).code).toBe(0);
    expect(help.lines.join("\n")).toMatch(text);
    expect(help.errors).toBe("");
  });

  it("end at once at a second signal", async () => {
    const { server, address } = await startServer();
    // A peer that never closes its end makes the server linger.
    const { connect } = await import("node:net");
    const socket = connect({ host: "127.0.0.1", port: Number(address.split(":")[1]), allowHalfOpen: true });
    onTestFinished(() => void socket.destroy());
    socket.write("127.0.0.1:1");
    await new Promise((resolve) => socket.once("data", resolve));
    server.kill("SIGTERM");
    await new Promise((resolve) => socket.once("end", resolve));
    server.kill("SIGTERM");
    expect(await server.exited()).toEqual({ code: 143, signal: null });
  });
});
