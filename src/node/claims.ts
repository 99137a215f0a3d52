import { Deferred } from "../api/deferred.js";
import { badOption, refuseUnknown, signalOption } from "../api/options.js";
import { type WaitOptions, waitWithin } from "../api/waiting.js";
import { FullmeshError } from "../core/errors.js";
import type { MemberMachine } from "../mesh/member-machine.js";
import type { MemberEvent, MemberInput } from "../mesh/types.js";
import { isName } from "../protocol/native/fields.js";
import type { Member } from "./events.js";

/** How a key is claimed. `signal` and `timeoutMs` end the wait for it, not the claim. */
export interface ClaimOptions extends WaitOptions {
  /** False: now or not at all. Default: true, wait in line until it is free. */
  readonly wait?: boolean | undefined;
}

/** A key, and the member that holds it as far as this node knows. */
export interface HeldKey {
  readonly key: string;
  readonly holder: Member;
  /** Higher than that of every earlier claim of this key. */
  readonly token: number;
}

/** A key that this node holds. `await using` releases it. */
export interface Claim {
  readonly key: string;
  /**
   * Higher than that of every earlier claim of this key: a resource that remembers the highest token it has seen, and
   * refuses lower ones, is safe from a holder that goes on although its claim has ended.
   */
  readonly token: number;
  /** Aborted, with `CLAIM_LOST` as the reason, when this node does not surely hold the key any more, or has released it. */
  readonly signal: AbortSignal;
  /**
   * True while this node surely holds the key, by the clocks at this moment. A process that was stopped, and runs again, may
   * run a timer of its program before `signal` is aborted: ask this right before each use of what the claim protects.
   */
  readonly isHeld: boolean;
  /** Gives the key up; the next in line gets it at once. */
  release(): void;
  [Symbol.asyncDispose](): Promise<void>;
}

/** One call of `claim`: it waits behind earlier ones of this node, then in the server's line, then holds. */
class Request implements Claim {
  readonly key: string;
  /** By which the machine answers it. */
  readonly number: number;
  readonly waits: boolean;
  readonly granted = new Deferred<Claim>();
  token = 0;
  readonly #aborter = new AbortController();
  readonly #end: (request: Request) => void;
  readonly #compareClocks: () => void;

  constructor(key: string, number: number, waits: boolean, end: (request: Request) => void, compareClocks: () => void) {
    this.key = key;
    this.number = number;
    this.waits = waits;
    this.#end = end;
    this.#compareClocks = compareClocks;
  }

  get signal(): AbortSignal {
    return this.#aborter.signal;
  }

  get isHeld(): boolean {
    this.#compareClocks();
    return !this.signal.aborted;
  }

  lose(reason: string): void {
    this.#aborter.abort(new FullmeshError("CLAIM_LOST", `the claim of "${this.key}" has ended: ${reason}`));
  }

  release(): void {
    this.#end(this);
    this.lose("released");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
  }
}

/** The claims of a node. The machine asks for each key once; further calls for the same key wait here for their turn. */
export class NodeClaims {
  readonly #machine: MemberMachine<unknown>;
  readonly #input: (input: MemberInput) => void;
  /** By key: first the request of which the machine knows, behind it those that wait for their turn. */
  readonly #requests = new Map<string, Request[]>();
  readonly #mostRequests: number;
  #size = 0;
  #newestNumber = 0;
  /** Every input begins with that, and this one does nothing else. */
  readonly #compareClocks = (): void => this.#input({ type: "flush" });

  constructor(machine: MemberMachine<unknown>, mostRequests: number, input: (input: MemberInput) => void) {
    this.#machine = machine;
    this.#mostRequests = mostRequests;
    this.#input = input;
  }

  /** See `MeshNode.claims`. */
  get all(): HeldKey[] {
    return Array.from(this.#machine.claims.values()).flatMap(({ key, token, member }) => {
      return member === undefined ? [] : [{ key, holder: member, token }];
    });
  }

  /** See `MeshNode.claim`. */
  async claim(key: string, options: ClaimOptions): Promise<Claim> {
    refuseUnknown(options, ["signal", "timeoutMs", "wait"]);
    const { wait = true, ...bounds } = options;
    if (typeof key !== "string" || !isName(key))
      badOption("key", "1 to 64 bytes of UTF-8 without control characters", key);
    if (typeof wait !== "boolean") badOption("wait", "a boolean", wait);
    signalOption("signal", bounds.signal);
    if (!this.#machine.isNative) {
      throw new FullmeshError("WRONG_DIALECT", "a classic node cannot claim keys: its dialect has no word for it");
    }
    const others = this.#requests.get(key);
    if (others !== undefined && !wait) throw new FullmeshError("CLAIMED", `this node itself claims "${key}" already`);
    if (this.#size >= this.#mostRequests) {
      throw new FullmeshError("TOO_MANY_CLAIMS", `this node has ${this.#mostRequests} claims`);
    }
    this.#newestNumber += 1;
    this.#size += 1;
    const request = new Request(key, this.#newestNumber, wait, (ended) => this.#remove(ended), this.#compareClocks);
    if (others !== undefined) others.push(request);
    else this.#begin(key, [request]);
    try {
      return await waitWithin(request.granted.promise, bounds, () => this.#explain(key));
    } catch (error) {
      // It may have been granted at the moment at which the wait ended.
      this.#remove(request);
      throw error;
    }
  }

  handle(event: MemberEvent): void {
    if (event.type !== "claimBegun" && event.type !== "claimEnded" && event.type !== "claimRefused") return;
    const first = this.#requests.get(event.key)?.[0];
    // What the machine has said before it was told that a request is over concerns nobody.
    if (first?.number !== event.number) return;
    if (event.type === "claimBegun") {
      first.token = event.token;
      first.granted.resolve(first);
      return;
    }
    this.#shift(event.key);
    if (event.type === "claimEnded") first.lose(event.reason);
    else {
      const holder = event.holder === undefined ? "" : ` (${event.holder.name ?? event.holder.address})`;
      first.granted.reject(new FullmeshError(event.code, `"${event.key}": ${event.message}${holder}`));
    }
  }

  #begin(key: string, requests: Request[]): void {
    this.#requests.set(key, requests);
    const [first] = requests;
    if (first !== undefined) this.#input({ type: "claim", key, number: first.number, waits: first.waits });
  }

  /** A request is over, whatever it was: held, in line, or waiting here. */
  #remove(request: Request): void {
    const requests = this.#requests.get(request.key) ?? [];
    const index = requests.indexOf(request);
    if (index < 0) return;
    if (index > 0) {
      requests.splice(index, 1);
      this.#size -= 1;
    } else {
      this.#input({ type: "unclaim", key: request.key });
      this.#shift(request.key);
    }
  }

  /** The first request of a key is over; the next one has its turn. */
  #shift(key: string): void {
    const [, ...rest] = this.#requests.get(key) ?? [];
    this.#requests.delete(key);
    this.#size -= 1;
    if (rest.length > 0) this.#begin(key, rest);
  }

  #explain(key: string): string {
    const holder = this.all.find((held) => held.key === key)?.holder;
    const by = holder === undefined ? "is not granted" : `is held by ${holder.name ?? holder.address}`;
    return `"${key}" ${by}`;
  }
}
