import type { FullmeshError } from "../../core/errors.js";
import type { Id } from "../../protocol/directory.js";
import type { StoredValue, StorePort, TransactionResult } from "../store.js";
import { RepeatedRequest } from "./repeated-request.js";
import type { StoredPresence } from "./server-tracker.js";
import {
  type BadItem,
  type LogHead,
  type LogSnapshot,
  readItem,
  type StoredAwaiting,
  type StoreItem,
  type StoreRules,
} from "./store-keys.js";

/** Keys that one request reads at most. */
const pageKeys = 500;

/** An entry, and the revision of the store at which it was written. */
export type StoredEntry = Extract<StoreItem, { readonly type: "entry" }> & { readonly modified: number };

/** What the store holds of one mesh. */
export interface MeshImage {
  head?: { readonly head: LogHead; readonly modified: number };
  snapshot?: { readonly snapshot: LogSnapshot; readonly modified: number };
  /** Those of the log that the head names, in their order. */
  entries: StoredEntry[];
  readonly reports: (Extract<StoreItem, { readonly type: "report" }> & { readonly modified: number })[];
  readonly awaiting: Map<Id, StoredAwaiting>;
  bad?: BadItem;
}

/** All that the store holds at one revision. */
export interface StoreImage {
  readonly revision: number;
  readonly rules: { readonly rules: StoreRules; readonly modified: number } | undefined;
  readonly servers: ReadonlyMap<Id, StoredPresence>;
  readonly meshes: ReadonlyMap<string, MeshImage>;
  /** A key that belongs to no mesh, and is none of this program. */
  readonly bad: BadItem | undefined;
}

/** Sorts what was read at one revision. */
export function toImage(values: readonly StoredValue[], revision: number): StoreImage {
  const servers = new Map<Id, StoredPresence>();
  const meshes = new Map<string, MeshImage>();
  let rules: StoreImage["rules"];
  let bad: BadItem | undefined;
  for (const { key, value, created, modified } of values) {
    const item = readItem(key, value);
    if (item.type === "rules") rules = { rules: item.rules, modified };
    else if (item.type === "server") servers.set(item.writer, { presence: item.presence, created });
    else if (item.type === "bad" && item.mesh === undefined) bad ??= item;
    else if (item.mesh !== undefined) addTo(meshImageOf(meshes, item.mesh), item, modified);
  }
  for (const mesh of meshes.values()) {
    // Those of one transaction have one revision, and are in the order of their numbers.
    mesh.entries = mesh.entries
      .filter(({ log }) => log === mesh.head?.head.log)
      .sort((a, b) => a.modified - b.modified || a.number - b.number);
    if (mesh.snapshot?.snapshot.log !== mesh.head?.head.log) delete mesh.snapshot;
  }
  return { revision, rules, servers, meshes, bad };
}

function meshImageOf(meshes: Map<string, MeshImage>, name: string): MeshImage {
  const known = meshes.get(name);
  if (known !== undefined) return known;
  const mesh: MeshImage = { entries: [], reports: [], awaiting: new Map() };
  meshes.set(name, mesh);
  return mesh;
}

function addTo(
  mesh: MeshImage,
  item: Exclude<StoreItem, { type: "rules" | "server" }> | BadItem,
  modified: number,
): void {
  switch (item.type) {
    case "head":
      mesh.head = { head: item.head, modified };
      break;
    case "snapshot":
      mesh.snapshot = { snapshot: item.snapshot, modified };
      break;
    case "entry":
      mesh.entries.push({ ...item, modified });
      break;
    case "report":
      mesh.reports.push({ ...item, modified });
      break;
    case "awaiting":
      mesh.awaiting.set(item.writer, item.awaiting);
      break;
    case "bad":
      mesh.bad ??= item;
      break;
  }
}

/** Reads all keys of a range at one revision, in pages. */
export class ImageReader {
  readonly #store: StorePort;
  readonly #request: RepeatedRequest;
  /** Of the read under way: its first page may be asked for again, a later one only while its revision is in the history. */
  #begin: ((now: number) => void) | undefined;
  #isFirstPage = true;

  constructor(store: StorePort, answerMs: number, failed: (error: FullmeshError) => void) {
    this.#store = store;
    this.#request = new RepeatedRequest(store, answerMs, (error) => {
      if (!this.#isFirstPage) this.#request.cancel();
      failed(error);
    });
  }

  get isUnderWay(): boolean {
    return this.#begin !== undefined;
  }

  read(range: { readonly key: string; readonly end: string }, done: (image: StoreImage) => void, now: number): void {
    const begin = (moment: number): void => {
      const values: StoredValue[] = [];
      const page = (key: string, at: number | undefined, from: number): void => {
        this.#isFirstPage = at === undefined;
        const operation = {
          type: "read",
          ...range,
          key,
          limit: pageKeys,
          ...(at === undefined ? {} : { at }),
        } as const;
        this.#request.start<TransactionResult>(
          (answered) => this.#store.transact({ conditions: [], operations: [operation], otherwise: [] }, answered),
          ({ revision, reads: [found] }) => {
            for (const value of found?.values ?? []) values.push(value);
            const last = found?.values.at(-1)?.key;
            if (found?.more === true && last !== undefined) {
              page(`${last}\0`, at ?? revision, from);
              return;
            }
            this.#begin = undefined;
            done(toImage(values, at ?? revision));
          },
          from,
        );
      };
      page(range.key, undefined, moment);
    };
    this.#begin = begin;
    begin(now);
  }

  tick(now: number): void {
    if (this.#begin !== undefined && !this.#request.isUnderWay) this.#begin(now);
    else this.#request.tick(now);
  }

  cancel(): void {
    this.#begin = undefined;
    this.#request.cancel();
  }
}
