import { TimerTable } from "../core/timer-table.js";
import type { AddressRegistry } from "./address-registry.js";
import { classicMesh } from "./classic/handler.js";
import { Mesh, type MeshOptions } from "./mesh.js";

/** The meshes of a server, by name. */
export class Meshes {
  readonly addresses: AddressRegistry;
  readonly #options: Omit<MeshOptions, "name" | "revision">;
  readonly #meshes = new Map<string, Mesh>();
  /** Those that something has happened to since they were last looked at. */
  readonly #touched = new Set<Mesh>();
  readonly #deadlines = new TimerTable<Mesh>();
  readonly #setFor = new Map<Mesh, number | undefined>();
  /** No log begins below what a forgotten one of that name may have reached: orders never come back. */
  #revision: number;

  constructor(options: Omit<MeshOptions, "name" | "revision">) {
    this.#options = options;
    this.addresses = options.addresses;
    this.#revision = options.rules.firstRevision;
    // It is there from the first and for good, so that there is always room for it.
    this.open(classicMesh);
  }

  /** The revision before the first entry of a log that begins now. */
  get revision(): number {
    return this.#revision;
  }

  get all(): Iterable<Mesh> {
    return this.#meshes.values();
  }

  /** The mesh of this name, to which something is about to happen. */
  find(name: string): Mesh | undefined {
    const mesh = this.#meshes.get(name);
    if (mesh !== undefined) this.#touched.add(mesh);
    return mesh;
  }

  /** The same, without anything happening to it. */
  peek(name: string): Mesh | undefined {
    return this.#meshes.get(name);
  }

  hasRoomFor(name: string): boolean {
    const isRoomLeft = this.#meshes.size < this.#options.rules.limits.meshes;
    return isRoomLeft || this.#meshes.has(name) || this.#dispensable !== undefined;
  }

  /**
   * The one that makes room for a new one: the oldest that has ended, which is remembered only so that who comes late is
   * told, or else one in which nobody is any more.
   */
  get #dispensable(): Mesh | undefined {
    const others = [...this.#meshes.values()].filter(({ name }) => name !== classicMesh);
    return others.find(({ hasEnded }) => hasEnded) ?? others.find(({ isDeserted }) => isDeserted);
  }

  /** The mesh of this name, or one as it would be if it began now; a mere question begins none. */
  orNew(name: string): Mesh {
    return this.find(name) ?? new Mesh({ ...this.#options, name, revision: this.#revision });
  }

  /** The mesh of this name, begun if there is none; undefined if there are too many. */
  open(name: string): Mesh | undefined {
    if (!this.hasRoomFor(name)) return undefined;
    const isFull = !this.#meshes.has(name) && this.#meshes.size >= this.#options.rules.limits.meshes;
    const dispensable = isFull ? this.#dispensable : undefined;
    if (dispensable !== undefined) this.#forget(dispensable);
    const mesh = this.orNew(name);
    this.#meshes.set(name, mesh);
    this.#touched.add(mesh);
    return mesh;
  }

  /** Those to which something has happened, each once. */
  *takeTouched(): Iterable<Mesh> {
    for (const mesh of this.#touched) {
      this.#touched.delete(mesh);
      yield mesh;
    }
  }

  /**
   * All of a mesh has been looked at: forgets it if nobody is in it, or nobody of it has been heard for a lease, else notes
   * when it wants to be looked at next.
   */
  settle(mesh: Mesh, now: number): void {
    const isKept = mesh.name === classicMesh;
    if (mesh.isAbandoned(now) || (mesh.isIdle && !isKept)) {
      this.#forget(mesh);
      if (isKept) this.open(classicMesh);
      return;
    }
    const at = mesh.nextTimeout();
    if (at === this.#setFor.get(mesh)) return;
    this.#setFor.set(mesh, at);
    if (at === undefined) this.#deadlines.clear(mesh);
    else this.#deadlines.set(mesh, at);
  }

  #forget(mesh: Mesh): void {
    this.#revision = Math.max(this.#revision, mesh.roll.directory.revision);
    mesh.forget();
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
