import { EventPacer } from "../../core/event-pacer.js";
import { GracefulCloses } from "../../core/graceful-closes.js";
import type { OutputSink } from "../../core/machine.js";
import { earliest, TimerTable } from "../../core/timer-table.js";
import { encodeList } from "../../protocol/classic/list.js";
import type { Directory } from "../../protocol/directory.js";
import type { MemberSession } from "../member-session.js";
import type { RendezvousOutput, RendezvousRules } from "../types.js";

/**
 * Gets the server's words to classic sessions, and to those who have not said what they speak: each list once encoded,
 * messages apart in time, and after the last word a half-close and a little patience.
 *
 * A registration of 20 bytes makes a list for every classic member due, and its sender may leave and come again. So the
 * time between two lists to all grows with what they take; and while members come and go without the mesh growing beyond
 * what it has been, it doubles from list to list.
 */
export class ListBroadcaster {
  readonly #limits: RendezvousRules["limits"];
  readonly #directory: () => Directory;
  readonly #outputs: OutputSink<RendezvousOutput>;
  readonly #lingering: GracefulCloses;
  readonly #paces = new TimerTable<MemberSession>();
  /** By when a closing session must have taken its last message. */
  readonly #patience = new TimerTable<MemberSession>();
  #list: { readonly revision: number; readonly bytes: Uint8Array } | undefined;
  #hasWarned = false;
  #lastListAt = Number.NEGATIVE_INFINITY;
  readonly #listInterval = new EventPacer();
  /** Those who are still to be told of a change, when the interval is over. */
  #waiting: ReadonlySet<MemberSession> | undefined;
  /** The most members that a list to all has had since the mesh was empty. */
  #mostMembers = 0;
  /** True while members come and go, and the mesh does not grow. */
  #isChurning = false;

  /** `directory` gives that of the mesh in which all classic members are. */
  constructor(limits: RendezvousRules["limits"], directory: () => Directory, outputs: OutputSink<RendezvousOutput>) {
    this.#limits = limits;
    this.#directory = directory;
    this.#outputs = outputs;
    this.#lingering = new GracefulCloses(outputs, limits.lingerMs);
  }

  /** When a list was last sent to anybody, or will be if one waits. */
  get lastListAt(): number {
    return Math.max(this.#lastListAt, this.#listsAt ?? this.#lastListAt);
  }

  /**
   * All these sessions are to have the newest list, because of this newcomer. If they have to wait, the newcomer alone has
   * it at once, unless members come and go so often that somebody waits already.
   */
  listsDue(sessions: ReadonlySet<MemberSession>, newcomer: MemberSession, now: number): void {
    const isFirst = this.#waiting === undefined;
    this.#waiting = sessions;
    if (this.#listInterval.nextAt <= now) this.#sendLists(now);
    else if (sessions.has(newcomer) && (isFirst || !this.#isChurning)) this.#listDue(newcomer, now);
  }

  /** The session's last word: sends it, after a list that is due, then lingers. No last word means none is sent. */
  close(session: MemberSession, now: number, lastWord?: Uint8Array): void {
    if (lastWord !== undefined) session.outbox.end(lastWord);
    this.#patience.set(session, now + this.#limits.messageGapMs + this.#limits.lingerMs);
    this.#advance(session, now);
  }

  flushed(session: MemberSession, now: number): void {
    session.outbox.flushed(now);
    this.#advance(session, now);
  }

  /** The session's connection is gone. */
  closed(session: MemberSession): void {
    this.#paces.clear(session);
    this.#patience.clear(session);
    this.#lingering.closed(session.connection);
  }

  nextTimeout(): number | undefined {
    return earliest(this.#listsAt, this.#paces.next(), this.#patience.next(), this.#lingering.nextTimeout());
  }

  handleTimeout(now: number): void {
    if (this.#listsAt !== undefined && this.#listsAt <= now) this.#sendLists(now);
    for (let due = this.#paces.takeDue(now); due !== undefined; due = this.#paces.takeDue(now)) this.#advance(due, now);
    for (let due = this.#patience.takeDue(now); due !== undefined; due = this.#patience.takeDue(now)) this.#giveUp(due);
    this.#lingering.handleTimeout(now);
  }

  /** When those who wait for a list get it. */
  get #listsAt(): number | undefined {
    return this.#waiting === undefined ? undefined : this.#listInterval.nextAt;
  }

  /** The next lists to all may follow after as long as these may take at the rate that is allowed. */
  #sendLists(now: number): void {
    const sessions = this.#waiting ?? new Set();
    this.#waiting = undefined;
    const { size, revision } = this.#directory();
    const { messageGapMs, listGapMaxMs, listRateBytes, listChurnRateBytes } = this.#limits;
    const bytes = sessions.size * this.#encodedList().length;
    const leastMs = Math.max(messageGapMs, (bytes / listRateBytes) * 1_000);
    const mostMs = Math.max(listGapMaxMs, (bytes / listChurnRateBytes) * 1_000);
    // A mesh of one costs nobody else anything, and is how one begins anew.
    this.#isChurning = size > 1 && size <= this.#mostMembers;
    this.#mostMembers = size > 1 ? Math.max(size, this.#mostMembers) : size;
    this.#listInterval.count(now, leastMs, this.#isChurning ? mostMs : leastMs);
    for (const session of sessions) if (session.listRevision !== revision) this.#listDue(session, now);
  }

  #listDue(session: MemberSession, now: number): void {
    session.outbox.listDue();
    this.#advance(session, now);
  }

  #advance(session: MemberSession, now: number): void {
    const sent = session.outbox.advance(now, () => this.#encodedList());
    if (sent === "list") {
      this.#lastListAt = now;
      session.listRevision = this.#directory().revision;
    }
    const next = session.outbox.nextTimeout();
    if (next === undefined) this.#paces.clear(session);
    else this.#paces.set(session, next);
    if (session.state === "closing" && session.outbox.isEmpty) {
      this.#patience.clear(session);
      this.#lingering.begin(session.connection, now);
    }
  }

  #giveUp(session: MemberSession): void {
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
