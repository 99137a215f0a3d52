import type { OutputSink } from "../core/machine.js";
import type { Timers } from "../core/timers.js";
import { claimLeaseMs } from "../protocol/claims.js";
import type { ControlOf } from "../protocol/native/control.js";
import { AddressRegistry } from "./address-registry.js";
import type { ClaimTotals } from "./claim-registry.js";
import { Mesh } from "./mesh.js";
import type { MeshEndReason } from "./session-closer.js";
import type { SharingServers } from "./sharing-servers.js";
import type { LogState, RendezvousOutput, RendezvousRules } from "./types.js";

/** The mesh of all classic members, which name none. */
export const classicMesh = "default";

/** The meshes of a server, by name. */
export class Meshes {
  readonly addresses = new AddressRegistry();
  readonly #rules: RendezvousRules;
  readonly #servers: SharingServers;
  readonly #outputs: OutputSink<RendezvousOutput>;
  readonly #timers: Timers;
  readonly #claimTotals: ClaimTotals;
  readonly #meshes = new Map<string, Mesh>();
  /** The logs that had ended before this server knew them, by their meshes. */
  readonly #endedLogs = new Map<string, LogState>();
  /** Meshes that have changed since their last review. */
  readonly #touched = new Set<Mesh>();
  /** A new log begins above the revisions of all forgotten ones, so that no order is given twice. */
  #revision: number;

  constructor(rules: RendezvousRules, servers: SharingServers, timers: Timers, outputs: OutputSink<RendezvousOutput>) {
    this.#rules = rules;
    this.#servers = servers;
    this.#timers = timers;
    this.#outputs = outputs;
    this.#revision = rules.firstRevision;
    this.#claimTotals = { count: 0, grantsFrom: rules.startedAtMs + claimLeaseMs };
    // It exists from the start and is never removed, so that classic members always have a mesh.
    this.open(classicMesh, rules.startedAtMs);
  }

  /** The revision before the first entry of a log that begins now. */
  get revision(): number {
    return this.#revision;
  }

  get all(): Iterable<Mesh> {
    return this.#meshes.values();
  }

  /** The mesh of all classic members, which will be reviewed after this input. */
  get classic(): Mesh {
    const mesh = this.find(classicMesh);
    if (mesh === undefined) throw new Error("the mesh of classic members is never forgotten");
    return mesh;
  }

  /** The mesh of this name, which will be reviewed after this input. */
  find(name: string | undefined): Mesh | undefined {
    const mesh = this.peek(name);
    if (mesh !== undefined) this.#touched.add(mesh);
    return mesh;
  }

  /** The mesh of this name, for reading only. */
  peek(name: string | undefined): Mesh | undefined {
    return name === undefined ? undefined : this.#meshes.get(name);
  }

  hasRoomFor(name: string): boolean {
    return this.#meshes.size < this.#rules.limits.meshes || this.#meshes.has(name) || this.#dispensable !== undefined;
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
    const known = this.find(name);
    if (known !== undefined) return known;
    return new Mesh(
      name,
      this.#revision,
      this.#rules,
      this.#servers,
      this.addresses,
      this.#claimTotals,
      this.#outputs,
      this.#timers,
      this.#touched,
    );
  }

  /** The mesh of this name, created if there is none; undefined if there are too many. */
  open(name: string, now: number): Mesh | undefined {
    if (!this.hasRoomFor(name)) return undefined;
    const isFull = !this.#meshes.has(name) && this.#meshes.size >= this.#rules.limits.meshes;
    const dispensable = isFull ? this.#dispensable : undefined;
    if (dispensable !== undefined) this.#forget(dispensable, now);
    const mesh = this.orNew(name);
    this.#meshes.set(name, mesh);
    this.#touched.add(mesh);
    return mesh;
  }

  /** The mesh of a log that is there already. */
  openLogged(name: string): Mesh {
    const mesh = this.orNew(name);
    this.#meshes.set(name, mesh);
    this.#touched.add(mesh);
    return mesh;
  }

  /** A log has been read that had ended before this server knew it: members of it that come late are sent the end. */
  keepEnded(name: string, log: LogState): void {
    if (log.ended?.kind === "forgotten") return;
    this.#endedLogs.delete(name);
    this.#endedLogs.set(name, log);
    const [oldest] = this.#endedLogs.keys();
    if (this.#endedLogs.size > this.#rules.limits.meshes && oldest !== undefined) this.#endedLogs.delete(oldest);
  }

  /** How the mesh has ended of which somebody was a member; undefined if it goes on, or that is not known. */
  endOf(who: Pick<ControlOf<"resume">, "mesh" | "log" | "id" | "address">): MeshEndReason | undefined {
    const mesh = this.peek(who.mesh);
    if (mesh?.hasEnded === true && mesh.members.get(who.id)?.address === who.address)
      return mesh.ending ?? { reason: "the mesh has ended", isRelease: false };
    const { log, members = [], ended } = this.#endedLogs.get(who.mesh) ?? {};
    // Another log may have begun since.
    if (ended === undefined || log !== who.log || mesh?.isLogRead === true) return undefined;
    if (!members.some(({ id, address }) => id === who.id && address === who.address)) return undefined;
    const { reason, kind, incomplete } = ended;
    return { reason, isRelease: kind === "release", ...(incomplete === undefined ? {} : { incomplete }) };
  }

  /** Another log of this mesh has begun. Returns the mesh of that one. */
  replace(mesh: Mesh, now: number): Mesh {
    this.#drop(mesh, "its log has begun anew", now);
    const next = this.openLogged(mesh.name);
    next.follow(mesh);
    return next;
  }

  /** The log says that the mesh is forgotten. */
  forget(mesh: Mesh, now: number): void {
    this.#forget(mesh, now);
    if (mesh.name === classicMesh) this.open(classicMesh, now);
  }

  /** The meshes that have changed, each once. */
  *takeTouched(): Iterable<Mesh> {
    for (const mesh of this.#touched) {
      this.#touched.delete(mesh);
      yield mesh;
    }
  }

  /**
   * After the review of a mesh: forgets it if it is empty, or has had no session for a lease. One whose log servers share is
   * forgotten when that comes back.
   */
  settle(mesh: Mesh, now: number): void {
    if (mesh.isLogRead) {
      if (mesh.isAbandoned(now)) mesh.publishForgotten(now);
    } else if (mesh.isAbandoned(now) || (mesh.name !== classicMesh && mesh.isIdle)) this.forget(mesh, now);
  }

  #forget(mesh: Mesh, now: number): void {
    this.#drop(mesh, mesh.unheardText, now);
    this.#outputs.push({ type: "forgetLog", mesh: mesh.name });
  }

  #drop(mesh: Mesh, reason: string, now: number): void {
    this.#revision = Math.max(this.#revision, mesh.members.directory.revision);
    mesh.forget(reason, now);
    mesh.halt();
    this.#meshes.delete(mesh.name);
    this.#touched.delete(mesh);
  }

  /** From now on no mesh changes any more. */
  halt(): void {
    for (const mesh of this.#meshes.values()) mesh.halt();
  }
}
