/** Meshes that have a label of their own, the first that come; all others are counted together. */
const mostLabels = 64;
const otherMeshes = "other";

/** Counts of one mesh, or of all that have no label of their own. */
export interface MeshCounts {
  joined: number;
  left: number;
  lost: number;
}

/** Counts who has come and gone since the start, for metrics: a label for each mesh, and no more labels than a database bears. */
export class MeshCounters {
  readonly #counts = new Map<string, MeshCounts>();

  /** By label. */
  get all(): ReadonlyMap<string, Readonly<MeshCounts>> {
    return this.#counts;
  }

  /** The label of a mesh, the same for as long as the server runs. */
  labelOf(mesh: string): string {
    return this.#counts.has(mesh) || this.#counts.size < mostLabels ? mesh : otherMeshes;
  }

  count(mesh: string, what: keyof MeshCounts): void {
    const label = this.labelOf(mesh);
    const counts = this.#counts.get(label) ?? { joined: 0, left: 0, lost: 0 };
    counts[what] += 1;
    this.#counts.set(label, counts);
  }
}
