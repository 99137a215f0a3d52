import type { KeyedTimers } from "../../core/timers.js";
import type { Address } from "../../protocol/address.js";
import type { Directory, Entry, Id } from "../../protocol/directory.js";
import { encodeControl, mostServers } from "../../protocol/native/control.js";
import type { LogProgress, MemberSession } from "../member-session.js";
import type { SharingServers } from "../sharing-servers.js";
import type { MeshTimer, RendezvousRules } from "../types.js";
import { LogCache } from "./log-cache.js";
import type { NativeWriter } from "./writer.js";

/**
 * Sends the log to the native members of one mesh.
 *
 * The first change after a pause goes out at once. Those that follow within the gap go out together, so a burst of joins
 * costs each member a few frames. Under a steady load the gap grows with the cost of an update, so that the server has time
 * for its other meshes. New members wait for the same moment: they all get the same directory, encoded once. Where there is
 * nothing else to say than that members join, only they are sent it then, and the others, whom it would all wake, after a
 * gap that grows with their number. A session that is still sending its last update gets the next one afterwards, from the revision that it holds by then.
 */
export class LogBroadcaster {
  /** The id of the log. Revisions are compared only within one log. */
  log: Id;
  readonly #limits: RendezvousRules["limits"];
  readonly #servers: SharingServers;
  readonly #directory: Directory;
  readonly #sessions: ReadonlySet<MemberSession>;
  readonly #timers: KeyedTimers<MeshTimer>;
  readonly #logCache: LogCache;
  /** The newest state message, with its number, so that no session is sent it twice. */
  #state: { readonly number: number; readonly frame: Uint8Array | undefined } | undefined;
  #states = 0;
  /** The state goes out with the next update, and not to sessions that come later. */
  #isStateOutdated = false;
  /** The frame `complete`, while the mesh is whole. */
  #whole: Uint8Array | undefined;
  #leader: Id | undefined;
  #lastAt = Number.NEGATIVE_INFINITY;
  /** From the last update to the next one. */
  #gapMs: number;
  /** Entries that have come since the last update. */
  #added = 0;
  #isDue = false;
  /** From the last update to the next one, if that has nothing but members that join. */
  #joinGapMs = 0;
  /** True while something else is pending. */
  #isUrgent = false;
  /** True while a session waits to be admitted. */
  #hasNewcomers = false;
  /** When some were last admitted without an update for all. */
  #admittedAt = Number.NEGATIVE_INFINITY;

  /** `gone`: ids that the log has removed, and that members may remember from an earlier one. `sessions`: those of the mesh, of which the ones with a `logProgress` are sent the log. */
  constructor(
    log: Id,
    directory: Directory,
    gone: ReadonlySet<Id>,
    sessions: ReadonlySet<MemberSession>,
    servers: SharingServers,
    limits: RendezvousRules["limits"],
    timers: KeyedTimers<MeshTimer>,
  ) {
    this.log = log;
    this.#limits = limits;
    this.#servers = servers;
    this.#directory = directory;
    this.#sessions = sessions;
    this.#timers = timers;
    this.#logCache = new LogCache(directory, gone, limits);
    this.#gapMs = limits.updateGapMs;
  }

  /** How many entries are kept. */
  get size(): number {
    return this.#logCache.size;
  }

  /** The directory has been read anew from this log: every member gets the whole of it. */
  restart(log: Id): void {
    this.log = log;
    this.#logCache.restart();
    for (const { logProgress } of this.#sessions) if (logProgress !== undefined) logProgress.revision = undefined;
    this.#schedule();
  }

  /** An entry has been applied to the directory. */
  add(entry: Entry): void {
    this.#logCache.add(entry);
    this.#added += 1;
    this.#schedule(entry.type !== "joined");
  }

  /** A session is a member's now. One that comes back names the revision that it holds. */
  begin(session: MemberSession, order: number, revision?: number): void {
    session.logProgress = {
      order,
      isAdmitted: false,
      revision,
      stateNumber: 0,
      watches: undefined,
      newestState: undefined,
      leader: undefined,
      servers: undefined,
    };
    this.#hasNewcomers = true;
    this.#schedule(revision !== undefined);
  }

  /** This session waits for the mesh to be whole with so many members. */
  watch(session: MemberSession, size: number): void {
    const { logProgress } = session;
    if (logProgress === undefined) return;
    logProgress.watches = size;
    // It gets the answer even if it was sent the same frame before.
    logProgress.newestState = undefined;
    this.#schedule(false);
  }

  /** The mesh is whole, and this is the frame for it; or it is not. */
  setWhole(frame: Uint8Array | undefined): void {
    this.#whole = frame;
    if (frame !== undefined) this.#schedule();
  }

  /** Who leads; undefined while that is not to be told. Whoever was told of somebody else is told now. */
  setLeader(id: Id | undefined): void {
    if (this.#leader === id) return;
    this.#leader = id;
    if (id !== undefined) this.#schedule();
  }

  /** Other servers may share the log now: whoever was told of others is told. */
  serversChanged(): void {
    this.#schedule();
  }

  /** Sends a state message to all sessions, after the entries. */
  sendState(frame: Uint8Array): void {
    this.#states += 1;
    this.#state = { number: this.#states, frame };
    this.#isStateOutdated = false;
    this.#schedule();
  }

  /** The newest state message is outdated: it goes to the present sessions, and not to later ones. */
  expireState(): void {
    if (this.#isDue) this.#isStateOutdated = true;
    else this.#state = undefined;
  }

  /** Replaces the newest state message for sessions that have not been sent it; undefined: it is not true now. */
  amendState(frame: Uint8Array | undefined): void {
    if (this.#state === undefined) return;
    if (this.#state.frame === undefined && frame !== undefined) this.#schedule();
    this.#state = { number: this.#state.number, frame };
  }

  /** What was sent on a session has left this process: it may have more. */
  flushed(session: MemberSession): void {
    const { logProgress } = session;
    // A pending update goes to all sessions at once.
    if (logProgress !== undefined && !this.#isDue) this.#advance(session, logProgress);
  }

  /** Sends the update to all sessions, if one is pending and the gap has passed. */
  send(now: number): void {
    if (!this.#isDue || this.#nextAt > now) return;
    this.#hasNewcomers = false;
    if (!this.#isUrgent && this.#joinsAt > now) {
      this.#admitNewcomers(now);
      return;
    }
    this.#isDue = false;
    this.#isUrgent = false;
    this.#timers.clear("update");
    this.#lastAt = now;
    const { updateGapMs, updateMemberMs, joinMemberMs, joinGapMaxMs } = this.#limits;
    let readers = 0;
    for (const session of this.#sessions) {
      const { logProgress } = session;
      if (logProgress === undefined) continue;
      readers += 1;
      this.#advance(session, logProgress);
    }
    // A single join never waits longer than the shortest gap, however large the mesh is.
    this.#gapMs = Math.max(updateGapMs, Math.min(this.#added * updateGapMs, readers * updateMemberMs));
    this.#joinGapMs = Math.min(joinGapMaxMs, readers * joinMemberMs);
    this.#added = 0;
    if (this.#isStateOutdated) this.#state = undefined;
    this.#isStateOutdated = false;
  }

  /** Sends everything that is pending, without a gap: the last message of each session follows. */
  finish(): void {
    this.#isDue = false;
    this.#timers.clear("update");
    for (const session of this.#sessions) {
      if (session.logProgress !== undefined) this.#advance(session, session.logProgress, true);
      session.logProgress = undefined;
    }
  }

  get #nextAt(): number {
    if (this.#isUrgent) return this.#lastAt + this.#gapMs;
    return this.#hasNewcomers ? Math.max(this.#lastAt, this.#admittedAt) + this.#gapMs : this.#joinsAt;
  }

  /** When all are told of members that have joined, if there is nothing else to say. */
  get #joinsAt(): number {
    return this.#lastAt + Math.max(this.#gapMs, this.#joinGapMs);
  }

  /** Members that join need not wait until all others are told of them. */
  #admitNewcomers(now: number): void {
    this.#admittedAt = now;
    for (const session of this.#sessions) {
      const { logProgress } = session;
      if (logProgress?.isAdmitted === false) this.#advance(session, logProgress);
    }
    this.#timers.set("update", this.#nextAt);
  }

  #schedule(isUrgent = true): void {
    this.#isDue = true;
    this.#isUrgent ||= isUrgent;
    this.#timers.set("update", this.#nextAt);
  }

  #advance(session: MemberSession, progress: LogProgress, isLast = false): void {
    const writer = session.nativeWriter;
    if (writer.isFlushing && !isLast) return;
    if (!progress.isAdmitted) this.#admit(session, progress);
    this.#catchUp(writer, progress);
    this.#nameLeader(writer, progress);
    this.#nameServers(writer, progress);
    const { number = progress.stateNumber, frame } = this.#state ?? {};
    if (frame !== undefined && progress.stateNumber !== number) {
      progress.stateNumber = number;
      progress.newestState = frame;
      writer.send(frame);
    }
    if (progress.watches === undefined || this.#whole === undefined || this.#directory.size < progress.watches) return;
    progress.watches = undefined;
    if (progress.newestState === this.#whole) return;
    progress.newestState = this.#whole;
    writer.send(this.#whole);
  }

  #admit(session: MemberSession, progress: LogProgress): void {
    progress.isAdmitted = true;
    const { nativeWriter, address, remoteAddress } = session;
    const observed = address === undefined ? remoteAddress : session.observedAddress(address);
    const { order } = progress;
    const { revision } = this.#directory;
    const leaseMs = Math.max(1, Math.ceil(this.#limits.leaseMs));
    const addresses = this.#serverAddresses;
    progress.servers = addresses;
    const servers = addresses.length === 0 ? {} : { servers: addresses };
    nativeWriter.send(
      encodeControl({ type: "admitted", log: this.log, order, revision, observed, leaseMs, ...servers }),
    );
    // Before the directory: whoever has read that is a member, and knows who leads.
    this.#nameLeader(nativeWriter, progress);
  }

  #nameLeader(writer: NativeWriter, progress: LogProgress): void {
    if (this.#leader === undefined || this.#leader === progress.leader) return;
    progress.leader = this.#leader;
    writer.send(encodeControl({ type: "leader", id: this.#leader }));
  }

  get #serverAddresses(): Address[] {
    return this.#servers.addresses.slice(0, mostServers);
  }

  /** A member that cannot reach this server goes on at one of the others. */
  #nameServers(writer: NativeWriter, progress: LogProgress): void {
    const servers = this.#serverAddresses;
    if (progress.servers?.join() === servers.join()) return;
    progress.servers = servers;
    writer.send(encodeControl({ type: "servers", servers }));
  }

  #catchUp(writer: NativeWriter, progress: LogProgress): void {
    if (progress.revision === this.#directory.revision) return;
    const entries = progress.revision === undefined ? undefined : this.#logCache.since(progress.revision);
    for (const frame of entries ?? this.#logCache.snapshot()) writer.send(frame);
    progress.revision = this.#directory.revision;
  }
}
