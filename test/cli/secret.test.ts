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

/** The exit code and stderr of a server with an invalid secret. */
async function exitOf(args: readonly string[], variable?: string): Promise<{ code: number | null; errors: string }> {
  const env = plainEnvironment(variable === undefined ? {} : { FULLMESH_SECRET: variable });
  const started = fullmesh(["serve", "--listen", "127.0.0.1:0", ...args], { env });
  const { code } = await started.exited();
  return { code, errors: started.errors };
}

/** A server with this secret, and its address. */
async function secretServer(
  secret: string,
  listen = "127.0.0.1:0",
): Promise<{ readonly server: StartedProcess; readonly address: string }> {
  const env = plainEnvironment({ FULLMESH_SECRET: secret });
  const server = fullmesh(["serve", "--json", "--listen", listen], { env });
  return { server, address: String((await eventOf(server, "listening")).address) };
}

describe("fullmesh secret", () => {
  test("prints a new secret each time, and nothing else", async () => {
    const runs = [fullmesh(["secret"]), fullmesh(["secret"])];
    for (const run of runs) {
      expect((await run.exited()).code).toBe(0);
      expect(run.lines).toHaveLength(1);
      expect(() => new Secret(String(run.lines[0]))).not.toThrow();
      expect(run.errors).toBe("");
    }
    expect(runs[0]?.lines[0]).not.toBe(runs[1]?.lines[0]);
  });

  test("prints an object with --json, also when FULLMESH_SECRET is invalid", async () => {
    const run = fullmesh(["secret", "--json"], { env: plainEnvironment({ FULLMESH_SECRET: "bad" }) });
    expect((await run.exited()).code).toBe(0);
    const [line] = parseLines(run.lines);
    expect(line).toMatchObject({ event: "secret", node: null, mesh: null });
    expect(() => new Secret(String(line?.secret))).not.toThrow();
  });
});

describe("a command with a secret", () => {
  test("reads it from a file or from the environment; of both, the file counts", async () => {
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

  test("does not join a server with another secret, or without one: code 1 and an error that says which", async () => {
    const { server, address } = await secretServer(makeSecret());
    const wrong = fullmesh(["join", address, "--secret-file", fileWith(makeSecret())]);
    expect((await wrong.exited()).code).toBe(1);
    expect(wrong.errors).toContain("fullmesh: SECRET_MISMATCH: ");
    expect(wrong.errors).toContain("try: Give both ends the same secret.");
    expect(parseLines(server.lines).map(({ event }) => event)).toEqual(["listening"]);
    const { address: open } = await startServer();
    const secretMember = fullmesh(["join", open, "--secret-file", fileWith(makeSecret())]);
    expect((await secretMember.exited()).code).toBe(1);
    expect(secretMember.errors).toContain(
      `SECRET_NOT_USED: ${open}: it takes no TLS handshake of ours: it uses no secret`,
    );
    expect(secretMember.errors).toContain(
      "try: Start the other side with the same secret (--secret-file or FULLMESH_SECRET)",
    );
  });

  test("keeps looking for a server that closes in the handshake, which need not be one without a secret", async () => {
    const listener = await rawListener();
    const member = fullmesh(["join", listener.address, "--secret-file", fileWith(makeSecret())]);
    for (const attempt of [1, 2]) {
      const connection = await listener.accepted(attempt);
      await connection.received("\x16");
      connection.end();
    }
    await member.error((text) => text.includes("SERVER_AWAITED"), "SERVER_AWAITED");
    expect(member.errors).not.toContain("SECRET_NOT_USED");
    member.kill("SIGKILL");
  });

  test.each(["native", "classic"])("refuses a plain %s joiner with SECRET_REQUIRED, code 4", async (dialect) => {
    const { server, address } = await secretServer(makeSecret());
    const plain = fullmesh(["join", address, "--dialect", dialect]);
    expect((await plain.exited()).code).toBe(4);
    expect(plain.errors).toContain("REFUSED: SECRET_REQUIRED: ");
    expect(plain.errors).toContain("try: Give the caller the secret");
    expect(parseLines(server.lines).map(({ event }) => event)).toEqual(["listening"]);
  });

  test("listens beyond loopback with it and without --insecure", async () => {
    const secret = makeSecret();
    const { address } = await secretServer(secret, "0.0.0.0:0");
    const port = address.split(":")[1];
    const args = ["join", `127.0.0.1:${port}`, "--json", "--listen", "0.0.0.0:0"];
    const member = fullmesh(args, { env: plainEnvironment({ FULLMESH_SECRET: secret }) });
    expect((await eventOf(member, "registered")).address).toMatch(/^127\.0\.0\.1:/);
    const open = fullmesh(args);
    expect((await open.exited()).code).toBe(2);
    expect(open.errors).toContain("INSECURE_LISTEN");
  });

  test.each(["file", "variable"])("from a %s forms a mesh in which everything is encrypted", async (source) => {
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
  ])("ends with code 2 and BAD_SECRET, and prints nothing of the file, if it is %s", async (_, content) => {
    const path = fileWith(content);
    const { code, errors } = await exitOf(["--secret-file", path]);
    expect(code).toBe(2);
    expect(errors).toMatch(
      /^fullmesh: BAD_SECRET: Expected the content of the secret file .* to be 32 bytes in base64url/,
    );
    expect(errors).toContain(path);
    if (content.length > 0) expect(errors).not.toContain(content.toString("latin1").trim().slice(0, 8));
  });

  test.each([
    ["missing", join(tmpdir(), "no such fullmesh secret"), "ENOENT"],
    ["a folder", tmpdir(), "EISDIR"],
  ])("ends with code 2 and SECRET_FILE if the file is %s", async (_, path, reason) => {
    const { code, errors } = await exitOf(["--secret-file", path]);
    expect(code).toBe(2);
    expect(errors).toContain(
      `fullmesh: SECRET_FILE: ${reason === "ENOENT" ? `the secret file ${JSON.stringify(path)} does not exist` : `cannot read the secret file ${JSON.stringify(path)}: ${reason}`}\n`,
    );
  });

  test("ends with code 2 and BAD_SECRET if the variable is empty or ill-formed", async () => {
    const empty = await exitOf([], "");
    expect(empty.code).toBe(2);
    expect(empty.errors).toContain("BAD_SECRET: FULLMESH_SECRET is empty");
    const bad = await exitOf([], "hunter2");
    expect(bad.code).toBe(2);
    expect(bad.errors).toContain("BAD_SECRET: Expected FULLMESH_SECRET to be 32 bytes in base64url");
    expect(bad.errors).not.toContain("hunter2");
  });

  test("ends with code 2 and SECRET_IN_CLASSIC if its dialect is classic", async () => {
    const path = fileWith(makeSecret());
    for (const run of [
      exitOf(["--dialect", "classic"], makeSecret()),
      exitOf(["--dialect", "classic", "--secret-file", path]),
    ]) {
      const { code, errors } = await run;
      expect(code).toBe(2);
      expect(errors).toContain("fullmesh: SECRET_IN_CLASSIC: ");
    }
  });

  test("warns of a file that other users can read, and goes on", async () => {
    const path = fileWith(makeSecret(), 0o644);
    const server = fullmesh(["serve", "--listen", "127.0.0.1:0", "--secret-file", path]);
    await server.error((text) => text.includes("listening on"), "that it listens");
    expect(server.errors).toContain(
      `the secret file ${JSON.stringify(path)} is open to other users (mode 0644); chmod 600`,
    );
  });

  test("does not take it from its arguments", async () => {
    const { code, errors } = await exitOf(["--secret", makeSecret()]);
    expect(code).toBe(2);
    expect(errors).toContain("unknown option '--secret'");
  });
});
