import { FullmeshError } from "../core/errors.js";
import type { StoreEvent, StoreWatch, WatchEvents } from "../runtime/store.js";
import type { EtcdClient } from "./client.js";
import type { WatchAnswer } from "./gateway.js";
import type { KeyCodec } from "./key-codec.js";

/** A watch of all keys below the prefix, from a revision on. */
export class EtcdWatch implements StoreWatch {
  readonly #keys: KeyCodec;
  readonly #from: number;
  readonly #events: WatchEvents;
  /** The newest revision that was reported. */
  #newest = 0;
  #end: (() => void) | undefined;
  #endpoint: string | undefined;
  #isOver = false;

  constructor(client: EtcdClient, keys: KeyCodec, from: number, events: WatchEvents) {
    this.#keys = keys;
    this.#from = from;
    this.#events = events;
    const messages = {
      message: (answer: WatchAnswer) => this.#answered(answer),
      ended: (failure: FullmeshError, isTooLong: boolean) =>
        this.#ended({ failure, ...(isTooLong ? { isTooLong } : {}) }),
    };
    client.watch({ create_request: { ...keys.all, start_revision: `${from}` } }, messages).then(
      ({ endpoint, close }) => {
        this.#endpoint = endpoint;
        if (this.#isOver) close();
        else this.#end = close;
      },
      (failure: unknown) => this.#ended({ failure: failure as FullmeshError }),
    );
  }

  /** Where it watches, as `host:port`; undefined until etcd has begun it. */
  get endpoint(): string | undefined {
    return this.#endpoint;
  }

  close(): void {
    this.#isOver = true;
    this.#end?.();
  }

  #answered({ header, events = [], canceled = false, compact_revision: compacted }: WatchAnswer): void {
    if (this.#isOver) return;
    if (canceled) {
      const failure = unavailable(`The watch from revision ${this.#from} has missed what was compacted: ${compacted}`);
      this.#ended({ failure, compacted: Number(compacted) });
      return;
    }
    const changes = events
      .map(({ type, kv }): StoreEvent => {
        const stored = this.#keys.decode(kv);
        return type === "DELETE"
          ? { type: "delete", key: stored.key, modified: stored.modified }
          : { type: "put", ...stored };
      })
      // A member that was behind when the watch began may report older changes later (etcd#20221).
      .filter(({ modified }) => modified >= this.#from);
    const [first] = changes;
    const last = changes.at(-1);
    if (first === undefined || last === undefined) return;
    if (first.modified < this.#newest) {
      const failure = unavailable(`The watch has gone back from revision ${this.#newest} to ${first.modified}`);
      this.#ended({ failure });
      return;
    }
    this.#newest = last.modified;
    this.#events.changed(changes, Math.max(last.modified, Number(header?.revision ?? 0)));
  }

  #ended(why: Parameters<WatchEvents["ended"]>[0]): void {
    if (this.#isOver) return;
    this.close();
    this.#events.ended(why);
  }
}

function unavailable(message: string): FullmeshError {
  return new FullmeshError("STORE_UNAVAILABLE", message);
}
