import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { expositionType } from "../../api/exposition.js";
import { LoopDelay } from "../../api/loop-delay.js";
import type { NetworkEndpoint } from "../../core/connections.js";
import { printable } from "../../core/escaping.js";
import { listenError } from "../../nodejs/transport.js";
import { type Address, formatAddress, parseAddress } from "../../protocol/address.js";
import { canonicalIp } from "../../protocol/ip.js";
import type { MeshStatus, PairStatus } from "../../protocol/status.js";
import { EventStream } from "./event-stream.js";
import { type ServerFigures, serverMetricsText } from "./metrics.js";
import { Observation } from "./observation.js";

/** What the pages show. */
export interface StatusSource {
  /** The names of all meshes. */
  readonly meshes: readonly string[];
  status(mesh: string): MeshStatus;
  /** The addresses of the members of a mesh in join order. */
  membersOf(mesh: string): readonly Address[];
  /** What is known of two listed members and their link. */
  pair(mesh: string, a: Address, b: Address): PairStatus | undefined;
  readonly figures: Omit<ServerFigures, "meshes" | "loopDelay">;
  /** True once the server takes registrations, and until it ends. */
  readonly isReady: boolean;
}

/** Connections at once, in all, and those that read events. Node closes what is beyond, before anything is read. */
const mostConnections = 256;
const mostStreams = 64;

/** Nobody sends such a request by hand. */
const requestMs = 10_000;
const headerBytes = 8_192;

/** Everything that a page may load comes from here, and nothing may show it within another page. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const everywhere = {
  "content-security-policy": policy,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
};

/** The files of the page, in the folder of the bundle, and what they are. */
const files: Readonly<Record<string, readonly [file: string, type: string]>> = {
  "/": ["index.html", "text/html; charset=utf-8"],
  "/page.js": ["page.js", "text/javascript; charset=utf-8"],
  "/page.css": ["page.css", "text/css; charset=utf-8"],
};

/**
 * The server's status over HTTP: the page, the status as JSON, its changes as server-sent events, metrics, and whether the
 * server is healthy. It only shows, and takes nothing.
 */
export class StatusPages {
  readonly #source: StatusSource;
  readonly #hosts: ReadonlySet<string>;
  readonly #folder: URL | undefined;
  readonly #server: Server;
  readonly #observations = new Map<string, Observation>();
  readonly #streams = new Set<EventStream>();
  /** Sockets with an answer that has not gone out. */
  readonly #answering = new WeakSet<Socket>();
  readonly #life = Date.now().toString(36);
  readonly #loopDelay = new LoopDelay();

  /**
   * `hosts`: names by which browsers may ask, besides IP addresses and localhost. Any other Host is refused: a page from
   * elsewhere could read all this by a name of its own that leads here. `folder`: where the files of the page are, if anywhere.
   */
  constructor(source: StatusSource, hosts: readonly string[], folder: URL | undefined) {
    this.#source = source;
    this.#hosts = new Set(["localhost", ...hosts.map((host) => host.toLowerCase())]);
    this.#folder = folder;
    this.#server = createServer(
      { requestTimeout: requestMs, headersTimeout: requestMs, maxHeaderSize: headerBytes, keepAliveTimeout: requestMs },
      (request, response) => this.#answer(request, response),
    );
    this.#server.maxConnections = mostConnections;
    // What is no HTTP is closed without an answer.
    this.#server.on("clientError", (_, socket) => socket.destroy());
  }

  /** Listens; port 0 takes a free one. Throws `PORT_IN_USE`, `NOT_OUR_ADDRESS` or `LISTEN_FAILED`. */
  async listen(on: NetworkEndpoint): Promise<Address> {
    return await new Promise((resolve, reject) => {
      this.#server.once("error", (error) => reject(listenError(error, on)));
      this.#server.listen({ ...on, exclusive: true }, () => {
        this.#server.removeAllListeners("error").on("error", () => {});
        const { address, port } = this.#server.address() as AddressInfo;
        resolve(formatAddress({ host: canonicalIp(address) ?? address, port }));
      });
    });
  }

  /** Ends every connection. */
  async close(): Promise<void> {
    for (const stream of this.#streams) stream.close();
    for (const observation of this.#observations.values()) observation.stop();
    this.#loopDelay.stop();
    await new Promise((resolve) => {
      this.#server.close(resolve);
      this.#server.closeAllConnections();
    });
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    if (!this.#isOnlyRequest(request, response)) return;
    for (const [name, value] of Object.entries(everywhere)) response.setHeader(name, value);
    if (!this.#isOurs(request)) {
      send(
        response,
        403,
        "text/plain; charset=utf-8",
        "This host name is not served here. Give it with --http-host.\n",
      );
      return;
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("allow", "GET, HEAD");
      send(response, 405, "text/plain; charset=utf-8", "Only GET and HEAD are answered.\n");
      return;
    }
    this.#show(request, response);
  }

  #show(request: IncomingMessage, response: ServerResponse): void {
    const base = "http://localhost";
    const { pathname, searchParams } = new URL(
      URL.canParse(request.url ?? "/", base) ? (request.url ?? "/") : "/-",
      base,
    );
    const mesh = searchParams.get("mesh") ?? "default";
    if (pathname === "/status.json") sendJson(response, this.#source.status(mesh));
    else if (pathname === "/pair.json") this.#pair(mesh, searchParams.get("a"), searchParams.get("b"), response);
    else if (pathname === "/meshes.json") sendJson(response, this.#source.meshes);
    else if (pathname === "/events") this.#stream(mesh, request, response);
    else if (pathname === "/metrics") send(response, 200, expositionType, this.#metrics());
    else if (pathname === "/healthz") send(response, 200, "text/plain; charset=utf-8", "ok\n");
    else if (pathname === "/readyz") this.#ready(response);
    else this.#file(pathname, response);
  }

  /**
   * One request at a time: whoever sends the next one before it has read the answer is cut off. No browser does so, and one read
   * from a socket can hold more than a thousand requests, which would be answered in one turn of the event loop.
   */
  #isOnlyRequest({ socket }: IncomingMessage, response: ServerResponse): boolean {
    if (this.#answering.has(socket)) socket.destroy();
    if (socket.destroyed) return false;
    this.#answering.add(socket);
    response.on("close", () => this.#answering.delete(socket));
    return true;
  }

  /** Whether the request names this server, and comes from no page of another site. */
  #isOurs({ headers }: IncomingMessage): boolean {
    const { host, origin } = headers;
    if (host === undefined || !this.#isServed(host)) return false;
    return origin === undefined || origin === `http://${host}`;
  }

  #isServed(host: string): boolean {
    const url = URL.canParse(`http://${host}`) ? new URL(`http://${host}`) : undefined;
    const name = url?.hostname.replace(/^\[(.*)\]$/, "$1") ?? "";
    return canonicalIp(name) !== undefined || this.#hosts.has(name);
  }

  #pair(mesh: string, a: string | null, b: string | null, response: ServerResponse): void {
    const [one, other] = [parseAddress(a ?? ""), parseAddress(b ?? "")];
    const pair = one === undefined || other === undefined ? undefined : this.#source.pair(mesh, one, other);
    if (pair !== undefined) {
      sendJson(response, pair);
      return;
    }
    const members = this.#source.membersOf(mesh);
    const stranger = [a, b].find((end) => !members.includes((parseAddress(end ?? "") ?? "") as Address));
    const why =
      stranger === undefined ? "A pair has two ends" : `The mesh does not list "${printable(stranger ?? "", 100)}"`;
    send(response, 404, "text/plain; charset=utf-8", `${why}: give the addresses of two members as a and b.\n`);
  }

  #ready(response: ServerResponse): void {
    const { isReady } = this.#source;
    send(response, isReady ? 200 : 503, "text/plain; charset=utf-8", isReady ? "ready\n" : "not ready\n");
  }

  #stream(mesh: string, request: IncomingMessage, response: ServerResponse): void {
    const isKnown = this.#observations.has(mesh) || this.#source.meshes.includes(mesh);
    if (!isKnown) {
      send(response, 404, "text/plain; charset=utf-8", "There is no such mesh.\n");
      return;
    }
    if (this.#streams.size >= mostStreams) {
      response.setHeader("retry-after", "5");
      send(response, 503, "text/plain; charset=utf-8", `${mostStreams} read events already.\n`);
      return;
    }
    this.#forgetUnseen();
    const observation = this.#observations.get(mesh) ?? new Observation(() => this.#source.status(mesh));
    this.#observations.set(mesh, observation);
    const last = request.headers["last-event-id"];
    const stream = new EventStream(response, observation, this.#life, typeof last === "string" ? last : undefined);
    this.#streams.add(stream);
    response.on("close", () => this.#streams.delete(stream));
  }

  #forgetUnseen(): void {
    for (const [mesh, observation] of this.#observations) if (!observation.isRunning) this.#observations.delete(mesh);
  }

  #metrics(): string {
    const meshes = this.#source.meshes.map((mesh) => this.#source.status(mesh));
    return serverMetricsText({ ...this.#source.figures, meshes, loopDelay: this.#loopDelay.read() });
  }

  #file(pathname: string, response: ServerResponse): void {
    const [file, type] = Object.hasOwn(files, pathname) ? (files[pathname] ?? []) : [];
    if (file === undefined || type === undefined || this.#folder === undefined) {
      send(response, 404, "text/plain; charset=utf-8", "There is nothing here.\n");
      return;
    }
    try {
      send(response, 200, type, readFileSync(new URL(file, this.#folder)));
    } catch {
      send(response, 404, "text/plain; charset=utf-8", "The files of the page are not where this package is.\n");
    }
  }
}

function sendJson(response: ServerResponse, value: unknown): void {
  send(response, 200, "application/json; charset=utf-8", `${JSON.stringify(value)}\n`);
}

function send(response: ServerResponse, code: number, type: string, body: string | Uint8Array): void {
  response.writeHead(code, { "content-type": type, "content-length": Buffer.byteLength(body) });
  response.end(response.req.method === "HEAD" ? undefined : body);
}
