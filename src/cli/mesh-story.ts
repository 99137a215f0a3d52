import type { Dialect } from "../protocol/directory.js";
import type { RendezvousServer } from "../server/rendezvous-server.js";
import type { ChildEvent } from "./process-group.js";
import { counted } from "./status-text.js";

/** What happens to links within so long is told together: one process that is killed breaks the links of all others. */
const togetherMs = 200;

/** What has happened to the link of a pair, and has not been told yet. */
interface LinkStory {
  readonly pair: Pair;
  /** Why it broke; undefined if that was told before. */
  readonly reason: string | undefined;
  /** After so long it was linked again. */
  readonly awayMs?: number;
}

/** Two addresses, that of the one that joined first before the other. */
type Pair = readonly [owner: string, other: string];

/** Tells what happens in a mesh of `up` in sentences, in which members have numbers, in the order in which they first joined. */
export class MeshStory {
  readonly #dialect: Dialect;
  readonly #tell: (sentence: string) => void;
  readonly #numbers = new Map<string, number>();
  /** Addresses of processes that have ended. */
  readonly #ended = new Set<string>();
  /** The addresses that are listed. */
  readonly #listed = new Set<string>();
  /** The order of each that was ever listed: the lower of two dials the other. */
  readonly #orders = new Map<string, number>();
  #newest = 0;
  readonly #brokenAt = new Map<string, number>();
  #links = new Map<string, LinkStory>();
  /** Those that have come back to a server that was started again. */
  readonly #returned: string[] = [];
  /** The newest sentence about the whole mesh, which belongs behind those about its links. */
  #complete: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(dialect: Dialect, tell: (sentence: string) => void) {
    this.#dialect = dialect;
    this.#tell = tell;
  }

  /** The number of the member at this address. */
  numberOf(address: string): number | undefined {
    return this.#numbers.get(address);
  }

  /** The address of the member with this number. */
  addressOf(number: number): string | undefined {
    for (const [address, candidate] of this.#numbers) if (candidate === number) return address;
    return undefined;
  }

  /** True if the first one has joined before the second one, and so dials it. */
  isBefore(address: string, other: string): boolean {
    return (this.#orders.get(address) ?? 0) < (this.#orders.get(other) ?? 0);
  }

  /** Such as `member 3`. */
  nameOf(address: string): string {
    const number = this.#numbers.get(address);
    return number === undefined ? address : `member ${number}`;
  }

  /** What follows when the server runs again. */
  get afterRestart(): string {
    return this.#dialect === "native"
      ? "its members look for it, and find it by themselves"
      : "its members have ended with the one before";
  }

  /** Its process has ended: a member that joins at this address from now on is another one. */
  ended(address: string): void {
    this.#ended.add(address);
  }

  /** When the link of these two broke, in milliseconds since the epoch; undefined if it has not, as far as they say. */
  brokenSince(a: string, b: string): number | undefined {
    const at = this.#brokenAt.get(pairKey(a, b));
    return at === undefined ? undefined : Date.now() - (performance.now() - at);
  }

  /** Tells what this server says. */
  follow(server: RendezvousServer): void {
    server.on("joined", ({ address, order, returned }) => this.#joined(address, order, returned === true));
    server.on("left", ({ address, reason }) => this.#gone(address, `has left: ${reason}`));
    server.on("lost", ({ address, reason }) => this.#gone(address, `was lost: ${this.withNames(reason)}`));
    server.on("forgotten", ({ addresses, reason }) => {
      for (const address of addresses) this.#listed.delete(address);
      this.#tell(`the server has forgotten ${counted(addresses.length, "member")}: ${reason}`);
    });
    server.on("gathered", ({ back, missing }) => {
      for (const address of missing) this.#listed.delete(address);
      const rest =
        missing.length === 0 ? "" : `; not back: ${missing.map((address) => this.nameOf(address)).join(", ")}`;
      this.#tell(`the new server has learned the mesh from its ${counted(back, "member")}${rest}`);
    });
    server.on("complete", ({ members, links }) => {
      // Of classic links the server knows nothing.
      if (this.#dialect === "native") this.completed(members, links);
    });
  }

  /** Every pair is linked. */
  completed(members: number, links: number): void {
    if (members < 2) return;
    this.#complete = `complete: each pair of the ${members} members is linked, by ${counted(links, "link")}`;
    this.#tellSoon();
  }

  /** The server is gone. Native members come back to the next one in their old places; classic ones end. */
  serverStopped(): void {
    if (this.#dialect === "classic") this.#listed.clear();
  }

  /** A member process has reported this. */
  handle({ node, event, ...fields }: ChildEvent): void {
    if (node === null) return;
    const peer = String(fields.peer);
    const reason = this.withNames(String(fields.reason));
    if (event === "unreachable") this.#broken(node, peer, reason);
    // Classic links have no life beyond their connection; those of a native member end with it.
    else if (event === "unlink" && this.#dialect === "classic") this.#broken(node, peer, reason);
    else if (event === "unlink") this.#forgetLink(node, peer);
    else if (event === "relink" || event === "link") this.#linked(node, peer);
    else if (event === "fenced")
      this.#tell(`${this.nameOf(node)} learns that it was taken for dead: it joins again, with a new id`);
    else if (event === "outage")
      this.#tell(`${this.nameOf(node)} and ${this.nameOf(peer)} have had no link for a minute`);
  }

  /** The same with the numbers of members instead of addresses. */
  withNames(text: string): string {
    return text
      .replaceAll(/\d+\.\d+\.\d+\.\d+:\d+/g, (address) => this.nameOf(address))
      .replace(/^DIAL_[A-Z]+ /, "")
      .replace(/\bSILENT\b/, "nothing came any more");
  }

  /** Tells nothing more of links. */
  close(): void {
    clearTimeout(this.#timer);
    this.#links.clear();
  }

  #joined(address: string, order: number, isReturned: boolean): void {
    const wasKnown = this.#numbers.has(address) && !this.#ended.delete(address);
    if (!wasKnown) {
      this.#newest += 1;
      this.#numbers.set(address, this.#newest);
    }
    const before = [...this.#listed].filter((other) => other !== address && !this.#ended.has(other));
    const [first = ""] = before;
    this.#listed.add(address);
    this.#orders.set(address, order);
    const name = this.nameOf(address);
    if (isReturned) {
      this.#returned.push(name);
      this.#tellSoon();
    } else if (before.length === 0) this.#tell(`${name} has joined: it is the first, and has nobody to dial`);
    else {
      const who = before.length === 1 ? this.nameOf(first) : `the ${before.length} before it`;
      this.#tell(`${name} has joined${wasKnown ? " again, now as the last" : ""}; ${who} will dial it`);
    }
  }

  #gone(address: string, how: string): void {
    this.#listed.delete(address);
    this.#tell(`${this.nameOf(address)} ${how}`);
  }

  #pairOf(node: string, peer: string): Pair {
    return (this.#orders.get(node) ?? 0) > (this.#orders.get(peer) ?? 0) ? [peer, node] : [node, peer];
  }

  #broken(node: string, peer: string, reason: string): void {
    const pair = this.#pairOf(node, peer);
    const key = pairKey(node, peer);
    if (this.#brokenAt.has(key)) return;
    // What was complete before is told before.
    if (this.#complete !== undefined) this.tellNow();
    this.#brokenAt.set(key, performance.now());
    this.#later(key, { pair, reason });
  }

  #linked(node: string, peer: string): void {
    const pair = this.#pairOf(node, peer);
    const key = pairKey(node, peer);
    const since = this.#brokenAt.get(key);
    // Whoever dials is the last to know.
    if (since === undefined || node !== pair[0]) return;
    this.#brokenAt.delete(key);
    this.#later(key, { pair, reason: this.#links.get(key)?.reason, awayMs: performance.now() - since });
  }

  #forgetLink(node: string, peer: string): void {
    const key = pairKey(node, peer);
    this.#brokenAt.delete(key);
    this.#links.delete(key);
  }

  #later(key: string, story: LinkStory): void {
    this.#links.set(key, story);
    this.#tellSoon();
  }

  #tellSoon(): void {
    this.#timer ??= setTimeout(() => this.tellNow(), togetherMs);
  }

  /** Tells what would be told together with what follows. */
  tellNow(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#tellReturned(this.#returned.splice(0));
    const stories = [...this.#links.values()];
    this.#links = new Map();
    this.#tellLinks(stories);
    if (this.#complete !== undefined) this.#tell(this.#complete);
    this.#complete = undefined;
  }

  #tellReturned(names: readonly string[]): void {
    const [first] = names;
    if (names.length === 1) this.#tell(`${first} is back at the server, in its old place; its links have stayed`);
    else if (names.length > 1)
      this.#tell(`${names.length} members are back at the server, in their old places; their links have stayed`);
  }

  #tellLinks(stories: readonly LinkStory[]): void {
    const busiest = mostCommon(stories);
    if (busiest !== undefined) {
      const own = stories.filter(({ pair }) => pair.includes(busiest));
      this.#tell(this.#manyText(busiest, own));
      this.#tellLinks(stories.filter((story) => !own.includes(story)));
    } else for (const story of stories) this.#tell(this.#linkText(story));
  }

  /** The links of one member. */
  #manyText(address: string, stories: readonly LinkStory[]): string {
    const name = this.nameOf(address);
    const back = stories.filter(({ awayMs }) => awayMs !== undefined);
    const [first] = stories;
    if (back.length === stories.length) return `${name} is linked again with ${counted(back.length, "member")}`;
    return `${counted(stories.length, "link")} of ${name} broke: ${first?.reason ?? ""}`;
  }

  #linkText({ pair: [owner, other], reason, awayMs }: LinkStory): string {
    const [first, second] = [this.nameOf(owner), this.nameOf(other)];
    const broke = `the connection of ${first} and ${second} broke (${reason})`;
    // Nobody dials a member that has gone.
    if (!this.#listed.has(owner) || !this.#listed.has(other)) return broke;
    const redial = `${first} is to dial again, because it joined before ${second}`;
    if (awayMs === undefined) return `${broke}: ${redial}`;
    const after = awayMs < 1000 ? `${Math.max(1, Math.round(awayMs))} ms` : `${(awayMs / 1000).toFixed(1)} s`;
    if (reason === undefined) return `${first} and ${second} are linked again, after ${after}`;
    return `${broke}: ${redial}: linked again after ${after}`;
  }
}

/** The member that most of these pairs have in common, if two or more have one. */
function mostCommon(stories: readonly LinkStory[]): string | undefined {
  const counts = new Map<string, number>();
  for (const address of stories.flatMap(({ pair }) => pair)) counts.set(address, (counts.get(address) ?? 0) + 1);
  const [most] = [...counts].sort(([, a], [, b]) => b - a);
  return most !== undefined && most[1] > 1 ? most[0] : undefined;
}

/** Names a pair, by its two ends in either order. */
export function pairKey(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}
