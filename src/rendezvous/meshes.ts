import { TimerTable } from "../core/timer-table.js";
import { claimLeaseMs } from "../protocol/claims.js";
import type { AddressRegistry } from "./address-registry.js";
import type { ClaimTotals } from "./claims.js";
import { classicMesh } from "./classic/handler.js";
import { Mesh, type MeshOptions } from "./mesh.js";

/** The meshes of a server, by name. */
export class Meshes {
  readonly addresses: AddressRegistry;
  readonly #options: Omit<MeshOptions, "name" | "revision" | "claimTotals">;
  readonly #claimTotals: ClaimTotals;
  readonly #meshes = new Map<string, Mesh>();
  /** Meshes that have changed since their last review. */
  readonly #touched = new Set<Mesh>();
  readonly #deadlines = new TimerTable<Mesh>();
  readonly #setFor = new Map<Mesh, number | undefined>();
  /** A new log begins above the revisions of all forgotten ones, so that no order is given twice. */
  #revision: number;

  constructor(options: Omit<MeshOptions, "name" | "revision" | "claimTotals">) {
    this.#options = options;
    this.addresses = options.addresses;
    this.#revision = options.rules.firstRevision;
    this.#claimTotals = { count: 0, grantsFrom: options.rules.startedAtMs + claimLeaseMs };
    // It exists from the start and is never removed, so that classic members always have a mesh.
    this.open(classicMesh, options.rules.startedAtMs);
  }

  /** The revision before the first entry of a log that begins now. */
  get revision(): number {
    return this.#revision;
  }

  get all(): Iterable<Mesh> {
    return this.#meshes.values();
  }

  /** The mesh of this name, which will be reviewed after this input. */
  find(name: string): Mesh | undefined {
    const mesh = this.#meshes.get(name);
    if (mesh !== undefined) this.#touched.add(mesh);
    return mesh;
  }

  /** The mesh of this name, for reading only. */
  peek(name: string): Mesh | undefined {
    return this.#meshes.get(name);
  }

  hasRoomFor(name: string): boolean {
    const isRoomLeft = this.#meshes.size < this.#options.rules.limits.meshes;
    return isRoomLeft || this.#meshes.has(name) || this.#dispensable !== undefined;
  }

  /**
   * The mesh that may be dropped for a new one: the oldest that has ended, which is kept only to answer late members, or
   * else one that is deserted.
   */
  get #dispensable(): Mesh | undefined {
    const others = [...this.#meshes.values()].filter(({ name }) => name !== classicMesh);
    return others.find(({ hasEnded }) => hasEnded) ?? others.find(({ isDeserted }) => isDeserted);
  }

  /** The mesh of this name, or a new one that is not kept, to judge a registration by. */
  orNew(name: string): Mesh {
    return (
      this.find(name) ?? new Mesh({ ...this.#options, name, revision: this.#revision, claimTotals: this.#claimTotals })
    );
  }

  /** The mesh of this name, created if there is none; undefined if there are too many. */
  open(name: string, now: number): Mesh | undefined {
    if (!this.hasRoomFor(name)) return undefined;
    const isFull = !this.#meshes.has(name) && this.#meshes.size >= this.#options.rules.limits.meshes;
    const dispensable = isFull ? this.#dispensable : undefined;
    if (dispensable !== undefined) this.#forget(dispensable, now);
    const mesh = this.orNew(name);
    this.#meshes.set(name, mesh);
    this.#touched.add(mesh);
    return mesh;
  }

  /** The meshes that have changed, each once. */
  *takeTouched(): Iterable<Mesh> {
    for (const mesh of this.#touched) {
      this.#touched.delete(mesh);
      yield mesh;
    }
  }

  /**
   * After the review of a mesh: forgets it if it is empty, or has had no session for a lease; else sets its next timer.
   */
  settle(mesh: Mesh, now: number): void {
    const isKept = mesh.name === classicMesh;
    if (mesh.isAbandoned(now) || (mesh.isIdle && !isKept)) {
      this.#forget(mesh, now);
      if (isKept) this.open(classicMesh, now);
      return;
    }
    const at = mesh.nextTimeout();
    if (at === this.#setFor.get(mesh)) return;
    this.#setFor.set(mesh, at);
    if (at === undefined) this.#deadlines.clear(mesh);
    else this.#deadlines.set(mesh, at);
  }

  #forget(mesh: Mesh, now: number): void {
    this.#revision = Math.max(this.#revision, mesh.membership.directory.revision);
    mesh.forget(now);
    this.#options.outputs.push({ type: "forgetLog", mesh: mesh.name });
    this.#meshes.delete(mesh.name);
    this.#touched.delete(mesh);
    this.#deadlines.clear(mesh);
    this.#setFor.delete(mesh);
  }

  /** From now on no mesh changes any more. */
  halt(): void {
    for (const mesh of this.#meshes.values()) mesh.halt();
    this.#deadlines.clearAll();
    this.#setFor.clear();
  }

  nextTimeout(): number | undefined {
    return this.#deadlines.next();
  }

  handleTimeout(now: number): void {
    for (let mesh = this.#deadlines.takeDue(now); mesh !== undefined; mesh = this.#deadlines.takeDue(now)) {
      this.#setFor.delete(mesh);
      this.#touched.add(mesh);
      mesh.handleTimeout(now);
    }
  }
}
