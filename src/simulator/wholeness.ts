import type { RendezvousEvent } from "../rendezvous/vocabulary.js";
import { reportLagMs } from "./ledger.js";
import { memoryMs, type NativeLife, type Stage } from "./stage.js";

type Complete = Extract<RendezvousEvent, { type: "complete" }>;
type Teardown = Extract<RendezvousEvent, { type: "teardown" }>;

/** Compares what the server tells of the mesh with the links that there are. */
export class Wholeness {
  readonly #stage: Stage;
  /** What was told last; undefined once it is true no more. */
  #complete: Complete | undefined;
  #reachedAt: number | undefined;

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  /** The newest word that the mesh is whole. */
  get complete(): Complete | undefined {
    return this.#complete;
  }

  /** True once the mesh has reached the capacity at which it ends. */
  get isFull(): boolean {
    return this.#reachedAt !== undefined && this.#stage.scenario.onFull === "teardown";
  }

  told(event: RendezvousEvent, isOrdered: boolean): void {
    const { ledger, scenario, network, observer, isSettled } = this.#stage;
    if (event.type === "joined" && ledger.members.length >= scenario.capacity) this.#reachedAt ??= network.world.now;
    if (isSettled && (event.type === "degraded" || event.type === "lost" || event.type === "left")) {
      observer.violate("L1", `the mesh does not stay whole: ${JSON.stringify(event)}`);
    }
    if (event.type === "complete") this.#toldComplete(event);
    else if (event.type === "teardown" && !isOrdered) this.#tornDown(event);
  }

  /** `complete` is never told while a pair is not linked at both ends. */
  #toldComplete(event: Complete): void {
    const { observer, ledger } = this.#stage;
    this.#complete = event;
    const { members } = ledger;
    const classics = members.filter(({ dialect }) => dialect === "classic").length;
    const unverified = (classics * (classics - 1)) / 2;
    const links = (members.length * (members.length - 1)) / 2 - unverified;
    const isTrue = event.members === members.length && event.links === links && event.unverified === unverified;
    if (!isTrue || event.revision !== ledger.revision) {
      observer.violate("C1", `told ${JSON.stringify(event)}, and there are ${members.length} members, ${links} links`);
    }
    const [pair] = this.unlinked();
    if (pair !== undefined) observer.violate("C1", `complete was told, and ${pair} are not linked`);
  }

  /** S9: no end before completeness, but for the pairs that it names. */
  #tornDown({ count, missing }: Teardown): void {
    const { observer, network, limits } = this.#stage;
    const { now } = network.world;
    const reachedAt = this.#reachedAt ?? Number.POSITIVE_INFINITY;
    if (now < reachedAt) observer.violate("S9", "the end comes before the capacity is reached");
    if (count > 0) {
      this.#stage.hit("teardown naming pairs");
      if (now < reachedAt + limits.finishMs) observer.violate("S9", `the end comes with ${count} pairs missing`);
    }
    if (missing.length !== Math.min(count, limits.namedPairs)) observer.violate("S9", `${count} pairs, some unnamed`);
    const named = new Set(missing.map(([a, b]) => [a, b].sort().join(" - ")));
    const unnamed = this.unlinked().find((pair) => !named.has(pair));
    if (unnamed !== undefined && count <= limits.namedPairs) {
      observer.violate("S9", `the end comes, and ${unnamed} are neither linked nor named`);
    }
  }

  /** Pairs of native members that are not linked, though the server must have heard of it. */
  unlinked(): string[] {
    const { ledger, lives, bonds } = this.#stage;
    const members = ledger.members.filter(({ dialect }) => dialect === "native").map(({ id }) => lives.get(id));
    const pairs: string[] = [];
    for (const [index, a] of members.entries()) {
      for (const b of members.slice(index + 1)) {
        if (a === undefined || b === undefined || bonds.areLinked(a, b)) continue;
        if (!bonds.haveMet(a, b) || !this.#isUnheard(a, b)) pairs.push([a.address, b.address].sort().join(" - "));
      }
    }
    return pairs;
  }

  /** The two were linked, and the server cannot be blamed for not knowing that they are no more. */
  #isUnheard(a: NativeLife, b: NativeLife): boolean {
    const { bonds, network, serverProcess } = this.#stage;
    const since = network.world.now - reportLagMs(this.#stage);
    const isFresh = (bonds.changedAt(a, b.id) ?? since) >= since || (bonds.changedAt(b, a.id) ?? since) >= since;
    return isFresh || this.#isCutOff(a) || this.#isCutOff(b) || serverProcess.absentMs(memoryMs) > 0;
  }

  #isCutOff({ isOver, session, process }: NativeLife): boolean {
    const { network, serverProcess } = this.#stage;
    if (isOver || process.absentMs(memoryMs) > 0 || session === undefined || session.isTouched) return true;
    return session.isClosed || network.hinderedAt(process.name, serverProcess.name) > network.world.now - memoryMs;
  }
}
