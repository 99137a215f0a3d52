import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Hosts } from "../test/support/namespaces.js";
import type { StartedProcess } from "../test/support/processes.js";
import type { Figures } from "./figures.js";
import { LoadedMember, loadedMemberArgs, main, plainEnvironment } from "./loaded-mesh.js";

/** How many there are of each kind, each on a host of its own. */
const count = 3;
const serverPort = 4000;
const startMs = 60_000;

export type SiteKind = "server" | "etcd";

/** One machine of a site: a server, or a member of the store. */
interface Machine {
  readonly host: string;
  process: StartedProcess;
}

/** Three servers that share their logs through three members of etcd, each on a host of its own, and hosts for clients. */
export class SharedSite implements AsyncDisposable {
  readonly hosts: Hosts;
  readonly #folder: string;
  readonly #serveArgs: readonly string[];
  readonly #machines: Readonly<Record<SiteKind, Machine[]>> = { server: [], etcd: [] };

  private constructor(folder: string, clientHosts: readonly string[], serveArgs: readonly string[]) {
    this.#folder = folder;
    this.#serveArgs = serveArgs;
    this.hosts = new Hosts("s0", "s1", "s2", "e0", "e1", "e2", ...clientHosts);
  }

  static async start(clientHosts: readonly string[], serveArgs: readonly string[]): Promise<SharedSite> {
    const folder = await mkdtemp(join(tmpdir(), "fullmesh-site-"));
    const site = new SharedSite(folder, clientHosts, serveArgs);
    try {
      for (let index = 0; index < count; index += 1) site.#machines.etcd.push(site.#startEtcd(index));
      for (let index = 0; index < count; index += 1) site.#machines.server.push(site.#startServer(index));
      await Promise.all(site.#machines.server.map(({ process }) => listens(process)));
      return site;
    } catch (error) {
      await site[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The addresses of the servers. */
  get servers(): string[] {
    return this.#machines.server.map(({ host }) => `${this.hosts.address(host)}:${serverPort}`);
  }

  /** The same, another one first for each number. */
  serversFrom(index: number): string[] {
    const { servers } = this;
    return [...servers.slice(index % count), ...servers.slice(0, index % count)];
  }

  /** Starts a member under load on a host of clients; with each number another server comes first. */
  member(host: string, index: number, options: object = {}): LoadedMember {
    const own = { listen: `${this.hosts.address(host)}:0`, insecure: true, ...options };
    const args = loadedMemberArgs(this.serversFrom(index).join(","), own);
    return new LoadedMember(this.hosts.run(host, args, { env: plainEnvironment(), hasStdin: true }));
  }

  /** Which member of etcd leads, by the word of those that answer; -1 if they know of none. */
  async leader(): Promise<number> {
    const endpoints = this.#machines.etcd.map(({ host }) => this.#clientUrl(host)).join(",");
    // Whoever hangs does not answer; its line is left out.
    const args = [`--endpoints=${endpoints}`, "--command-timeout=1s", "endpoint", "status", "--write-out=json"];
    const asked = this.hosts.runCommand("s0", "etcdctl", args, { env: { ...process.env, ETCDCTL_API: "3" } });
    await asked.exited();
    const rows = JSON.parse(asked.lines.join("") || "[]") as {
      Endpoint: string;
      Status: { leader: number; header: { member_id: number } };
    }[];
    const row = rows.find(({ Status }) => Status.leader === Status.header.member_id);
    return this.#machines.etcd.findIndex(({ host }) => this.#clientUrl(host) === row?.Endpoint);
  }

  /** What all keys and values below the prefix of the servers take. */
  async storedBytes(): Promise<number> {
    const endpoint = this.#clientUrl("e0");
    const args = [`--endpoints=${endpoint}`, "get", "--prefix", "/proof"];
    const asked = this.hosts.runCommand("s0", "etcdctl", args, { env: { ...process.env, ETCDCTL_API: "3" } });
    await asked.exited();
    return asked.lines.reduce((sum, line) => sum + line.length, 0);
  }

  kill(kind: SiteKind, index: number): void {
    this.#machine(kind, index).process.kill("SIGKILL");
  }

  /** Starts again what was killed; resolves when a server listens. */
  async startAgain(kind: SiteKind, index: number): Promise<void> {
    const machine = this.#machine(kind, index);
    await machine.process.exited();
    machine.process = (kind === "etcd" ? this.#startEtcd(index) : this.#startServer(index)).process;
    if (kind === "server") await listens(machine.process);
  }

  stop(kind: SiteKind, index: number): void {
    this.#machine(kind, index).process.kill("SIGSTOP");
  }

  goOn(kind: SiteKind, index: number): void {
    this.#machine(kind, index).process.kill("SIGCONT");
  }

  cut(kind: SiteKind, index: number): void {
    this.hosts.unplug(this.#machine(kind, index).host);
  }

  mend(kind: SiteKind, index: number): void {
    this.hosts.plug(this.#machine(kind, index).host);
  }

  /** The process of a server: its lines are its events. */
  server(index: number): StartedProcess {
    return this.#machine("server", index).process;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hosts.remove();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #machine(kind: SiteKind, index: number): Machine {
    const machine = this.#machines[kind][index];
    if (machine === undefined) throw new Error(`there is no ${kind} ${index}`);
    return machine;
  }

  #clientUrl(host: string): string {
    return `http://${this.hosts.address(host)}:2379`;
  }

  #startEtcd(index: number): Machine {
    const host = `e${index}`;
    const peerUrl = (name: string): string => `http://${this.hosts.address(name)}:2380`;
    const cluster = ["e0", "e1", "e2"].map((name) => `${name}=${peerUrl(name)}`).join(",");
    const args = [
      ...["--name", host, "--data-dir", join(this.#folder, host), "--logger", "zap", "--log-level", "error"],
      ...["--listen-client-urls", this.#clientUrl(host), "--advertise-client-urls", this.#clientUrl(host)],
      ...["--listen-peer-urls", peerUrl(host), "--initial-advertise-peer-urls", peerUrl(host)],
      ...["--initial-cluster", cluster, "--heartbeat-interval", "100", "--election-timeout", "1000"],
    ];
    return { host, process: this.hosts.runCommand(host, "etcd", args) };
  }

  #startServer(index: number): Machine {
    const host = `s${index}`;
    const address = `${this.hosts.address(host)}:${serverPort}`;
    const store = `etcd://${["e0", "e1", "e2"].map((name) => `${this.hosts.address(name)}:2379`).join(",")}/proof`;
    const args = [main, "serve", "--json", "--insecure", "--listen", address, "--store", store, ...this.#serveArgs];
    return { host, process: this.hosts.run(host, args, { env: plainEnvironment() }) };
  }
}

async function listens(server: StartedProcess): Promise<void> {
  await server.line((line) => line.includes('"listening"'), "where it listens", startMs);
}

/** Nothing has happened to the links and identities of these members. */
export function reportUntouched(figures: Figures, members: readonly LoadedMember[]): void {
  const happened = members.flatMap(({ happenings }) => happenings);
  for (const unwanted of ["peer:down", "peer:unreachable", "fenced", "closed"]) {
    figures.none(
      `${unwanted} of members that stay`,
      happened.filter(({ type }) => type === unwanted),
    );
  }
}
