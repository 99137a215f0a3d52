import { defaultLimits } from "../../../src/core/limits.js";
import { Queue } from "../../../src/core/queue.js";
import { Timers } from "../../../src/core/timers.js";
import { type DirectoryChange, DirectoryView } from "../../../src/mesh/native/directory-view.js";
import { MemberClaims } from "../../../src/mesh/native/member-claims.js";
import type { MemberEvent } from "../../../src/mesh/types.js";
import { claimLeaseMs } from "../../../src/protocol/claims.js";
import { type Change, Directory, type Entry, entryOf, type Id, isClaimEntry } from "../../../src/protocol/directory.js";
import type { Control } from "../../../src/protocol/native/control.js";
import { ClaimRegistry, type ClaimTotals } from "../../../src/rendezvous/claim-registry.js";
import { SharingServers } from "../../../src/rendezvous/sharing-servers.js";
import type { MeshTimer, RendezvousOutput } from "../../../src/rendezvous/types.js";
import { idOf, listed, logId } from "./names.js";

/**
 * The claims of a server and of its members, and between them sessions that carry what the test lets through. Time passes in
 * ticks. A rule is taken out by a member of `without`.
 */

/** How far apart the moments are at which anything happens. */
const tickMs = 100;

/**
 * The rules that a play may take out: C1 to C7, that no key is passed on before the lease is over (`early`), and that each
 * claim has a token of its own (`reused`). See docs/protocol/native.md, *Claims*. */
export type Clause = "C1" | "C2" | "C3" | "C4" | "C5" | "C6" | "C7" | "early" | "reused";

/** A server, until it is started anew. */
class Server {
  readonly directory: Directory;
  readonly log: Entry[] = [];
  readonly logId: Id;
  readonly claims: ClaimRegistry;
  readonly totals: ClaimTotals;
  readonly startedAt: number;
  /** When a key was last granted or freed. */
  changedAt = 0;
  readonly timers = new Timers();
  readonly #outputs = new Queue<RendezvousOutput>();
  readonly #without: Clause | undefined;

  constructor(world: ClaimWorld, number: number) {
    this.#without = world.without;
    this.directory = new Directory(number * 1_000_000);
    this.startedAt = world.now;
    this.logId = `${logId.slice(0, -1)}${number}`;
    const grantsFrom = world.without === "C5" ? 0 : world.serverNow + claimLeaseMs;
    const timers = this.timers.keyed<MeshTimer>((timer, now) => {
      if (timer === "claimLease") this.claims.checkLeases(now);
      else if (timer === "claimRetry") this.claims.retry(now);
    });
    this.totals = { count: 0, grantsFrom };
    this.claims = new ClaimRegistry(
      "m",
      defaultLimits,
      new SharingServers(false),
      this.directory,
      this.totals,
      this.#outputs,
      timers,
    );
  }

  append(change: Change, now: number, key?: number): void {
    const given = this.#without === "reused" && change.type === "claimed" ? { ...change, token: 1 } : change;
    const entry = entryOf(given, this.directory.revision + 1);
    if (isClaimEntry(entry)) this.changedAt = now;
    this.directory.apply(entry);
    this.log.push(entry);
    if (isClaimEntry(entry)) this.claims.appended(entry, key, now);
    // Whoever is lost has given up.
    else if (this.#without === "C3" && entry.type === "lost") this.claims.memberEntry({ ...entry, type: "left" }, now);
    else this.claims.memberEntry(entry, now);
  }

  /** The log answers what has been appended. */
  settle(now: number): void {
    for (let output = this.#outputs.poll(); output !== undefined; output = this.#outputs.poll()) {
      if (output.type === "append") this.append(output.change, now, output.key);
    }
  }
}

/** One session: what is under way on it in each direction. */
interface Session {
  readonly toServer: Control[];
  readonly toMember: (Control | Entry[])[];
  /** How many entries of the log have been sent. */
  sent: number;
}

/** A member, and what it believes. */
export class ClaimMember {
  id: Id;
  readonly number: number;
  readonly view: DirectoryView;
  readonly claims: MemberClaims;
  readonly timers = new Timers();
  readonly events: MemberEvent[] = [];
  /** The tokens with which it holds keys, in its own belief. */
  readonly holds = new Map<string, number>();
  session: Session | undefined;
  isPaused = false;
  /** What it sends does not arrive, or what is sent to it. */
  isMute = false;
  isDeaf = false;
  /** It reads so many messages in one tick. */
  /** When it last asked for something. */
  wantsSince = 0;
  mostRead = Number.POSITIVE_INFINITY;
  /** How much further its clocks run than the time. */
  monotonicMs = 0;
  wallMs = 0;
  /** Its monotonic clock stands still while it is paused, as in a computer that is asleep. */
  isAsleep = false;
  readonly #world: ClaimWorld;
  readonly #lost = new Map<string, number>();
  readonly #wanted = new Set<string>();
  #numbers = 0;

  constructor(world: ClaimWorld, number: number) {
    this.#world = world;
    this.number = number;
    this.id = idOf(number);
    this.view = new DirectoryView(this.id, defaultLimits);
    this.claims = new MemberClaims(
      defaultLimits,
      this.timers,
      this.view,
      (control) => {
        // What it has given up by itself it does not give up at the server.
        const isKept =
          world.without === "C7" && control.type === "unclaim" && this.#lost.get(control.key) === control.token;
        if (!isKept) this.session?.toServer.push(control);
      },
      (event) => this.#told(event),
    );
  }

  claim(key = "job", waits = true): void {
    this.#numbers += 1;
    this.#wanted.add(key);
    this.wantsSince = this.#world.now;
    this.#step(() => this.claims.claim(key, this.#numbers, waits, this.#world.now));
  }

  unclaim(key = "job"): void {
    this.holds.delete(key);
    this.#wanted.delete(key);
    this.#step(() => this.claims.unclaim(key, this.#world.now));
  }

  /** It learns that it was removed, and joins anew. */
  fence(): void {
    this.#step(() => this.claims.restarted("removed", this.#world.now));
    this.id = idOf(Number(this.id) + 1_000);
    this.view.restart(this.id);
    this.#world.server.append(
      { type: "joined", id: this.id, address: "10.0.0.1:1", dialect: "native" },
      this.#world.now,
    );
  }

  get wants(): boolean {
    return this.#wanted.size > 0;
  }

  /** What has come for it, and its timers. */
  tick(): void {
    if (this.isPaused) {
      if (this.isAsleep) this.monotonicMs -= tickMs;
      return;
    }
    this.#step(() => {});
    const arrived = this.isDeaf ? [] : this.session?.toMember.splice(0, this.mostRead);
    for (const message of arrived ?? []) this.#step(() => this.#read(message));
    this.#step(() => this.timers.fire(this.#world.now));
    if (this.session === undefined) this.claims.away();
  }

  #step(act: () => void): void {
    const { now } = this.#world;
    this.claims.advance({ monotonicMs: now + this.monotonicMs, wallMs: now + this.wallMs }, now);
    act();
  }

  #read(message: Control | Entry[]): void {
    const { now, without } = this.#world;
    if (Array.isArray(message)) for (const entry of message) this.#apply(entry);
    else if (message.type === "admitted") {
      this.claims.admitted(message.log, now);
      const held = [...this.#lost];
      // It presents what it has given up by itself.
      if (without === "C7" && held.length > 0) this.session?.toServer.unshift({ type: "held", claims: held });
    } else if (message.type === "renewed") {
      this.claims.answered(message, now);
      if (without === "C2") this.#countFromNow();
    } else if (message.type === "directory") {
      this.#applyAll(this.view.restore(message.members, message.revision, message.claims ?? [], []));
    } else if (message.type === "unclaimable") this.claims.answered(message, now);
  }

  #apply(entry: Entry): void {
    this.#applyAll(this.view.apply(entry));
  }

  #applyAll(changes: readonly DirectoryChange[]): void {
    for (const change of changes) {
      if (change.type === "claimed") {
        if (this.#world.without === "C6" && change.claim.holder === this.id) this.#countFromNow();
        const { key, token, holder } = change.claim;
        // It goes on with what it has presented.
        const isPresented = holder === this.id && this.#lost.get(key) === token;
        if (this.#world.without === "C7" && isPresented) this.holds.set(key, token);
        this.claims.claimed(change.claim, this.#world.now);
      } else if (change.type === "unclaimed") this.claims.unclaimed(change.claim, change.reason, this.#world.now);
    }
  }

  /** Takes a renewal that is sent at this moment for answered. */
  #countFromNow(): void {
    const { toServer = [] } = this.session ?? {};
    this.claims.claim("never", 0, true, this.#world.now);
    this.claims.unclaim("never", this.#world.now);
    const number = toServer.findLast((control) => control.type === "renew")?.number ?? 0;
    this.claims.answered({ type: "renewed", number }, this.#world.now);
  }

  #told(event: MemberEvent): void {
    this.events.push(event);
    if (event.type === "claimBegun") {
      this.holds.set(event.key, event.token);
      this.#world.begun(event.token);
    } else if (event.type === "claimRefused") this.#wanted.delete(event.key);
    else if (event.type === "claimEnded") {
      this.#wanted.delete(event.key);
      this.#lost.set(event.key, this.holds.get(event.key) ?? 0);
      this.holds.delete(event.key);
    }
  }
}

/** A server and its members. */
export class ClaimWorld {
  now = 0;
  readonly members: ClaimMember[] = [];
  readonly without: Clause | undefined;
  server: Server;
  /** Moments at which two members that ran believed to hold one key. */
  readonly conflicts: number[] = [];
  /** The tokens with which the key was held, in the order in which members began to hold it. */
  readonly tokens: number[] = [];
  /** By how much the clock of the server differs from the time. */
  serverMs = 0;
  #servers = 0;

  constructor(without?: Clause) {
    this.without = without;
    this.server = new Server(this, 0);
  }

  /** Members that are admitted, after the first lease of the server. */
  static with(count: number, without?: Clause): { world: ClaimWorld; members: ClaimMember[] } {
    const world = new ClaimWorld(without);
    world.pass(claimLeaseMs);
    for (let number = 1; number <= count; number += 1) world.join(number);
    return { world, members: world.members };
  }

  join(number: number): ClaimMember {
    const member = new ClaimMember(this, number);
    this.members.push(member);
    const { id, address } = listed(number);
    this.server.append({ type: "joined", id: member.id, address, dialect: "native" }, this.now);
    expectSame(id, member.id);
    this.connect(member);
    return member;
  }

  /** The server lets a member in, or in again. */
  connect(member: ClaimMember): void {
    const { log, logId: name, directory } = this.server;
    const { revision, members } = directory;
    const claims = Array.from(directory.claims.values(), ({ key, holder, token }) => ({ key, holder, token }));
    const observed = "10.0.0.1:1" as const;
    // Nobody has said that somebody else may hold something.
    if (this.without === "C4") this.server.totals.grantsFrom = 0;
    const admitted: Control = { type: "admitted", log: name, order: 1, revision, observed, leaseMs: 20_000 };
    member.session = {
      toServer: [],
      toMember: [admitted, { type: "directory", revision, members: [...members], claims }],
      sent: log.length,
    };
  }

  /** The session of a member breaks, and what was under way on it is lost. */
  disconnect(member: ClaimMember): void {
    member.session = undefined;
    this.server.claims.departed(member.id);
  }

  /** The server dies, and another one begins that knows nothing. Nobody is let in yet. */
  restart(): void {
    for (const member of this.members) member.session = undefined;
    this.#servers += 1;
    this.server = new Server(this, this.#servers);
    for (const { id } of this.members) {
      this.server.append({ type: "joined", id, address: "10.0.0.1:1", dialect: "native" }, this.now);
    }
  }

  pass(ms: number): void {
    const end = this.now + ms;
    for (; this.now < end; this.now += tickMs) this.#tick();
  }

  get serverNow(): number {
    return this.now + this.serverMs;
  }

  begun(token: number): void {
    this.tokens.push(token);
  }

  #tick(): void {
    for (const member of this.members) if (!member.isMute) this.#serve(member);
    const early = this.without === "C1" ? 3_000 : this.without === "early" ? 6_000 : 0;
    const serverTime = this.serverNow + early;
    this.server.timers.fire(serverTime);
    this.server.settle(this.serverNow);
    for (const member of this.members) this.#tellLog(member);
    for (const member of this.members) member.tick();
    this.#look();
  }

  #serve(member: ClaimMember): void {
    const { claims } = this.server;
    const { session, id } = member;
    for (const control of session?.toServer.splice(0) ?? []) {
      if (control.type === "renew") {
        claims.heard(id, this.serverNow);
        session?.toMember.push({ type: "renewed", number: control.number });
      } else if (control.type === "held") session?.toMember.push(...claims.present(id, control.claims, this.serverNow));
      else if (control.type === "unclaim") claims.unclaim(id, control.key, control.token, this.serverNow);
      else if (control.type === "claim") {
        const refused = claims.claim(id, control.key, control.wait === true, this.serverNow);
        if (refused !== undefined) session?.toMember.push(refused);
      }
      this.server.settle(this.serverNow);
    }
  }

  #tellLog({ session }: ClaimMember): void {
    const { log } = this.server;
    if (session === undefined || session.sent === log.length) return;
    session.toMember.push(log.slice(session.sent));
    session.sent = log.length;
  }

  /** Whoever is paused does nothing, and so holds nothing. */
  #look(): void {
    const holders = this.members.filter((member) => !member.isPaused && member.holds.has("job"));
    if (holders.length > 1) this.conflicts.push(this.now);
  }
}

function expectSame(a: Id, b: Id): void {
  if (a !== b) throw new Error(`${a} is not ${b}`);
}
