import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { storeUrl } from "../../src/etcd/store-url.js";
import { fullmesh, main, plainEnvironment } from "../cli/command-line.js";
import { StartedProcess } from "../support/processes.js";
import { findTool, requireTool } from "../support/tools.js";

const folder = new URL("../../deploy/", import.meta.url).pathname;
const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

function read(file: string): string {
  return readFileSync(`${folder}${file}`, "utf8");
}

function temporaryFolder(): string {
  const path = mkdtempSync(join(tmpdir(), "fullmesh-deploy-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** The flags in a command line that the command does not have, and variables that stand for none. */
function unknownIn([command = "", ...args]: readonly string[], variables: readonly string[] = []): string[] {
  const help = execFileSync(process.execPath, [main, command, "--help"], { encoding: "utf8", env: plainEnvironment() });
  const flags = args.filter((arg) => arg.startsWith("--"));
  const named = variables.filter((name) => name.startsWith("FULLMESH_"));
  const pattern = (flag: string): RegExp => new RegExp(`${flag}(?![a-z-])`);
  return [...flags.filter((flag) => !pattern(flag).test(help)), ...named.filter((name) => !help.includes(name))];
}

interface Container {
  readonly image: string;
  readonly args: readonly string[];
  readonly command?: readonly string[];
  readonly env: readonly { readonly name: string; readonly value?: string }[];
  readonly ports: readonly { readonly containerPort: number }[];
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly template?: { readonly spec: { readonly containers: readonly Container[] } };
    readonly ports?: readonly { readonly port: number }[];
  };
}

describe("deploy/", () => {
  it("has an image that runs the command with flags that it has", () => {
    const instructions = new Map(
      Array.from(read("Dockerfile").matchAll(/^(ENTRYPOINT|CMD) (\[.*\])$/gm), ([, name, json = ""]) => [
        name,
        JSON.parse(json) as string[],
      ]),
    );
    expect(instructions.get("ENTRYPOINT")).toEqual(["fullmesh"]);
    expect(unknownIn(instructions.get("CMD") ?? [])).toEqual([]);
  });

  it("has a Compose file whose services run the command with flags and variables that it has", () => {
    const compose = parse(read("compose.yaml")) as {
      services: Record<string, { command: string[]; environment?: Record<string, string>; secrets: string[] }>;
      secrets: Record<string, unknown>;
    };
    expect(Object.keys(compose.services)).toEqual(["rendezvous", "member"]);
    for (const { command, environment = {}, secrets } of Object.values(compose.services)) {
      expect(unknownIn(command, Object.keys(environment))).toEqual([]);
      expect(secrets.filter((name) => !(name in compose.secrets))).toEqual([]);
    }
    expect(compose.services.member?.environment?.FULLMESH_SERVER).toBe("rendezvous:4000");
  });

  it("has manifests for Kubernetes whose containers run the command with flags and variables that it has", () => {
    const documents = parseAllDocuments(read("kubernetes.yaml"));
    expect(documents.flatMap((document) => ("errors" in document ? document.errors : []))).toEqual([]);
    const manifests = documents.map((document) => document.toJS() as Manifest);
    expect(manifests.map(({ kind }) => kind)).toEqual(["Deployment", "Service", "Deployment", "NetworkPolicy"]);
    const containers = manifests.flatMap(({ spec }) => spec.template?.spec.containers ?? []);
    for (const { image, args, env } of containers) {
      expect(image).toBe(`fullmesh:${version}`);
      // The secret has no flag of its own.
      const names = env.map(({ name }) => name).filter((name) => name !== "FULLMESH_SECRET");
      expect(unknownIn(args, names)).toEqual([]);
    }
    const [server, member] = containers;
    expect(server?.args).toContain(`0.0.0.0:${server?.ports[0]?.containerPort}`);
    expect(member?.env).toContainEqual({
      name: "FULLMESH_LISTEN",
      value: `$(POD_IP):${member?.ports[0]?.containerPort}`,
    });
    // A variable can only be used below its own definition.
    const names = member?.env.map(({ name }) => name) ?? [];
    expect(names.indexOf("POD_IP")).toBeLessThan(names.indexOf("FULLMESH_LISTEN"));
    const service = manifests.find(({ kind }) => kind === "Service");
    expect(member?.env).toContainEqual({
      name: "FULLMESH_SERVER",
      value: `${service?.metadata.name}:${service?.spec.ports?.[0]?.port}`,
    });
  });

  it("has manifests for three servers and three etcd, whose containers run both with flags that they have", (context) => {
    const documents = parseAllDocuments(read("kubernetes-servers.yaml"));
    expect(documents.flatMap((document) => ("errors" in document ? document.errors : []))).toEqual([]);
    const manifests = documents.map((document) => document.toJS() as Manifest);
    const [server, etcd] = manifests.flatMap(({ spec }) => spec.template?.spec.containers ?? []);
    expect(server?.image).toBe(`fullmesh:${version}`);
    const names = server?.env.map(({ name }) => name) ?? [];
    expect(
      unknownIn(
        server?.args ?? [],
        names.filter((name) => name !== "FULLMESH_SECRET"),
      ),
    ).toEqual([]);
    expect(names.indexOf("POD_IP")).toBeLessThan(names.indexOf("FULLMESH_ADVERTISE"));
    expect(server?.env).toContainEqual({
      name: "FULLMESH_ADVERTISE",
      value: `$(POD_IP):${server?.ports[0]?.containerPort}`,
    });
    // The store is where the etcd are, by the names that their headless Service gives them.
    const url = server?.env.find(({ name }) => name === "FULLMESH_STORE")?.value ?? "";
    const { endpoints } = storeUrl(url);
    expect(endpoints).toEqual([0, 1, 2].map((place) => ({ host: `etcd-${place}.etcd`, port: 2379 })));
    const service = manifests.find(({ kind, metadata }) => kind === "Service" && metadata.name === "etcd");
    expect(service?.spec.ports?.map(({ port }) => port)).toEqual(etcd?.ports.map(({ containerPort }) => containerPort));
    const [program = "", ...flags] = etcd?.command ?? [];
    const help = execFileSync(requireTool(context, program), ["--help"], { encoding: "utf8", stdio: "pipe" });
    const unknown = flags.map((text) => text.replace(/=.*/, "")).filter((name) => !help.includes(`${name} `));
    expect(unknown).toEqual([]);
  });

  it("has a unit that systemd takes, with flags that the command has", (context) => {
    const analyze = requireTool(context, "systemd-analyze");
    const unit = read("fullmesh.service");
    const [, path = "", line = ""] = /^ExecStart=(\S+) (.*)$/m.exec(unit) ?? [];
    expect(unknownIn(line.split(" "))).toEqual([]);
    // It wants to see the program; here it is somewhere else.
    const file = join(temporaryFolder(), "fullmesh.service");
    writeFileSync(file, unit.replace(path, process.execPath));
    execFileSync(analyze, ["verify", "--man=no", file], { stdio: "pipe" });
  });
});

describe("fullmesh serve under systemd", () => {
  it("says that it is ready once it listens", async (context) => {
    requireTool(context, "systemd-notify");
    const python = requireTool(context, "python3");
    const path = join(temporaryFolder(), "notify");
    const listen = [
      "import socket, sys",
      "notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)",
      "notified.bind(sys.argv[1])",
      'print("bound", flush=True)',
      "while True:",
      "    text = notified.recv(4096).decode()",
      '    print(text.replace("\\n", " "), flush=True)',
    ];
    const manager = new StartedProcess(python, ["-c", listen.join("\n"), path]);
    onTestFinished(() => manager.stop());
    await manager.line((line) => line === "bound", "that it listens");
    const server = fullmesh(["serve", "--listen", "127.0.0.1:0"], { env: plainEnvironment({ NOTIFY_SOCKET: path }) });
    await manager.line((line) => line.includes("READY=1"), "READY=1");
    expect(server.errors).toMatch(/listening on 127\.0\.0\.1:\d+/);
  });

  it("goes on where nobody can be told", async () => {
    // Without the tool the reason is another one.
    const said = findTool("systemd-notify") === undefined ? "ENOENT" : "systemd has not been told";
    const env = plainEnvironment({ NOTIFY_SOCKET: join(temporaryFolder(), "nobody") });
    const server = fullmesh(["serve", "--listen", "127.0.0.1:0"], { env });
    await server.error((text) => text.includes(said), "that it could not tell");
    server.kill();
    expect((await server.exited()).code).toBe(143);
  });
});
