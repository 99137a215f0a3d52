import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { makeSecret } from "../../src/index.js";
import { EtcdCluster } from "../support/etcd.js";
import { freePort } from "../support/free-port.js";
import { findTool } from "../support/tools.js";
import { eventOf, fullmesh, parseLines, plainEnvironment, startServer } from "./command-line.js";

const hasEtcd = findTool("etcd") !== undefined && findTool("etcdctl") !== undefined;

/** Runs `serve` to its end, and returns what it says. */
async function refusal(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const server = fullmesh(["serve", "--listen", "127.0.0.1:0", ...args], { env: plainEnvironment(env) });
  const { code } = await server.exited();
  return { code, said: server.errors };
}

function temporaryFile(content: string): string {
  const folder = mkdtempSync(joinPath(tmpdir(), "fullmesh-store-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = joinPath(folder, "file");
  writeFileSync(file, content);
  return file;
}

describe("fullmesh serve --store with what cannot be", () => {
  const like = "Expected the URL of a store to be like etcd://<host>:<port>,<host>:<port>/<prefix>, but";

  it.each([
    ["another scheme", "http://10.0.0.1:2379", `${like} it does not begin with etcd:// or etcd+https://`],
    ["no host", "etcd://", `${like} "" is not <host>:<port>`],
    ["a port that is none", "etcd://10.0.0.1:99999", `${like} "10.0.0.1:99999" has no port from 1 to 65535`],
    ["no password", "etcd://root@10.0.0.1", `${like} what is before the @ is not <user>:<password>`],
  ])("ends with code 2 for a URL with %s", async (_, url, message) => {
    const { code, said } = await refusal(["--store", url]);
    expect([code, said]).toEqual([2, expect.stringContaining(`fullmesh: BAD_OPTION: ${message}\n`)]);
  });

  it("never shows the password of a URL, also not one that is wrong", async () => {
    for (const url of [
      "etcd://user:pass-word@10.0.0.1:0/x",
      "etcd://user:pass-word%zz@10.0.0.1",
      "etc://a:pass-word@b",
    ]) {
      const { code, said } = await refusal([], { FULLMESH_STORE: url });
      expect([code, said]).toEqual([2, expect.not.stringContaining("pass-word")]);
    }
  });

  it.each([
    [["--advertise", "10.0.0.1:4000"], 'Expected `advertise` to be given together with `store`, got "10.0.0.1:4000"'],
    [["--store-ca", "ca.pem"], 'Expected `store-ca` to be given together with --store, got "ca.pem"'],
    [
      ["--store", "etcd://10.0.0.1", "--advertise", "0.0.0.0:4000"],
      'Expected `advertise` to be an address such as 10.0.0.1:4000 or [::1]:4000, got "0.0.0.0:4000"',
    ],
    [
      ["--store", "etcd://10.0.0.1", "--advertise", "unix:/run/app/mesh.sock"],
      'Expected `advertise` to be an address such as 10.0.0.1:4000 or [::1]:4000, got "unix:/run/app/mesh.sock"',
    ],
    [
      ["--store", "etcd+https://10.0.0.1", "--store-key", "/nowhere/key.pem"],
      'Expected `store-key` to be a file that can be read (ENOENT), got "/nowhere/key.pem"',
    ],
  ])("ends with code 2 for %j", async (args, message) => {
    const { code, said } = await refusal(args);
    expect([code, said]).toEqual([2, expect.stringContaining(`fullmesh: BAD_OPTION: ${message}\n`)]);
  });

  it("ends with code 2 on every address of the machine, unless it is said where members reach it", async () => {
    const args = ["--listen", "0.0.0.0:0", "--insecure", "--store", "etcd://10.0.0.1"];
    const { code, said } = await refusal(args);
    const message =
      "Expected `advertise` to be given together with `store` on 0.0.0.0, which nobody can dial, got undefined";
    expect([code, said]).toEqual([2, expect.stringContaining(`fullmesh: BAD_OPTION: ${message}\n`)]);
  });

  it("ends with code 2 for certificates that cannot be used", async () => {
    const file = temporaryFile("no PEM");
    const url = ["--store", "etcd+https://10.0.0.1"];
    const messages: [string[], string][] = [
      [
        ["--store", "etcd://10.0.0.1", "--store-ca", file],
        "Expected a URL that begins with etcd+https:// for `store.ca`",
      ],
      [[...url, "--store-cert", file], "Expected `store.cert` and `store.key` together"],
      [[...url, "--store-ca", file], "Expected `store.ca` to be a PEM text, which begins with -----BEGIN"],
    ];
    for (const [args, message] of messages) {
      const { code, said } = await refusal(args);
      expect([code, said]).toEqual([2, expect.stringContaining(`fullmesh: BAD_OPTION: ${message}\n`)]);
    }
  });
});

describe("fullmesh serve --store without a store", () => {
  it("says once that nobody answers, and ends with code 3 when the time is over", async () => {
    const address = `127.0.0.1:${await freePort()}`;
    const { code, said } = await refusal(["--store", `etcd://user:pass-word@${address}`, "--timeout", "4"]);
    expect(code).toBe(3);
    expect(said.match(/is away/g)).toHaveLength(1);
    expect(said).toMatch(/TIMED_OUT: after 4000 ms the store at 127\.0\.0\.1:\d+ has not been read: .*ECONNREFUSED/);
    expect(said).not.toContain("pass-word");
  });

  it("goes at once with a signal", async () => {
    const server = fullmesh(["serve", "--listen", "127.0.0.1:0", "--store", `etcd://127.0.0.1:${await freePort()}`]);
    await server.error((text) => text.includes("is away"), "that the store is away");
    server.kill();
    expect(await server.exited()).toMatchObject({ code: 143 });
  });

  it("ends with code 4 where something else answers, or an etcd before 3.4", async () => {
    const other = createServer((_, response) => response.writeHead(404).end("404 page not found"));
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    onTestFinished(() => void other.close());
    const { port } = other.address() as AddressInfo;
    const { code, said } = await refusal(["--store", `etcd://127.0.0.1:${port}`]);
    const what = `The store is no etcd from 3.4 on: 127.0.0.1:${port}: it answers 404 "404 page not found"`;
    expect([code, said]).toEqual([4, expect.stringContaining(`fullmesh: STORE_TOO_OLD: ${what}\n`)]);
  });
});

describe.skipIf(!hasEtcd)("fullmesh serve --store", () => {
  let etcd: EtcdCluster;
  beforeAll(async () => {
    etcd = await EtcdCluster.start();
  });
  afterAll(() => etcd?.stop());

  async function put(key: string, value: string): Promise<void> {
    const base64 = (text: string): string => Buffer.from(text).toString("base64");
    await etcd.call("kv/put", { key: base64(key), value: base64(value) });
  }

  it.each([
    ["capacity", ["--capacity", "3"], ["--capacity", "4"], "capacity 3", "capacity 4"],
    ["onFull", ["--capacity", "3"], ["--capacity", "3", "--on-full", "hold"], 'onFull "teardown"', 'onFull "hold"'],
    ["dialect", [], ["--dialect", "native"], 'dialect "any"', 'dialect "native"'],
    ["leaseMs", [], ["--lease", "30"], "leaseMs 20000", "leaseMs 30000"],
  ])(
    "ends with code 4 if its %s is another one than that of the server that is there",
    async (name, mine, other, there, here) => {
      const store = ["--store", etcd.url(`/differs-${name}`)];
      await startServer([...store, ...mine]);
      const { code, said } = await refusal([...store, ...other]);
      const message = `the servers that share the store have ${there}, and this one has ${here}`;
      expect([code, said]).toEqual([4, expect.stringContaining(`fullmesh: STORE_MISMATCH: ${message}\n`)]);
    },
  );

  it("ends with code 4 if it has another secret, and shows neither", async () => {
    const secrets = [makeSecret(), makeSecret()];
    const env = (secret = "") => ({ FULLMESH_SECRET: secret, FULLMESH_STORE: etcd.url("/secrets") });
    await startServer([], { env: plainEnvironment(env(secrets[0])) });
    const { code, said } = await refusal([], env(secrets[1]));
    expect([code, said]).toEqual([4, expect.stringMatching(/STORE_MISMATCH: .*secret/)]);
    for (const secret of secrets) expect(said).not.toContain(secret);
    const kept = JSON.stringify(await etcd.call("kv/range", { key: Buffer.from("/secrets/rules").toString("base64") }));
    for (const secret of secrets) expect(Buffer.from(kept, "utf8").toString()).not.toContain(secret);
  });

  it("takes other rules once all servers of the store have gone", async () => {
    const store = ["--store", etcd.url("/other-rules")];
    const { server } = await startServer([...store, "--capacity", "3"]);
    server.kill();
    await server.exited();
    await startServer([...store, "--capacity", "4"]);
  });

  it("ends with code 4 if its prefix holds something else, and names the key", async () => {
    await put("/taken/config", "mine");
    const { code, said } = await refusal(["--store", etcd.url("/taken")]);
    const message = 'fullmesh: STORE_CORRUPT: the key "config" of the store: it is none of the keys of this program\n';
    expect([code, said]).toEqual([4, expect.stringContaining(message)]);
  });

  it("goes on with other meshes if another program has written into one", async () => {
    const { server, address } = await startServer(["--store", etcd.url("/written")]);
    const join = (mesh: string) => fullmesh(["join", address, "--json", "--mesh", mesh, "--timeout", "10"]);
    await eventOf(join("a/b"), "registered");
    const member = join("bad");
    await eventOf(member, "registered");
    await put("/written/mesh/bad/log", "no log");
    const refused = join("bad");
    expect(await refused.exited()).toMatchObject({ code: 4 });
    expect(refused.errors).toContain("STORE_CORRUPT");
    await server.error((text) => text.includes("STORE_CORRUPT"), "that the key is corrupt");
    expect(server.errors).toContain("mesh/bad/log");
    await eventOf(join("a/b"), "registered");
    await eventOf(join("other"), "registered");
    await etcd.deleteBelow("/written/mesh/bad");
    // Its member brings it back.
    await eventOf(member, "server:back");
    const { members } = await eventOf(join("bad"), "complete");
    expect(members).toBe(2);
    await eventOf(member, "link");
    expect(parseLines(member.lines).filter(({ event }) => ["fenced", "closed"].includes(event))).toEqual([]);
  });

  it("keeps meshes apart whatever is in their names", async () => {
    const { address } = await startServer(["--store", etcd.url("/names")]);
    const names = ["a/b", "a", "a%2Fb", "..", "ä ö", "log"];
    for (const mesh of names) {
      const member = fullmesh(["join", address, "--json", "--mesh", mesh]);
      const { members } = await eventOf(member, "directory");
      expect([mesh, members]).toEqual([mesh, [expect.any(String)]]);
    }
  });

  it("ends with code 1 if another server listens at its address", async () => {
    const store = ["--store", etcd.url("/ports")];
    const { address } = await startServer(store);
    const second = fullmesh(["serve", "--listen", address, ...store]);
    expect(await second.exited()).toMatchObject({ code: 1 });
    expect(second.errors).toContain("PORT_IN_USE");
  });

  it("ends with code 4 if another server goes on living where members are to reach it", async () => {
    const args = ["--store", etcd.url("/one-address"), "--advertise", "10.0.0.1:4000"];
    const first = await startServer(args);
    const { code, said } = await refusal(args);
    expect([code, said]).toEqual([4, expect.stringMatching(/STORE_ADDRESS_IN_USE: .*10\.0\.0\.1:4000/)]);
    expect(parseLines(first.server.lines).filter(({ event }) => event === "error")).toEqual([]);
  });

  it("tells who shares its store, and who has gone", async () => {
    const store = ["--store", etcd.url("/siblings")];
    const first = await startServer(store);
    const second = await startServer(store);
    const { id } = await eventOf(first.server, "server:joined", ({ address }) => address === second.address);
    await eventOf(second.server, "server:joined", ({ address }) => address === first.address);
    second.server.kill();
    expect(await second.server.exited()).toMatchObject({ code: 143 });
    expect(await eventOf(first.server, "server:gone")).toMatchObject({ id, address: second.address });
    expect(parseLines(first.server.lines).filter(({ event }) => event === "store:lost")).toEqual([]);
  });
});

describe.skipIf(!hasEtcd)("fullmesh serve --store at an etcd of its own", () => {
  it("needs the password that etcd wants", async () => {
    const etcd = await EtcdCluster.start();
    onTestFinished(() => etcd.stop());
    await etcd.requireUser("mesh", "p@ss/word", "/fullmesh");
    await startServer([], { env: plainEnvironment({ FULLMESH_STORE: etcd.url("", "mesh:p%40ss%2Fword") }) });
    for (const login of ["", "mesh:another-word"]) {
      const { code, said } = await refusal([], { FULLMESH_STORE: etcd.url("", login) });
      const message = `fullmesh: STORE_REFUSED: The store refuses this server: ${etcd.members[0]?.address}: `;
      expect([login, code, said]).toEqual([login, 4, expect.stringContaining(message)]);
      expect(said).not.toContain("another-word");
    }
  });

  it.skipIf(findTool("openssl") === undefined)(
    "reaches it by TLS, with its own certificate or not at all",
    async () => {
      const etcd = await EtcdCluster.start({ isSecure: true });
      onTestFinished(() => etcd.stop());
      const { ca = "", cert = "", key = "" } = etcd.certificates ?? {};
      const authority = ["--store", etcd.url("/mine"), "--store-ca", temporaryFile(ca)];
      const own = ["--store-cert", temporaryFile(cert), "--store-key", temporaryFile(key)];
      const { address } = await startServer([...authority, ...own]);
      await eventOf(fullmesh(["join", address, "--json"]), "registered");
      for (const args of [authority, ["--store", etcd.url("/mine"), ...own]]) {
        const { code, said } = await refusal(args);
        const message = `fullmesh: STORE_REFUSED: The store refuses this server: ${etcd.members[0]?.address}: `;
        expect([code, said]).toEqual([4, expect.stringContaining(message)]);
      }
    },
  );

  it("ends with code 4 when its store is set back to what it was", async () => {
    const etcd = await EtcdCluster.start();
    onTestFinished(() => etcd.stop());
    const { server, address } = await startServer(["--store", etcd.url()]);
    const saved = await etcd.save();
    const member = fullmesh(["join", address, "--json"]);
    await eventOf(member, "registered");
    await etcd.restore(saved);
    expect(await server.exited()).toMatchObject({ code: 4 });
    expect(parseLines(server.lines)).toContainEqual(
      expect.objectContaining({ event: "error", code: "STORE_ROLLED_BACK" }),
    );
  });

  it("says that the store is away, and that it is back, and refuses newcomers meanwhile", async () => {
    const etcd = await EtcdCluster.start();
    onTestFinished(() => etcd.stop());
    const { server, address } = await startServer(["--store", etcd.url(), "--http", "127.0.0.1:0"]);
    const [, page = ""] =
      /shown at (http:\S+)/.exec(await server.error((text) => text.includes("shown at"), "the page")) ?? [];
    const ready = async () => (await fetch(`${page}readyz`)).status;
    const member = fullmesh(["join", address, "--json"]);
    await eventOf(member, "registered");
    expect(await ready()).toBe(200);
    etcd.members[0]?.pause();
    await eventOf(server, "store:lost");
    expect(await ready()).toBe(503);
    const late = fullmesh(["join", address, "--json", "--timeout", "25"]);
    await late.error((text) => text.includes("STORE_UNAVAILABLE"), "why it is not let in");
    etcd.members[0]?.resume();
    expect(await eventOf(server, "store:back")).toMatchObject({ awayMs: expect.any(Number) });
    await eventOf(late, "registered");
    expect(await ready()).toBe(200);
    expect(parseLines(member.lines).filter(({ event }) => event === "unlink" || event === "fenced")).toEqual([]);
  }, 60_000);
});
