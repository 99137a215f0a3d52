import { connect, type Socket } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { join } from "../../../src/node/join.js";
import type { MeshNode } from "../../../src/node/mesh-node.js";
import type { MeshStatus, PairStatus } from "../../../src/protocol/status.js";
import { type StatusChange, withChange } from "../../../src/protocol/status-changes.js";
import { serverMetrics } from "../../../src/server/http/metrics.js";
import type { ServeOptions } from "../../../src/server/options.js";
import { type ListeningServer, serve } from "../../../src/server/rendezvous-server.js";
import { parseExposition } from "../../support/exposition.js";

async function shownServer(options: ServeOptions = {}): Promise<{ server: ListeningServer; http: string }> {
  const server = await serve({ listen: "127.0.0.1:0", http: "127.0.0.1:0", logger: false, ...options });
  onTestFinished(() => server.close());
  return { server, http: server.httpAddress ?? "" };
}

async function member(server: ListeningServer, name?: string): Promise<MeshNode> {
  const node = await join(server.address, { logger: false, ...(name === undefined ? {} : { name }) });
  onTestFinished(() => node.leave());
  return node;
}

/** What is answered to these lines of a request, read to the end of the connection. */
async function answer(http: string, ...lines: readonly string[]): Promise<string> {
  const socket = open(http);
  socket.write(`${[...lines, "Connection: close"].join("\r\n")}\r\n\r\n`);
  let text = "";
  for await (const chunk of socket.setEncoding("utf8")) text += chunk;
  return text;
}

function open(http: string): Socket {
  const [host = "", port = ""] = http.split(":");
  const socket = connect(Number(port), host).on("error", () => {});
  onTestFinished(() => void socket.destroy());
  return socket;
}

interface StreamEvent {
  readonly event: string;
  readonly id: string;
  readonly data: unknown;
}

/** Reads server-sent events one by one. */
async function* events(http: string, headers: Record<string, string> = {}): AsyncGenerator<StreamEvent> {
  const stopped = new AbortController();
  onTestFinished(() => stopped.abort());
  const response = await fetch(`http://${http}/events`, { headers, signal: stopped.signal });
  expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  let text = "";
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += new TextDecoder().decode(chunk);
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const [, event = "", id = "", data = ""] = /^event: (.*)\nid: (.*)\ndata: (.*)$/.exec(text.slice(0, end)) ?? [];
      text = text.slice(end + 2);
      if (event !== "") yield { event, id, data: JSON.parse(data) };
    }
  }
}

/** Makes the status of events. */
class Reader {
  readonly types: string[] = [];
  status: MeshStatus | undefined;
  id = "";
  readonly #stream: AsyncGenerator<StreamEvent>;

  constructor(stream: AsyncGenerator<StreamEvent>) {
    this.#stream = stream;
  }

  /** Reads until the status is as wanted. */
  async until(isWanted: (status: MeshStatus) => boolean): Promise<void> {
    while (this.status === undefined || !isWanted(this.status)) {
      const next = await this.#stream.next();
      if (next.done === true) throw new Error(`the stream has ended behind ${this.types.join(", ")}`);
      const { event, id, data } = next.value;
      this.id = id;
      this.types.push(event === "snapshot" ? event : (data as StatusChange).type);
      this.status = event === "snapshot" ? (data as MeshStatus) : this.#changed(data as StatusChange);
    }
  }

  #changed(change: StatusChange): MeshStatus {
    if (this.status === undefined) throw new Error("a change has come before the snapshot");
    return withChange(this.status, change);
  }
}

describe("the server over HTTP", () => {
  it("shows a mesh as `status` has it, the names of all, and that it is healthy and ready", async () => {
    const { server, http } = await shownServer();
    await member(server, "one");
    const status = (await (await fetch(`http://${http}/status.json`)).json()) as MeshStatus;
    expect(status.members).toEqual(server.status().members);
    expect(await (await fetch(`http://${http}/meshes.json`)).json()).toEqual(["default"]);
    for (const path of ["healthz", "readyz"]) expect((await fetch(`http://${http}/${path}`)).status).toBe(200);
  });

  it("answers only to its own names, and to no page of another site", async () => {
    const { http } = await shownServer({ httpHosts: ["mesh.example"] });
    const codeOf = async (...lines: string[]): Promise<string | undefined> =>
      /^HTTP\/1.1 (\d+)/.exec(await answer(http, ...lines))?.[1];
    const get = "GET /status.json HTTP/1.1";
    for (const host of [http, "localhost:4080", "[::1]:4080", "10.0.0.1", "MESH.example:80"]) {
      expect([host, await codeOf(get, `Host: ${host}`)]).toEqual([host, "200"]);
    }
    for (const host of ["evil.example", "localhost.evil.example", "a@127.0.0.1.evil", "%", ""]) {
      expect([host, await codeOf(get, `Host: ${host}`)]).toEqual([host, "403"]);
    }
    expect(await codeOf(get, `Host: ${http}`, "Origin: http://evil.example")).toBe("403");
    expect(await codeOf(get, `Host: ${http}`, `Origin: http://${http}`)).toBe("200");
    const paths = [
      "/",
      "/page.js",
      "/page.css",
      "/pair.json",
      "/meshes.json",
      "/events",
      "/metrics",
      "/healthz",
      "/readyz",
    ];
    for (const path of [...paths, "/status.json", "/nothing"]) {
      const line = `GET ${path} HTTP/1.1`;
      const refused = [
        await answer(http, line, "Host: evil.example"),
        await answer(http, line, `Host: ${http}`, "Origin: http://evil.example"),
        await answer(http, line, `Host: ${http}`, "Origin: null"),
      ];
      for (const text of refused) {
        expect([path, /^HTTP\/1.1 403 /.test(text), text.split("\r\n\r\n")[1]]).toEqual([
          path,
          true,
          "This host name is not served here. Give it with --http-host.\n",
        ]);
      }
    }
    expect(await codeOf("POST /status.json HTTP/1.1", `Host: ${http}`)).toBe("405");
    expect(await codeOf("GET /../../etc/passwd HTTP/1.1", `Host: ${http}`)).toBe("404");
    expect(await codeOf("GET // HTTP/1.1", `Host: ${http}`)).toBe("404");
    expect(await codeOf("GET /events?mesh=none HTTP/1.1", `Host: ${http}`)).toBe("404");
    expect(await answer(http, "\u0016\u0003\u0001")).not.toContain("200");
  });

  it("sends a snapshot and then each change, from which the status follows; whoever comes back gets what was missed", async () => {
    const { server, http } = await shownServer();
    await member(server, "one");
    const reader = new Reader(events(http));
    await reader.until(({ members }) => members.length === 1);
    expect(reader.types).toEqual(["snapshot"]);
    const two = await member(server, "two");
    await reader.until(({ complete }) => complete);
    expect(reader.types).toContain("joined");
    const { id } = reader;
    await two.leave();
    await reader.until(({ members }) => members.length === 1);
    await reader.until(({ revision }) => revision === server.revision);
    expect(reader.status?.recent).toMatchObject([{ type: "left", name: "two" }]);
    const { revision, members, recent } = server.status();
    expect(reader.status).toMatchObject({ revision, members, recent });
    // Somebody whose connection was lost before that.
    const missed = await events(http, { "last-event-id": id }).next();
    expect(missed.value).toMatchObject({ event: "change", data: { type: "departed" } });
    const stranger = await events(http, { "last-event-id": "other-1" }).next();
    expect(stranger.value).toMatchObject({ event: "snapshot" });
  });

  it("shows a pair with what both ends have said and measured, and says who is not listed", async () => {
    const { server, http } = await shownServer();
    const [one, two] = [await member(server, "one"), await member(server, "two")];
    await one.complete({ size: 2 });
    const pairOf = async (a = "", b = ""): Promise<Response> => await fetch(`http://${http}/pair.json?a=${a}&b=${b}`);
    const read = async (): Promise<PairStatus> => (await (await pairOf(two.address, one.address)).json()) as PairStatus;
    let pair = await read();
    expect(pair).toMatchObject({ mesh: "default", isUp: true });
    expect(pair.ends).toMatchObject([
      { address: one.address, name: "one", report: { stage: "up", attempt: 1 } },
      { address: two.address, name: "two", report: { stage: "up", attempt: 1 } },
    ]);
    while (pair.ends.some(({ roundTripMs }) => roundTripMs === undefined)) pair = await read();
    for (const { queuedBytes } of pair.ends) expect(queuedBytes).toBe(0);
    const unlisted = [
      ["127.0.0.1:1", one.address],
      [one.address, "<b>"],
      [one.address, ""],
      [one.address, one.address],
    ] as const;
    const answers = unlisted.map(async (ends) => {
      const response = await pairOf(...ends);
      return [response.status, await response.text()];
    });
    const more = "give the addresses of two members as a and b.\n";
    expect(await Promise.all(answers)).toEqual([
      [404, `The mesh does not list "127.0.0.1:1": ${more}`],
      [404, `The mesh does not list "<b>": ${more}`],
      [404, `The mesh does not list "": ${more}`],
      [404, `A pair has two ends: ${more}`],
    ]);
    expect((await fetch(`http://${http}/pair.json?mesh=none&a=${one.address}&b=${two.address}`)).status).toBe(404);
  });

  it("counts what Prometheus reads, each series with its help", async () => {
    const { server, http } = await shownServer();
    const one = await member(server);
    await member(server);
    await one.complete({ size: 2 });
    const text = await (await fetch(`http://${http}/metrics`)).text();
    expect(text).toContain('fullmesh_members{mesh="default"} 2\n');
    expect(text).toContain('fullmesh_links_up{mesh="default"} 1\n');
    expect(text).toContain('fullmesh_joins_total{mesh="default"} 2\n');
    const families = parseExposition(text);
    for (const { name, type, help } of families)
      expect(serverMetrics[name as keyof typeof serverMetrics]).toEqual({ type, help });
    const absent = Object.keys(serverMetrics).filter((name) => !families.some((family) => family.name === name));
    const ofStore = ["up", "requests_total", "failures_total", "beat_age_seconds"].map(
      (name) => `fullmesh_store_${name}`,
    );
    expect(absent).toEqual(["fullmesh_refusals_total", ...ofStore, "fullmesh_other_servers"]);
  });

  it("lets 64 read events, and closes connections beyond 256 before anything is read", async () => {
    const { http } = await shownServer();
    const streams = Array.from({ length: 64 }, () => events(http));
    for (const stream of streams) await stream.next();
    const refused = await fetch(`http://${http}/events`);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
    const sockets = Array.from({ length: 400 }, () => open(http));
    const closed = sockets.map((socket) => new Promise((resolve) => socket.once("close", resolve)));
    await Promise.any(closed);
  });

  it("is refused beyond loopback without being told that the network is trusted, with a secret too; bad options are named", async () => {
    await expect(serve({ http: "0.0.0.0:0" })).rejects.toMatchObject({ code: "INSECURE_LISTEN" });
    await expect(serve({ http: "nowhere" })).rejects.toMatchObject({ code: "BAD_OPTION" });
    await expect(serve({ httpHosts: ["a b"] })).rejects.toMatchObject({ code: "BAD_OPTION" });
    const { http } = await shownServer();
    await expect(serve({ listen: "127.0.0.1:0", http })).rejects.toMatchObject({ code: "PORT_IN_USE" });
  });
});
