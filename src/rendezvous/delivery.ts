import { Deadlines, earliest } from "../core/deadlines.js";
import { Lingering } from "../core/lingering.js";
import type { Sink } from "../core/machine.js";
import { encodeList } from "../protocol/classic/list.js";
import type { Directory } from "../protocol/directory.js";
import type { Session } from "./session.js";
import type { RendezvousOutput, RendezvousRules } from "./vocabulary.js";

/**
 * Gets the server's words to classic sessions, and to those who have not said what they speak: each list once encoded, messages apart in time, and after the last word a
 * half-close and a little patience.
 */
export class Delivery {
  readonly #limits: RendezvousRules["limits"];
  readonly #directory: () => Directory;
  readonly #outputs: Sink<RendezvousOutput>;
  readonly #lingering: Lingering;
  readonly #paces = new Deadlines<Session>();
  /** By when a closing session must have taken its last message. */
  readonly #patience = new Deadlines<Session>();
  #list: { readonly revision: number; readonly bytes: Uint8Array } | undefined;
  #hasWarned = false;
  #lastListAt = Number.NEGATIVE_INFINITY;

  /** `directory` gives that of the mesh in which all classic members are. */
  constructor(limits: RendezvousRules["limits"], directory: () => Directory, outputs: Sink<RendezvousOutput>) {
    this.#limits = limits;
    this.#directory = directory;
    this.#outputs = outputs;
    this.#lingering = new Lingering(outputs, limits.lingerMs);
  }

  /** When a list was last sent to anybody. */
  get lastListAt(): number {
    return this.#lastListAt;
  }

  /** The session is to have the newest list. */
  listDue(session: Session, now: number): void {
    session.outbox.listDue();
    this.#advance(session, now);
  }

  /** The session's last word: sends it, after a list that is due, then lingers. No last word means none is sent. */
  close(session: Session, now: number, lastWord?: Uint8Array): void {
    if (lastWord !== undefined) session.outbox.end(lastWord);
    this.#patience.set(session, now + this.#limits.messageGapMs + this.#limits.lingerMs);
    this.#advance(session, now);
  }

  flushed(session: Session, now: number): void {
    session.outbox.flushed(now);
    this.#advance(session, now);
  }

  /** The session's connection is gone. */
  closed(session: Session): void {
    this.#paces.clear(session);
    this.#patience.clear(session);
    this.#lingering.closed(session.connection);
  }

  nextTimeout(): number | undefined {
    return earliest(this.#paces.next(), this.#patience.next(), this.#lingering.nextTimeout());
  }

  handleTimeout(now: number): void {
    for (let due = this.#paces.takeDue(now); due !== undefined; due = this.#paces.takeDue(now)) this.#advance(due, now);
    for (let due = this.#patience.takeDue(now); due !== undefined; due = this.#patience.takeDue(now)) this.#giveUp(due);
    this.#lingering.handleTimeout(now);
  }

  #advance(session: Session, now: number): void {
    const sent = session.outbox.advance(now, () => this.#encodedList());
    if (sent === "list") this.#lastListAt = now;
    const next = session.outbox.nextTimeout();
    if (next === undefined) this.#paces.clear(session);
    else this.#paces.set(session, next);
    if (session.state === "closing" && session.outbox.isEmpty) {
      this.#patience.clear(session);
      this.#lingering.begin(session.connection, now);
    }
  }

  #giveUp(session: Session): void {
    this.#paces.clear(session);
    this.#outputs.push({ type: "abort", connection: session.connection });
    this.#outputs.push({
      type: "note",
      note: { code: "TOO_SLOW", message: "did not take its last message in time", remote: session.remoteAddress },
    });
  }

  /** The newest list, encoded once for all its readers. */
  #encodedList(): Uint8Array {
    const { revision, size, members } = this.#directory();
    if (this.#list?.revision !== revision)
      this.#list = { revision, bytes: encodeList(members.map(({ address }) => address)) };
    const { bytes } = this.#list;
    if (bytes.length > this.#limits.listWarnBytes && !this.#hasWarned) {
      this.#hasWarned = true;
      const message = `the list of ${size} members has ${bytes.length} bytes`;
      this.#outputs.push({ type: "note", note: { code: "LIST_LONG", message } });
    }
    return bytes;
  }
}
