import { describe, expect, it, onTestFinished, type TestContext } from "vitest";
import { StartedProcess } from "../support/processes.js";
import { requireTool } from "../support/tools.js";
import { eventOf, fullmesh, main, plainEnvironment, startServer } from "./command-line.js";
import { Terminal } from "./terminal.js";

/** Alice at a terminal, and bob in a pipe. */
async function aliceAndBob(context: TestContext, extra: Readonly<Record<string, string>> = {}) {
  const script = requireTool(context, "script");
  const { address } = await startServer();
  const alice = new Terminal(script, ["join", address, "--name", "alice"], extra);
  await alice.has("* you are 127.0.0.1:");
  const bob = fullmesh(["join", address, "--name", "bob", "--json"], { hasStdin: true });
  await eventOf(bob, "link");
  return { address, alice, bob };
}

describe("fullmesh join on a terminal", () => {
  it("keeps what is being typed intact while a line comes in, and sends it whole", async (context) => {
    const { alice, bob } = await aliceAndBob(context, { NO_COLOR: "1" });
    await alice.has("* bob has come");
    alice.type("hel");
    await alice.has(/> ESC\[3Ghel$/);
    bob.writeLine("how are you?");
    const drawn = await alice.has(/bob: how are you\?\r\nESC\[1GESC\[0J> hel/);
    // The prompt was taken away before.
    expect(drawn).toContain("\rESC[Jbob: how are you?");
    alice.type("lo\r");
    expect(await eventOf(bob, "message")).toMatchObject({ text: "hello", topic: "" });
    alice.type("//slash\r");
    await eventOf(bob, "message", ({ text }) => text === "/slash");
  });

  it("shows names in colours, who comes and goes, and who is here", async (context) => {
    const { address, alice, bob } = await aliceAndBob(context);
    await alice.has(/\* ESC\[\d+mbobESC\[0m has come/);
    alice.type("/members\r");
    await alice.has(/aliceESC\[0m at 127\.0\.0\.1:\d+ \(you\)/);
    await alice.has(/bobESC\[0m at 127\.0\.0\.1:\d+\r?\n/);
    const carol = new Terminal(requireTool(context, "script"), ["join", address, "--name", "carol"]);
    await carol.has(/aliceESC\[0m is here/);
    await alice.has(/carolESC\[0m has come/);
    carol.type("/quit\r");
    expect(await carol.exited).toBe(0);
    // She has gone, and neither the mesh nor the others.
    expect(carol.drawn).toContain("* you have left");
    expect(carol.drawn).not.toMatch(/has ended|has gone/);
    await alice.has(/carolESC\[0m has gone: left/);
    bob.kill("SIGKILL");
    await alice.has(/bobESC\[0m (has gone|cannot be reached)/);
  });

  it("sends a line to one member alone with /to, and says what is wrong with one that cannot be sent", async (context) => {
    const { address, alice, bob } = await aliceAndBob(context, { NO_COLOR: "1" });
    const carol = new Terminal(requireTool(context, "script"), ["join", address, "--name", "carol"], { NO_COLOR: "1" });
    await alice.has("carol has come");
    alice.type("/to carol for you alone\r");
    await carol.has("alice (to you): for you alone");
    alice.type("for all\r");
    await carol.has("alice: for all");
    const told = await eventOf(bob, "message");
    expect(told).toMatchObject({ text: "for all" });
    alice.type("/to nobody hello\r");
    await alice.has("UNKNOWN_PEER: no member is called");
    alice.type("/to carol\r");
    await alice.has("/to NAME TEXT");
    alice.type("/nothing\r");
    await alice.has("there is no command /nothing; /help shows those that there are");
    alice.type("/help\r");
    await alice.has("/quit           leave; so does Ctrl-D");
  });

  it("shows nothing that could steer the terminal", async (context) => {
    const { alice, bob } = await aliceAndBob(context, { NO_COLOR: "1" });
    bob.writeLine("\u001b[2Jgone\u0007");
    await alice.has("bob: \\x1b[2Jgone\\x07");
    expect(alice.drawn).not.toContain("ESC[2J");
  });

  it.for([
    ["/quit", "/quit\r", 0],
    ["Ctrl-D", "\u0004", 0],
    ["Ctrl-C", "\u0003", 130],
  ] as const)("leaves at %s", async ([, typed, code], context) => {
    const { alice, bob } = await aliceAndBob(context);
    alice.type(typed);
    expect(await alice.exited).toBe(code);
    expect(await eventOf(bob, "unlink")).toMatchObject({ reason: expect.stringContaining("left") });
  });

  it("leaves at /quit also while it looks for the server", async (context) => {
    const alice = new Terminal(requireTool(context, "script"), ["join", "127.0.0.1:1"]);
    await alice.has("> ");
    alice.type("/quit\r");
    expect(await alice.exited).toBe(0);
  });

  it("is no chat with --json", async (context) => {
    const { address } = await startServer();
    const json = new Terminal(requireTool(context, "script"), ["join", address, "--json"]);
    const drawn = await json.has('"event":"registered"');
    expect(drawn).not.toContain("> ");
  });
});

it("off a terminal everything is printed as it comes, without a prompt", async () => {
  const { address } = await startServer();
  const alice = fullmesh(["join", address, "--name", "alice"]);
  await alice.error((text) => text.includes("registered as"), "that it is in");
  const bob = new StartedProcess(process.execPath, [main, "join", address, "--name", "bob"], {
    env: plainEnvironment(),
    hasStdin: true,
  });
  onTestFinished(() => bob.stop());
  bob.writeLine("/quit");
  expect(await alice.line(() => true, "the line")).toBe("bob /quit");
});
