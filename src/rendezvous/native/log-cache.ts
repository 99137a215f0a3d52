import type { Directory, Entry, Id, Member } from "../../protocol/directory.js";
import { encodeFrame, frameKinds } from "../../protocol/native/frames.js";
import { ascii } from "../../protocol/text.js";

/** How many entries are kept, and how long a frame may be. */
type LogCacheLimits = Readonly<Record<"logEntries" | "controlBytes", number>>;

/**
 * The log as frames: the entries after a revision, or the whole directory.
 *
 * The newest entries are kept, each encoded once. A batch or a directory is built once for all sessions that need the same
 * one, as all sessions do that keep up.
 */
export class LogCache {
  readonly #directory: Directory;
  readonly #gone: ReadonlySet<Id>;
  readonly #limits: LogCacheLimits;
  /** The newest entries in JSON, the oldest first, without gaps. */
  #entries: Uint8Array[] = [];
  /** The revision before the first entry that is kept. */
  #base: number;
  readonly #batches = new Map<number, readonly Uint8Array[]>();
  /** Members in JSON. */
  readonly #members = new WeakMap<Member, Uint8Array>();
  #snapshot: { readonly revision: number; readonly frames: readonly Uint8Array[] } | undefined;

  /** `gone`: ids that the log has removed, and that members may remember from an earlier one. */
  constructor(directory: Directory, gone: ReadonlySet<Id>, limits: LogCacheLimits) {
    this.#directory = directory;
    this.#gone = gone;
    this.#limits = limits;
    this.#base = directory.revision;
  }

  /** How many entries are kept. */
  get size(): number {
    return this.#entries.length;
  }

  /** The directory has been read anew: nothing is kept of how it came about. */
  restart(): void {
    this.#entries = [];
    this.#base = this.#directory.revision;
    this.#batches.clear();
    this.#snapshot = undefined;
  }

  /** An entry has been applied to the directory. */
  add(entry: Entry): void {
    const isNext = entry.revision === this.#base + this.#entries.length + 1;
    if (!isNext) {
      this.#entries = [];
      this.#base = entry.revision - 1;
    }
    this.#entries.push(json(entry));
    this.#batches.clear();
    // Half of them are dropped at a time, so that the cost of each entry stays small.
    const { logEntries } = this.#limits;
    if (this.#entries.length >= 2 * logEntries) {
      this.#base += this.#entries.length - logEntries;
      this.#entries = this.#entries.slice(-logEntries);
    }
  }

  /** The entries after a revision, as `entries`; undefined if they are not kept, or the revision is unknown. */
  since(revision: number): readonly Uint8Array[] | undefined {
    const oldest = Math.max(this.#base, this.#directory.revision - this.#limits.logEntries);
    if (revision < oldest || revision > this.#directory.revision) return undefined;
    const known = this.#batches.get(revision);
    if (known !== undefined) return known;
    const entries = this.#entries.slice(revision - this.#base);
    const batch = pack(entries, '{"type":"entries","entries":[', this.#limits.controlBytes, () => "]}");
    this.#batches.set(revision, batch);
    return batch;
  }

  /** The directory as it is now, as `directory`. */
  snapshot(): readonly Uint8Array[] {
    const { revision, members } = this.#directory;
    if (this.#snapshot?.revision !== revision) {
      const head = `{"type":"directory","revision":${revision},"members":[`;
      const tail = (isLast: boolean): string => (isLast ? "]}" : '],"more":true}');
      const items = members.map((member) => this.#encoded(member));
      const claims = Array.from(this.#directory.claims.values(), ({ key, holder, token }) =>
        json({ key, holder, token }),
      );
      const mostBytes = this.#limits.controlBytes;
      const gone = Array.from(this.#gone, (id) => ascii(`"${id}"`));
      const frames = pack(items, head, mostBytes, (isLast) => tail(isLast && claims.length + gone.length === 0));
      // Behind the members come the claims, and then the ids that are gone, in parts that name no members.
      const claimed = pack(claims, `${head}],"claims":[`, mostBytes, (isLast) => tail(isLast && gone.length === 0));
      const all = [...frames, ...claimed, ...pack(gone, `${head}],"gone":[`, mostBytes, tail)];
      this.#snapshot = { revision, frames: all.length > 0 ? all : [wrap([], head, tail(true))] };
    }
    return this.#snapshot?.frames ?? [];
  }

  /** While members join, nearly each of them needs a new directory, in which only the last member is new. */
  #encoded(member: Member): Uint8Array {
    const known = this.#members.get(member);
    if (known !== undefined) return known;
    const encoded = json(member);
    this.#members.set(member, encoded);
    return encoded;
  }
}

function json(value: object): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(value));
}

/** The longest tail, which every part must have room for. */
const tailBytes = '],"more":true}'.length;

/** Puts items into as few frames as their bound allows. */
function pack(
  items: readonly Uint8Array[],
  head: string,
  mostBytes: number,
  tail: (isLast: boolean) => string,
): Uint8Array[] {
  const frames: Uint8Array[] = [];
  let part: Uint8Array[] = [];
  let bytes = head.length + tailBytes;
  for (const item of items) {
    if (part.length > 0 && bytes + item.length + 1 > mostBytes) {
      frames.push(wrap(part, head, tail(false)));
      part = [];
      bytes = head.length + tailBytes;
    }
    part.push(item);
    bytes += item.length + 1;
  }
  if (part.length > 0) frames.push(wrap(part, head, tail(true)));
  return frames;
}

/** One frame: the head, the items with commas between them, the tail. */
function wrap(items: readonly Uint8Array[], head: string, tail: string): Uint8Array {
  const comma = 0x2c;
  const itemBytes = items.reduce((sum, item) => sum + item.length + 1, items.length > 0 ? -1 : 0);
  const body = new Uint8Array(head.length + itemBytes + tail.length);
  body.set(ascii(head));
  let at = head.length;
  for (const [index, item] of items.entries()) {
    if (index > 0) {
      body[at] = comma;
      at += 1;
    }
    body.set(item, at);
    at += item.length;
  }
  body.set(ascii(tail), at);
  return encodeFrame(frameKinds.control, body);
}
