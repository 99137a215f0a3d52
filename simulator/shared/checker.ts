import type { MemberEvent } from "../../src/mesh/types.js";
import { type Entry, type Id, isClaimEntry } from "../../src/protocol/directory.js";
import type { SharedChecks, SharedContext, SharedMemberRun } from "./context.js";

/** What is said of the links of a mesh may be as old as that: a silent connection is found out, and it is told. */
const oldMs = 45_000;

/** For so long after it was away, a member may have been given up by others. */
const awayMs = 45_000;

/** What several servers have made of one log, and what members have made of that. */
export class SharedChecker implements SharedChecks {
  readonly #context: SharedContext;
  /** By log and revision, the entry as the first server has read it. */
  readonly #entries = new Map<string, string>();
  /** The log and the revision that each server has come to. */
  readonly #positions = new Map<string, { readonly log: Id; revision: number }>();
  readonly #orders = new Map<number, Id>();
  /** The tokens of each key, as they were read for the first time. */
  readonly #grants = new Map<string, { readonly log: Id; readonly revision: number; readonly token: number }[]>();
  /** Where each id was removed. */
  readonly #removed = new Map<Id, { readonly log: Id; readonly revision: number }>();
  readonly #runs = new Map<Id, SharedMemberRun>();

  constructor(context: SharedContext) {
    this.#context = context;
  }

  drawn(id: Id, member: SharedMemberRun): void {
    this.#runs.set(id, member);
  }

  restored(server: string, log: Id, revision: number, members: readonly Id[]): void {
    const before = this.#positions.get(server);
    if (before?.log === log && before.revision > revision)
      this.#context.violate("S5", `${server} goes back from ${before.revision} to ${revision}`);
    this.#positions.set(server, { log, revision });
    this.#checkMembers(server, members);
  }

  appended(server: string, log: Id, entry: Entry, members: readonly Id[]): void {
    const { violate } = this.#context;
    const position = this.#positions.get(server);
    if (position !== undefined && position.log === log && entry.revision <= position.revision)
      violate("S5", `${server} reads ${entry.revision} behind ${position.revision}`);
    this.#positions.set(server, { log, revision: entry.revision });
    const key = `${log} ${entry.revision}`;
    const text = JSON.stringify(entry);
    const known = this.#entries.get(key);
    if (known !== undefined && known !== text) violate("S5", `${server} reads ${text}, and others ${known}`);
    this.#entries.set(key, text);
    this.#checkMembers(server, members);
    if (known === undefined) this.#first(log, entry);
  }

  /** It is read for the first time. */
  #first(log: Id, entry: Entry): void {
    this.#context.count(`entry ${entry.type}`);
    const { revision } = entry;
    if (isClaimEntry(entry)) {
      if (entry.type === "claimed") this.#checkToken(entry.key, log, revision, entry.token ?? revision);
      return;
    }
    if (entry.type === "joined" || entry.type === "replaced") this.#checkNew(log, entry);
    else this.#removed.set(entry.id, { log, revision });
    if (entry.type === "replaced") this.#removed.set(entry.replaces, { log, revision });
    if (entry.type === "lost") this.#checkLost(entry.id, entry.reason);
  }

  #checkNew(log: Id, { id, order, revision }: Extract<Entry, { type: "joined" | "replaced" }>): void {
    const { violate } = this.#context;
    const other = this.#orders.get(order);
    if (other !== undefined && other !== id) violate("S6", `${other} and ${id} have order ${order}`);
    this.#orders.set(order, id);
    // A server that reads its log anew may show a later entry before another one shows this.
    const removal = this.#removed.get(id);
    const isEarlier = removal?.log === log && removal.revision > revision;
    if (removal !== undefined && !isEarlier) violate("S3", `${id} is listed again`);
  }

  #checkToken(key: string, log: Id, revision: number, token: number): void {
    const grants = this.#grants.get(key) ?? [];
    this.#grants.set(key, grants);
    for (const other of grants) {
      // A server that reads its log anew may show a later entry before another one shows this.
      const isLater = other.log === log && other.revision > revision;
      if (isLater ? token < other.token : token > other.token) continue;
      this.#context.violate("S11", `"${key}" has the token ${token} ${isLater ? "before" : "after"} ${other.token}`);
    }
    grants.push({ log, revision, token });
  }

  #checkMembers(server: string, members: readonly Id[]): void {
    const { capacity } = this.#context.scenario;
    if (members.length > capacity) this.#context.violate("S7", `${server} lists ${members.length} members`);
    const position = this.#positions.get(server);
    for (const id of members) {
      const removal = this.#removed.get(id);
      if (removal === undefined || removal.log !== position?.log || removal.revision > position.revision) continue;
      this.#context.violate("S3", `${server} lists ${id}, which was removed at ${removal.revision}`);
    }
  }

  /** Nobody is lost who was there all the time, and could speak with a server. */
  #checkLost(id: Id, reason: string): void {
    const member = this.#runs.get(id);
    if (member === undefined || member.id !== id || member.isOver) return;
    if (this.#wasAway(member)) return;
    this.#context.violate("N13", `${member.address} is lost, though it is there: ${reason}`);
  }

  #wasAway(member: SharedMemberRun): boolean {
    const { network, servers } = this.#context;
    const { now } = network.engine;
    if (member.process.isSuspended || member.process.absentMs(awayMs) > 0) return true;
    // Cut off from all servers that live, or these were away themselves.
    return servers.every(({ process }) => {
      const isHindered = network.hinderedAt(member.process.name, process.name) > now - awayMs;
      return isHindered || process.isDead || process.absentMs(awayMs) > 0 || this.#context.wasStarted(process, awayMs);
    });
  }

  /** N17: a link that was up ends only because one of its ends has gone, or was removed from the log. */
  unlinked(member: SharedMemberRun, self: Id, peer: Id, reason: string): void {
    const other = this.#runs.get(peer);
    const hasGone = other === undefined || other.isOver || other.id !== peer;
    if (hasGone || member.isOver || this.#removed.has(peer) || this.#removed.has(self)) return;
    this.#context.violate("N17", `${member.address} has ended its link with ${other.address}: ${reason}`);
  }

  /** N14: only who was removed is fenced. */
  fenced(member: SharedMemberRun, reason: string): void {
    this.#context.count("fenced and rejoined");
    const former = [...this.#runs].filter(([, run]) => run === member).map(([id]) => id);
    if (former.some((id) => this.#removed.has(id)) || !this.#hasMesh(member)) return;
    this.#context.violate("N14", `${member.address} is fenced: ${reason}`);
  }

  /** It had been let in. */
  #hasMesh({ order }: SharedMemberRun): boolean {
    return order !== undefined;
  }

  /** S11: at any moment one member believes that it holds a key. */
  holds(member: SharedMemberRun, key: string, token: number): void {
    this.#context.count("key held");
    for (const other of this.#context.members) {
      if (other === member || other.isOver || other.process.isSuspended || !other.held.has(key)) continue;
      this.#context.violate(
        "S11",
        `${other.address} holds "${key}" by ${other.held.get(key)}, and ${member.address} by ${token}`,
      );
    }
  }

  /** S9: who is told that the mesh is whole can believe it: each pair of its members is linked, or has been so lately. */
  told(member: SharedMemberRun, event: Extract<MemberEvent, { type: "complete" }>): void {
    if (event.scope !== "mesh") return;
    const { count, network } = this.#context;
    count("told complete");
    const listed = member.listed.flatMap(({ id }) => (id === undefined ? [] : [id]));
    if (listed.length !== event.members) return;
    for (const [a, b] of pairsOf(listed.flatMap((id) => this.#runs.get(id) ?? []))) {
      if (a.isOver || b.isOver || !listed.includes(a.id) || !listed.includes(b.id) || areLinked(a, b)) continue;
      const since = Math.max(a.changedAt.get(b.id) ?? 0, b.changedAt.get(a.id) ?? 0);
      if (since > network.engine.now - oldMs) continue;
      this.#context.violate("S9", `${member.address} is told complete, and ${a.address} has no link with ${b.address}`);
    }
  }

  /** What keeps the mesh from being whole now that all is well; undefined if nothing does. */
  faultAtEnd(): string | undefined {
    const { members, scenario } = this.#context;
    const living = members.filter(({ isOver }) => !isOver);
    const inside = living.filter(({ order }) => order !== undefined);
    const outside = living.filter(({ order }) => order === undefined);
    const silent = outside.find(({ isWaiting }) => !isWaiting);
    if (silent !== undefined) return `${silent.address} has got no answer`;
    const [waiting] = outside;
    if (waiting !== undefined && inside.length < scenario.capacity)
      return `${waiting.address} waits though there is room`;
    const unlinked = pairsOf(inside).find(([a, b]) => !areLinked(a, b));
    if (unlinked !== undefined) return `${unlinked[0].address} and ${unlinked[1].address} are not linked`;
    return this.#serverFault(inside);
  }

  /** What a server knows that is not so. */
  #serverFault(inside: readonly SharedMemberRun[]): string | undefined {
    const { servers, scenario } = this.#context;
    const ids = inside.map(({ id }) => id).sort();
    const wanted = Number.isFinite(scenario.capacity) ? scenario.capacity : 2;
    for (const { name, memberIds, isComplete, process } of servers) {
      if (process.isDead) continue;
      if (memberIds.join() !== ids.join()) return `${name} lists ${memberIds.length} of ${ids.length} members`;
      if (inside.length >= wanted && !isComplete) return `${name} does not know that the mesh is complete`;
    }
    return undefined;
  }
}

/** Each two of them. */
function pairsOf(members: readonly SharedMemberRun[]): [SharedMemberRun, SharedMemberRun][] {
  return members.flatMap((a, index) => members.slice(index + 1).map((b): [SharedMemberRun, SharedMemberRun] => [a, b]));
}

/** Each has a link with this incarnation of the other. */
function areLinked(a: SharedMemberRun, b: SharedMemberRun): boolean {
  return a.links.get(b.address) === b.id && b.links.get(a.address) === a.id;
}
