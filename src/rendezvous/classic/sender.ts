import { EventPacer } from "../../core/event-pacer.js";
import type { GracefulCloses } from "../../core/graceful-closes.js";
import type { OutputSink } from "../../core/machine.js";
import type { KeyedTimers, Timers } from "../../core/timers.js";
import { encodeList } from "../../protocol/classic/list.js";
import type { Directory } from "../../protocol/directory.js";
import type { MemberSession } from "../member-session.js";
import type { RendezvousOutput, RendezvousRules } from "../types.js";

/**
 * Sends lists and last messages to classic sessions, and to those whose dialect is not known: each list encoded once,
 * messages apart in time, and after the last one a half-close.
 *
 * A registration of 20 bytes makes a list due for every classic member, and its sender may leave and join again. So the time
 * between two lists to all grows with their bytes; and while members come and go and the mesh does not grow, it doubles from
 * list to list.
 */
export class ClassicSender {
  readonly #limits: RendezvousRules["limits"];
  readonly #directory: () => Directory;
  readonly #outputs: OutputSink<RendezvousOutput>;
  readonly #gracefulCloses: GracefulCloses;
  /** When the next message of a session may go. */
  readonly #messageTimers: KeyedTimers<MemberSession>;
  /** By when a closing session must have taken its last message. */
  readonly #closeTimers: KeyedTimers<MemberSession>;
  readonly #listTimer: KeyedTimers<"list">;
  #list: { readonly revision: number; readonly bytes: Uint8Array } | undefined;
  #hasWarned = false;
  #lastListAt = Number.NEGATIVE_INFINITY;
  readonly #listInterval = new EventPacer();
  /** The sessions that get a list when the interval is over. */
  #waiting: ReadonlySet<MemberSession> | undefined;
  /** The most members of a list since the mesh was empty. */
  #mostMembers = 0;
  /** True while members come and go, and the mesh does not grow. */
  #isChurning = false;

  /** `directory` gives that of the mesh in which all classic members are. */
  constructor(
    limits: RendezvousRules["limits"],
    timers: Timers,
    outputs: OutputSink<RendezvousOutput>,
    gracefulCloses: GracefulCloses,
    directory: () => Directory,
  ) {
    this.#limits = limits;
    this.#directory = directory;
    this.#outputs = outputs;
    this.#gracefulCloses = gracefulCloses;
    this.#messageTimers = timers.keyed((session, now) => this.#advance(session, now));
    this.#closeTimers = timers.keyed((session) => this.#giveUp(session));
    this.#listTimer = timers.keyed((_, now) => this.#sendLists(now));
  }

  /** When a list was last sent to anybody, or will be if one waits. */
  get lastListAt(): number {
    return Math.max(this.#lastListAt, this.#listsAt ?? this.#lastListAt);
  }

  /**
   * A new member makes a list due for all classic members among these sessions. If they have to wait, the new member alone gets it at once, unless
   * members come and go so often that others wait already.
   */
  queueLists(sessions: ReadonlySet<MemberSession>, newcomer: MemberSession, now: number): void {
    const isFirst = this.#waiting === undefined;
    this.#waiting = sessions;
    const { nextAt } = this.#listInterval;
    this.#listTimer.set("list", nextAt);
    if (nextAt <= now) this.#sendLists(now);
    else if (isReader(newcomer) && (isFirst || !this.#isChurning)) this.#queueList(newcomer, now);
  }

  /** Sends a list that is due, then the last message, if there is one; then half-closes. */
  close(session: MemberSession, now: number, lastMessage?: Uint8Array): void {
    if (lastMessage !== undefined) session.classicWriter.end(lastMessage);
    this.#closeTimers.set(session, now + this.#limits.messageGapMs + this.#limits.lingerMs);
    this.#advance(session, now);
  }

  flushed(session: MemberSession, now: number): void {
    session.classicWriter.flushed(now);
    this.#advance(session, now);
  }

  /** The session's connection is gone. */
  closed(session: MemberSession): void {
    this.#messageTimers.clear(session);
    this.#closeTimers.clear(session);
    this.#gracefulCloses.closed(session.connection);
  }

  /** When the waiting sessions get their list. */
  get #listsAt(): number | undefined {
    return this.#waiting === undefined ? undefined : this.#listInterval.nextAt;
  }

  /** Sends the list to all; the next one may follow when these bytes fit the allowed rate. */
  #sendLists(now: number): void {
    const sessions = [...(this.#waiting ?? [])].filter(isReader);
    this.#waiting = undefined;
    this.#listTimer.clear("list");
    const { size, revision } = this.#directory();
    const { messageGapMs, listGapMaxMs, listRateBytes, listChurnRateBytes } = this.#limits;
    const bytes = sessions.length * this.#encodedList().length;
    const leastMs = Math.max(messageGapMs, (bytes / listRateBytes) * 1_000);
    const mostMs = Math.max(listGapMaxMs, (bytes / listChurnRateBytes) * 1_000);
    // A mesh of one member costs nobody else anything, and begins anew.
    this.#isChurning = size > 1 && size <= this.#mostMembers;
    this.#mostMembers = size > 1 ? Math.max(size, this.#mostMembers) : size;
    this.#listInterval.count(now, leastMs, this.#isChurning ? mostMs : leastMs);
    for (const session of sessions) if (session.listRevision !== revision) this.#queueList(session, now);
  }

  #queueList(session: MemberSession, now: number): void {
    session.classicWriter.queueList();
    this.#advance(session, now);
  }

  #advance(session: MemberSession, now: number): void {
    const sent = session.classicWriter.advance(now, () => this.#encodedList());
    if (sent === "list") {
      this.#lastListAt = now;
      session.listRevision = this.#directory().revision;
    }
    this.#messageTimers.set(session, session.classicWriter.nextTimeout());
    if (session.state === "closing" && session.classicWriter.isEmpty) {
      this.#closeTimers.clear(session);
      this.#gracefulCloses.begin(session.connection, now);
    }
  }

  #giveUp(session: MemberSession): void {
    this.#messageTimers.clear(session);
    this.#outputs.push({ type: "abort", connection: session.connection });
    this.#outputs.push({
      type: "note",
      note: { code: "TOO_SLOW", message: "did not take its last message in time", remote: session.remoteAddress },
    });
  }

  /** The newest list, encoded once for all sessions. */
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

/** Classic members get lists. */
function isReader({ dialect, state }: MemberSession): boolean {
  return dialect === "classic" && state === "member";
}
