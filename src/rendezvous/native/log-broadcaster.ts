import type { Directory, Entry, Id } from "../../protocol/directory.js";
import { encodeControl } from "../../protocol/native/control.js";
import type { MemberSession } from "../member-session.js";
import type { RendezvousRules } from "../types.js";
import { LogCache } from "./log-cache.js";

/** What a session has been sent. */
interface Reader {
  readonly session: MemberSession;
  readonly order: number;
  isAdmitted: boolean;
  /** The revision that it holds; undefined if it needs the whole directory. */
  revision: number | undefined;
  /** The number of the newest state message that it was sent. */
  word: number;
  /** It waits for the mesh to be whole with so many members. */
  watches: number | undefined;
  /** The newest state frame that it was sent. */
  told: Uint8Array | undefined;
}

/**
 * Sends the log to the native members of one mesh.
 *
 * The first change after a pause goes out at once. Those that follow within the gap go out together, so a burst of joins
 * costs each member a few frames. Under a steady load the gap grows with the cost of an update, so that the server has time
 * for its other meshes. New members wait for the same moment: they all get the same directory, encoded once. A session that
 * is still sending its last update gets the next one afterwards, from the revision that it holds by then.
 */
export class LogBroadcaster {
  /** The id of the log. Revisions are compared only within one log. */
  readonly log: Id;
  readonly #limits: RendezvousRules["limits"];
  readonly #directory: Directory;
  readonly #logCache: LogCache;
  readonly #readers = new Map<MemberSession, Reader>();
  /** The newest state message, with its number, so that no session is sent it twice. */
  #word: { readonly number: number; readonly frame: Uint8Array | undefined } | undefined;
  #words = 0;
  /** The message goes out with the next update, and not to sessions that come later. */
  #isLastCall = false;
  /** The frame `complete`, while the mesh is whole. */
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
    this.#logCache = new LogCache(directory, limits);
    this.#gapMs = limits.updateGapMs;
  }

  /** How much is kept: entries and sessions. */
  get size(): number {
    return this.#logCache.size + this.#readers.size;
  }

  /** An entry has been applied to the directory. */
  add(entry: Entry): void {
    this.#logCache.add(entry);
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

  /** This session waits for the mesh to be whole with so many members. */
  watch(session: MemberSession, size: number): void {
    const reader = this.#readers.get(session);
    if (reader === undefined) return;
    reader.watches = size;
    // It gets the answer even if it was sent the same frame before.
    reader.told = undefined;
    this.#isDue = true;
  }

  /** The mesh is whole, and this is the frame for it; or it is not. */
  setWhole(frame: Uint8Array | undefined): void {
    this.#whole = frame;
    this.#isDue ||= frame !== undefined;
  }

  /** Sends a state message to all sessions, after the entries. */
  tell(frame: Uint8Array): void {
    this.#words += 1;
    this.#word = { number: this.#words, frame };
    this.#isLastCall = false;
    this.#isDue = true;
  }

  /** The newest state message is outdated: it goes to the present sessions, and not to later ones. */
  expire(): void {
    if (this.#isDue) this.#isLastCall = true;
    else this.#word = undefined;
  }

  /** Replaces the newest state message for sessions that have not been sent it; undefined: it is not true now. */
  amend(frame: Uint8Array | undefined): void {
    if (this.#word === undefined) return;
    this.#isDue ||= this.#word.frame === undefined && frame !== undefined;
    this.#word = { number: this.#word.number, frame };
  }

  /** What was sent on a session has left this process: it may have more. */
  flushed(session: MemberSession): void {
    const reader = this.#readers.get(session);
    // A pending update goes to all sessions at once.
    if (reader !== undefined && !this.#isDue) this.#advance(reader);
  }

  nextTimeout(): number | undefined {
    return this.#isDue ? this.#lastAt + this.#gapMs : undefined;
  }

  /** Sends the update to all sessions, if the gap has passed. */
  handleTimeout(now: number): void {
    const at = this.nextTimeout();
    if (at === undefined || at > now) return;
    this.#isDue = false;
    this.#lastAt = now;
    const { updateGapMs, updateMemberMs } = this.#limits;
    // A single join never waits longer than the shortest gap, however large the mesh is.
    const longestMs = Math.min(this.#added * updateGapMs, this.#readers.size * updateMemberMs);
    this.#gapMs = Math.max(updateGapMs, longestMs);
    this.#added = 0;
    for (const reader of this.#readers.values()) this.#advance(reader);
    if (this.#isLastCall) this.#word = undefined;
    this.#isLastCall = false;
  }

  /** Sends everything that is pending, without a gap: the last message of each session follows. */
  finish(): void {
    this.#isDue = false;
    for (const reader of this.#readers.values()) this.#advance(reader, true);
    this.#readers.clear();
  }

  #advance(reader: Reader, isLast = false): void {
    const { session } = reader;
    if (session.nativeWriter.isFlushing && !isLast) return;
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
    reader.session.nativeWriter.send(frame);
  }

  #admit(reader: Reader): void {
    const { session, order } = reader;
    const { revision } = this.#directory;
    reader.isAdmitted = true;
    session.nativeWriter.send(
      encodeControl({ type: "admitted", log: this.log, order, revision, observed: session.remoteAddress }),
    );
  }

  #catchUp(reader: Reader): void {
    if (reader.revision === this.#directory.revision) return;
    const entries = reader.revision === undefined ? undefined : this.#logCache.since(reader.revision);
    for (const frame of entries ?? this.#logCache.snapshot()) reader.session.nativeWriter.send(frame);
    reader.revision = this.#directory.revision;
  }
}
