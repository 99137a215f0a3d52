import type { CompletenessReport } from "../../src/mesh/types.js";
import type { RendezvousEvent } from "../../src/rendezvous/types.js";
import { memoryMs, type NativeRun, type SimulationContext } from "../simulation-context.js";
import { reportLagMs } from "./log-checker.js";

type CompleteEvent = Extract<RendezvousEvent, { type: "complete" }>;
type TeardownEvent = Extract<RendezvousEvent, { type: "teardown" }>;

/** Compares what the server and the members tell of the mesh with who lives, and with the links that there are. */
export class CompletenessChecker {
  readonly #stage: SimulationContext;
  /** What was told last; undefined once it is true no more. */
  #complete: CompleteEvent | undefined;
  /** When as many were listed as the capacity for the first time, and when the server said that it was full. */
  #reachedAt: number | undefined;
  #fullAt: number | undefined;

  constructor(stage: SimulationContext) {
    this.#stage = stage;
  }

  /** The newest word that the mesh is whole. */
  get complete(): CompleteEvent | undefined {
    return this.#complete;
  }

  /** By when a mesh that has been full and ends at its capacity must have ended; undefined for any other. */
  get endsBy(): number | undefined {
    const { scenario, limits } = this.#stage;
    if (this.#fullAt === undefined || scenario.onFull !== "teardown") return undefined;
    return this.#fullAt + limits.finishMs + 2 * limits.settleMs;
  }

  told(event: RendezvousEvent, isOrdered: boolean): void {
    const { ledger, scenario, network, observer, isSettled } = this.#stage;
    if (event.type === "joined" && ledger.members.length >= scenario.capacity) this.#reachedAt ??= network.world.now;
    if (isSettled && (event.type === "degraded" || event.type === "lost" || event.type === "left")) {
      observer.violate("L1", `the mesh does not stay whole: ${JSON.stringify(event)}`);
    }
    if (event.type === "complete") this.#toldComplete(event);
    else if (event.type === "full") this.#toldFull(event.members);
    else if (event.type === "teardown" && !isOrdered) this.#tornDown(event);
  }

  /** A native member tells that the mesh is whole. */
  heard(life: NativeRun, { members, links }: CompletenessReport): void {
    const { observer, scenario, bonds, ledger } = this.#stage;
    this.#stage.hit("complete heard");
    const said = `${life.address} tells complete with ${members} members, ${links} links`;
    if (this.#isBounded && members < scenario.capacity && scenario.onFull === "teardown") {
      observer.violate("C1", `${said}, below the capacity of ${scenario.capacity}`);
    }
    const broken = ledger.members.find(({ id }) => bonds.isBroken(life, id));
    if (broken !== undefined) observer.violate("C1", `${said}, and its link with ${broken.address} is broken`);
  }

  #toldFull(members: number): void {
    const { observer, scenario, network } = this.#stage;
    this.#fullAt = network.world.now;
    const there = this.#there.length;
    if (members < scenario.capacity || there < members) {
      observer.violate("C1", `full was told with ${members} members, and ${there} of ${scenario.capacity} are there`);
    }
  }

  /** `complete` is never told while a member is not there, while a pair is not linked at both ends, or below the capacity. */
  #toldComplete(event: CompleteEvent): void {
    const { observer, ledger, scenario } = this.#stage;
    this.#complete = event;
    const { members } = ledger;
    const classics = members.filter(({ dialect }) => dialect === "classic").length;
    const unverified = (classics * (classics - 1)) / 2;
    const links = (members.length * (members.length - 1)) / 2 - unverified;
    const isTrue = event.members === members.length && event.links === links && event.unverified === unverified;
    if (!isTrue || event.revision !== ledger.revision) {
      observer.violate("C1", `told ${JSON.stringify(event)}, and there are ${members.length} members, ${links} links`);
    }
    const [absent] = this.#absent;
    if (absent !== undefined) observer.violate("C1", `complete was told, and ${absent} has no session`);
    if (this.#isBounded && members.length < scenario.capacity) {
      observer.violate(
        "C1",
        `complete was told of ${members.length} members, below the capacity of ${scenario.capacity}`,
      );
    }
    const [pair] = this.unlinked();
    if (pair !== undefined) observer.violate("C1", `complete was told, and ${pair} are not linked`);
  }

  /** S9: no end before completeness, but for what it names. */
  #tornDown(event: TeardownEvent): void {
    const { observer, limits } = this.#stage;
    const { count, missing } = event;
    this.#checkEnding(event);
    if (missing.length !== Math.min(count, limits.namedPairs)) observer.violate("S9", `${count} pairs, some unnamed`);
    const named = new Set(missing.map(([a, b]) => [a, b].sort().join(" - ")));
    const unnamed = this.unlinked().find((pair) => !named.has(pair));
    if (unnamed !== undefined && count <= limits.namedPairs) {
      observer.violate("S9", `the end comes, and ${unnamed} are neither linked nor named`);
    }
  }

  /** Whether it may end now, and as what it says. */
  #checkEnding({ count, absent, incomplete }: TeardownEvent): void {
    const { observer, network, limits, scenario } = this.#stage;
    const { now } = network.world;
    const reachedAt = this.#reachedAt ?? Number.POSITIVE_INFINITY;
    if (now < reachedAt) observer.violate("S9", "the end comes before the capacity is reached");
    const there = this.#there.length;
    if (incomplete === undefined) {
      if (count > 0 || absent.length > 0) observer.violate("S9", `the end is told as whole, and lacks ${count} pairs`);
      if (there < scenario.capacity)
        observer.violate("S9", `the end comes with ${there} of ${scenario.capacity} members`);
    } else {
      this.#stage.hit(absent.length > 0 ? "teardown naming members" : "teardown naming pairs");
      if (now < reachedAt + limits.finishMs) observer.violate("S9", `the end comes too early: ${incomplete}`);
      if (absent.length < Math.min(scenario.capacity - there, limits.namedPairs)) {
        observer.violate("S9", `${there} of ${scenario.capacity} are there, and ${absent.length} are named`);
      }
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

  get #isBounded(): boolean {
    return this.#stage.scenario.capacity !== Number.POSITIVE_INFINITY;
  }

  /** The addresses of listed members with whose process the server has a connection that is open as far as it knows. */
  get #there(): string[] {
    const { ledger, network, serverProcess } = this.#stage;
    const heard = new Set<string>();
    for (const { connection, isKnownClosed, other } of network.endsOf(serverProcess)) {
      if (connection.startsWith("in:") && !isKnownClosed && other !== undefined) heard.add(other.process.name);
    }
    // A port that was cut on its way is a shorter one in the classic dialect, and is corrected later.
    const isCutOf = (address: string): boolean => Array.from(heard).some((name) => name.startsWith(address));
    const there = ledger.members.filter(({ address, dialect }) => {
      return heard.has(address) || (dialect === "classic" && isCutOf(address));
    });
    return there.map(({ address }) => address);
  }

  /** The addresses of all other listed members: to the server, none of them can be there. */
  get #absent(): string[] {
    const there = new Set(this.#there);
    return this.#stage.ledger.members.map(({ address }) => address).filter((address) => !there.has(address));
  }

  /** The two were linked, and the server cannot be blamed for not knowing that they are no more. */
  #isUnheard(a: NativeRun, b: NativeRun): boolean {
    const { bonds, network, serverProcess } = this.#stage;
    const since = network.world.now - reportLagMs(this.#stage);
    const isFresh = (bonds.changedAt(a, b.id) ?? since) >= since || (bonds.changedAt(b, a.id) ?? since) >= since;
    return isFresh || this.#isCutOff(a) || this.#isCutOff(b) || serverProcess.absentMs(memoryMs) > 0;
  }

  #isCutOff({ isOver, session, process }: NativeRun): boolean {
    const { network, serverProcess } = this.#stage;
    if (isOver || process.absentMs(memoryMs) > 0 || session === undefined || session.isTouched) return true;
    return session.isClosed || network.hinderedAt(process.name, serverProcess.name) > network.world.now - memoryMs;
  }
}
