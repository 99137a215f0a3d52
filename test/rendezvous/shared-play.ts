import type { Id } from "../../src/protocol/directory.js";
import type { LogAppend, LogFact, RendezvousInput } from "../../src/rendezvous/types.js";
import { LogFold } from "../../src/runtime/replicated/log-fold.js";
import type { EntryContent } from "../../src/runtime/replicated/store-keys.js";
import { nativeMembers, Play, Player, type RuleChoice } from "./play.js";

/**
 * Plays several servers that share their logs. The store is a list of entries in one order, folded as in production; whatever is
 * written comes back at each server in that order, unless the test holds it back.
 */

/** Nobody has to answer probes. */
const unprobed = { probeMs: 3_600_000, silentMs: 7_200_000 };

/** A mesh's log, and what servers await in it. */
interface Log {
  fold: LogFold;
  readonly awaiting: Map<Id, number>;
}

/** One life of a server. */
export class SharedServer {
  readonly play: Play;
  readonly id: Id;
  readonly address = "10.0.0.1:4000" as const;
  /** What it has written, and what comes back to it, are held back. */
  isCut = false;
  /** Its process does not run. */
  isStopped = false;
  /** The others are told that it is there; and that nothing comes of it. */
  isThere = true;
  isLate = false;
  number = 0;
  readonly written: (() => void)[] = [];
  readonly unread: RendezvousInput[] = [];

  constructor(store: SharedStore, id: Id, rules: RuleChoice) {
    this.id = id;
    this.play = new Play(
      { ...rules, limits: { ...unprobed, ...rules.limits }, isShared: true, startedAtMs: store.now },
      {
        append: (append) => this.write(() => store.append(this, append)),
        publish: (mesh, fact) => this.write(() => store.publish(this, mesh, fact)),
        forget: (mesh) => store.forget(mesh),
      },
    );
    this.play.now = store.now;
    this.play.idPrefix = id.slice(-4);
  }

  write(what: () => void): void {
    if (this.isCut || this.written.length > 0) this.written.push(what);
    else what();
  }

  give(input: RendezvousInput): void {
    if (this.isCut || this.isStopped || this.unread.length > 0) this.unread.push(input);
    else this.play.give(input);
  }

  /** It takes what was held back. What comes of that comes behind the rest of it, as in a log. */
  catchUp(): void {
    for (let next = this.unread[0]; next !== undefined; next = this.unread[0]) {
      this.play.give(next);
      this.unread.shift();
    }
    for (const what of this.written.splice(0)) what();
  }
}

export class SharedStore {
  readonly servers: SharedServer[] = [];
  readonly #rules: RuleChoice;
  readonly #logs = new Map<string, Log>();
  readonly #deliveries: (() => void)[] = [];
  #isDelivering = false;
  #lives = 0;
  #begun = 0;
  now = 0;

  constructor(rules: RuleChoice = {}) {
    this.#rules = rules;
  }

  /** A server starts, and reads what is there. */
  start(): SharedServer {
    this.#lives += 1;
    const server = new SharedServer(this, `5e${this.#lives.toString(16).padStart(30, "0")}`, this.#rules);
    this.servers.push(server);
    this.tellServers();
    for (const mesh of this.#logs.keys()) this.restore(server, mesh);
    return server;
  }

  /** Everybody who can read learns who is there. */
  tellServers(): void {
    for (const server of this.servers) {
      const others = this.servers.filter((other) => other !== server && other.isThere);
      const rows = others.map(({ id, address, isLate }) => ({ id, address, ...(isLate ? { isLate } : {}) }));
      if (server.isThere) this.#deliver(() => server.give({ type: "servers", self: server.id, others: rows }));
    }
  }

  /** SIGSTOP: nothing has come of this server for a few beats. */
  stop(server: SharedServer): void {
    server.isStopped = true;
    server.isLate = true;
    this.tellServers();
  }

  /** No sign has come of this server for a lease of the store. */
  lose(server: SharedServer): void {
    server.isThere = false;
    this.tellServers();
  }

  /** kill -9: its process is gone, and with it the sessions of its members. */
  kill(server: SharedServer): void {
    server.isStopped = true;
    this.lose(server);
  }

  /** A process that was stopped goes on: its timers first, then what has come meanwhile. */
  wake(server: SharedServer): void {
    server.isStopped = false;
    server.isThere = true;
    server.isLate = false;
    server.play.now = this.now;
    server.play.give({ type: "timeout" });
    server.catchUp();
    this.tellServers();
  }

  /** A server reads the log of a mesh anew. */
  restore(
    server: SharedServer,
    mesh: string,
    answers: readonly { readonly key: number; readonly isAppended: boolean }[] = [],
  ): void {
    const log = this.#logs.get(mesh);
    if (log === undefined) throw new Error(`there is no log of ${mesh}`);
    const awaiting = Array.from(log.awaiting, ([id, count]) => ({ server: id, count }));
    const state = { ...log.fold.state, awaiting };
    this.#deliver(() => server.give({ type: "restored", mesh, state, answers }));
  }

  /** The state of a mesh's log. */
  fold(mesh = "default"): LogFold {
    const log = this.#logs.get(mesh);
    if (log === undefined) throw new Error(`there is no log of ${mesh}`);
    return log.fold;
  }

  /** The store has lost everything. */
  wipe(): void {
    this.#logs.clear();
  }

  append(server: SharedServer, { mesh, key, change, after, judges }: LogAppend): void {
    const content = { change, after, ...(judges === undefined ? {} : { judges }) };
    this.#apply(this.#logOf(mesh), server, mesh, content, key);
  }

  publish(server: SharedServer, mesh: string, fact: LogFact): void {
    // Only a registration begins a log.
    const log = this.#logs.get(mesh);
    if (log === undefined) return;
    if (fact.type === "awaiting") log.awaiting.set(server.id, fact.count);
    if (fact.type === "reported") {
      server.number += 1;
      const stored = { number: server.number, attachment: fact.attachment, ...fact.report };
      if (log.fold.report(fact.id, server.id, stored) === undefined) return;
    }
    if (fact.type === "awaiting" || fact.type === "reported") {
      this.#broadcast({ type: "published", mesh, server: server.id, fact });
    } else this.#apply(log, server, mesh, { fact }, undefined);
  }

  forget(mesh: string): void {
    if (this.#logs.get(mesh)?.fold.ended !== undefined) this.#logs.delete(mesh);
  }

  /** Lets time pass at all servers that run, deadline by deadline. */
  pass(ms: number): void {
    for (const { now } of this.#running) this.now = Math.max(this.now, now);
    const until = this.now + ms;
    const next = ({ machine }: Play): number => machine.nextTimeout() ?? Number.POSITIVE_INFINITY;
    for (;;) {
      const [first] = this.#running.sort((one, other) => next(one) - next(other));
      if (first === undefined || next(first) > until) break;
      this.#setNow(Math.max(this.now, next(first)));
      first.give({ type: "timeout" });
    }
    this.#setNow(until);
  }

  get #running(): Play[] {
    return this.servers.filter(({ isStopped }) => !isStopped).map(({ play }) => play);
  }

  /** Everybody has been told everything. */
  settle(): void {
    this.pass(500);
  }

  #setNow(now: number): void {
    this.now = now;
    for (const play of this.#running) play.now = now;
  }

  #logOf(mesh: string): Log {
    const known = this.#logs.get(mesh);
    if (known !== undefined && known.fold.ended === undefined) return known;
    this.#begun += 1;
    const { capacity = Number.POSITIVE_INFINITY, onFull = "teardown", dialect = "any", gangSize } = this.#rules;
    const rules = {
      format: 1,
      capacity: Number.isFinite(capacity) ? capacity : null,
      onFull,
      dialect,
      leaseMs: 20_000,
      ...(gangSize === undefined ? {} : { gangSize }),
    };
    const log = `10${this.#begun.toString(16).padStart(30, "0")}`;
    const fold = new LogFold(
      { log, base: 1_000 * this.#begun, clock: 1_000 * this.#begun, rules },
      { tombstones: 100 },
    );
    const begun = { fold, awaiting: new Map() };
    this.#logs.set(mesh, begun);
    for (const server of this.servers) this.restore(server, mesh);
    return begun;
  }

  #apply(log: Log, server: SharedServer, mesh: string, content: EntryContent, key: number | undefined): void {
    server.number += 1;
    const result = log.fold.add(server.id, server.number, content);
    if (result?.type === "appended") {
      const { entry, attachment } = result;
      const place = attachment === undefined ? {} : { attachment };
      for (const each of this.servers) {
        const own = each === server && key !== undefined ? { key } : {};
        this.#deliver(() => each.give({ type: "appended", mesh, entry, server: server.id, ...place, ...own }));
      }
    } else if (result?.type === "published") {
      const { fact, attachment } = result;
      const place = attachment === undefined ? {} : { attachment };
      this.#broadcast({ type: "published", mesh, server: server.id, fact, ...place });
    } else if (key !== undefined) {
      this.#deliver(() => server.give({ type: "rejected", mesh, key, reason: "conflict" }));
    }
  }

  #broadcast(input: RendezvousInput): void {
    for (const each of this.servers) this.#deliver(() => each.give(input));
  }

  /** In one order for all, however deep the call is that has written it. */
  #deliver(what: () => void): void {
    this.#deliveries.push(what);
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    for (let next = this.#deliveries.shift(); next !== undefined; next = this.#deliveries.shift()) next();
    this.#isDelivering = false;
  }
}

/** The same member, calling another server. */
export function at({ play }: SharedServer, member: Player): Player {
  const twin = new Player(play.call(), member.address, member.mesh);
  twin.id = member.id;
  twin.lastOrder = member.order;
  return twin;
}

/** The member goes on at this server, with what it has read of the log. */
export function comesBack(store: SharedStore, server: SharedServer, member: Player): Player {
  const fold = store.fold(member.mesh);
  return at(server, member).resume(fold.revision, fold.head.log);
}

/** Whatever server looks finds these members where they listen. */
export function answersEverywhere(store: SharedStore, ...members: readonly Player[]): void {
  for (const { play } of store.servers) {
    for (const { address, id } of members) {
      play.listen(address, (_, dialed) => play.reply(dialed, { type: "here", id }));
    }
  }
}

/** Two servers, and two members at the first one, of which this is the second. */
export function twoServers(): {
  readonly store: SharedStore;
  readonly a: SharedServer;
  readonly b: SharedServer;
  readonly member: Player;
} {
  const store = new SharedStore();
  const [a, b] = [store.start(), store.start()];
  const [, member] = nativeMembers(a.play, 2);
  if (member === undefined) throw new Error("nobody");
  return { store, a, b, member };
}
