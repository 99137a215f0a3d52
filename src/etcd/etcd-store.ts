import type { FullmeshError } from "../core/errors.js";
import type {
  Condition,
  GrantedLease,
  LeaseId,
  StoreOperation,
  StorePort,
  StoreWatch,
  Transaction,
  TransactionResult,
  WatchEvents,
} from "../runtime/store.js";
import { EtcdClient } from "./client.js";
import type { EndpointLimits, StoreCertificates } from "./endpoint.js";
import type { Compare, RequestOperation } from "./gateway.js";
import { encodeText, KeyCodec } from "./key-codec.js";
import type { StoreUrl } from "./store-url.js";
import { EtcdWatch } from "./watch.js";

/** A store in etcd, from version 3.4 on, over its JSON gateway. */
export class EtcdStore implements StorePort {
  /** Requests since the start, and those that have failed. */
  readonly counts = { requests: 0, failures: 0 };
  readonly #client: EtcdClient;
  readonly #keys: KeyCodec;
  #watch: EtcdWatch | undefined;
  #isClosed = false;

  /** `certificates` are used if the URL begins with `etcd+https`. */
  constructor(url: StoreUrl, certificates: StoreCertificates, limits: EndpointLimits) {
    this.#client = new EtcdClient(url, certificates, limits);
    this.#keys = new KeyCodec(url.prefix);
  }

  transact(
    { conditions, operations, otherwise }: Transaction,
    done: (outcome: TransactionResult | FullmeshError) => void,
  ): void {
    const answered = this.#client
      .transact({
        compare: conditions.map((condition) => this.#compare(condition)),
        success: operations.map((operation) => this.#operation(operation)),
        failure: otherwise.map((operation) => this.#operation(operation)),
      })
      .then(({ header, succeeded = false, responses = [] }) => ({
        succeeded,
        revision: Number(header?.revision ?? 0),
        reads: responses
          .flatMap(({ response_range: range }) => range ?? [])
          .map(({ kvs = [], more = false }) => ({ values: kvs.map((kv) => this.#keys.decode(kv)), more })),
      }));
    this.#settle(answered, done);
  }

  grantLease(leaseMs: number, done: (outcome: GrantedLease | FullmeshError) => void): void {
    const granted = this.#client
      .grantLease(Math.ceil(leaseMs / 1_000))
      .then(({ ID, TTL = "0" }) => ({ lease: ID, leaseMs: Number(TTL) * 1_000 }));
    this.#settle(granted, done);
  }

  renewLease(lease: LeaseId, done: (outcome: boolean | FullmeshError) => void): void {
    const renewed = this.#client.renewLease(lease).then(({ TTL }) => TTL !== undefined);
    this.#settle(renewed, done);
  }

  revokeLease(lease: LeaseId, done: (outcome: FullmeshError | undefined) => void): void {
    const revoked = this.#client.revokeLease(lease).then(() => undefined);
    this.#settle(revoked, done);
  }

  watch(from: number, events: WatchEvents): StoreWatch {
    this.#watch = new EtcdWatch(this.#client, this.#keys, from, {
      changed: (changes, revision) => events.changed(changes, revision),
      ended: (why) => {
        if (!this.#isClosed) events.ended(why);
      },
    });
    return this.#watch;
  }

  switchEndpoint(): void {
    // A request that was late as well has changed the endpoint already.
    this.#client.switchEndpoint(this.#watch?.endpoint);
  }

  close(): void {
    this.#isClosed = true;
    this.#watch?.close();
    this.#client.close();
  }

  #settle<Outcome>(promise: Promise<Outcome>, done: (outcome: Outcome | FullmeshError) => void): void {
    this.counts.requests += 1;
    const failed = (error: FullmeshError): void => {
      this.counts.failures += 1;
      settled(error);
    };
    const settled = (outcome: Outcome | FullmeshError): void => {
      if (!this.#isClosed) done(outcome);
    };
    promise.then(settled, failed);
  }

  #compare({ key, end, of, is, revision }: Condition): Compare {
    const range = { ...this.#keys.range(key, end), result: is === "equal" ? "EQUAL" : "GREATER" } as const;
    return of === "created"
      ? { ...range, target: "CREATE", create_revision: `${revision}` }
      : { ...range, target: "MOD", mod_revision: `${revision}` };
  }

  #operation(operation: StoreOperation): RequestOperation {
    const { key } = operation;
    switch (operation.type) {
      case "put": {
        const { value, lease } = operation;
        const put = { ...this.#keys.range(key, undefined), value: encodeText(value) };
        return { request_put: lease === undefined ? put : { ...put, lease } };
      }
      case "delete":
        return { request_delete_range: this.#keys.range(key, operation.end) };
      case "read": {
        const { end, limit, at } = operation;
        return {
          request_range: {
            ...this.#keys.range(key, end),
            ...(limit === undefined ? {} : { limit: `${limit}` }),
            ...(at === undefined ? {} : { revision: `${at}` }),
          },
        };
      }
    }
  }
}
