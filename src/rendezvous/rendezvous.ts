import type { ConnectionId, ConnectionProgress, Endpoint } from "../core/connections.js";
import { Deadlines, earliest } from "../core/deadlines.js";
import type { ErrorCode } from "../core/errors.js";
import { Handshakes } from "../core/handshakes.js";
import { type Machine, OutputQueue } from "../core/machine.js";
import type { Address } from "../protocol/address.js";
import { encodeEnd, encodeRefusal } from "../protocol/classic/list.js";
import type { RegistrationEvent } from "../protocol/classic/registration.js";
import { httpRefusal } from "../protocol/sniff.js";
import type { Verdict } from "./admission.js";
import { Delivery } from "./delivery.js";
import type { LogEntry } from "./log.js";
import { Outbox } from "./outbox.js";
import { Roll } from "./roll.js";
import { Session } from "./session.js";
import type { RendezvousEvent, RendezvousInput, RendezvousOutput, RendezvousRules } from "./vocabulary.js";

/**
 * The rendezvous server's machine: takes registrations, keeps the directory, tells everyone the list, ends the mesh.
 *
 * What happens to it comes in through `handle`; what it wants goes out through `poll` and `nextTimeout`. The way of a
 * registration into the directory is `Roll`'s, the way of a word to its reader is `Delivery`'s; here they meet.
 */
export class Rendezvous implements Machine<RendezvousInput, RendezvousOutput> {
  readonly #rules: RendezvousRules;
  readonly #outputs = new OutputQueue<RendezvousOutput>();
  readonly #roll: Roll;
  readonly #delivery: Delivery;
  readonly #handshakes: Handshakes;
  readonly #quiet = new Deadlines<Session>();
  /** Every connection that is not gone. */
  readonly #sessions = new Map<ConnectionId, Session>();
  #capacityReachedAt: number | undefined;
  #state: "serving" | "ending" | "closed" = "serving";

  constructor(rules: RendezvousRules) {
    this.#rules = rules;
    this.#roll = new Roll({ ...rules, listBytes: rules.limits.listBytes }, this.#outputs);
    this.#delivery = new Delivery(rules.limits, this.#roll.directory, this.#outputs);
    this.#handshakes = new Handshakes(rules.limits);
  }

  /** The addresses of the members in join order. */
  get members(): Address[] {
    return this.#roll.directory.addresses;
  }

  /** The revision of the newest change; 0 before the first. */
  get revision(): number {
    return this.#roll.directory.revision;
  }

  /** The address that a connection has registered, if it has. */
  addressOf(connection: ConnectionId): Address | undefined {
    return this.#sessions.get(connection)?.address;
  }

  poll(): RendezvousOutput | undefined {
    return this.#outputs.poll();
  }

  nextTimeout(): number | undefined {
    return earliest(
      this.#handshakes.nextTimeout(),
      this.#quiet.next(),
      this.#delivery.nextTimeout(),
      this.#settledAt(),
    );
  }

  handle(input: RendezvousInput, now: number): void {
    switch (input.type) {
      case "accepted":
        this.#accept(input.connection, input.remote, now);
        break;
      case "timeout":
        this.#timeout(now);
        break;
      case "appended":
        this.#appended(input.entry, now);
        break;
      case "teardown":
        this.#end(input.reason, now);
        break;
      case "close":
        this.#stop(now);
        break;
      default:
        this.#progress(input, now);
    }
  }

  // What happened to a connection.

  #progress(input: ConnectionProgress, now: number): void {
    const session = this.#sessions.get(input.connection);
    if (session === undefined) return;
    if (input.type === "bytes") this.#read(session, input.bytes, now);
    else if (input.type === "flushed") this.#delivery.flushed(session, now);
    else if (input.type === "ended") this.#ended(session, now);
    // `connected` never comes: a rendezvous dials nobody.
    else if (input.type === "closed") this.#closed(session, input.failure);
  }

  #accept(connection: ConnectionId, remote: Endpoint, now: number): void {
    const { limits } = this.#rules;
    const session = new Session(connection, remote, new Outbox(connection, this.#outputs, limits.messageGapMs));
    const isFull = this.#sessions.size >= limits.connections;
    if (isFull || this.#state !== "serving") {
      if (isFull) this.#note("BUSY", "no descriptors are left for another connection", session);
      this.#outputs.push({ type: "abort", connection });
      return;
    }
    this.#sessions.set(connection, session);
    if (!this.#handshakes.begin(connection, session.remote.host, now)) {
      this.#refuse(session, "BUSY", "too many connections have not yet registered; try again in 5 s", now);
    }
  }

  #read(session: Session, bytes: Uint8Array, now: number): void {
    if (session.state === "closing") return;
    this.#handshakes.spoke(session.connection, now);
    session.reader.push(bytes);
    this.#understand(session, now);
  }

  #ended(session: Session, now: number): void {
    if (session.state === "closing") return;
    this.#finishReading(session, now);
    this.#roll.depart(session, "left", "closed its connection");
    this.#close(session, now);
  }

  #closed(session: Session, failure: string | undefined): void {
    if (session.state !== "closing") {
      // What a broken connection has said in part is not said.
      this.#noteSilence(session);
      this.#roll.depart(session, failure === undefined ? "left" : "lost", failure ?? "closed its connection");
    }
    this.#handshakes.end(session.connection);
    this.#quiet.clear(session);
    this.#delivery.closed(session);
    this.#sessions.delete(session.connection);
    this.#closeIfDone();
  }

  /** The other side sends nothing more; it may have registered with its last bytes, or not at all. */
  #finishReading(session: Session, now: number): void {
    session.reader.finish();
    this.#understand(session, now);
    this.#noteSilence(session);
  }

  #noteSilence(session: Session): void {
    if (session.state === "reading") this.#note("NOTHING_SAID", "closed before it had registered", session);
  }

  #timeout(now: number): void {
    for (let due = this.#handshakes.takeDue(now); due !== undefined; due = this.#handshakes.takeDue(now)) {
      const session = this.#sessions.get(due);
      if (session !== undefined) this.#refuse(session, "HANDSHAKE_TIMEOUT", "no registration came in time", now);
    }
    for (let due = this.#quiet.takeDue(now); due !== undefined; due = this.#quiet.takeDue(now)) {
      due.reader.quiet();
      this.#understand(due, now);
    }
    this.#delivery.handleTimeout(now);
    const settledAt = this.#settledAt();
    if (settledAt !== undefined && settledAt <= now) this.#end("capacity reached", now);
  }

  // What a session says.

  #understand(session: Session, now: number): void {
    for (let event = session.reader.poll(); event !== undefined; event = session.reader.poll()) {
      if (session.state !== "closing") this.#hear(session, event, now);
    }
    const awaitsQuiet = session.reader.awaitsQuiet && session.state !== "closing";
    if (awaitsQuiet) this.#quiet.set(session, now + this.#rules.limits.quietMs);
    else this.#quiet.clear(session);
  }

  #hear(session: Session, event: RegistrationEvent, now: number): void {
    switch (event.type) {
      case "registered":
        this.#handshakes.end(session.connection);
        this.#heed(session, this.#roll.register(session, event.address), now);
        break;
      case "revised":
        this.#note("REGISTRATION_REVISED", `${session.address} was corrected to ${event.address}`, session);
        session.correction = event.address;
        // What is being appended must be in the log before it can be taken out again.
        if (session.state !== "joining") this.#correct(session, now);
        break;
      case "bad":
        this.#refuse(session, "BAD_ADDRESS", `expected <ip>:<port>, got "${event.text}"`, now);
        break;
      case "extra":
        this.#note(event.isAddress ? "SECOND_REGISTRATION" : "EXTRA_BYTES", `ignored "${event.text}"`, session);
        break;
      case "wrongCaller":
        this.#turnAway(session, event.caller, now);
        break;
    }
  }

  /** Replaces the address of a session by its correction, if it has one. Returns whether it had. */
  #correct(session: Session, now: number): boolean {
    const { correction } = session;
    session.correction = undefined;
    if (correction !== undefined) this.#heed(session, this.#roll.correct(session, correction), now);
    return correction !== undefined;
  }

  #heed(session: Session, verdict: Verdict, now: number): void {
    if (verdict.type === "refuse") this.#refuse(session, verdict.code, verdict.message, now);
  }

  #turnAway(session: Session, caller: "http" | "tls" | "hello", now: number): void {
    if (caller === "hello") {
      this.#refuse(session, "HELLO_AT_SERVER", "this is the rendezvous server; greet members", now);
    } else if (caller === "http") {
      this.#note("HTTP_REQUEST", "answered with 400", session);
      this.#close(session, now, httpRefusal());
    } else {
      this.#note("TLS_HELLO", "closed without an answer", session);
      this.#close(session, now);
    }
  }

  #refuse(session: Session, code: ErrorCode, message: string, now: number): void {
    this.#note(code, message, session);
    this.#roll.depart(session, "left", `refused: ${code}`);
    this.#close(session, now, encodeRefusal(code, message));
  }

  #close(session: Session, now: number, lastWord?: Uint8Array): void {
    if (session.state === "closing") return;
    this.#handshakes.end(session.connection);
    this.#quiet.clear(session);
    session.step("closing");
    this.#delivery.close(session, now, lastWord);
  }

  // Membership and the end.

  #appended(entry: LogEntry, now: number): void {
    const newcomer = this.#roll.appended(entry);
    if (this.#roll.admission.hasReachedCapacity) {
      this.#roll.admission.seal();
      this.#capacityReachedAt ??= now;
    }
    if (newcomer === undefined || this.#correct(newcomer, now)) return;
    for (const session of this.#sessions.values()) {
      if (session.state === "member") this.#delivery.listDue(session, now);
    }
  }

  /** When a full mesh ends: members that cannot report their links have had time to make them since the last list. */
  #settledAt(): number | undefined {
    if (this.#capacityReachedAt === undefined || this.#state !== "serving") return undefined;
    return Math.max(this.#capacityReachedAt, this.#delivery.lastListAt) + this.#rules.limits.settleMs;
  }

  #end(reason: string, now: number): void {
    if (this.#state !== "serving") return;
    const members = this.#roll.directory.size;
    this.#tell({ type: "teardown", reason, members, unverified: (members * (members - 1)) / 2 });
    this.#stop(now, encodeEnd(this.#rules.endWord));
  }

  #stop(now: number, lastWord?: Uint8Array): void {
    if (this.#state !== "serving") return;
    this.#state = "ending";
    this.#roll.admission.seal();
    this.#outputs.push({ type: "stopListening" });
    for (const session of this.#sessions.values()) {
      this.#close(session, now, session.state === "reading" ? undefined : lastWord);
    }
    this.#closeIfDone();
  }

  #closeIfDone(): void {
    if (this.#state !== "ending" || this.#sessions.size > 0) return;
    this.#state = "closed";
    this.#tell({ type: "closed" });
  }

  #tell(event: RendezvousEvent): void {
    this.#outputs.push({ type: "event", event });
  }

  #note(code: ErrorCode, message: string, session: Session): void {
    this.#outputs.push({ type: "note", note: { code, message, remote: session.remoteAddress } });
  }
}
