import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import { FullmeshError } from "../../src/core/errors.js";
import { defaultLimits, type Limits } from "../../src/core/limits.js";
import type { StoreCertificates } from "../../src/etcd/endpoint.js";
import { EtcdStore } from "../../src/etcd/etcd-store.js";
import { storeUrl } from "../../src/etcd/store-url.js";
import type {
  Condition,
  GrantedLease,
  StoreEvent,
  StoreOperation,
  Transaction,
  TransactionResult,
} from "../../src/runtime/store.js";
import { Recorder } from "../support/sockets.js";

/** What a watch has reported. */
type Reported =
  | { readonly type: "changed"; readonly events: readonly StoreEvent[]; readonly revision: number }
  | { readonly type: "ended"; readonly compacted?: number; readonly code: string };

/** A store whose calls return promises, and which is closed when the test is over. */
export class TestStore {
  readonly port: EtcdStore;

  constructor(url: string, limits: Partial<Limits> = {}, certificates: StoreCertificates = {}) {
    this.port = new EtcdStore(storeUrl(url), certificates, { ...defaultLimits, ...limits });
    onTestFinished(() => this.port.close());
  }

  transact(transaction: Partial<Transaction>): Promise<TransactionResult | FullmeshError> {
    return new Promise((done) => {
      this.port.transact({ conditions: [], operations: [], otherwise: [], ...transaction }, done);
    });
  }

  /** Performs them if the conditions hold. Rejects if it was not answered. */
  async perform(
    operations: readonly StoreOperation[],
    conditions: readonly Condition[] = [],
  ): Promise<TransactionResult> {
    const outcome = await this.transact({ conditions, operations });
    if (outcome instanceof FullmeshError) throw outcome;
    return outcome;
  }

  /** The revision of the put. */
  async put(key: string, value = "x"): Promise<number> {
    return (await this.perform([{ type: "put", key, value }])).revision;
  }

  /** The values from `key` up to `end`. */
  async read(key: string, end?: string): Promise<string[]> {
    const { reads } = await this.perform([end === undefined ? { type: "read", key } : { type: "read", key, end }]);
    return reads.flatMap(({ values }) => values.map(({ value }) => value));
  }

  /** The code with which a transaction that only reads fails; undefined if it is answered. */
  async failure(): Promise<FullmeshError | undefined> {
    const outcome = await this.transact({ operations: [{ type: "read", key: "any" }] });
    return outcome instanceof FullmeshError ? outcome : undefined;
  }

  grantLease(leaseMs: number): Promise<GrantedLease | FullmeshError> {
    return new Promise((done) => this.port.grantLease(leaseMs, done));
  }

  renewLease(lease: string): Promise<boolean | FullmeshError> {
    return new Promise((done) => this.port.renewLease(lease, done));
  }

  revokeLease(lease: string): Promise<FullmeshError | undefined> {
    return new Promise((done) => this.port.revokeLease(lease, done));
  }

  watch(from: number): TestWatch {
    return new TestWatch(this.port, from);
  }
}

/** A watch, and what it reports. */
export class TestWatch {
  readonly reported = new Recorder<Reported>();
  readonly close: () => void;

  constructor(port: EtcdStore, from: number) {
    const watch = port.watch(from, {
      changed: (events, revision) => this.reported.add({ type: "changed", events, revision }),
      ended: ({ failure, ...why }) => this.reported.add({ type: "ended", code: failure.code, ...why }),
    });
    this.close = () => watch.close();
  }

  /** What has come so far, in order. */
  get events(): StoreEvent[] {
    return this.reported.items.flatMap((item) => (item.type === "changed" ? item.events : []));
  }

  /** Resolves when it has reported a put of this key. */
  async sawPut(key: string): Promise<void> {
    const isPut = (event: StoreEvent): boolean => event.type === "put" && event.key === key;
    await this.reported.first((item) => item.type === "changed" && item.events.some(isPut));
  }

  /** Resolves when it has reported a delete of this key. */
  async sawDelete(key: string): Promise<void> {
    const isDelete = (event: StoreEvent): boolean => event.type === "delete" && event.key === key;
    await this.reported.first((item) => item.type === "changed" && item.events.some(isDelete));
  }

  ended(): Promise<Reported> {
    return this.reported.first(({ type }) => type === "ended");
  }
}

/** An HTTP server in the place of an etcd, until the test is over; its `host:port`. */
export async function httpServer(answer: RequestListener): Promise<string> {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}
