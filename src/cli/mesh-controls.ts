import { messageOf } from "../core/errors.js";
import type { MeshStory } from "./mesh-story.js";
import type { MemberProcess, ProcessGroup } from "./process-group.js";

/** The server of `up`, as far as it is played with. */
export interface ControlledServer {
  readonly address: string;
  readonly isRunning: boolean;
  stop(): Promise<void>;
  start(): Promise<void>;
}

/** After so long a server that was stopped is started again: long enough to see that nothing happens to the links. */
const serverAwayMs = 3_000;

/** What the keys do. */
export const keyHelp = [
  "k kill -9   s stop / go on   a add   c cut a connection   p partition two / heal",
  "d the server dies, and is back in 3 s   q end    numbers choose: 3k  2 5c",
] as const;

/** Does to the members of `up` and to its server what happens to others by accident. Says what it does, and to whom. */
export class MeshControls {
  readonly #processes: ProcessGroup;
  readonly #server: ControlledServer;
  readonly #story: MeshStory;
  readonly #silentSeconds: number;
  readonly #tell: (sentence: string) => void;
  readonly #end: () => void;
  /** Pairs that cannot reach one another. */
  #partitions: (readonly [MemberProcess, MemberProcess])[] = [];
  #restart: NodeJS.Timeout | undefined;

  constructor(
    processes: ProcessGroup,
    server: ControlledServer,
    story: MeshStory,
    silentSeconds: number,
    tell: (sentence: string) => void,
    end: () => void,
  ) {
    this.#processes = processes;
    this.#server = server;
    this.#story = story;
    this.#silentSeconds = silentSeconds;
    this.#tell = tell;
    this.#end = end;
  }

  /** Does what a key means, to the members with these numbers, else to the newest, or to two at random. */
  press(key: string, numbers: readonly number[]): void {
    switch (key) {
      case "k":
        this.#kill(numbers);
        break;
      case "s":
        this.#stopOrContinue(numbers);
        break;
      case "a":
        this.#add();
        break;
      case "c":
        this.#cut(numbers);
        break;
      case "p":
        this.#partition(numbers);
        break;
      case "d":
        void this.#stopServer();
        break;
      case "q":
      case "\u0004":
        this.#end();
        break;
      default:
        if (/^[a-z?]$/.test(key)) this.#tell(`there is no key ${key}; those that there are stand below`);
    }
  }

  /** What is done to members until it is undone. */
  get standing(): readonly string[] {
    const { running } = this.#processes;
    const stopped = running.filter(({ isStopped }) => isStopped);
    const apart = this.#partitions.filter((pair) => pair.every((member) => running.includes(member)));
    return [
      ...stopped.map((member) => `${this.#nameOf(member)} is stopped`),
      ...apart.map(([a, b]) => `${this.#nameOf(a)} and ${this.#nameOf(b)} are partitioned`),
    ];
  }

  /** Nothing is done any more. */
  close(): void {
    clearTimeout(this.#restart);
  }

  #kill(numbers: readonly number[]): void {
    for (const member of this.#chosen(numbers) ?? []) {
      member.kill();
      const { address } = member;
      this.#tell(`you killed ${this.#nameOf(member)} (kill -9, pid ${member.pid})`);
      void member.ended.then(() => address !== undefined && this.#story.ended(address));
    }
  }

  #stopOrContinue(numbers: readonly number[]): void {
    const stopped = this.#processes.running.filter(({ isStopped }) => isStopped);
    const members = numbers.length === 0 && stopped.length > 0 ? stopped : this.#chosen(numbers);
    for (const member of members ?? []) {
      const name = this.#nameOf(member);
      if (member.isStopped) {
        member.continue();
        this.#tell(`you let ${name} go on (SIGCONT)`);
      } else {
        member.stop();
        this.#tell(
          `you stopped ${name} (SIGSTOP): it hangs, and its connections stay open; after ${this.#silentSeconds} s of silence it is missed`,
        );
      }
    }
  }

  #add(): void {
    if (!this.#server.isRunning) this.#tell("you start another member; it looks for the server, which is away");
    else this.#tell("you start another member");
    this.#processes.start(this.#server.address);
  }

  #cut(numbers: readonly number[]): void {
    const pair = this.#pair(numbers);
    if (pair === undefined) return;
    const [a, b] = pair;
    this.#tell(`you cut the connection of ${this.#nameOf(a)} and ${this.#nameOf(b)}`);
    // Only one of the two has dialed it.
    if (b.address !== undefined) a.send({ type: "cut", peer: b.address });
    if (a.address !== undefined) b.send({ type: "cut", peer: a.address });
  }

  #partition(numbers: readonly number[]): void {
    if (this.#partitions.length > 0 && numbers.length === 0) {
      for (const pair of this.#partitions) this.#heal(pair);
      return;
    }
    const pair = this.#pair(numbers);
    if (pair === undefined) return;
    const [a, b] = pair;
    const same = this.#partitions.find((apart) => apart.includes(a) && apart.includes(b));
    if (same !== undefined) {
      this.#heal(same);
      return;
    }
    this.#partitions.push(pair);
    this.#tell(
      `${this.#nameOf(a)} and ${this.#nameOf(b)} cannot reach one another now, as if a firewall stood between them`,
    );
    this.#sendUnreachable(a);
    this.#sendUnreachable(b);
  }

  #heal(pair: readonly [MemberProcess, MemberProcess]): void {
    this.#partitions = this.#partitions.filter((apart) => apart !== pair);
    const [a, b] = pair;
    this.#tell(
      `${this.#nameOf(a)} and ${this.#nameOf(b)} can reach one another again: the next dial succeeds, and pauses between dials grow to 30 s`,
    );
    this.#sendUnreachable(a);
    this.#sendUnreachable(b);
  }

  #sendUnreachable(member: MemberProcess): void {
    const others = this.#partitions.flatMap((pair) => (pair.includes(member) ? pair : []));
    const peers = others.flatMap((other) => (other === member ? [] : (other.address ?? [])));
    member.send({ type: "unreachable", peers });
  }

  async #stopServer(): Promise<void> {
    if (!this.#server.isRunning) return;
    this.#tell("you ended the server; it is started again in 3 s at the same port, and knows nothing");
    await this.#server.stop();
    this.#startServerLater();
  }

  #startServerLater(): void {
    this.#restart = setTimeout(() => void this.#startServer(), serverAwayMs);
  }

  async #startServer(): Promise<void> {
    try {
      await this.#server.start();
    } catch (error) {
      // Somebody else may have taken its port meanwhile.
      this.#tell(`the server cannot be started, and is tried again in 3 s: ${messageOf(error)}`);
      this.#startServerLater();
      return;
    }
    this.#tell(`the server runs again; ${this.#story.afterRestart}`);
  }

  /** The members with these numbers, else the newest one; undefined if one of them does not run. */
  #chosen(numbers: readonly number[]): readonly MemberProcess[] | undefined {
    const joined = this.#joined;
    if (numbers.length === 0) {
      const newest = joined.at(-1);
      if (newest === undefined) this.#tell("there is no member");
      return newest && [newest];
    }
    const members: MemberProcess[] = [];
    for (const number of numbers) {
      const address = this.#story.addressOf(number);
      const member = joined.find((candidate) => candidate.address === address);
      if (address === undefined || member === undefined) {
        this.#tell(`there is no member ${number}`);
        return undefined;
      }
      members.push(member);
    }
    return members;
  }

  /** Two members: those with these numbers, and the rest at random. */
  #pair(numbers: readonly number[]): readonly [MemberProcess, MemberProcess] | undefined {
    const chosen = numbers.length === 0 ? [] : this.#chosen(numbers);
    if (chosen === undefined) return undefined;
    const others = this.#joined.filter((member) => !chosen.includes(member) && !member.isStopped);
    const pair = [...chosen];
    while (pair.length < 2 && others.length > 0) {
      const [other] = others.splice(Math.floor(Math.random() * others.length), 1);
      if (other !== undefined) pair.push(other);
    }
    const [a, b] = pair.sort((one, other) => this.#numberOf(one) - this.#numberOf(other));
    if (a !== undefined && b !== undefined && pair.length === 2 && a !== b) return [a, b];
    this.#tell("a pair is two members, such as 2 5c");
    return undefined;
  }

  /** Those that have joined and run, by their numbers. */
  get #joined(): readonly MemberProcess[] {
    const running = this.#processes.running.filter(
      ({ address }) => address !== undefined && this.#story.numberOf(address),
    );
    return running.sort((a, b) => this.#numberOf(a) - this.#numberOf(b));
  }

  #numberOf({ address }: MemberProcess): number {
    return (address && this.#story.numberOf(address)) ?? 0;
  }

  #nameOf({ address }: MemberProcess): string {
    return this.#story.nameOf(address ?? "a member");
  }
}
