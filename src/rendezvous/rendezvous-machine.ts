import type { ConnectionId } from "../core/connections.js";
import { printable } from "../core/escaping.js";
import { GracefulCloses } from "../core/graceful-closes.js";
import type { Limits } from "../core/limits.js";
import type { Machine } from "../core/machine.js";
import { Queue } from "../core/queue.js";
import { type KeyedTimers, Timers } from "../core/timers.js";
import type { Address } from "../protocol/address.js";
import type { Directory, Id } from "../protocol/directory.js";
import type { MeshStatus, PairStatus } from "../protocol/status.js";
import { AddressVerifier, type VerificationResult } from "./address-verifier.js";
import { ClassicSender } from "./classic/sender.js";
import { ConnectionHandler } from "./connection-handler.js";
import type { MemberSession } from "./member-session.js";
import type { RefusedSession, RejectedAppend } from "./membership.js";
import type { Mesh, MeshEnd } from "./mesh.js";
import { Meshes } from "./meshes.js";
import { SharingServers } from "./sharing-servers.js";
import type {
  LogAnswer,
  LogFact,
  RendezvousInput,
  RendezvousOutput,
  RendezvousRules,
  SharedLogInput,
} from "./types.js";

/**
 * The rendezvous server's machine: takes registrations, keeps the directories of its meshes, sends them to all members, and
 * ends a mesh.
 *
 * Inputs come through `handle`, outputs leave through `poll`. This class routes the inputs: accepted connections to the
 * `ConnectionHandler`, dialed ones to the `AddressVerifier`, answers of the log to their `Mesh`.
 */
export class RendezvousMachine implements Machine<RendezvousInput, RendezvousOutput> {
  readonly #outputs = new Queue<RendezvousOutput>();
  readonly #timers = new Timers();
  readonly #servers: SharingServers;
  readonly #meshes: Meshes;
  readonly #classicSender: ClassicSender;
  readonly #addressVerifier: AddressVerifier;
  readonly #connectionHandler: ConnectionHandler;
  /** `ending`: nobody is admitted any more, and open connections are being closed. */
  #state: "serving" | "ending" | "closed" = "serving";
  #isListening = true;
  #hasEndedMesh = false;
  /** Meshes whose end this server was told to bring about, and whose logs have not answered. */
  readonly #ending = new Map<string, MeshEnd>();
  readonly #endTimer: KeyedTimers<"end">;
  readonly #limits: Limits;

  constructor(rules: RendezvousRules) {
    const { limits } = rules;
    const timers = this.#timers;
    this.#limits = limits;
    this.#endTimer = timers.keyed((_, now) => this.#endUnanswered(now));
    const outputs = this.#outputs;
    const closes = new GracefulCloses(outputs, limits.lingerMs, this.#timers);
    const classicDirectory = (): Directory => this.#meshes.classic.members.directory;
    const lists = new ClassicSender(limits, timers, outputs, closes, classicDirectory);
    const verifier = new AddressVerifier(limits, timers, outputs, closes, (result, now) => this.#verified(result, now));
    this.#addressVerifier = verifier;
    this.#classicSender = lists;
    const servers = new SharingServers(rules.isShared);
    this.#servers = servers;
    this.#meshes = new Meshes(rules, servers, timers, outputs);
    this.#connectionHandler = new ConnectionHandler(
      rules,
      timers,
      outputs,
      closes,
      servers,
      this.#meshes,
      lists,
      verifier,
    );
  }

  /** The addresses of all members, mesh by mesh, and those of each mesh in join order. */
  get members(): Address[] {
    return this.meshes.flatMap((mesh) => this.membersOf(mesh));
  }

  /** The addresses of the members of a mesh in join order. */
  membersOf(mesh: string): Address[] {
    return this.#meshes.peek(mesh)?.members.directory.members.map(({ address }) => address) ?? [];
  }

  /** The addresses of all classic members, and of those whose registration is under way. They cannot go on without a server. */
  get classics(): Address[] {
    return Array.from(this.#meshes.classic.members.all)
      .filter(({ dialect }) => dialect === "classic")
      .map(({ address }) => address);
  }

  /** The addresses of those members of a mesh that have a live session, in join order. */
  presentIn(mesh: string): Address[] {
    return this.#meshes.peek(mesh)?.present.map(({ address }) => address) ?? [];
  }

  /** The highest revision that any mesh has come to. */
  get revision(): number {
    return this.meshes.reduce((highest, mesh) => Math.max(highest, this.revisionOf(mesh)), this.#meshes.revision);
  }

  /** The revision of the newest change in a mesh, or the one before its first. */
  revisionOf(mesh: string): number {
    return this.#meshes.peek(mesh)?.members.directory.revision ?? this.#meshes.revision;
  }

  /** What is known of a mesh now; its times are on the machine's clock. Of a mesh that is not there it says so. */
  status(mesh: string, now: number): MeshStatus {
    return this.#connectionHandler.status(mesh, now);
  }

  /** What is known of two listed members and their link; times are on the machine's clock. undefined if they are not listed. */
  pair(mesh: string, a: Address, b: Address, now: number): PairStatus | undefined {
    return this.#connectionHandler.pair(mesh, a, b, now);
  }

  /** The id of a mesh's log. A mesh that was forgotten and begins again has another log. */
  logOf(mesh: string): Id | undefined {
    return this.#meshes.peek(mesh)?.logBroadcaster.log;
  }

  /** The names of its meshes. */
  get meshes(): string[] {
    return Array.from(this.#meshes.all, ({ name }) => name);
  }

  /** How many things it keeps. Tests use it to see that nothing of an empty mesh is kept. */
  get size(): number {
    const { sessions } = this.#connectionHandler;
    const ofMeshes = Array.from(this.#meshes.all, ({ size }) => 1 + size).reduce((sum, size) => sum + size, 0);
    return sessions.size + this.#addressVerifier.size + this.#meshes.addresses.size + ofMeshes;
  }

  /** The address of the member at the other end of a connection, or the one that was dialed, if it is known. */
  addressOf(connection: ConnectionId): Address | undefined {
    return this.#connectionHandler.sessions.get(connection)?.address ?? this.#addressVerifier.addressOf(connection);
  }

  poll(): RendezvousOutput | undefined {
    return this.#outputs.poll();
  }

  nextTimeout(): number | undefined {
    return this.#timers.next();
  }

  handle(input: RendezvousInput, now: number): void {
    switch (input.type) {
      case "accepted":
        if (this.#state === "serving") this.#connectionHandler.accept(input.connection, input.remote, now);
        else this.#outputs.push({ type: "abort", connection: input.connection });
        break;
      case "timeout":
        this.#timers.fire(now);
        break;
      case "appended":
        this.#appended(input, now);
        break;
      case "rejected":
        this.#rejected(input, now);
        break;
      case "restored":
      case "published":
      case "servers":
      case "storeLost":
      case "storeBack":
      case "corrupt":
      case "repaired":
        this.#shared(input, now);
        break;
      case "measure":
        this.#connectionHandler.measure(input.mesh, input.a, input.b, now);
        break;
      case "teardown":
      case "release":
        this.#endAll(input.type, input.reason, now);
        break;
      case "close":
        this.#stop(now);
        break;
      default:
        if (!this.#connectionHandler.handle(input, now)) this.#addressVerifier.handle(input, now);
    }
    this.#settle(now);
  }

  #verified(result: VerificationResult, now: number): void {
    const { task, found, detail } = result;
    if (task.challenge !== undefined) {
      this.#connectionHandler.native.unproved(task.challenge.session, result, now);
      return;
    }
    if (task.asker !== undefined) {
      this.#connectionHandler.native.probed(task.asker, result, now);
      return;
    }
    this.#meshes.find(task.mesh)?.checked(result, now);
    if (found !== "undialed") return;
    this.#outputs.push({ type: "note", note: { code: "NO_DESCRIPTORS", message: detail, remote: task.address } });
  }

  // Membership and the end.

  #rejected(answer: Extract<LogAnswer, { type: "rejected" }>, now: number): void {
    const rejected = this.#meshes.find(answer.mesh)?.rejected(answer, now);
    if (rejected !== undefined) this.#followUp(answer.mesh, rejected, now);
  }

  #followUp(mesh: string, { refused, evicts }: RejectedAppend, now: number): void {
    if (refused !== undefined) this.#refuse(refused, now);
    if (evicts !== undefined) this.#meshes.find(evicts.mesh)?.evict(evicts.id, mesh, now);
  }

  #fence(session: MemberSession, why: string, now: number): void {
    this.#connectionHandler.sessionCloser.refuse(session, "FENCED", `${why}; join anew`, now);
  }

  #refuse({ session, code, message }: RefusedSession, now: number): void {
    this.#connectionHandler.sessionCloser.refuse(session, code, message, now);
  }

  #appended(answer: Extract<LogAnswer, { type: "appended" }>, now: number): void {
    const { entry } = answer;
    const mesh = this.#meshes.find(answer.mesh);
    if (mesh === undefined) return;
    const { newcomer, fenced } = mesh.appended(answer, now);
    const { classic } = this.#connectionHandler;
    if (fenced !== undefined) {
      const why = entry.type === "replaced" ? "somebody else has proved the address" : "the member has been removed";
      this.#fence(fenced, why, now);
    }
    if (newcomer === undefined || classic.correct(newcomer, now) || mesh.members.classics === 0) return;
    // Every classic member is owed the newest list.
    this.#classicSender.queueLists(mesh.sessions, newcomer, now);
  }

  // What other servers do, and the store that they share.

  #shared(input: SharedLogInput, now: number): void {
    const servers = this.#servers;
    switch (input.type) {
      case "restored":
        this.#restored(input, now);
        break;
      case "published":
        this.#published(input, now);
        break;
      case "servers":
        servers.set(input.self, input.others);
        for (const name of this.meshes) this.#meshes.find(name)?.serversChanged(now);
        break;
      case "storeLost":
        this.#loseStore(input.reason, now);
        break;
      case "storeBack":
        servers.regain();
        for (const name of this.meshes) this.#meshes.find(name)?.resumeLog(now);
        break;
      case "corrupt":
        if (input.mesh !== undefined) servers.corrupt(input.mesh, input.reason);
        else this.#outputs.push({ type: "note", note: { code: "STORE_CORRUPT", message: input.reason } });
        break;
      case "repaired":
        servers.repaired(input.mesh);
        break;
    }
  }

  #loseStore(reason: string, now: number): void {
    this.#servers.lose(reason);
    for (const name of this.meshes) this.#meshes.find(name);
    if (!this.#servers.hasOthers) return;
    // Other servers may take them; a classic member could not come back.
    for (const session of this.#connectionHandler.sessions.values()) {
      if (session.mesh === undefined || session.dialect === "classic") continue;
      this.#refuse({ session, code: "STORE_UNAVAILABLE", message: reason }, now);
    }
  }

  /** The log of a mesh has been read. One that has ended before this server knew it is not there for it. */
  #restored({ mesh: name, state, answers }: Extract<SharedLogInput, { type: "restored" }>, now: number): void {
    let mesh = this.#meshes.find(name);
    if (mesh?.isLogRead !== true && state.ended !== undefined) {
      this.#meshes.keepEnded(name, state);
      return;
    }
    if (mesh?.isOfOtherLog(state.log) === true) {
      const next = this.#meshes.replace(mesh, now);
      this.#closeSessions(mesh, "the log of the mesh has begun anew", now);
      mesh = next;
    }
    mesh ??= this.#meshes.openLogged(name);
    if (!mesh.isLogRead) this.#sendBack(mesh, state.log, now);
    const { changed, rejected } = mesh.restored(state, answers, now);
    for (const { fenced } of changed) if (fenced !== undefined) this.#fence(fenced, "the member has been removed", now);
    for (const each of rejected) this.#followUp(name, each, now);
    if (state.ended !== undefined) this.#ended(mesh, state.ended, now);
  }

  /**
   * Whoever came as a member of an earlier log, but was in this very one, of which this server did not know yet: it comes again,
   * and goes on once the log has been read as far as it has.
   */
  #sendBack(mesh: Mesh, log: Id, now: number): void {
    for (const session of this.#connectionHandler.sessions.values()) {
      const { recovery } = session;
      if (session.mesh !== mesh.name || recovery?.log !== log) continue;
      const message = `the log of "${printable(mesh.name)}" has not been read here until now`;
      this.#refuse({ session, code: "STORE_UNAVAILABLE", message }, now);
      mesh.recovery.forget(recovery);
    }
  }

  #published(input: Extract<SharedLogInput, { type: "published" }>, now: number): void {
    const { mesh: name, server, fact } = input;
    const mesh = this.#meshes.find(name);
    if (mesh === undefined) return;
    if (fact.type === "ended") this.#ended(mesh, fact, now);
    else if (fact.type === "relayed") {
      if (server !== this.#servers.self) this.#connectionHandler.native.relayed(mesh, fact);
    } else {
      const older = mesh.attachments.published(input, now);
      const reason = "the member has come back at another server";
      if (older !== undefined) this.#connectionHandler.sessionCloser.close(older, { type: "broken", reason }, now);
    }
  }

  /** The end of a mesh, or that it is forgotten, has come back from its log. */
  #ended(mesh: Mesh, { kind, reason, incomplete }: Extract<LogFact, { type: "ended" }>, now: number): void {
    this.#ending.delete(mesh.name);
    if (mesh.hasEnded) return;
    if (kind === "forgotten") {
      this.#meshes.forget(mesh, now);
      this.#closeSessions(mesh, reason, now);
    } else this.#end(mesh, { kind, reason, ...(incomplete === undefined ? {} : { incomplete }) }, now);
  }

  /** Whoever is in this mesh comes back, and is told what there is then. */
  #closeSessions(mesh: Mesh, reason: string, now: number): void {
    for (const session of this.#connectionHandler.sessions.values()) {
      if (session.mesh !== mesh.name) continue;
      this.#connectionHandler.sessionCloser.close(session, { type: "broken", reason }, now);
    }
  }

  /** Reviews every mesh that the input concerned, and ends those that are due. */
  #settle(now: number): void {
    for (const mesh of this.#meshes.takeTouched()) {
      const { end, called, released, checks, refused } = mesh.review(this.#classicSender.lastListAt, now);
      if (end !== undefined) this.#finish(mesh, end, now);
      for (const session of released) this.#connectionHandler.native.admit(session, now);
      for (const session of called) this.#connectionHandler.native.challenge(session, now);
      for (const check of checks) this.#addressVerifier.begin(check, now);
      for (const session of refused) this.#refuse(session, now);
      this.#meshes.settle(mesh, now);
    }
    if (this.#hasEndedMesh && !this.#hasMembersOrEnd && this.#ending.size === 0) this.#stop(now);
    if (this.#state !== "ending" || this.#connectionHandler.sessions.size > 0 || this.#addressVerifier.connections > 0)
      return;
    this.#state = "closed";
    this.#outputs.push({ type: "event", event: { type: "closed" } });
  }

  /** True while a mesh that goes on has members. */
  get #hasMembersOrEnd(): boolean {
    for (const mesh of this.#meshes.all) if (mesh.hasMembersOrEnd) return true;
    return false;
  }

  /** A mesh is due to end: at once, or where servers share its log, when its end comes back from that. */
  #finish(mesh: Mesh, end: MeshEnd, now: number): void {
    if (mesh.isLogRead) mesh.publishEnd(end, now);
    else this.#end(mesh, end, now);
  }

  /** Ends a mesh. When no mesh with members is left, the server ends. */
  #end(mesh: Mesh, end: MeshEnd, now: number): void {
    const ending = mesh.end(end, now);
    this.#hasEndedMesh = true;
    if (!this.#hasMembersOrEnd) this.#stopListening();
    for (const session of this.#connectionHandler.sessions.values()) {
      if (session.mesh === mesh.name) this.#connectionHandler.sessionCloser.dismiss(session, ending, now);
    }
  }

  #endAll(kind: "teardown" | "release", reason: string, now: number): void {
    if (this.#state !== "serving" || this.#ending.size > 0) return;
    const peopled = [...this.#meshes.all].filter((mesh) => mesh.hasMembersOrEnd);
    const ending = peopled.length > 0 || this.#hasEndedMesh ? peopled : [this.#meshes.classic];
    const isTold = this.#servers.isShared && this.#servers.isStoreThere;
    for (const mesh of ending) {
      if (!isTold || !mesh.isLogRead) this.#end(mesh, { reason, kind }, now);
      else {
        mesh.publishEnd({ reason, kind }, now);
        this.#ending.set(mesh.name, { reason, kind });
      }
    }
    if (this.#ending.size === 0) this.#stop(now);
    else this.#endTimer.set("end", now + this.#limits.logAnswerMs);
  }

  /** The log has not answered: the meshes end without it. */
  #endUnanswered(now: number): void {
    for (const [name, end] of this.#ending) {
      const mesh = this.#meshes.find(name);
      if (mesh !== undefined) this.#end(mesh, end, now);
    }
    this.#ending.clear();
    this.#stop(now);
  }

  /** Admits nobody any more, and closes the remaining connections without a message. */
  #stop(now: number): void {
    if (this.#state !== "serving") return;
    this.#state = "ending";
    this.#endTimer.clear("end");
    this.#stopListening();
    this.#meshes.halt();
    this.#addressVerifier.stop();
    for (const session of this.#connectionHandler.sessions.values()) {
      this.#connectionHandler.sessionCloser.close(session, { type: "broken", reason: "the server closes" }, now);
    }
  }

  #stopListening(): void {
    if (this.#isListening) this.#outputs.push({ type: "stopListening" });
    this.#isListening = false;
  }
}
