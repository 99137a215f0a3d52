import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, type TestContext } from "vitest";
import { makeSecret } from "../../src/nodejs/secret.js";
import { encodeControl } from "../../src/protocol/native/control.js";
import { encodePreface, withPreface } from "../../src/protocol/native/preface.js";
import { Hosts } from "../support/namespaces.js";
import { StartedProcess } from "../support/processes.js";
import { requireHosts, requireTool } from "../support/tools.js";
import { type EventLine, eventOf, fullmesh, main, parseLines, plainEnvironment, startServer } from "./command-line.js";

/** What `doctor --json` has said, in short. */
interface Diagnosis {
  readonly exit: number | null;
  /** What is wrong: the check, and the code. */
  readonly faults: readonly string[];
  readonly message: string;
  readonly lines: readonly EventLine[];
}

async function ended(doctor: StartedProcess): Promise<Diagnosis> {
  const { code: exit } = await doctor.exited();
  const lines = parseLines(doctor.lines);
  const faults = lines.filter(({ result }) => result === "wrong").map(({ check, code }) => `${check} ${code}`);
  return { exit, faults, message: String(lines.at(-1)?.message ?? doctor.errors), lines };
}

async function diagnose(
  address: string,
  flags: readonly string[] = [],
  env: Record<string, string> = {},
): Promise<Diagnosis> {
  return await ended(fullmesh(["doctor", address, "--json", ...flags], { env: plainEnvironment(env) }));
}

/** A folder that is removed at the end of the test. */
function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "fullmesh-doctor-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

function secretFile(): string {
  const file = join(folder(), "secret");
  writeFileSync(file, makeSecret(), { mode: 0o600 });
  return file;
}

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve());
  });
  onTestFinished(() => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A port at which nobody listens. */
async function freeAddress(): Promise<string> {
  const server = createServer();
  const address = await listening(server);
  await new Promise((resolve) => {
    server.close(resolve);
  });
  return address;
}

describe("fullmesh doctor", () => {
  it("goes through all that a member needs, finds nothing wrong, and leaves nothing behind", async () => {
    const { server, address } = await startServer(["--capacity", "1"]);
    const doctor = fullmesh(["doctor", address]);
    expect((await doctor.exited()).code).toBe(0);
    const checks = [
      "connection",
      "secret",
      "address",
      "server",
      "dial-back",
      "admission",
      "clock",
      "descriptors",
      "backlog",
    ];
    expect(doctor.lines.slice(0, -2).map((line) => line.split(/ +/)[1])).toEqual(checks);
    for (const line of doctor.lines.slice(0, 7)) expect(line).toMatch(/^ok +\S+ +\d+\.\d ms {2}\S/);
    expect(doctor.lines.at(-1)).toMatch(/^All is well: /);
    // The only place is free still, and nobody has been in it.
    const member = fullmesh(["join", address, "--json"]);
    await eventOf(member, "registered");
    expect(parseLines(server.lines).filter(({ event }) => event === "joined" || event === "left")).toHaveLength(1);
  });

  it("proves a secret, and prints an object a line with --json, the last one with all that is wrong", async () => {
    const file = secretFile();
    const { address } = await startServer(["--secret-file", file]);
    const { exit, faults, lines } = await diagnose(address, ["--secret-file", file, "--mesh", "cache"]);
    expect([exit, faults]).toEqual([0, []]);
    expect(lines.find(({ check }) => check === "secret")?.message).toMatch(/^proved by both ends; TLSv1\.3 /);
    expect(lines.at(-1)).toMatchObject({ event: "diagnosis", mesh: "cache", isWell: true });
    for (const line of lines.slice(0, -1)) expect(line).toMatchObject({ event: "check", tookMs: expect.any(Number) });
  });

  it("has colours on a terminal, unless NO_COLOR is set", async (context) => {
    requireTool(context, "script");
    const { address } = await startServer();
    const command = `"${process.execPath}" "${main}" doctor ${address}`;
    for (const [env, line] of [
      [{ TERM: "xterm-256color" }, "\u001b[32mok      \u001b[39mconnection "],
      [{ TERM: "xterm-256color", NO_COLOR: "1" }, "ok      connection "],
    ] as const) {
      const doctor = new StartedProcess("script", ["-qec", command, "/dev/null"], { env: plainEnvironment(env) });
      onTestFinished(() => doctor.stop());
      await doctor.exited();
      expect(doctor.lines[0]?.startsWith(line)).toBe(true);
    }
  });

  it("is used wrongly with exit code 2", async () => {
    for (const args of [[], ["nowhere"], ["127.0.0.1:1,127.0.0.1:2"], ["127.0.0.1:1", "--listen", "host:1"]]) {
      const doctor = fullmesh(["doctor", ...args]);
      expect((await doctor.exited()).code).toBe(2);
      expect(doctor.errors).toContain("BAD_OPTION");
    }
  });
});

describe("fullmesh doctor names what is wrong, and what to type:", () => {
  it("a wrong port", async () => {
    const address = await freeAddress();
    const { exit, faults, message } = await diagnose(address);
    expect([exit, faults]).toEqual([1, ["connection SERVER_UNREACHABLE"]]);
    expect(message).toContain(`Nobody listens at ${address}`);
    expect(message).toContain(`fullmesh serve --listen ${address}`);
  });

  it("a wrong secret, and none", async () => {
    const { address } = await startServer(["--secret-file", secretFile()]);
    const other = secretFile();
    const { exit, faults, message } = await diagnose(address, ["--secret-file", other]);
    expect([exit, faults]).toEqual([1, ["secret SECRET_MISMATCH"]]);
    expect(message).toContain(`does not take the secret of --secret-file ${other}`);
    expect(message).toContain("sha256sum");
    const none = await diagnose(address);
    expect([none.exit, none.faults]).toEqual([1, ["secret SECRET_REQUIRED"]]);
    expect(none.message).toContain("--secret-file FILE");
  });

  it("a secret against an open server", async () => {
    const { address } = await startServer();
    const { exit, faults, message } = await diagnose(address, [], { FULLMESH_SECRET: makeSecret() });
    expect([exit, faults]).toEqual([1, ["secret SECRET_NOT_USED"]]);
    expect(message).toContain("uses no secret, and FULLMESH_SECRET gives one");
  });

  it("an advertised address that nobody can dial", async () => {
    const { address } = await startServer();
    const { exit, faults, message } = await diagnose(address, ["--advertise", "0.0.0.0:5000"]);
    expect([exit, faults]).toEqual([1, ["address BAD_OPTION"]]);
    expect(message).toMatch(
      /Nobody can dial --advertise 0\.0\.0\.0:5000.*Leave out --advertise: others would then dial 127\.0\.0\.1:\d+/,
    );
  });

  it("an address that others do not reach, and one that may not be advertised", async () => {
    const { address } = await startServer();
    const nobody = await freeAddress();
    const { exit, faults, message } = await diagnose(address, ["--advertise", nobody]);
    expect([exit, faults]).toEqual([1, ["dial-back ADDRESS_UNPROVED"]]);
    expect(message).toMatch(
      `Others do not reach ${nobody}, which --advertise names: the server has dialed it: nobody listens`,
    );
    const foreign = await diagnose(address, ["--advertise", "10.1.2.3:4"]);
    expect([foreign.exit, foreign.faults]).toEqual([1, ["dial-back FOREIGN_HOST"]]);
    expect(foreign.message).toContain("--allow-advertise 10.1.2.3/32");
  });

  it("a port that is taken, where it should listen", async () => {
    const { address } = await startServer();
    const taken = await listening(createServer());
    const { exit, faults, lines } = await diagnose(address, ["--listen", taken]);
    expect([exit, faults]).toEqual([1, ["address PORT_IN_USE"]]);
    expect(lines.find(({ check }) => check === "dial-back")?.result).toBe("skipped");
    expect(lines.find(({ check }) => check === "admission")?.result).toBe("ok");
  });

  it("an address translation, by what the server says; a clock that is off is a warning only", async () => {
    const answer = {
      type: "probed",
      reached: false,
      reason: "not dialed",
      members: 2,
      observed: "203.0.113.7:40000",
    } as const;
    const refusal = { code: "FOREIGN_HOST", message: "127.0.0.1:1 was registered from 203.0.113.7" };
    const elsewhere = createServer((socket) => {
      socket.on("error", () => {});
      const probed = encodeControl({ ...answer, ...refusal, at: Date.now() - 60_000 });
      socket.once("data", () => socket.end(withPreface(probed)));
    });
    const { exit, faults, message, lines } = await diagnose(await listening(elsewhere));
    expect([exit, faults]).toEqual([1, ["dial-back FOREIGN_HOST"]]);
    expect(message).toMatch(
      /The server sees this member at 203\.0\.113\.7.*--listen 0\.0\.0\.0:\d+ --advertise 203\.0\.113\.7:\d+/,
    );
    const clock = lines.find(({ check }) => check === "clock");
    expect(clock).toMatchObject({
      result: "warning",
      message: expect.stringMatching(/^this machine's clock is \d+\.\d s ahead of/),
    });
  });

  it("a firewall that lets through one way only, and an address beyond it", async (context) => {
    requireHosts(context);
    requireTool(context, "nft");
    const hosts = new Hosts("server", "member");
    onTestFinished(() => hosts.remove());
    const server = `${hosts.address("server")}:4000`;
    const env = plainEnvironment();
    const allowed = ["--allow-advertise", "10.88.0.0/16"];
    const serving = hosts.run("server", [main, "serve", "--json", "--listen", server, "--insecure", ...allowed], {
      env,
    });
    await eventOf(serving, "listening");
    const args = [main, "doctor", server, "--json", "--insecure"];
    const well = await ended(hosts.run("member", args, { env }));
    expect([well.exit, well.faults]).toEqual([0, []]);
    const beyond = await ended(hosts.run("member", [...args, "--advertise", "10.88.0.1:7000"], { env }));
    expect([beyond.exit, beyond.faults]).toEqual([1, ["dial-back ADDRESS_UNPROVED"]]);
    expect(beyond.message).toContain("ENETUNREACH");
    hosts.forbidDialing("server", "member");
    const { exit, faults, message } = await ended(hosts.run("member", args, { env }));
    expect([exit, faults]).toEqual([1, ["dial-back ADDRESS_UNPROVED"]]);
    expect(message).toMatch(
      /The server's dial to 10\.77\.0\.2:\d+ does not arrive .*a firewall lets through one way only/,
    );
    expect(message).toContain(`\`fullmesh doctor ${server} --listen 10.77.0.2:7000\``);
    // Without a secret or --insecure a member would not even listen there.
    const open = await ended(hosts.run("member", [main, "doctor", server, "--json"], { env }));
    expect([open.exit, open.faults]).toEqual([1, ["address INSECURE_LISTEN"]]);
    hosts.unplug("server");
    const away = await ended(hosts.run("member", [...args, "--timeout", "1"], { env }));
    expect([away.exit, away.faults]).toEqual([1, ["connection SERVER_UNREACHABLE"]]);
    expect(away.message).toContain(`${server} cannot be reached`);
  });

  it.skipIf(process.platform !== "linux")("too few file descriptors", async () => {
    const { address } = await startServer();
    const command = ["-c", 'ulimit -n 36; exec "$@"', "sh", process.execPath, main, "doctor", address, "--json"];
    const doctor = new StartedProcess("sh", command, { env: plainEnvironment() });
    onTestFinished(() => doctor.stop());
    const { exit, faults, message } = await ended(doctor);
    expect([exit, faults]).toEqual([1, ["descriptors NO_DESCRIPTORS"]]);
    expect(message).toMatch(/leaves room for \d+ connections, and a member of this mesh needs 16.*`ulimit -n 1024`/);
  });

  it("a mesh that is full, whether newcomers wait or are refused; its members stay as they are", async () => {
    const { address } = await startServer(["--capacity", "1", "--on-full", "hold"]);
    await eventOf(fullmesh(["join", address, "--json"]), "registered");
    const waiting = await diagnose(address);
    expect([waiting.exit, waiting.faults]).toEqual([1, ["admission MESH_SEALED"]]);
    expect(waiting.message).toContain("The mesh is full, with 1 member: a member would wait in line");
    expect(waiting.lines.find(({ check }) => check === "dial-back")?.result).toBe("ok");
    const status = fullmesh(["status", address, "--json"]);
    await status.exited();
    expect(JSON.parse(status.lines[0] ?? "")).toMatchObject({ members: [{ state: "member" }], recent: [] });

    // Two classic members are waited for before the end, which gives time to ask.
    const ending = await startServer(["--capacity", "1", "--dialect", "any", "--settle", "20"]);
    await eventOf(fullmesh(["join", ending.address, "--json", "--dialect", "classic"]), "registered");
    const refused = await diagnose(ending.address);
    expect([refused.exit, refused.faults]).toEqual([1, ["admission MESH_SEALED"]]);
    expect(refused.message).toContain("A member would be refused: the mesh has reached its capacity of 1");
  });

  it("another version of the protocol", async () => {
    const old = createServer((socket) => {
      // As a server does that speaks version 1 only.
      socket.once("data", () => socket.end(encodePreface({ lowest: 1, highest: 1 })));
    });
    const { exit, faults, message } = await diagnose(await listening(old));
    expect([exit, faults]).toEqual([1, ["server VERSION_MISMATCH"]]);
    expect(message).toContain("here the protocol has version 2, and the other side speaks 1 to 1");
    expect(message).toContain("fullmesh --version");
  });

  it("a name that leads to loopback, and one that nobody knows", async (context) => {
    const { address } = await startServer();
    const port = address.split(":")[1] ?? "";
    const { exit, faults, message } = await ended(withHosts(context, "127.0.1.1 mesh.example", `mesh.example:${port}`));
    expect(exit).toBe(1);
    expect(faults[0]).toBe("name LOOPBACK_NAME");
    expect(message).toContain("The name mesh.example leads to 127.0.1.1");
    expect(message).toContain("/etc/hosts");
    const unknown = await diagnose("nobody.invalid:4000");
    expect([unknown.exit, unknown.faults]).toEqual([1, ["name SERVER_UNREACHABLE"]]);
    const local = await diagnose(`localhost:${port}`);
    expect([local.exit, local.faults]).toEqual([0, []]);
  });

  it("a web server, with a secret too, and a program that says something else", async () => {
    const web = await listening(createHttpServer((_, response) => response.end("hello")));
    for (const env of [{}, { FULLMESH_SECRET: makeSecret() }]) {
      const { exit, faults, message } = await diagnose(web, [], env);
      expect([exit, faults]).toEqual([1, ["server BAD_PREFACE"]]);
      expect(message).toContain(`At ${web} is an HTTP server`);
    }
    const greeter = await diagnose(await listening(createServer((socket) => socket.end("220 mail ESMTP\r\n"))));
    expect([greeter.exit, greeter.faults]).toEqual([1, ["server BAD_PREFACE"]]);
  });

  it("the address of a member in place of the server's, with a secret too", async () => {
    const file = secretFile();
    for (const flags of [[], ["--secret-file", file]]) {
      const { address } = await startServer(flags);
      const member = fullmesh(["join", address, "--json", ...flags]);
      const { address: listens } = await eventOf(member, "registered");
      const { exit, faults, message } = await diagnose(String(listens), flags);
      expect([exit, faults]).toEqual([1, ["server REGISTRATION_AT_NODE"]]);
      expect(message).toContain(
        `is a member of a mesh, not its rendezvous server. Type \`fullmesh doctor ${address}\``,
      );
    }
  });
});

/** Starts the doctor with one more line in /etc/hosts, which only root can put there. */
function withHosts(context: TestContext, line: string, server: string): StartedProcess {
  requireTool(context, "unshare");
  if (process.getuid?.() !== 0) context.skip("skipped for lack of a privilege: only root mounts files");
  const file = join(folder(), "hosts");
  writeFileSync(file, `127.0.0.1 localhost\n${line}\n`);
  const script = 'mount --bind "$1" /etc/hosts && shift && exec "$@"';
  const command = ["--mount", "sh", "-c", script, "sh", file, process.execPath, main, "doctor", server, "--json"];
  const doctor = new StartedProcess("unshare", command, { env: plainEnvironment() });
  onTestFinished(() => doctor.stop());
  return doctor;
}
