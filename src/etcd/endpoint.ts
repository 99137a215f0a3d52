import * as http from "node:http";
import * as https from "node:https";
import type { Limits } from "../core/limits.js";
import { type GatewayError, gatewayError } from "./gateway.js";
import type { StoreEndpoint } from "./store-url.js";

/** The certificates of a store, and of this server, as PEM. */
export interface StoreCertificates {
  /** The authority of the store's certificate; default: those that Node knows. */
  readonly ca?: string;
  /** What this server shows to the store, and its key. */
  readonly cert?: string;
  readonly key?: string;
}

export type EndpointLimits = Pick<Limits, "storeAnswerMs" | "storeAnswerBytes" | "keepAliveMs">;

/**
 * Connections to one endpoint: one watch, one transaction and one lease are under way at a time, so a few are enough. What is
 * asked beyond them waits, within its own time.
 */
const connectionsPerEndpoint = 16;

/**
 * Why a request has failed. `unreachable`: it was not sent. `unanswered`: it may have been performed. `tooLong`: the same, and its
 * answer is longer than this server takes. `error`: etcd says so, with a code. `foreign`: what answers is no etcd. `untrusted`: one of the ends does not take the certificate of the other.
 */
type FailureKind = "unreachable" | "unanswered" | "tooLong" | "error" | "foreign" | "untrusted";

export class EndpointFailure extends Error {
  readonly kind: FailureKind;
  /** Of gRPC, for `error`. */
  readonly grpcCode: number | undefined;

  constructor(kind: FailureKind, message: string, grpcCode?: number) {
    super(message);
    this.kind = kind;
    this.grpcCode = grpcCode;
  }

  static of({ code, message }: GatewayError): EndpointFailure {
    return new EndpointFailure("error", message, code);
  }
}

/** When a new connection takes a request. */
type ReadyEvent = "connect" | "secureConnect";

/** What a stream reports: each message, and its end, once. */
export interface StreamEvents {
  message(message: object): void;
  ended(failure: EndpointFailure): void;
}

/**
 * One member of an etcd cluster, by its JSON gateway. Over node:http, because `fetch` ends an answer that says nothing for 300 s,
 * as a watch may.
 */
export class Endpoint {
  /** `host:port`. */
  readonly name: string;
  readonly #limits: EndpointLimits;
  readonly #options: https.RequestOptions;
  readonly #agent: http.Agent;
  readonly #request: typeof http.request;
  readonly #readyEvent: ReadyEvent;

  /** With certificates it is TLS. */
  constructor({ host, port }: StoreEndpoint, certificates: StoreCertificates | undefined, limits: EndpointLimits) {
    this.name = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
    this.#limits = limits;
    const pool = { keepAlive: true, keepAliveMsecs: limits.keepAliveMs, maxSockets: connectionsPerEndpoint };
    this.#agent = certificates === undefined ? new http.Agent(pool) : new https.Agent({ ...pool, ...certificates });
    this.#request = certificates === undefined ? http.request : https.request;
    this.#readyEvent = certificates === undefined ? "connect" : "secureConnect";
    this.#options = { agent: this.#agent, host, port, method: "POST" };
  }

  /** One request and its answer, by `deadline` (of `performance.now()`). Rejects with an `EndpointFailure`. */
  async post<Wanted extends object>(
    path: string,
    body: object,
    token: string | undefined,
    deadline: number,
  ): Promise<Wanted> {
    const { status, bytes } = await this.#exchange(path, body, token, deadline);
    const answer = parsed(bytes);
    const error = answer === undefined ? undefined : gatewayError(answer);
    if (error !== undefined) throw EndpointFailure.of(error);
    if (answer !== undefined && status === 200) return answer as Wanted;
    // A proxy in front of etcd answers so while etcd is away.
    const kind = status >= 500 ? "unanswered" : "foreign";
    // What is no etcd may send back what it was sent.
    const text = "password" in body ? "" : ` "${bytes.toString("utf8", 0, 100).trim()}"`;
    throw new EndpointFailure(kind, `it answers ${status}${text}`);
  }

  /** A request whose answer goes on, one message a line. The first one comes by `deadline`. Returns what ends it. */
  stream(path: string, body: object, token: string | undefined, deadline: number, events: StreamEvents): () => void {
    let isOver = false;
    const end = (failure: EndpointFailure): void => {
      if (isOver) return;
      isOver = true;
      sent.destroy();
      events.ended(failure);
    };
    const sent = this.#send(path, body, token, deadline, end);
    const receive = (line: Buffer): void => {
      if (isOver) return;
      sent.answered();
      const message = parsed(line);
      if (message === undefined) end(new EndpointFailure("foreign", "its stream is no JSON"));
      else events.message(message);
    };
    sent.request.once("response", (response: http.IncomingMessage) => {
      const lines = new LineSplitter(this.#limits.storeAnswerBytes);
      response.on("data", (bytes: Buffer) => {
        const complete = lines.push(bytes);
        if (complete === undefined) end(tooLong(this.#limits.storeAnswerBytes));
        else complete.forEach(receive);
      });
      response.once("end", () => {
        // The text of an error ends without a newline.
        const rest = lines.rest();
        if (rest.length > 0) receive(rest);
        end(new EndpointFailure("unanswered", "it has ended the stream"));
      });
      response.once("error", (error) => end(failureOf(error, true)));
    });
    return () => {
      isOver = true;
      sent.destroy();
    };
  }

  /** Ends all that is under way. */
  close(): void {
    this.#agent.destroy();
  }

  #exchange(
    path: string,
    body: object,
    token: string | undefined,
    deadline: number,
  ): Promise<{ readonly status: number; readonly bytes: Buffer }> {
    return new Promise((resolve, reject) => {
      const sent = this.#send(path, body, token, deadline, reject);
      sent.request.once("response", (response: http.IncomingMessage) => {
        const chunks: Buffer[] = [];
        let length = 0;
        response.on("data", (bytes: Buffer) => {
          chunks.push(bytes);
          length += bytes.length;
          if (length <= this.#limits.storeAnswerBytes) return;
          reject(tooLong(this.#limits.storeAnswerBytes));
          sent.destroy();
        });
        response.once("end", () => {
          sent.answered();
          resolve({ status: response.statusCode ?? 0, bytes: Buffer.concat(chunks) });
        });
        response.once("error", (error) => reject(failureOf(error, true)));
      });
    });
  }

  #send(
    path: string,
    body: object,
    token: string | undefined,
    deadline: number,
    fail: (failure: EndpointFailure) => void,
  ): SentRequest {
    const text = JSON.stringify(body);
    const headers: http.OutgoingHttpHeaders = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(text),
      // A member that has lost its leader then refuses at once, and ends its watches; otherwise it lets both wait.
      "grpc-metadata-hasleader": "true",
      ...(token === undefined ? {} : { authorization: token }),
    };
    const sent = new SentRequest(this.#request({ ...this.#options, path, headers }), this.#readyEvent, deadline, fail);
    // etcd answers a watch only when the body of its request has ended.
    sent.request.end(text);
    return sent;
  }
}

/** A request that is under way, and how long it may take to be answered. */
class SentRequest {
  readonly request: http.ClientRequest;
  readonly #timer: NodeJS.Timeout;

  constructor(
    request: http.ClientRequest,
    readyEvent: ReadyEvent,
    deadline: number,
    fail: (failure: EndpointFailure) => void,
  ) {
    this.request = request;
    let isSent = false;
    const timeMs = Math.max(0, deadline - performance.now());
    this.#timer = setTimeout(() => {
      const what = isSent ? "answer" : "connection";
      fail(new EndpointFailure(isSent ? "unanswered" : "unreachable", `no ${what} within ${Math.ceil(timeMs)} ms`));
      request.destroy();
    }, timeMs);
    request.once("socket", (socket) => {
      if (!socket.connecting) isSent = true;
      else socket.once(readyEvent, () => (isSent = true));
    });
    request.on("error", (error: NodeJS.ErrnoException) => {
      clearTimeout(this.#timer);
      const failure = failureOf(error, isSent);
      // What speaks no TLS closes the connection, or resets it.
      const isHandshake = error.code === "ECONNRESET" && !isSent && readyEvent === "secureConnect";
      fail(isHandshake ? new EndpointFailure(failure.kind, `no TLS handshake: ${failure.message}`) : failure);
    });
    request.once("close", () => clearTimeout(this.#timer));
  }

  /** It has an answer, or the first part of one that goes on. */
  answered(): void {
    clearTimeout(this.#timer);
  }

  destroy(): void {
    clearTimeout(this.#timer);
    this.request.destroy();
  }
}

/** Collects the bytes of lines. */
class LineSplitter {
  readonly #maxBytes: number;
  #parts: Buffer[] = [];
  #length = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** The lines that are complete with these bytes, without empty ones; undefined if a line is longer than allowed. */
  push(bytes: Buffer): Buffer[] | undefined {
    const lines: Buffer[] = [];
    let from = 0;
    for (let to = bytes.indexOf(10); to >= 0; to = bytes.indexOf(10, from)) {
      const line = Buffer.concat([...this.#parts, bytes.subarray(from, to)]);
      this.#parts = [];
      this.#length = 0;
      from = to + 1;
      if (line.length > 0) lines.push(line);
    }
    const rest = bytes.subarray(from);
    this.#parts.push(rest);
    this.#length += rest.length;
    return this.#length > this.#maxBytes ? undefined : lines;
  }

  /** What has come after the last newline. */
  rest(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

/** The JSON object that these bytes are; undefined if they are none. */
function parsed(bytes: Buffer): object | undefined {
  try {
    const value: unknown = JSON.parse(bytes.toString("utf8"));
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

function tooLong(maxBytes: number): EndpointFailure {
  return new EndpointFailure("tooLong", `its answer is longer than ${maxBytes} bytes`);
}

/** Names of OpenSSL's and Node's errors about certificates, and about what is no TLS. */
const certificateErrors =
  /^(?:EPROTO$|ERR_SSL_|ERR_TLS_|CERT_|CRL_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_|HOSTNAME_)/;

function failureOf(error: NodeJS.ErrnoException, isSent: boolean): EndpointFailure {
  const code = error.code ?? "";
  if (certificateErrors.test(code)) return new EndpointFailure("untrusted", `TLS: ${error.message}`);
  return new EndpointFailure(isSent ? "unanswered" : "unreachable", error.message === "" ? code : error.message);
}
