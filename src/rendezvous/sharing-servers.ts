import type { Address } from "../protocol/address.js";
import type { Id } from "../protocol/directory.js";
import type { AdmissionRefusal } from "./admission.js";
import type { ObservedServer } from "./types.js";

/**
 * The servers that share the logs of this one, and whether the store is there in which they keep them. A server that keeps its
 * logs for itself knows no others, and its store is always there.
 */
export class SharingServers {
  readonly isShared: boolean;
  #self: Id | undefined;
  #others: ReadonlyMap<Id, ObservedServer> = new Map();
  /** Why the store is not there; undefined while it is. */
  #lost: string | undefined;
  /** Why the logs of these meshes cannot be read. */
  readonly #corrupt = new Map<string, string>();

  constructor(isShared: boolean) {
    this.isShared = isShared;
    if (isShared) this.#lost = "this server has not reached the store of its logs yet";
  }

  /** The present life of this server. */
  get self(): Id | undefined {
    return this.#self;
  }

  /** False while nothing that this server writes comes back: what it knows may be outdated. */
  get isStoreThere(): boolean {
    return this.#lost === undefined;
  }

  get hasOthers(): boolean {
    return this.#others.size > 0;
  }

  /** Where members reach the others. */
  get addresses(): Address[] {
    return Array.from(this.#others.values()).flatMap(({ address }) => address ?? []);
  }

  /** True of another server that is there. */
  has(server: Id | undefined): boolean {
    return server !== undefined && this.#others.has(server);
  }

  /** True of another server of which nothing comes at the moment. It is there until it has been silent for a lease of the store. */
  isLate(server: Id | undefined): boolean {
    return server !== undefined && this.#others.get(server)?.isLate === true;
  }

  /** Where members reach this server; undefined if it is not there. */
  addressOf(server: Id | undefined): Address | undefined {
    return server === undefined ? undefined : this.#others.get(server)?.address;
  }

  /** These servers are there, this one in this life. */
  set(self: Id, others: readonly ObservedServer[]): void {
    // It has reached the store for the first time.
    if (this.#self === undefined) this.#lost = undefined;
    this.#self = self;
    this.#others = new Map(others.map((server) => [server.id, server]));
  }

  lose(reason: string): void {
    this.#lost = reason;
  }

  regain(): void {
    this.#lost = undefined;
  }

  corrupt(mesh: string, reason: string): void {
    this.#corrupt.set(mesh, reason);
  }

  repaired(mesh: string): void {
    this.#corrupt.delete(mesh);
  }

  /** Why nobody can join this mesh or go on in it now. */
  refusalOf(mesh: string): AdmissionRefusal | undefined {
    if (this.#lost !== undefined) return { type: "refuse", code: "STORE_UNAVAILABLE", message: this.#lost };
    const corrupt = this.#corrupt.get(mesh);
    return corrupt === undefined ? undefined : { type: "refuse", code: "STORE_CORRUPT", message: corrupt };
  }
}
