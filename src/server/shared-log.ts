import { Deferred } from "../api/deferred.js";
import { type WaitOptions, waitWithin } from "../api/waiting.js";
import { FullmeshError } from "../core/errors.js";
import { EtcdStore } from "../etcd/etcd-store.js";
import { nodeClock } from "../nodejs/clock.js";
import { newId } from "../nodejs/random.js";
import { type Address, formatAddress } from "../protocol/address.js";
import type { LogAnswer, RendezvousRules, SharedLogInput, SharingServer } from "../rendezvous/types.js";
import { ReplicatedLog } from "../runtime/replicated/replicated-log.js";
import { type StoreRules, storeFormat } from "../runtime/replicated/store-keys.js";
import type { StoreFigures } from "./http/metrics.js";
import type { StoreConfig } from "./options.js";

/** What the owner of a server is told of the store, and of the servers that share it. */
export type SharedLogEvent =
  | { readonly type: "store:lost"; readonly reason: string }
  | { readonly type: "store:back"; readonly awayMs: number }
  | ({ readonly type: "server:joined" | "server:gone" } & SharingServer);

/** The membership log that this server shares with others, in etcd, and what is known of its store and of them. */
export class SharedLog {
  readonly log: ReplicatedLog;
  readonly #store: EtcdStore;
  readonly #name: string;
  readonly #opened = new Deferred<void>();
  readonly #emit: (event: SharedLogEvent) => void;
  #isOpen = false;
  #others: readonly SharingServer[] = [];
  /** Since when the store is away, if that has been told. */
  #lostAt: number | undefined;

  /** `input` takes what the log answers and tells, and `fail` what this server cannot go on with. */
  constructor(
    { url, certificates, advertise, secretTag }: StoreConfig,
    rules: RendezvousRules,
    listening: Address,
    input: (input: LogAnswer | SharedLogInput) => void,
    emit: (event: SharedLogEvent) => void,
    fail: (failure: FullmeshError) => void,
  ) {
    this.#emit = emit;
    this.#name = url.endpoints.map(formatAddress).join(", ");
    const { limits } = rules;
    this.#store = new EtcdStore(url, certificates, limits);
    const take = (answer: LogAnswer | SharedLogInput): void => {
      this.#observe(answer);
      input(answer);
    };
    this.log = new ReplicatedLog(
      this.#store,
      nodeClock,
      take,
      {
        rules: storeRules(rules, secretTag),
        limits,
        newId,
        address: advertise ?? listening,
        baseRevision: () => nodeClock.wallTime() * 1_000,
      },
      (failure) => {
        this.#opened.reject(failure);
        fail(failure);
      },
    );
  }

  /** True once the store has been read, while it is there. */
  get isThere(): boolean {
    return this.#isOpen && this.#lostAt === undefined;
  }

  get figures(): StoreFigures {
    const { isThere, log } = this;
    return { isThere, ...this.#store.counts, beatAgeMs: log.beatAgeMs, others: this.#others.length };
  }

  /** Reads the store; resolves when this server is one of those that share it. A store that does not answer is told once. */
  async open(wait: WaitOptions): Promise<void> {
    const late = setTimeout(() => this.#lost(this.#reason), lateMs);
    this.log.start(() => {
      this.#isOpen = true;
      this.#back();
      this.#opened.resolve();
    });
    try {
      await waitWithin(
        this.#opened.promise,
        wait,
        () => `the store at ${this.#name} has not been read: ${this.#reason}`,
      );
    } finally {
      clearTimeout(late);
    }
  }

  /** Tells the others that this server goes, and closes. */
  async close(): Promise<void> {
    this.#opened.reject(new FullmeshError("ABORTED", "gave up waiting for the store: the server is closed"));
    await new Promise<void>((resolve) => this.log.stop(resolve));
    this.log.close();
  }

  get #reason(): string {
    return this.log.failure?.message ?? `${this.#name} has not answered`;
  }

  #observe(input: LogAnswer | SharedLogInput): void {
    if (input.type === "storeLost") this.#lost(input.reason);
    else if (input.type === "storeBack") this.#back();
    else if (input.type === "servers") this.#compare(input.others);
  }

  #lost(reason: string): void {
    if (this.#lostAt !== undefined) return;
    this.#lostAt = nodeClock.now();
    this.#emit({ type: "store:lost", reason });
  }

  #back(): void {
    if (this.#lostAt === undefined) return;
    const awayMs = Math.round(nodeClock.now() - this.#lostAt);
    this.#lostAt = undefined;
    this.#emit({ type: "store:back", awayMs });
  }

  #compare(observed: readonly SharingServer[]): void {
    const others = observed.map(({ id, address }) => ({ id, address }));
    const [before, now] = [this.#others, others].map((servers) => new Set(servers.map(({ id }) => id)));
    const gone = this.#others.filter(({ id }) => now?.has(id) !== true);
    const joined = others.filter(({ id }) => before?.has(id) !== true);
    this.#others = others;
    for (const server of gone) this.#emit({ type: "server:gone", ...server });
    for (const server of joined) this.#emit({ type: "server:joined", ...server });
  }
}

/** From the start to when it is told that the store does not answer: a healthy one has been read by then. */
const lateMs = 1_000;

function storeRules(rules: RendezvousRules, secret: string | undefined): StoreRules {
  const { capacity, onFull, gangSize, dialect, limits } = rules;
  return {
    format: storeFormat,
    capacity: capacity === Number.POSITIVE_INFINITY ? null : capacity,
    onFull,
    ...(gangSize === undefined ? {} : { gangSize }),
    dialect,
    leaseMs: Math.max(1, Math.ceil(limits.leaseMs)),
    ...(secret === undefined ? {} : { secret }),
  };
}
