import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { makeSecret, Secret } from "../../src/nodejs/secret.js";
import type { StartedProcess } from "../support/processes.js";
import { rawListener } from "../support/sockets.js";
import { eventOf, fullmesh, parseLines, plainEnvironment, startServer } from "./command-line.js";

function fileWith(content: string | Buffer, mode = 0o600): string {
  const folder = mkdtempSync(join(tmpdir(), "fullmesh-secret-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "mesh.secret");
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

/** How a server that was given this secret ends before it listens, and what it says. */
async function refusal(args: readonly string[], variable?: string): Promise<{ code: number | null; errors: string }> {
  const env = plainEnvironment(variable === undefined ? {} : { FULLMESH_SECRET: variable });
  const started = fullmesh(["serve", "--listen", "127.0.0.1:0", ...args], { env });
  const { code } = await started.exited();
  return { code, errors: started.errors };
}

/** A server that has this secret, and where it listens. */
async function keyedServer(
  secret: string,
  listen = "127.0.0.1:0",
): Promise<{ readonly server: StartedProcess; readonly address: string }> {
  const env = plainEnvironment({ FULLMESH_SECRET: secret });
  const server = fullmesh(["serve", "--json", "--listen", listen], { env });
  return { server, address: String((await eventOf(server, "listening")).address) };
}

describe("fullmesh secret", () => {
  test("prints a secret, another one each time, and nothing else", async () => {
    const runs = [fullmesh(["secret"]), fullmesh(["secret"])];
    for (const run of runs) {
      expect((await run.exited()).code).toBe(0);
      expect(run.lines).toHaveLength(1);
      expect(() => new Secret(String(run.lines[0]))).not.toThrow();
      expect(run.errors).toBe("");
    }
    expect(runs[0]?.lines[0]).not.toBe(runs[1]?.lines[0]);
  });

  test("prints an object with --json, whatever secret is set already", async () => {
    const run = fullmesh(["secret", "--json"], { env: plainEnvironment({ FULLMESH_SECRET: "bad" }) });
    expect((await run.exited()).code).toBe(0);
    const [line] = parseLines(run.lines);
    expect(line).toMatchObject({ event: "secret", node: null, mesh: null });
    expect(() => new Secret(String(line?.secret))).not.toThrow();
  });
});

describe("a command that is given a secret", () => {
  test("takes it from a file or from the environment, and of both the file", async () => {
    const secret = makeSecret();
    const path = fileWith(`${secret}\n`);
    const serve = ["serve", "--json", "--listen", "127.0.0.1:0", "--capacity", "2", "--secret-file"];
    const other = plainEnvironment({ FULLMESH_SECRET: makeSecret() });
    const server = fullmesh([...serve, path], { env: other });
    const { address } = await eventOf(server, "listening");
    const members = [
      fullmesh(["join", String(address), "--json", "--secret-file", fileWith(`${secret}\r\n`)], { env: other }),
      fullmesh(["join", String(address), "--json"], { env: plainEnvironment({ FULLMESH_SECRET: secret }) }),
    ];
    const links = await Promise.all(members.map((member) => eventOf(member, "link")));
    expect(links.map(({ cipher }) => cipher)).toEqual(Array(2).fill("TLSv1.3 TLS_AES_128_GCM_SHA256 X25519"));
    for (const run of [server, ...members]) {
      expect((await run.exited()).code).toBe(0);
      expect(`${run.lines.join()}${run.errors}`).not.toContain(secret.slice(0, 8));
    }
    expect(server.errors).toBe("");
  });

  test("joins no server that has another, or none: code 1 and which of the two it is, and nobody has joined", async () => {
    const { server, address } = await keyedServer(makeSecret());
    const wrong = fullmesh(["join", address, "--secret-file", fileWith(makeSecret())]);
    expect((await wrong.exited()).code).toBe(1);
    expect(wrong.errors).toContain("fullmesh: SECRET_MISMATCH: ");
    expect(wrong.errors).toContain("try: Give both ends the same secret.");
    expect(parseLines(server.lines).map(({ event }) => event)).toEqual(["listening"]);
    const { address: open } = await startServer();
    const keyed = fullmesh(["join", open, "--secret-file", fileWith(makeSecret())]);
    expect((await keyed.exited()).code).toBe(1);
    expect(keyed.errors).toContain(`SECRET_NOT_USED: ${open}: it takes no TLS handshake of ours: it uses no secret`);
    expect(keyed.errors).toContain("try: Start the other side with the same secret (--secret-file or FULLMESH_SECRET)");
  });

  test("does not take a server that ends in the handshake for one without a secret: it is looked for", async () => {
    const listener = await rawListener();
    const member = fullmesh(["join", listener.address, "--secret-file", fileWith(makeSecret())]);
    for (const attempt of [1, 2]) {
      const connection = await listener.accepted(attempt);
      await connection.received("\x16");
      connection.end();
    }
    await member.error((text) => text.includes("SERVER_AWAITED"), "that the server is awaited");
    expect(member.errors).not.toContain("SECRET_NOT_USED");
    member.kill("SIGKILL");
  });

  test.each(["native", "classic"])("refuses a plain %s joiner with SECRET_REQUIRED, code 4", async (dialect) => {
    const { server, address } = await keyedServer(makeSecret());
    const plain = fullmesh(["join", address, "--dialect", dialect]);
    expect((await plain.exited()).code).toBe(4);
    expect(plain.errors).toContain("REFUSED: SECRET_REQUIRED: ");
    expect(plain.errors).toContain("try: Give the caller the secret");
    expect(parseLines(server.lines).map(({ event }) => event)).toEqual(["listening"]);
  });

  test("listens beyond loopback with it and without --insecure", async () => {
    const secret = makeSecret();
    const { address } = await keyedServer(secret, "0.0.0.0:0");
    const port = address.split(":")[1];
    const args = ["join", `127.0.0.1:${port}`, "--json", "--listen", "0.0.0.0:0"];
    const member = fullmesh(args, { env: plainEnvironment({ FULLMESH_SECRET: secret }) });
    expect((await eventOf(member, "registered")).address).toMatch(/^127\.0\.0\.1:/);
    const open = fullmesh(args);
    expect((await open.exited()).code).toBe(2);
    expect(open.errors).toContain("INSECURE_LISTEN");
  });

  test.each(["file", "variable"])("brings up a mesh with it, from a %s, in which all is encrypted", async (source) => {
    const secret = makeSecret();
    const args = source === "file" ? ["--secret-file", fileWith(secret)] : [];
    const env = plainEnvironment(source === "file" ? {} : { FULLMESH_SECRET: secret });
    const up = fullmesh(["up", "3", "--json", ...args], { env });
    expect((await up.exited()).code).toBe(0);
    const links = parseLines(up.lines).filter(({ event }) => event === "link");
    expect(links.map(({ cipher }) => cipher)).toEqual(Array(6).fill("TLSv1.3 TLS_AES_128_GCM_SHA256 X25519"));
    expect(`${up.lines.join()}${up.errors}`).not.toContain(secret.slice(0, 8));
  });

  test.each([
    ["empty", ""],
    ["too short", "hunter2hunter2"],
    ["too long", `${makeSecret()}${makeSecret()}`],
    ["two lines", `${makeSecret()}\n\n`],
    ["indented", ` ${makeSecret()}`],
    ["no text", Buffer.alloc(100_000, 0xff)],
  ])("ends with code 2 and BAD_SECRET, and repeats nothing, if the file is %s", async (_, content) => {
    const path = fileWith(content);
    const { code, errors } = await refusal(["--secret-file", path]);
    expect(code).toBe(2);
    expect(errors).toMatch(/^fullmesh: BAD_SECRET: Expected what is in the secret file .* to be 32 bytes in base64url/);
    expect(errors).toContain(path);
    if (content.length > 0) expect(errors).not.toContain(content.toString("latin1").trim().slice(0, 8));
  });

  test.each([
    ["missing", join(tmpdir(), "no such fullmesh secret"), "ENOENT"],
    ["a folder", tmpdir(), "EISDIR"],
  ])("ends with code 2 and BAD_SECRET if the file is %s", async (_, path, reason) => {
    const { code, errors } = await refusal(["--secret-file", path]);
    expect(code).toBe(2);
    expect(errors).toContain(
      `fullmesh: SECRET_FILE: ${reason === "ENOENT" ? `the secret file ${JSON.stringify(path)} does not exist` : `cannot read the secret file ${JSON.stringify(path)}: ${reason}`}\n`,
    );
  });

  test("ends with code 2 and BAD_SECRET if the variable is empty or ill-formed", async () => {
    const empty = await refusal([], "");
    expect(empty.code).toBe(2);
    expect(empty.errors).toContain("BAD_SECRET: FULLMESH_SECRET is empty");
    const bad = await refusal([], "hunter2");
    expect(bad.code).toBe(2);
    expect(bad.errors).toContain("BAD_SECRET: Expected FULLMESH_SECRET to be 32 bytes in base64url");
    expect(bad.errors).not.toContain("hunter2");
  });

  test("ends with code 2 and SECRET_IN_CLASSIC if its dialect is classic", async () => {
    const path = fileWith(makeSecret());
    for (const run of [
      refusal(["--dialect", "classic"], makeSecret()),
      refusal(["--dialect", "classic", "--secret-file", path]),
    ]) {
      const { code, errors } = await run;
      expect(code).toBe(2);
      expect(errors).toContain("fullmesh: SECRET_IN_CLASSIC: ");
    }
  });

  test("warns of a file that others can read, and goes on", async () => {
    const path = fileWith(makeSecret(), 0o644);
    const server = fullmesh(["serve", "--listen", "127.0.0.1:0", "--secret-file", path]);
    await server.error((text) => text.includes("listening on"), "that it listens");
    expect(server.errors).toContain(`the secret file ${JSON.stringify(path)} is open to others (mode 0644); chmod 600`);
  });

  test("does not take it from its arguments", async () => {
    const { code, errors } = await refusal(["--secret", makeSecret()]);
    expect(code).toBe(2);
    expect(errors).toContain("unknown option '--secret'");
  });
});
