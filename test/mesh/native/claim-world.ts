import { defaultLimits } from "../../../src/core/limits.js";
import { Queue } from "../../../src/core/queue.js";
import { Claims as MemberClaims } from "../../../src/mesh/native/claims.js";
import { type DirectoryChange, DirectoryView } from "../../../src/mesh/native/directory-view.js";
import type { MemberEvent } from "../../../src/mesh/types.js";
import { claimLeaseMs } from "../../../src/protocol/claims.js";
import { type Change, Directory, type Entry, entryOf, type Id, isClaimEntry } from "../../../src/protocol/directory.js";
import type { Control } from "../../../src/protocol/native/control.js";
import { Claims as ServerClaims } from "../../../src/rendezvous/claims.js";
import type { RendezvousOutput } from "../../../src/rendezvous/types.js";
import { idOf, listed, logId } from "./names.js";

/**
 * The claims of a server and of its members, and between them sessions that carry what the test lets through. Time passes in
 * ticks. A rule is taken out by a member of `without`.
 */

/** How far apart the moments are at which anything happens. */
const tickMs = 100;

/** The rules that a play may take out; see docs/protocol/native.md, *Claims*. */
export type Clause = "C1" | "C2" | "C3" | "C4" | "C6" | "C7";

/** A server, until it is started anew. */
class Server {
  readonly directory: Directory;
  readonly log: Entry[] = [];
  readonly logId: Id;
  readonly claims: ServerClaims;
  readonly #outputs = new Queue<RendezvousOutput>();
  readonly #without: Clause | undefined;

  constructor(world: ClaimWorld, number: number) {
    this.#without = world.without;
    this.directory = new Directory(number * 1_000);
    this.logId = `${logId.slice(0, -1)}${number}`;
    const grantsFrom = world.without === "C4" ? 0 : world.now + claimLeaseMs;
    this.claims = new ServerClaims("m", defaultLimits, this.directory, { count: 0, grantsFrom }, this.#outputs);
  }

  append(change: Change, now: number, key?: number): void {
    const entry = entryOf(change, this.directory.revision + 1);
    this.directory.apply(entry);
    this.log.push(entry);
    if (isClaimEntry(entry)) this.claims.appended(entry, key, now);
    // Whoever is lost has given up.
    else if (this.#without === "C3" && entry.type === "lost") this.claims.memberEntry({ ...entry, type: "left" });
    else this.claims.memberEntry(entry);
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
  readonly id: Id;
  readonly view: DirectoryView;
  readonly claims: MemberClaims;
  readonly events: MemberEvent[] = [];
  /** The tokens with which it holds keys, in its own belief. */
  readonly holds = new Map<string, number>();
  session: Session | undefined;
  isPaused = false;
  /** What it sends does not arrive, or what is sent to it. */
  isMute = false;
  isDeaf = false;
  /** It reads so many messages in one tick. */
  mostRead = Number.POSITIVE_INFINITY;
  /** How much further its clocks run than the time. */
  monotonicMs = 0;
  wallMs = 0;
  /** Its monotonic clock stands still while it is paused, as in a computer that is asleep. */
  isAsleep = false;
  readonly #world: ClaimWorld;
  readonly #lost = new Map<string, number>();
  #numbers = 0;

  constructor(world: ClaimWorld, number: number) {
    this.#world = world;
    this.id = idOf(number);
    this.view = new DirectoryView(this.id, defaultLimits);
    this.claims = new MemberClaims(
      defaultLimits,
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
    this.#step(() => this.claims.claim(key, this.#numbers, waits, this.#world.now));
  }

  unclaim(key = "job"): void {
    this.holds.delete(key);
    this.#step(() => this.claims.unclaim(key, this.#world.now));
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
    const at = this.claims.nextTimeout();
    if (at !== undefined && at <= this.#world.now) this.#step(() => this.claims.handleTimeout(this.#world.now));
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
      this.#applyAll(this.view.restore(message.members, message.revision, message.claims));
    } else if (message.type === "unclaimable") this.claims.answered(message, now);
  }

  #apply(entry: Entry): void {
    this.#applyAll(this.view.apply(entry));
  }

  #applyAll(changes: readonly DirectoryChange[]): void {
    for (const change of changes) {
      if (change.type === "claimed") {
        if (this.#world.without === "C6" && change.claim.holder === this.id) this.#countFromNow();
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
    if (event.type === "claimBegun") this.holds.set(event.key, event.token);
    else if (event.type === "claimEnded") {
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
  /** The tokens with which each key was held, in the order in which members began to hold it. */
  readonly tokens: number[] = [];
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
    const admitted: Control = { type: "admitted", log: name, order: 1, revision, observed };
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

  #tick(): void {
    const { claims } = this.server;
    for (const member of this.members) if (!member.isMute) this.#serve(member);
    const serverTime = this.without === "C1" ? this.now + 3_000 : this.now;
    const at = claims.nextTimeout();
    if (at !== undefined && at <= serverTime) claims.handleTimeout(serverTime);
    this.server.settle(this.now);
    for (const member of this.members) this.#tellLog(member);
    for (const member of this.members) member.tick();
    this.#look();
  }

  #serve(member: ClaimMember): void {
    const { claims } = this.server;
    const { session, id } = member;
    for (const control of session?.toServer.splice(0) ?? []) {
      if (control.type === "renew") {
        claims.heard(id, this.now);
        session?.toMember.push({ type: "renewed", number: control.number });
      } else if (control.type === "held") session?.toMember.push(...claims.present(id, control.claims, this.now));
      else if (control.type === "unclaim") claims.unclaim(id, control.key, control.token, this.now);
      else if (control.type === "claim") {
        const refused = claims.claim(id, control.key, control.wait === true, this.now);
        if (refused !== undefined) session?.toMember.push(refused);
      }
      this.server.settle(this.now);
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
    for (const { holds } of holders) {
      const token = holds.get("job") ?? 0;
      if (this.tokens.at(-1) !== token) this.tokens.push(token);
    }
  }
}

function expectSame(a: Id, b: Id): void {
  if (a !== b) throw new Error(`${a} is not ${b}`);
}
