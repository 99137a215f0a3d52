import type { Directory, Entry, Id } from "../../protocol/directory.js";
import { encodeControl } from "../../protocol/native/control.js";
import type { MemberSession } from "../member-session.js";
import type { RendezvousRules } from "../types.js";
import { LogCache } from "./log-cache.js";

/** How far a session has been told. */
interface Reader {
  readonly session: MemberSession;
  readonly order: number;
  isAdmitted: boolean;
  /** The revision that it holds; undefined if it needs the whole directory. */
  revision: number | undefined;
  /** Which word of the mesh's state it has heard last. */
  word: number;
  /** It wants to be told when the mesh is whole with so many members. */
  watches: number | undefined;
  /** The last frame that it was sent of the mesh's state. */
  told: Uint8Array | undefined;
}

/**
 * Gets the log to the native members of one mesh.
 *
 * The first change after a pause goes out at once; those that follow within the gap go out together when it is over, so a
 * burst costs each member a few frames however many join. While they come faster than that, the gap grows with what an
 * update costs, so a storm of joins in one mesh leaves the server time for the others. Newcomers wait for the same moment: they all get the same
 * directory, encoded once. A session that has not yet taken the last update gets the next one when it has, from where it
 * stands by then.
 */
export class LogBroadcaster {
  /** Names the log: a revision means something only together with it. */
  readonly log: Id;
  readonly #limits: RendezvousRules["limits"];
  readonly #directory: Directory;
  readonly #history: LogCache;
  readonly #readers = new Map<MemberSession, Reader>();
  /** What is true of the mesh as a whole, for those who have not heard it; a number each, so that nobody hears it twice. */
  #word: { readonly number: number; readonly frame: Uint8Array | undefined } | undefined;
  #words = 0;
  /** The word is for those who are there at the next moment, and for nobody who comes later. */
  #isLastCall = false;
  /** Says that the mesh is whole, if it is. */
  #whole: Uint8Array | undefined;
  #lastAt = Number.NEGATIVE_INFINITY;
  /** From the last update to the next one. */
  #gapMs: number;
  /** Entries that have come since the last update. */
  #added = 0;
  #isDue = false;

  constructor(log: Id, directory: Directory, limits: RendezvousRules["limits"]) {
    this.log = log;
    this.#limits = limits;
    this.#directory = directory;
    this.#history = new LogCache(directory, limits);
    this.#gapMs = limits.updateGapMs;
  }

  /** How much is kept: entries, and sessions that are told them. */
  get size(): number {
    return this.#history.size + this.#readers.size;
  }

  /** An entry has been applied to the directory. */
  add(entry: Entry): void {
    this.#history.add(entry);
    this.#added += 1;
    this.#isDue = true;
  }

  /** A session is a member's now. One that comes back names the revision that it holds. */
  begin(session: MemberSession, order: number, revision?: number): void {
    this.#readers.set(session, {
      session,
      order,
      isAdmitted: false,
      revision,
      word: 0,
      watches: undefined,
      told: undefined,
    });
    this.#isDue = true;
  }

  end(session: MemberSession): void {
    this.#readers.delete(session);
  }

  /** This session wants to be told when the mesh is whole with so many members. */
  watch(session: MemberSession, size: number): void {
    const reader = this.#readers.get(session);
    if (reader === undefined) return;
    reader.watches = size;
    // It asks because it does not know, or doubts what it was told.
    reader.told = undefined;
    this.#isDue = true;
  }

  /** The mesh is whole, which this frame says; or it is not. */
  setWhole(frame: Uint8Array | undefined): void {
    this.#whole = frame;
    this.#isDue ||= frame !== undefined;
  }

  /** Says something of the mesh as a whole, to everybody, behind the entries. */
  tell(frame: Uint8Array): void {
    this.#words += 1;
    this.#word = { number: this.#words, frame };
    this.#isLastCall = false;
    this.#isDue = true;
  }

  /** What was told last is old: those who are there still hear it, and nobody who comes later. */
  expire(): void {
    if (this.#isDue) this.#isLastCall = true;
    else this.#word = undefined;
  }

  /** What was told last reads like this now, for whoever has not heard it yet; undefined: it is not true now. */
  amend(frame: Uint8Array | undefined): void {
    if (this.#word === undefined) return;
    this.#isDue ||= this.#word.frame === undefined && frame !== undefined;
    this.#word = { number: this.#word.number, frame };
  }

  /** What was sent on a session has left this process: it may have more. */
  flushed(session: MemberSession): void {
    const reader = this.#readers.get(session);
    // What is due is due to all at one moment.
    if (reader !== undefined && !this.#isDue) this.#advance(reader);
  }

  nextTimeout(): number | undefined {
    return this.#isDue ? this.#lastAt + this.#gapMs : undefined;
  }

  /** Tells everybody what is new, if the gap since the last time has passed. */
  handleTimeout(now: number): void {
    const at = this.nextTimeout();
    if (at === undefined || at > now) return;
    this.#isDue = false;
    this.#lastAt = now;
    const { updateGapMs, updateMemberMs } = this.#limits;
    // One who joins alone never waits longer than the shortest gap, however large the mesh is.
    const longestMs = Math.min(this.#added * updateGapMs, this.#readers.size * updateMemberMs);
    this.#gapMs = Math.max(updateGapMs, longestMs);
    this.#added = 0;
    for (const reader of this.#readers.values()) this.#advance(reader);
    if (this.#isLastCall) this.#word = undefined;
    this.#isLastCall = false;
  }

  /** Tells everybody what there is to tell, without regard to gaps: the last word follows. */
  finish(): void {
    this.#isDue = false;
    for (const reader of this.#readers.values()) this.#advance(reader, true);
    this.#readers.clear();
  }

  #advance(reader: Reader, isLast = false): void {
    const { session } = reader;
    if (session.line.isFlushing && !isLast) return;
    if (!reader.isAdmitted) this.#admit(reader);
    this.#catchUp(reader);
    const { number = reader.word, frame } = this.#word ?? {};
    if (frame !== undefined && reader.word !== number) {
      reader.word = number;
      this.#say(reader, frame);
    }
    if (reader.watches === undefined || this.#whole === undefined || this.#directory.size < reader.watches) return;
    reader.watches = undefined;
    if (reader.told !== this.#whole) this.#say(reader, this.#whole);
  }

  #say(reader: Reader, frame: Uint8Array): void {
    reader.told = frame;
    reader.session.line.send(frame);
  }

  #admit(reader: Reader): void {
    const { session, order } = reader;
    const { revision } = this.#directory;
    reader.isAdmitted = true;
    session.line.send(
      encodeControl({ type: "admitted", log: this.log, order, revision, observed: session.remoteAddress }),
    );
  }

  #catchUp(reader: Reader): void {
    if (reader.revision === this.#directory.revision) return;
    const entries = reader.revision === undefined ? undefined : this.#history.since(reader.revision);
    for (const frame of entries ?? this.#history.snapshot()) reader.session.line.send(frame);
    reader.revision = this.#directory.revision;
  }
}
