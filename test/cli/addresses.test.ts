import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { unacceptingListener } from "../bad-input/unaccepting.js";
import type { StartedProcess } from "../support/processes.js";
import { freePort } from "../support/sockets.js";
import { eventOf, fullmesh, parseLines, startServer } from "./command-line.js";

/** Where nobody listens. */
async function closedAddress(): Promise<string> {
  return `127.0.0.1:${await freePort()}`;
}

/** Where another protocol is spoken. */
async function webAddress(): Promise<string> {
  const server = createServer((_, response) => response.end("hello"));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Where the kernel answers no further dial, as behind a firewall. */
async function silentAddress(): Promise<string> {
  const { address } = await unacceptingListener();
  // The kernel completes two connections for a listener that accepts none.
  for (const _ of [1, 2]) fullmesh(["join", address, "--quiet"]);
  return address;
}

function serveAt(address: string): StartedProcess {
  return fullmesh(["serve", "--json", "--listen", address]);
}

function occurrences(process: StartedProcess, event: string): number {
  return parseLines(process.lines).filter((line) => line.event === event).length;
}

describe("fullmesh join with several addresses", () => {
  it.each([
    ["refuses every dial", closedAddress],
    ["speaks another protocol", webAddress],
    ["answers no dial", silentAddress],
  ])("joins at the second one when the first one %s", async (_, first) => {
    const { address } = await startServer();
    const [joined, bad] = [fullmesh(["join", address, "--json"]), await first()];
    await eventOf(joined, "registered");
    const member = fullmesh(["join", `${bad},${address}`, "--json"]);
    await eventOf(member, "complete", ({ members }) => members === 2);
    expect(member.errors).toContain(bad);
    expect(member.errors).toContain(`trying ${bad}, ${address} in turn for 30 s`);
  });

  it("joins at the second one when the first one has another secret, and nowhere if both have", async () => {
    const secrets = [0x41, 0x42].map((byte) => Buffer.alloc(32, byte).toString("base64url"));
    const [own = "", other = ""] = secrets;
    const env = (secret: string) => ({ env: { ...process.env, FULLMESH_SECRET: secret } });
    const strange = await startServer([], env(other));
    const { address } = await startServer([], env(own));
    const member = fullmesh(["join", `${strange.address},${address}`, "--json"], env(own));
    await eventOf(member, "registered");
    const lonely = fullmesh(
      ["join", `${strange.address},${strange.address.replace("127.0.0.1", "localhost")}`],
      env(own),
    );
    expect((await lonely.exited()).code).toBe(1);
    expect(lonely.errors).toContain("SECRET_MISMATCH");
  });

  it("says for each address why it has not joined when the time is over, and exits with 3", async () => {
    const [closed, web] = [await closedAddress(), await webAddress()];
    const member = fullmesh(["join", `${closed}, ${web}`, "--timeout", "1"]);
    expect((await member.exited()).code).toBe(3);
    expect(member.errors).toContain(`TIMED_OUT: after 1000 ms ${closed} or ${web} has not taken in`);
    expect(member.errors).toContain(`${closed}: ECONNREFUSED`);
    expect(member.errors).toMatch(
      new RegExp(`${web}: closed before it had let this node in: what came first is no preface`),
    );
  });

  it.each([
    ["", "an empty list"],
    ["127.0.0.1:4000,", "an address that is missing"],
    ["127.0.0.1:4000,nonsense", "no address"],
  ])("exits with 2 for %j, %s", async (addresses) => {
    const member = fullmesh(["join", addresses]);
    expect((await member.exited()).code).toBe(2);
    expect(member.errors).toContain("BAD_OPTION: Expected `server` to be a server's address such as");
    // There is no call that could be changed.
    expect(member.errors).toContain("try: Correct the argument, flag or variable that the message names");
  });

  it("reads them from FULLMESH_SERVER, and dials one that is named twice once a round", async () => {
    const closed = await closedAddress();
    const { address } = await startServer();
    const env = { ...process.env, FULLMESH_SERVER: `${closed},${closed},${address}` };
    const member = fullmesh(["join", "--json"], { env });
    await eventOf(member, "registered");
    expect(member.errors).toContain(`trying ${closed}, ${address} in turn`);
  });

  it("takes turns in the classic dialect, too, until it is registered", async () => {
    const { address } = await startServer();
    const member = fullmesh(["join", `${await closedAddress()},${address}`, "--json", "--dialect", "classic"]);
    await eventOf(member, "registered");
  });
});

describe("a mesh whose server moves to another of its addresses", () => {
  it("goes on: all members are taken back there, and no link ends", async () => {
    const [first, second] = [await closedAddress(), await closedAddress()];
    const servers = `${first},${second}`;
    const before = serveAt(first);
    await eventOf(before, "listening");
    const members: StartedProcess[] = [];
    for (let count = 1; count <= 4; count += 1) {
      const member = fullmesh(["join", servers, "--json"]);
      members.push(member);
      await eventOf(member, "registered");
    }
    await Promise.all(members.map((member) => eventOf(member, "complete", (line) => line.members === 4)));
    await before.stop();
    await Promise.all(members.map((member) => eventOf(member, "server:lost")));
    const after = serveAt(second);
    await Promise.all(members.map((member) => eventOf(member, "server:back")));
    const newcomer = fullmesh(["join", servers, "--json"]);
    for (const member of [...members, newcomer]) await eventOf(member, "complete", (line) => line.members === 5);
    expect(parseLines(after.lines).filter((line) => line.event === "joined" && line.returned === true)).toHaveLength(4);
    for (const member of members) {
      expect([
        occurrences(member, "unlink"),
        occurrences(member, "fenced"),
        occurrences(member, "unreachable"),
      ]).toEqual([0, 0, 0]);
    }
  });
});
