import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { freePort } from "./free-port.js";
import { StartedProcess } from "./processes.js";

const execute = promisify(execFile);

interface EtcdOptions {
  /** Members of the cluster. Default 1. */
  readonly size?: 1 | 3;
  /** Clients need a certificate, and get TLS. */
  readonly isSecure?: boolean;
}

/** PEM of the authority, and of a client with its key. */
interface Certificates {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

interface Status {
  readonly header: { readonly member_id: string };
  readonly leader?: string;
}

/** A cluster of real etcd members on loopback, with its data in a folder of its own. Its owner stops it. */
export class EtcdCluster {
  readonly members: readonly EtcdMember[];
  /** If it is secure. */
  readonly certificates: Certificates | undefined;
  readonly #folder: string;

  /** Starts it, and resolves when each member serves. Needs `etcd`, and `openssl` if it is secure. */
  static async start({ size = 1, isSecure = false }: EtcdOptions = {}): Promise<EtcdCluster> {
    const folder = await mkdtemp(join(tmpdir(), "fullmesh-etcd-"));
    const certificates = isSecure ? await makeCertificates(folder) : undefined;
    const names = Array.from({ length: size }, (_, index) => `m${index}`);
    const peers = new Map<string, string>();
    for (const name of names) peers.set(name, `http://127.0.0.1:${await freePort()}`);
    const initial = Array.from(peers, ([name, url]) => `${name}=${url}`).join(",");
    const members: EtcdMember[] = [];
    for (const [name, peer] of peers) {
      const client = `${isSecure ? "https" : "http"}://127.0.0.1:${await freePort()}`;
      const data = join(folder, name);
      const args = [
        ...["--name", name, "--data-dir", data, "--initial-cluster", initial, "--logger", "zap"],
        ...["--listen-client-urls", client, "--advertise-client-urls", client],
        ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer],
        // A member alone elects itself. Three of them need to be patient on a machine that is busy.
        ...(size === 1
          ? ["--heartbeat-interval", "10", "--election-timeout", "100"]
          : ["--heartbeat-interval", "50", "--election-timeout", "500"]),
        ...["--unsafe-no-fsync", "--bcrypt-cost", "4"],
        ...(isSecure ? certificateArguments(folder) : []),
      ];
      members.push(new EtcdMember(name, client, peer, initial, data, args));
    }
    const cluster = new EtcdCluster(folder, members, certificates);
    try {
      await cluster.restart();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  private constructor(folder: string, members: readonly EtcdMember[], certificates: Certificates | undefined) {
    this.#folder = folder;
    this.members = members;
    this.certificates = certificates;
  }

  /** As `fullmesh` takes it. `login`: as in a URL, `user:password`. */
  url(prefix = "", login = ""): string {
    const scheme = this.certificates === undefined ? "etcd" : "etcd+https";
    const hosts = this.members.map(({ address }) => address).join(",");
    return `${scheme}://${login === "" ? "" : `${login}@`}${hosts}${prefix}`;
  }

  /** A request to the first member, which is not secure, over its JSON gateway. */
  async call(path: string, body: object, token = ""): Promise<Record<string, unknown>> {
    const [{ client } = { client: "" }] = this.members;
    const headers = token === "" ? {} : { authorization: token };
    const response = await fetch(`${client}/v3/${path}`, { method: "POST", headers, body: JSON.stringify(body) });
    const answer = (await response.json()) as Record<string, unknown>;
    if (!response.ok) throw new Error(`${path} was answered with ${JSON.stringify(answer)}`);
    return answer;
  }

  /** Forgets the history before this revision. */
  async compact(revision: number): Promise<void> {
    await this.call("kv/compaction", { revision: `${revision}`, physical: true });
  }

  /** From now on each client needs a user; this one may read and write all keys below the prefix. */
  async requireUser(name: string, password: string, prefix: string): Promise<void> {
    const key = Buffer.from(`${prefix}/`).toString("base64");
    const end = Buffer.from(`${prefix}0`).toString("base64");
    await this.call("auth/user/add", { name: "root", password: "of-root" });
    await this.call("auth/role/add", { name: "root" });
    await this.call("auth/user/grant", { user: "root", role: "root" });
    await this.call("auth/user/add", { name, password });
    await this.call("auth/role/add", { name: "writer" });
    await this.call("auth/role/grant", { name: "writer", perm: { permType: "READWRITE", key, range_end: end } });
    await this.call("auth/user/grant", { user: name, role: "writer" });
    await this.call("auth/enable", {});
  }

  /** After `requireUser`: no token that it has given counts any more, as if all had run out. */
  async forgetTokens(): Promise<void> {
    const { token } = await this.call("auth/authenticate", { name: "root", password: "of-root" });
    await this.call("auth/disable", {}, String(token));
    await this.call("auth/enable", {});
  }

  /** Writes the state of the cluster to a file, and returns its path. Needs `etcdctl`. */
  async save(): Promise<string> {
    const file = join(this.#folder, `snapshot-${Date.now()}`);
    const [{ client } = { client: "" }] = this.members;
    await etcdctl("--endpoints", client, "snapshot", "save", file);
    return file;
  }

  /** Puts a saved state in the place of what the cluster has, and starts it again. Needs `etcdctl`. */
  async restore(file: string): Promise<void> {
    await Promise.all(this.members.map((member) => member.stop()));
    for (const member of this.members) await member.restore(file);
    await this.restart();
  }

  /** Copies the data folders, as somebody does by hand, while no member runs, and starts them again; returns the copy. */
  async copyData(): Promise<string> {
    const copy = await mkdtemp(join(this.#folder, "copy-"));
    await Promise.all(this.members.map((member) => member.stop()));
    for (const { name, data } of this.members) await cp(data, join(copy, name), { recursive: true });
    await this.restart();
    return copy;
  }

  /** Puts such a copy in the place of what the cluster has: the same cluster, as it was. */
  async putBack(copy: string): Promise<void> {
    await Promise.all(this.members.map((member) => member.stop()));
    for (const { name, data } of this.members) {
      await rm(data, { recursive: true, force: true });
      await cp(join(copy, name), data, { recursive: true });
    }
    await this.restart();
  }

  /** Deletes all keys below this prefix. */
  async deleteBelow(prefix: string): Promise<void> {
    const base64 = (text: string): string => Buffer.from(text).toString("base64");
    await this.call("kv/deleterange", { key: base64(`${prefix}/`), range_end: base64(`${prefix}0`) });
  }

  /** Starts all members that do not run. */
  async restart(): Promise<void> {
    await Promise.all(this.members.map((member) => member.start()));
  }

  /** The member that leads, as the first one knows it. */
  async leader(): Promise<EtcdMember> {
    const status = (member: EtcdMember): Promise<Status> =>
      fetch(`${member.client}/v3/maintenance/status`, { method: "POST", body: "{}" }).then(
        (response) => response.json() as Promise<Status>,
      );
    const all = await Promise.all(this.members.map(status));
    const found = this.members.find((_, index) => all[index]?.header.member_id === all[0]?.leader);
    if (found === undefined) throw new Error("no member leads");
    return found;
  }

  /** Kills all members, and deletes their data. */
  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => member.stop()));
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** One member, and its process. */
export class EtcdMember {
  readonly name: string;
  /** The URL for clients. */
  readonly client: string;
  readonly #peer: string;
  readonly #initial: string;
  /** Its folder. */
  readonly data: string;
  readonly #args: readonly string[];
  #process: StartedProcess | undefined;

  constructor(name: string, client: string, peer: string, initial: string, data: string, args: readonly string[]) {
    this.name = name;
    this.client = client;
    this.#peer = peer;
    this.#initial = initial;
    this.data = data;
    this.#args = args;
  }

  /** `host:port` for clients. */
  get address(): string {
    return this.client.replace(/^https?:\/\//, "");
  }

  /** Starts it with the data that it has, and resolves when it serves: that takes a majority of the members. */
  async start(): Promise<void> {
    if (this.#process !== undefined) return;
    const started = new StartedProcess("etcd", this.#args);
    this.#process = started;
    await started.error((text) => text.includes("serving client traffic"), "that it serves");
  }

  /** It does nothing any more, and keeps its connections. */
  pause(): void {
    this.#process?.kill("SIGSTOP");
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
  }

  /** Kills it, and keeps its data. */
  async stop(): Promise<void> {
    await this.#process?.stop();
    this.#process = undefined;
  }

  /** Gives it the data of a snapshot. It must not run. */
  async restore(file: string): Promise<void> {
    await rm(this.data, { recursive: true, force: true });
    await etcdctl(
      ...["snapshot", "restore", file, "--name", this.name, "--data-dir", this.data],
      ...["--initial-cluster", this.#initial, "--initial-advertise-peer-urls", this.#peer],
    );
  }
}

async function etcdctl(...args: string[]): Promise<void> {
  await execute("etcdctl", args, { env: { ...process.env, ETCDCTL_API: "3" } });
}

function certificateArguments(folder: string): string[] {
  const file = (name: string): string => join(folder, name);
  return [
    ...["--cert-file", file("server.pem"), "--key-file", file("server.key")],
    ...["--client-cert-auth", "--trusted-ca-file", file("ca.pem")],
  ];
}

/** An authority, and with it a certificate for the members and one for clients. */
async function makeCertificates(folder: string): Promise<Certificates> {
  const file = (name: string): string => join(folder, name);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
  const made = ["-keyout", file("ca.key"), "-out", file("ca.pem"), "-subj", "/CN=fullmesh test authority"];
  await execute("openssl", ["req", "-x509", ...key, ...made]);
  // The gateway is a client of its own member, and shows it the member's certificate.
  const extensions = "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n";
  await writeFile(file("extensions"), extensions);
  for (const name of ["server", "client"]) {
    const request = ["-keyout", file(`${name}.key`), "-out", file(`${name}.csr`), "-subj", `/CN=${name}`];
    await execute("openssl", ["req", ...key, ...request]);
    await execute("openssl", [
      ...[
        "x509",
        "-req",
        "-in",
        file(`${name}.csr`),
        "-CA",
        file("ca.pem"),
        "-CAkey",
        file("ca.key"),
        "-CAcreateserial",
      ],
      ...["-days", "1", "-extfile", file("extensions"), "-out", file(`${name}.pem`)],
    ]);
  }
  const read = (name: string): Promise<string> => readFile(file(name), "utf8");
  return { ca: await read("ca.pem"), cert: await read("client.pem"), key: await read("client.key") };
}
