import type { CompletenessReport } from "../../src/mesh/types.js";
import type { RendezvousEvent } from "../../src/rendezvous/types.js";
import { memoryMs, type NativeRun, type SimulationContext } from "../simulation-context.js";
import { reportLagMs } from "./log-checker.js";

type CompleteEvent = Extract<RendezvousEvent, { type: "complete" }>;
type TeardownEvent = Extract<RendezvousEvent, { type: "teardown" }>;

/** Compares what server and members report about the mesh with the processes that run and the links that there are. */
export class CompletenessChecker {
  readonly #context: SimulationContext;
  /** The last report; undefined once it is not true any more. */
  #complete: CompleteEvent | undefined;
  /** When as many were listed as the capacity for the first time, and when the server said that it was full. */
  #reachedAt: number | undefined;
  #fullAt: number | undefined;

  constructor(context: SimulationContext) {
    this.#context = context;
  }

  /** The newest `complete`. */
  get complete(): CompleteEvent | undefined {
    return this.#complete;
  }

  /** By when a mesh that has been full and ends at its capacity must have ended; undefined for any other. */
  get endsBy(): number | undefined {
    const { scenario, limits } = this.#context;
    if (this.#fullAt === undefined || scenario.onFull !== "teardown") return undefined;
    return this.#fullAt + limits.finishMs + 2 * limits.settleMs;
  }

  serverEvent(event: RendezvousEvent, isOrdered: boolean): void {
    const { logChecker, scenario, network, invariantChecker, isSettled } = this.#context;
    if (event.type === "joined" && logChecker.members.length >= scenario.capacity)
      this.#reachedAt ??= network.engine.now;
    // Whoever was only expected was no part of the mesh.
    const isExpected = "id" in event && (logChecker.isOnlyRemembered(event.id) || logChecker.madeUp.has(event.id));
    const isDeparture = event.type === "left" || (event.type === "lost" && !isExpected);
    if (isSettled && (event.type === "degraded" || event.type === "forgotten" || isDeparture)) {
      invariantChecker.violate("L1", `the mesh does not stay whole: ${JSON.stringify(event)}`);
    }
    if (event.type === "complete") this.#serverComplete(event);
    else if (event.type === "full") this.#serverFull(event.members);
    else if (event.type === "teardown" && !isOrdered) this.#tornDown(event);
  }

  /** Another server knows nothing of what the one before has said. */
  serverRestarted(): void {
    this.#complete = undefined;
    this.#reachedAt = undefined;
    this.#fullAt = undefined;
  }

  /** A native member reports that the mesh is complete. */
  memberReport(memberRun: NativeRun, { members, links }: CompletenessReport): void {
    const { invariantChecker, scenario, linkChecker, logChecker } = this.#context;
    this.#context.count("complete heard");
    const said = `${memberRun.address} tells complete with ${members} members, ${links} links`;
    if (this.#isBounded && members < scenario.capacity && scenario.onFull === "teardown") {
      invariantChecker.violate("C1", `${said}, below the capacity of ${scenario.capacity}`);
    }
    const broken = logChecker.members.find(({ id }) => linkChecker.isBroken(memberRun, id));
    if (broken !== undefined) invariantChecker.violate("C1", `${said}, and its link with ${broken.address} is broken`);
  }

  #serverFull(members: number): void {
    const { invariantChecker, scenario, network } = this.#context;
    this.#fullAt = network.engine.now;
    const there = this.#there.length;
    if (members < scenario.capacity || there < members) {
      invariantChecker.violate(
        "C1",
        `full was told with ${members} members, and ${there} of ${scenario.capacity} are there`,
      );
    }
  }

  /** `complete` is never sent while a member is absent, while a pair is not linked at both ends, or below the capacity. */
  #serverComplete(event: CompleteEvent): void {
    const { invariantChecker, logChecker, scenario } = this.#context;
    this.#complete = event;
    const { members } = logChecker;
    const classics = members.filter(({ dialect }) => dialect === "classic").length;
    const unverified = (classics * (classics - 1)) / 2;
    const links = (members.length * (members.length - 1)) / 2 - unverified;
    const isTrue = event.members === members.length && event.links === links && event.unverified === unverified;
    if (!isTrue || event.revision !== logChecker.revision) {
      invariantChecker.violate(
        "C1",
        `told ${JSON.stringify(event)}, and there are ${members.length} members, ${links} links`,
      );
    }
    const [absent] = this.#absent;
    if (absent !== undefined) invariantChecker.violate("C1", `complete was told, and ${absent} has no session`);
    if (this.#isBounded && members.length < scenario.capacity) {
      invariantChecker.violate(
        "C1",
        `complete was told of ${members.length} members, below the capacity of ${scenario.capacity}`,
      );
    }
    const [pair] = this.unlinked();
    if (pair !== undefined) invariantChecker.violate("C1", `complete was told, and ${pair} are not linked`);
    const known = this.#known;
    if (known !== undefined)
      invariantChecker.violate("C1", `complete was told, and ${known.by} knows ${known.of}, which is not back`);
  }

  /** S9: no end before completeness, except for the pairs that it names. */
  #tornDown(event: TeardownEvent): void {
    const { invariantChecker, limits } = this.#context;
    const { count, missing } = event;
    this.#checkEnding(event);
    if (missing.length !== Math.min(count, limits.namedPairs))
      invariantChecker.violate("S9", `${count} pairs, some unnamed`);
    const named = new Set(missing.map(({ a, b }) => [a, b].sort().join(" - ")));
    const unnamed = this.unlinked().find((pair) => !named.has(pair));
    if (unnamed !== undefined && count <= limits.namedPairs) {
      invariantChecker.violate("S9", `the end comes, and ${unnamed} are neither linked nor named`);
    }
  }

  /** Whether the mesh may end now, and as the end says. */
  #checkEnding({ count, absent, incomplete }: TeardownEvent): void {
    const { invariantChecker, network, limits, scenario } = this.#context;
    const { now } = network.engine;
    const reachedAt = this.#reachedAt ?? Number.POSITIVE_INFINITY;
    if (now < reachedAt) invariantChecker.violate("S9", "the end comes before the capacity is reached");
    const there = this.#there.length;
    if (incomplete === undefined) {
      if (count > 0 || absent.length > 0)
        invariantChecker.violate("S9", `the end is told as whole, and lacks ${count} pairs`);
      if (there < scenario.capacity)
        invariantChecker.violate("S9", `the end comes with ${there} of ${scenario.capacity} members`);
    } else {
      this.#context.count(absent.length > 0 ? "teardown naming members" : "teardown naming pairs");
      if (now < reachedAt + limits.finishMs) invariantChecker.violate("S9", `the end comes too early: ${incomplete}`);
      if (absent.length < Math.min(scenario.capacity - there, limits.namedPairs)) {
        invariantChecker.violate("S9", `${there} of ${scenario.capacity} are there, and ${absent.length} are named`);
      }
    }
  }

  /** Pairs of native members that are not linked, though the server must have been told. */
  unlinked(): string[] {
    const { logChecker, memberRuns, linkChecker } = this.#context;
    const members = logChecker.members
      .filter(({ dialect }) => dialect === "native")
      .map(({ id }) => memberRuns.get(id));
    const pairs: string[] = [];
    for (const [index, a] of members.entries()) {
      for (const b of members.slice(index + 1)) {
        if (a === undefined || b === undefined || linkChecker.areLinked(a, b)) continue;
        if (!linkChecker.haveMet(a, b) || !this.#isReportUnderWay(a, b))
          pairs.push([a.address, b.address].sort().join(" - "));
      }
    }
    return pairs;
  }

  /** A member of an earlier log that lives and has not come back, and one that has, and knows it. */
  get #known(): { readonly by: string; readonly of: string } | undefined {
    const { logChecker, memberRuns } = this.#context;
    for (const [id, memberRun] of memberRuns) {
      if (memberRun.isOver || memberRun.id !== id || !logChecker.isUnheard(id)) continue;
      for (const { id: other } of logChecker.members) {
        const by = memberRuns.get(other);
        const isBack = logChecker.isBack(other) && by?.isOver === false;
        if (isBack && by.machine.entries.some((entry) => entry.id === id))
          return { by: by.address, of: memberRun.address };
      }
    }
    return undefined;
  }

  get #isBounded(): boolean {
    return this.#context.scenario.capacity !== Number.POSITIVE_INFINITY;
  }

  /** The addresses of listed members with whose process the server has a connection that is open as far as it knows. */
  get #there(): string[] {
    const { logChecker, network, serverProcess } = this.#context;
    const heard = new Set<string>();
    for (const { connection, isKnownClosed, other } of network.endsOf(serverProcess)) {
      if (connection.startsWith("in:") && !isKnownClosed && other !== undefined) {
        for (const name of other.process.names) heard.add(name);
      }
    }
    // A port that was cut on its way is a shorter one in the classic dialect, and is corrected later.
    const isCutOf = (address: string): boolean => Array.from(heard).some((name) => name.startsWith(address));
    const there = logChecker.members.filter(({ address, dialect }) => {
      return heard.has(address) || (dialect === "classic" && isCutOf(address));
    });
    return there.map(({ address }) => address);
  }

  /** The addresses of all other listed members: to the server, none of them can be there. */
  get #absent(): string[] {
    const there = new Set(this.#there);
    return this.#context.logChecker.members.map(({ address }) => address).filter((address) => !there.has(address));
  }

  /** The two were linked, and the report that they are no more may still be on its way. */
  #isReportUnderWay(a: NativeRun, b: NativeRun): boolean {
    const { linkChecker, network, serverProcess } = this.#context;
    const since = network.engine.now - reportLagMs(this.#context);
    const isFresh =
      (linkChecker.changedAt(a, b.id) ?? since) >= since || (linkChecker.changedAt(b, a.id) ?? since) >= since;
    return isFresh || this.#isCutOff(a) || this.#isCutOff(b) || serverProcess.absentMs(memoryMs) > 0;
  }

  #isCutOff({ isOver, session, process }: NativeRun): boolean {
    const { network, serverProcess } = this.#context;
    if (isOver || process.absentMs(memoryMs) > 0 || session === undefined || session.isTouched) return true;
    return session.isClosed || network.hinderedAt(process.name, serverProcess.name) > network.engine.now - memoryMs;
  }
}
