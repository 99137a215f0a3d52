import { describe, expect, it, onTestFinished } from "vitest";
import { makeSecret } from "../../src/nodejs/secret.js";
import { StartedProcess } from "../support/processes.js";
import { rawClient } from "../support/sockets.js";
import { eventOf, fullmesh, main, plainEnvironment } from "./command-line.js";

/** A server that may open 64 file descriptors. */
async function smallServer(env: NodeJS.ProcessEnv): Promise<{ server: StartedProcess; address: string }> {
  const args = ["serve", "--listen", "127.0.0.1:0", "--json"];
  const server = new StartedProcess("sh", ["-c", 'ulimit -n 64; exec "$@"', "sh", process.execPath, main, ...args], {
    env,
  });
  onTestFinished(() => server.stop());
  const { address } = await eventOf(server, "listening");
  return { server, address: String(address) };
}

describe.skipIf(process.platform !== "linux")("a server with 64 descriptors", () => {
  it.each([
    ["without a secret", undefined],
    ["with a secret", makeSecret()],
  ])("admits a member beside 40 silent connections, and both log the reason for the delay, %s", async (_, secret) => {
    const env = { ...plainEnvironment(), ...(secret === undefined ? {} : { FULLMESH_SECRET: secret }) };
    const { server, address } = await smallServer(env);
    await Promise.all(Array.from({ length: 40 }, () => rawClient(address)));
    const member = fullmesh(["join", address, "--json"], { env });
    await member.error((text) => /"code":"SERVER_BUSY"/.test(text), "that the server is busy");
    await eventOf(member, "registered");
    expect(server.errors).toMatch(/"code":"BUSY"/);
    expect(member.errors).not.toMatch(/BAD_PREFACE|SECRET|EMFILE/);
  });
});
