import { type ErrorCode, FullmeshError } from "../core/errors.js";
import { Endpoint, EndpointFailure, type EndpointLimits, type StoreCertificates } from "./endpoint.js";
import {
  gatewayError,
  grpcCodes,
  type Header,
  type LeaseAnswer,
  type StatusAnswer,
  type TokenAnswer,
  type TransactionAnswer,
  type TransactionRequest,
  type WatchAnswer,
  type WatchRequest,
} from "./gateway.js";
import type { StoreCredentials, StoreUrl } from "./store-url.js";

/** The oldest version whose gateway has the paths and the compares of key ranges that are used here. */
const oldestMajor = 3;
const oldestMinor = 4;

/** An endpoint since it was chosen. Before its first request it says its version and its cluster, and fails if that has no leader. */
interface Choice {
  readonly endpoint: Endpoint;
  inspection?: Promise<void> | undefined;
}

/** Performs one request at an endpoint; rejects with an `EndpointFailure`. */
type Perform<Result> = (endpoint: Endpoint, token: string | undefined, deadline: number) => Promise<Result>;

export interface BegunWatch {
  /** Where it watches, as `host:port`. */
  readonly endpoint: string;
  close(): void;
}

/** What a watch reports: each message, and its end, once; `isTooLong`: because one message is longer than this server takes. */
export interface WatchMessages {
  message(answer: WatchAnswer): void;
  ended(failure: FullmeshError, isTooLong: boolean): void;
}

/**
 * A client of etcd's JSON gateway. It asks one endpoint; when that one fails, it chooses the next. A request that was not sent goes
 * to the next endpoint by itself. One that was sent may have been performed: it fails, and only its owner knows whether a repeat is
 * harmless. All of it rejects with `STORE_UNAVAILABLE`, `STORE_REFUSED`, `STORE_TOO_OLD` or `STORE_ROLLED_BACK`, within
 * `storeAnswerMs`.
 */
export class EtcdClient {
  readonly #limits: EndpointLimits;
  readonly #endpoints: readonly Endpoint[];
  readonly #credentials: StoreCredentials | undefined;
  #choice: Choice;
  /** The token of the user, which all members of the cluster take; undefined before it is asked for. */
  #token: Promise<string | undefined> | undefined;
  /** The cluster that has answered first. */
  #cluster: string | undefined;
  /** The highest revision that any answer has named. */
  #highest = 0;
  #rolledBack: FullmeshError | undefined;

  constructor({ endpoints, isSecure, credentials }: StoreUrl, certificates: StoreCertificates, limits: EndpointLimits) {
    this.#limits = limits;
    this.#endpoints = endpoints.map((at) => new Endpoint(at, isSecure ? certificates : undefined, limits));
    this.#credentials = credentials;
    this.#choice = { endpoint: this.#endpoints[0] as Endpoint };
  }

  async transact(request: TransactionRequest): Promise<TransactionAnswer> {
    return await this.#attempt(async (endpoint, token, deadline) => {
      const seen = this.#highest;
      const answer = await endpoint.post<TransactionAnswer>("/v3/kv/txn", request, token, deadline);
      // What was acknowledged before this request was sent is part of its answer, whichever member gives it: etcd orders
      // transactions by consensus, those that only read too. Status, renewals and watches are answered out of what one member
      // has, and that may lag behind: their revisions show nothing.
      this.#check(endpoint, answer.header, seen);
      return answer;
    });
  }

  async grantLease(seconds: number): Promise<LeaseAnswer> {
    return await this.#attempt(async (endpoint, token, deadline) => {
      const answer = await endpoint.post<LeaseAnswer>("/v3/lease/grant", { TTL: `${seconds}` }, token, deadline);
      this.#check(endpoint, answer.header);
      return answer;
    });
  }

  /** An answer without `TTL`: the lease has run out. */
  async renewLease(id: string): Promise<LeaseAnswer> {
    return await this.#attempt(async (endpoint, token, deadline) => {
      // A stream of one message.
      const { result } = await endpoint.post<{ result?: LeaseAnswer }>(
        "/v3/lease/keepalive",
        { ID: id },
        token,
        deadline,
      );
      this.#check(endpoint, result?.header);
      return result as LeaseAnswer;
    });
  }

  /** A lease that has run out counts as revoked. */
  async revokeLease(id: string): Promise<void> {
    await this.#attempt(async (endpoint, token, deadline) => {
      try {
        await endpoint.post("/v3/lease/revoke", { ID: id }, token, deadline);
      } catch (error) {
        if (!(error instanceof EndpointFailure) || error.grpcCode !== grpcCodes.notFound) throw error;
      }
    });
  }

  /** Resolves when etcd has begun the watch. Until then its failures reject, from then on they are reported. */
  async watch(request: WatchRequest, messages: WatchMessages): Promise<BegunWatch> {
    return await this.#attempt((endpoint, token, deadline) =>
      this.#begin(endpoint, token, deadline, request, messages),
    );
  }

  /** Chooses the next endpoint, unless `from` is not the one in use any more. */
  switchEndpoint(from = this.#choice.endpoint.name): void {
    if (this.#choice.endpoint.name === from) this.#leave(this.#choice);
  }

  /** Ends all that is under way. */
  close(): void {
    for (const endpoint of this.#endpoints) endpoint.close();
  }

  /** Performs it at the endpoint in use, or at the next one that can be asked. */
  async #attempt<Result>(perform: Perform<Result>): Promise<Result> {
    const deadline = performance.now() + this.#limits.storeAnswerMs;
    const failures = new Map<string, EndpointFailure>();
    for (;;) {
      const choice = this.#choice;
      try {
        return await this.#performAt(choice, perform, deadline);
      } catch (error) {
        if (!(error instanceof EndpointFailure)) throw error;
        failures.set(choice.endpoint.name, error);
        if (isOfEndpoint(error)) this.#leave(choice);
        const isOver = performance.now() >= deadline || failures.has(this.#choice.endpoint.name);
        if (!wasNotPerformed.has(error.kind) || isOver) throw storeError(failures);
      }
    }
  }

  async #performAt<Result>(choice: Choice, perform: Perform<Result>, deadline: number): Promise<Result> {
    const { endpoint } = choice;
    let used: Promise<string | undefined> | undefined;
    const tryOnce = async (): Promise<Result> => {
      this.#token ??= this.#authenticate(endpoint, deadline);
      used = this.#token;
      const token = await used;
      choice.inspection ??= this.#inspect(choice, token, deadline);
      await choice.inspection;
      if (this.#rolledBack !== undefined) throw this.#rolledBack;
      return await perform(endpoint, token, deadline);
    };
    try {
      return await tryOnce();
    } catch (error) {
      if (!isTokenRefused(error) || this.#credentials === undefined) throw error;
      // A token runs out, and a member that was restarted has forgotten it.
      if (this.#token === used) this.#token = undefined;
      return await tryOnce();
    }
  }

  /** The token of the user; undefined if there is no user, or if the store wants none. */
  async #authenticate(endpoint: Endpoint, deadline: number): Promise<string | undefined> {
    if (this.#credentials === undefined) return undefined;
    const { user: name, password } = this.#credentials;
    try {
      const path = "/v3/auth/authenticate";
      const { header, token } = await endpoint.post<TokenAnswer>(path, { name, password }, undefined, deadline);
      this.#check(endpoint, header);
      return token;
    } catch (error) {
      this.#token = undefined;
      if (error instanceof EndpointFailure && error.grpcCode === grpcCodes.failedPrecondition) return undefined;
      throw beforeRequest(error);
    }
  }

  /** Rejects if what answers is no etcd of a version that will do, or knows no leader. */
  async #inspect(choice: Choice, token: string | undefined, deadline: number): Promise<void> {
    const { endpoint } = choice;
    try {
      const status = await endpoint.post<StatusAnswer>("/v3/maintenance/status", {}, token, deadline);
      const { header, version = "" } = status;
      if (!isRecent(version)) {
        throw new EndpointFailure("foreign", version === "" ? "it answers without a version" : `it is etcd ${version}`);
      }
      this.#check(endpoint, header);
    } catch (error) {
      choice.inspection = undefined;
      throw beforeRequest(error);
    }
  }

  #begin(
    endpoint: Endpoint,
    token: string | undefined,
    deadline: number,
    request: WatchRequest,
    messages: WatchMessages,
  ): Promise<BegunWatch> {
    return new Promise((resolve, reject) => {
      let hasBegun = false;
      const fail = (error: unknown): void => {
        if (error instanceof EndpointFailure && hasBegun) {
          if (isOfEndpoint(error)) this.switchEndpoint(endpoint.name);
          messages.ended(storeError(new Map([[endpoint.name, error]])), error.kind === "tooLong");
        } else if (hasBegun) {
          messages.ended(error as FullmeshError, false);
        } else {
          reject(error as Error);
        }
      };
      const close = endpoint.stream("/v3/watch", request, token, deadline, {
        message: (message) => {
          let answer: WatchAnswer;
          try {
            answer = this.#watchAnswer(endpoint, message);
          } catch (error) {
            close();
            fail(error);
            return;
          }
          // Those that come with the first one are reported before this promise is seen to be resolved.
          if (!hasBegun) resolve({ endpoint: endpoint.name, close });
          hasBegun = true;
          messages.message(answer);
        },
        ended: fail,
      });
    });
  }

  #watchAnswer(endpoint: Endpoint, message: object): WatchAnswer {
    const error = gatewayError(message);
    if (error !== undefined) throw EndpointFailure.of(error);
    const { result = {} } = message as { readonly result?: WatchAnswer };
    this.#check(endpoint, result.header);
    if (result.events?.some(({ kv }) => typeof kv?.key !== "string")) {
      throw new EndpointFailure("foreign", "it reports changes without their keys");
    }
    const { canceled = false, cancel_reason: reason = "the watch was canceled", compact_revision: compacted } = result;
    if (!canceled || compacted !== undefined) return result;
    const name = /code = (\w+)/.exec(reason)?.[1] ?? "";
    throw new EndpointFailure("error", reason, cancelCodes.get(name) ?? grpcCodes.unavailable);
  }

  /** The next endpoint is in use from now on, unless `choice` was given up before. */
  #leave(choice: Choice): void {
    if (this.#choice !== choice) return;
    const index = this.#endpoints.indexOf(choice.endpoint) + 1;
    this.#choice = { endpoint: this.#endpoints[index % this.#endpoints.length] as Endpoint };
  }

  /** Throws if it is not the answer of the store that has answered before; `seen`: the revision that it may not be below. */
  #check(endpoint: Endpoint, header: Header | undefined, seen = 0): void {
    if (this.#rolledBack !== undefined) throw this.#rolledBack;
    if (header === undefined) throw new EndpointFailure("foreign", "its answer has no header");
    const { cluster_id: cluster, revision = "0" } = header;
    this.#cluster ??= cluster;
    if (this.#cluster !== cluster) {
      throw this.#rollBack(
        `${endpoint.name} belongs to the cluster ${cluster}, and the one before was ${this.#cluster}`,
      );
    }
    if (Number(revision) < seen) {
      throw this.#rollBack(`${endpoint.name} has gone back from revision ${seen} to ${revision}`);
    }
    this.#highest = Math.max(this.#highest, Number(revision));
  }

  #rollBack(reason: string): FullmeshError {
    this.#rolledBack = new FullmeshError("STORE_ROLLED_BACK", `The store is not what it was: ${reason}`);
    return this.#rolledBack;
  }
}

/** After these the request goes to the next endpoint. */
const wasNotPerformed: ReadonlySet<string> = new Set(["unreachable", "foreign", "untrusted"]);

/** The names of codes in the reason why a watch was canceled. */
const cancelCodes: ReadonlyMap<string, number> = new Map([
  ["InvalidArgument", grpcCodes.invalidArgument],
  ["PermissionDenied", grpcCodes.permissionDenied],
  ["Unauthenticated", grpcCodes.unauthenticated],
]);

/** Codes with which a member says that it, or its cluster, is in trouble. */
const troubleCodes: ReadonlySet<number | undefined> = new Set([
  grpcCodes.unknown,
  grpcCodes.deadlineExceeded,
  grpcCodes.internal,
  grpcCodes.unavailable,
]);

/** False for an answer that another member would give, too. */
function isOfEndpoint({ kind, grpcCode }: EndpointFailure): boolean {
  return (kind !== "error" && kind !== "tooLong") || troubleCodes.has(grpcCode);
}

/** What has failed is a question before the request, so the request was not performed. */
function beforeRequest(error: unknown): unknown {
  if (!(error instanceof EndpointFailure) || !isOfEndpoint(error) || wasNotPerformed.has(error.kind)) return error;
  return new EndpointFailure("unreachable", error.message);
}

function isTokenRefused(error: unknown): boolean {
  if (!(error instanceof EndpointFailure)) return false;
  return error.grpcCode === grpcCodes.unauthenticated || /revision of auth store is old/.test(error.message);
}

function isRecent(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > oldestMajor || (major === oldestMajor && minor >= oldestMinor);
}

/** What a request fails with that has failed so at each of these endpoints. */
function storeError(failures: ReadonlyMap<string, EndpointFailure>): FullmeshError {
  const codes = new Set(Array.from(failures.values(), codeOf));
  // One endpoint that may answer later is enough to go on trying.
  const [code] = codes.has("STORE_UNAVAILABLE") ? (["STORE_UNAVAILABLE"] as const) : codes;
  const each = Array.from(failures, ([name, { message }]) => `${name}: ${message}`).join("; ");
  const what = { STORE_REFUSED: "The store refuses this server", STORE_TOO_OLD: "The store is no etcd from 3.4 on" };
  const sentence = code === "STORE_REFUSED" || code === "STORE_TOO_OLD" ? what[code] : "The store did not answer";
  return new FullmeshError(code ?? "STORE_UNAVAILABLE", `${sentence}: ${each}`);
}

function codeOf({ kind, grpcCode, message }: EndpointFailure): ErrorCode {
  if (kind === "foreign") return "STORE_TOO_OLD";
  if (kind === "untrusted" || grpcCode === grpcCodes.permissionDenied || grpcCode === grpcCodes.unauthenticated) {
    return "STORE_REFUSED";
  }
  return /authentication failed|user name is empty/.test(message) ? "STORE_REFUSED" : "STORE_UNAVAILABLE";
}
