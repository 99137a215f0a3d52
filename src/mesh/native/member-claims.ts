import { type ErrorCode, isErrorCode } from "../../core/errors.js";
import type { Limits } from "../../core/limits.js";
import { type Clocks, elapsedMs } from "../../core/machine.js";
import type { KeyedTimers, Timers } from "../../core/timers.js";
import { claimLeaseMs, claimMarginMs, claimRenewMs } from "../../protocol/claims.js";
import type { Claim, Id, Member } from "../../protocol/directory.js";
import type { Control, ControlOf } from "../../protocol/native/control.js";
import type { MemberEvent } from "../types.js";

/** How often the clocks are compared while something is held: a machine that was asleep fires no timer when it wakes. */
const compareMs = 500;

const noServer = "the server has left the mesh to its members";

/** Whoever reads no answers to so many renewals sends no more: the server must not take it for one that can hold a key. */
const mostUnanswered = 4;

/** A key that the owner of this member wants. */
interface Request {
  readonly key: string;
  /** The owner's name for it. */
  readonly number: number;
  /** False: now, or not at all. */
  readonly waits: boolean;
  /** The token with which it is held; undefined while it is not. */
  token: number | undefined;
  /** The log that is read now lists the claim with this token. */
  isListed: boolean;
}

/**
 * What this member holds, and waits to hold.
 *
 * It holds something while less than the claim lease, less a margin, has passed since it sent the last renewal that the server
 * has answered: by its monotonic clock and by the wall clock, because either may stand still while the machine is asleep.
 * A claim that begins must pass the same test when its entry is read. A claim that fails it is over for good: it is given up
 * at the next contact with the server, and never presented again.
 */
export class MemberClaims {
  readonly #limits: Limits;
  /** What the directory says of claims, and who this member is in it. */
  readonly #view: { readonly id: Id; readonly claims: ReadonlyMap<string, Claim> };
  readonly #sendControl: (control: Control) => void;
  readonly #emit: (event: MemberEvent) => void;
  readonly #requests = new Map<string, Request>();
  #clocks: Clocks = { monotonicMs: 0, wallMs: 0 };
  /** When the renewals of this session were sent that have no answer yet. */
  readonly #unanswered = new Map<number, Clocks>();
  /** When the last one that was answered had been sent. */
  #answeredFrom: Clocks | undefined;
  #newestNumber = 0;
  /** The highest token with which this incarnation has held something: what is granted later has a higher one. */
  #newestToken = 0;
  /** The next renewal, the next comparison of the clocks, and the end of what is held. */
  readonly #timers: KeyedTimers<"renew" | "compare" | "end">;
  /** The log that is read, once one was. */
  #log: Id | undefined;
  #isListed = false;
  /** The server has gone for good. */
  #isReleased = false;

  constructor(
    limits: Limits,
    timers: Timers,
    view: { readonly id: Id; readonly claims: ReadonlyMap<string, Claim> },
    sendControl: (control: Control) => void,
    emit: (event: MemberEvent) => void,
  ) {
    this.#limits = limits;
    this.#view = view;
    this.#sendControl = sendControl;
    this.#emit = emit;
    this.#timers = timers.keyed((timer, now) => {
      if (timer === "renew") this.#renew(now);
      // `advance` has ended what has run out by the clocks; this is only when to look again.
      else this.#schedule(now);
    });
  }

  // Time.

  /** The clocks, before anything else of a step: what has run out while this process was held up ends first. */
  advance(clocks: Clocks, now: number): void {
    this.#clocks = clocks;
    if (!this.#isHolding || this.#isSure) return;
    this.#endHeld(`the server has not answered for ${(claimLeaseMs - claimMarginMs) / 1000} s`, now);
  }

  // What the owner wants.

  /** Wants a key. The owner asks for each key once until it is released, refused or lost. */
  claim(key: string, number: number, waits: boolean, now: number): void {
    if (this.#requests.has(key)) return;
    const request: Request = { key, number, waits, token: undefined, isListed: false };
    if (this.#isReleased) {
      this.#refused(request, "RELEASED", noServer);
      return;
    }
    if (this.#requests.size >= this.#limits.claimsPerMember) {
      this.#refused(request, "TOO_MANY_CLAIMS", `this node has ${this.#limits.claimsPerMember} claims`);
    } else if (!waits && !this.#isListed) {
      this.#refused(request, "CLAIMS_UNSETTLED", "the server is away");
    } else {
      this.#requests.set(key, request);
      // The answer to the renewal comes before the claim, which could not begin without it.
      this.#renew(now);
      this.#ask(key, waits);
    }
  }

  /** Wants it no more, held or not. */
  unclaim(key: string, now: number): void {
    const request = this.#requests.get(key);
    if (request === undefined) return;
    this.#requests.delete(key);
    this.#giveUp(key, request.token);
    this.#schedule(now);
  }

  // What happens with the server.

  /** The server has let this member in, or in again: what is held is presented, and what is wanted is asked for anew. */
  admitted(log: Id, now: number): void {
    const isOtherLog = this.#log !== undefined && this.#log !== log;
    this.#log = log;
    this.#isListed = true;
    this.#unanswered.clear();
    const held: [key: string, token: number][] = [];
    for (const request of this.#requests.values()) {
      if (request.token === undefined) continue;
      if (isOtherLog) request.isListed = false;
      held.push([request.key, request.token]);
    }
    if (held.length > 0) this.#send({ type: "held", claims: held });
    for (const { key, holder, token } of this.#view.claims.values()) {
      if (holder === this.#view.id && this.#requests.get(key)?.token !== token) this.#giveUp(key, token);
    }
    if (this.#requests.size === 0) return;
    this.#renew(now);
    for (const { key, token, waits } of this.#requests.values()) if (token === undefined) this.#ask(key, waits);
  }

  /** The session is gone. What is held is held for a while; whoever did not want to wait is told. */
  away(): void {
    if (!this.#isListed) return;
    this.#isListed = false;
    this.#timers.clear("renew");
    for (const request of [...this.#requests.values()]) {
      if (!request.waits && request.token === undefined)
        this.#refused(request, "CLAIMS_UNSETTLED", "the server is away");
    }
  }

  /** The server has gone for good: nobody gets a key any more, and what is held is held until the lease is over. */
  released(): void {
    this.away();
    this.#isReleased = true;
    for (const request of [...this.#requests.values()])
      if (request.token === undefined) this.#refused(request, "RELEASED", noServer);
  }

  /** This incarnation is over: nothing is held any more, and the next one asks for what is waited for. */
  restarted(reason: string, now: number): void {
    this.away();
    this.#log = undefined;
    this.#answeredFrom = undefined;
    this.#newestToken = 0;
    this.#endHeld(reason, now);
  }

  /** The mesh has ended for this member. */
  ended(reason: string, now: number): void {
    this.restarted(reason, now);
    for (const request of [...this.#requests.values()]) this.#refused(request, "ENDED", reason);
  }

  /** Handles an answer of the server. */
  answered(control: ControlOf<"renewed"> | ControlOf<"unclaimable">, now: number): void {
    if (control.type === "renewed") this.#renewed(control.number, now);
    else this.#unclaimable(control, now);
  }

  #renewed(number: number, now: number): void {
    const sent = this.#unanswered.get(number);
    if (sent === undefined) return;
    for (const earlier of this.#unanswered.keys()) if (earlier <= number) this.#unanswered.delete(earlier);
    if (this.#answeredFrom === undefined || this.#since(sent) < this.#since(this.#answeredFrom))
      this.#answeredFrom = sent;
    this.#schedule(now);
  }

  #unclaimable({ key, code, message, holder }: ControlOf<"unclaimable">, now: number): void {
    const request = this.#requests.get(key);
    if (request === undefined) return;
    if (request.token !== undefined) this.#end(request, message, now);
    // Whoever waits is refused for want of room only; this answers an earlier request.
    else if (request.waits && (code === "CLAIMED" || code === "CLAIMS_UNSETTLED")) return;
    else this.#refused(request, isErrorCode(code) ? code : "CLAIMED", message, holder);
  }

  // What the log says.

  /** A key has a new holder. */
  claimed({ key, token, holder }: Claim, now: number): void {
    const request = this.#requests.get(key);
    if (holder !== this.#view.id) {
      if (request?.token !== undefined) this.#end(request, "another member has been granted it", now);
      return;
    }
    if (request?.token === token) {
      request.isListed = true;
      return;
    }
    if (request?.token !== undefined) {
      this.#end(request, "it was granted anew", now);
      this.#giveUp(key, token);
    } else if (request === undefined) {
      // The grant has crossed the message that withdrew the request.
      this.#giveUp(key, token);
    } else if (this.#isSure && token > this.#newestToken) {
      this.#newestToken = token;
      request.token = token;
      request.isListed = true;
      this.#schedule(now);
      this.#emit({ type: "claimBegun", number: request.number, key, token });
    } else {
      this.#giveUp(key, token);
      if (request.waits) this.#ask(key, true);
      else this.#refused(request, "CLAIM_LOST", "it was granted, but its entry arrived too late");
    }
  }

  /** A key is free. */
  unclaimed({ key, token, holder }: Claim, reason: string, now: number): void {
    const request = this.#requests.get(key);
    const isIt = holder === this.#view.id && request?.token === token;
    // A log that begins anew does not know yet what is presented to it.
    if (request !== undefined && isIt && request.isListed) this.#end(request, reason, now);
  }

  // How it comes about.

  get #isHolding(): boolean {
    return this.#timers.has("end");
  }

  /** True while the server surely counts this member's lease still. */
  get #isSure(): boolean {
    return this.#answeredFrom !== undefined && this.#since(this.#answeredFrom) < claimLeaseMs - claimMarginMs;
  }

  #since(from: Clocks): number {
    return elapsedMs(from, this.#clocks);
  }

  #send(control: Control): void {
    if (this.#isListed) this.#sendControl(control);
  }

  #renew(now: number): void {
    if (!this.#isListed) return;
    this.#timers.set("renew", now + claimRenewMs);
    if (this.#unanswered.size >= mostUnanswered) return;
    this.#newestNumber += 1;
    this.#unanswered.set(this.#newestNumber, { ...this.#clocks });
    this.#send({ type: "renew", number: this.#newestNumber });
  }

  #ask(key: string, waits: boolean): void {
    this.#send({ type: "claim", key, ...(waits ? { wait: true } : {}) });
  }

  /** Without a session it is given up when there is one again: the log lists it until then. */
  #giveUp(key: string, token: number | undefined): void {
    this.#send({ type: "unclaim", key, ...(token === undefined ? {} : { token }) });
  }

  #endHeld(reason: string, now: number): void {
    for (const request of [...this.#requests.values()])
      if (request.token !== undefined) this.#end(request, reason, now);
  }

  #end({ key, number, token }: Request, reason: string, now: number): void {
    this.#requests.delete(key);
    this.#giveUp(key, token);
    this.#schedule(now);
    this.#emit({ type: "claimEnded", number, key, reason });
  }

  #refused({ key, number }: Request, code: ErrorCode, message: string, holder?: Id): void {
    if (this.#requests.get(key)?.number === number) this.#requests.delete(key);
    const member: Member | undefined = holder === undefined ? undefined : this.#view.claims.get(key)?.member;
    this.#emit({
      type: "claimRefused",
      number,
      key,
      code,
      message,
      ...(member === undefined ? {} : { holder: member }),
    });
  }

  /** Sets the timers for what is held and wanted. */
  #schedule(now: number): void {
    if (this.#requests.size === 0) this.#timers.clear("renew");
    if (![...this.#requests.values()].some(({ token }) => token !== undefined)) {
      this.#timers.clear("compare");
      this.#timers.clear("end");
      return;
    }
    if (!this.#timers.has("compare")) this.#timers.set("compare", now + compareMs);
    const sinceMs = this.#answeredFrom === undefined ? 0 : this.#since(this.#answeredFrom);
    // In the future in any case: a timer that is due again at once would fire for ever.
    this.#timers.set("end", Math.max(now + 1, now + claimLeaseMs - claimMarginMs - sinceMs));
  }
}
