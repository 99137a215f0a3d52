import { Deferred } from "../api/deferred.js";
import { badOption, integerOption, refuseUnknown, signalOption, waitOption } from "../api/options.js";
import { type WaitOptions, waitWithin } from "../api/waiting.js";
import { type ErrorCode, FullmeshError } from "../core/errors.js";
import type { MemberMachine } from "../mesh/member-machine.js";
import type { Id } from "../protocol/directory.js";
import { type PayloadForm, payloadForms } from "../protocol/native/payload.js";
import { replyFrameBytes } from "../protocol/native/request.js";
import { isTopic, longestTopic } from "../protocol/native/topics.js";
import type { Member } from "./events.js";
import type { GangPlace } from "./gang.js";
import type { MessagingContext } from "./messaging-context.js";
import { bytesOf, payloadFormOf, payloadOf } from "./payloads.js";
import type { RequestContext, RequestHandlers } from "./request-handlers.js";
import type { NodeRequests } from "./requests.js";
import { collectiveTopic } from "./topics.js";

/**
 * Barriers and gatherings: operations that are over when every member of a group has called them. The member of rank 0
 * coordinates: the others send it a request each, which it answers when all are there, or when one of them is lost. So one
 * place decides how an operation has ended, and all who still wait are told the same.
 */

/** Which members are to meet, and for how long they wait for one another. */
export interface GroupOptions extends WaitOptions {
  /** The group has the ranks from 0 to `size` - 1. Default: the size of the gang; required outside of a gang. */
  readonly size?: number | undefined;
}

export interface GatherOptions extends GroupOptions {
  /** Tells gatherings apart that are under way at the same time, at most 255 bytes of UTF-8, default "". */
  readonly name?: string | undefined;
}

/** What the coordinator is asked. */
interface Arrival {
  readonly operation: "barrier" | "allGather";
  readonly name: string;
  readonly size: number;
  /** The orders of those members of the group that were listed at the call: if one of them goes, the operation is over. */
  readonly listed: readonly number[];
  /** After so many milliseconds the coordinator says who is missing; null for no bound. */
  readonly timeoutMs: number | null;
  readonly kind: PayloadForm;
  readonly bytes: Uint8Array;
}

/** What it answers: the payloads in rank order, or why there are none. */
type Outcome =
  | { readonly values: readonly (readonly [kind: PayloadForm, bytes: Uint8Array])[] }
  | { readonly code: (typeof outcomeCodes)[number]; readonly message: string; readonly lost?: number };

const outcomeCodes = ["MEMBER_LOST", "TIMED_OUT", "BAD_OPTION", "MESSAGE_TOO_LARGE", "ABORTED"] as const;

/** One operation that is under way at the coordinator. */
interface Round {
  readonly operation: Arrival["operation"];
  readonly name: string;
  readonly size: number;
  readonly arrived: Map<Id, { readonly arrival: Arrival; readonly end: (outcome: Outcome) => void }>;
  /** The orders of all that any of them counts on. */
  readonly expected: Set<number>;
}

/** For the answer of the coordinator to come: it knows who is missing, and the one who asks does not. */
const answerMs = 1_000;
/** Members that have gone and can still be named. */
const mostGone = 256;
/** What each payload of an answer takes besides its bytes, at most. */
const payloadHeadBytes = 16;
/** The longest that `setTimeout` can wait, about 25 days; a longer bound is none. */
const longestTimerMs = 2 ** 31 - 1;

/** The operations that a node takes part in, and those that it coordinates. */
export class Collectives {
  readonly #context: MessagingContext;
  readonly #requests: NodeRequests;
  readonly #gang: GangPlace | undefined;
  readonly #machine: MemberMachine<unknown>;
  /** Operations that this node waits in. */
  readonly #calls = new Set<string>();
  /** Those that it coordinates. */
  readonly #rounds = new Map<string, Round>();
  /** Those that are listed, in join order. */
  #listed: readonly Member[] = [];
  /** The newest of those that have gone, in words, by their orders. */
  readonly #gone = new Map<number, string>();
  /** Orders of members that are listed here, and of which the coordinator has said that they are lost. */
  readonly #lost = new Set<number>();
  /** Resolved at the next change of the directory. */
  #change = new Deferred<void>();

  constructor(
    context: MessagingContext,
    requests: NodeRequests,
    handlers: RequestHandlers,
    gang: GangPlace | undefined,
    machine: MemberMachine<unknown>,
  ) {
    this.#context = context;
    this.#requests = requests;
    this.#gang = gang;
    this.#machine = machine;
    handlers.handleReserved(collectiveTopic, (payload, { peer, signal }: RequestContext) =>
      this.#arrived(readArrival(payload), peer, signal),
    );
  }

  /** See `MeshNode.barrier`. */
  async barrier(name: string, options: GroupOptions): Promise<void> {
    refuseUnknown(options, ["size", "signal", "timeoutMs"]);
    await this.#call("barrier", name, undefined, options);
  }

  /** See `MeshNode.allGather`. */
  async allGather(value: unknown, options: GatherOptions): Promise<unknown[]> {
    refuseUnknown(options, ["name", "size", "signal", "timeoutMs"]);
    return await this.#call("allGather", options.name ?? "", value, options);
  }

  /** The directory has changed: an operation that waits for somebody who has gone is over. */
  directoryChanged(): void {
    this.#change.resolve();
    this.#change = new Deferred();
    this.#keepGone();
    for (const [key, round] of this.#rounds) {
      for (const { order = 0 } of this.#group(round.size)) round.expected.add(order);
      this.#review(key, round);
    }
  }

  /** The list is read anew. Nobody has gone, with most entries: then the old list is the beginning of the new one. */
  #keepGone(): void {
    const before = this.#listed;
    this.#listed = this.#context.peers.members;
    if (before.every((member, place) => member === this.#listed[place])) return;
    const listed = new Set(this.#listed.map(({ order = 0 }) => order));
    for (const [place, member] of before.entries()) {
      const { order = 0 } = member;
      if (!listed.has(order)) this.#gone.set(order, this.#label(member, place));
    }
    for (const order of this.#lost) if (!listed.has(order)) this.#lost.delete(order);
    for (const order of this.#gone.keys()) if (this.#gone.size > mostGone) this.#gone.delete(order);
  }

  #isListed(wanted: number): boolean {
    return this.#listed.some(({ order = 0 }) => order === wanted);
  }

  /** The mesh has ended for this node. */
  ended(): void {
    this.#change.resolve();
    const message = "rank 0 has left before all had arrived";
    for (const [key, round] of this.#rounds) this.#end(key, round, { code: "MEMBER_LOST", message });
  }

  async #call(
    operation: Arrival["operation"],
    name: string,
    value: unknown,
    { size: wanted, signal, timeoutMs = Number.POSITIVE_INFINITY }: GroupOptions,
  ): Promise<unknown[]> {
    if (typeof name !== "string" || !isTopic(name)) {
      badOption("name", `a string of at most ${longestTopic} bytes of UTF-8`, name);
    }
    const size = wanted ?? this.#gang?.size ?? badOption("size", "given, because this node is in no gang", wanted);
    integerOption("size", size, 1);
    signalOption("signal", signal);
    waitOption("timeoutMs", timeoutMs);
    const kind = payloadFormOf(value);
    const bytes = bytesOf(value, kind, this.#context.limits.valueBytes).slice();
    const key = keyOf(operation, name);
    if (this.#calls.has(key))
      throw new FullmeshError("WRONG_STEP", `this node waits in ${shown(operation, name)} already`);
    this.#calls.add(key);
    try {
      const endsAt = performance.now() + timeoutMs;
      const coordinator = await this.#coordinator({ operation, name, size }, signal, endsAt);
      const leftMs = Math.max(0, endsAt - performance.now());
      const isBounded = leftMs <= longestTimerMs;
      const listed = this.#group(size).flatMap(({ order = 0 }) => (this.#lost.has(order) ? [] : [order]));
      const arrival: Arrival = { operation, name, size, listed, timeoutMs: isBounded ? leftMs : null, kind, bytes };
      const outcome = await this.#ask(coordinator, arrival, signal);
      // Whoever coordinates has lost itself when its node ends.
      if ("code" in outcome) this.#context.requireRunning();
      if ("code" in outcome) {
        if (outcome.lost !== undefined && this.#isListed(outcome.lost)) this.#lost.add(outcome.lost);
        const after = outcome.code === "TIMED_OUT" ? `after ${timeoutMs} ms ` : "";
        throw new FullmeshError(outcome.code, `${shown(operation, name)}: ${after}${outcome.message}`);
      }
      return outcome.values.map(([one, of]) => payloadOf(one, of, this.#context.limits.valueBytes));
    } finally {
      this.#calls.delete(key);
    }
  }

  /** The member of rank 0, as soon as there is one; `endsAt` in milliseconds of the monotonic clock. */
  async #coordinator(
    { operation, name, size }: Pick<Arrival, "operation" | "name" | "size">,
    signal: AbortSignal | undefined,
    endsAt: number,
  ): Promise<Member> {
    for (;;) {
      this.#context.requireRunning();
      const group = this.#group(size);
      const isIn = group.some(({ id }) => id !== undefined && id === this.#machine.self?.id);
      if (!isIn) throw new FullmeshError("WRONG_STEP", `this node is none of the ${size} members that meet`);
      const [first] = group;
      if (first !== undefined && (this.#gang === undefined || rankIn(first) === 0)) return first;
      const wait = { signal, timeoutMs: Math.max(0, endsAt - performance.now()) };
      await waitWithin(this.#change.promise, wait, () => `${shown(operation, name)}: rank 0 is not in the mesh`);
    }
  }

  /** The listed members of the group, in rank order. */
  #group(size: number): Member[] {
    const members = this.#context.peers.members;
    if (this.#gang === undefined) return members.slice(0, size);
    const ranked = members.filter((member) => rankIn(member) < size);
    return ranked.sort((a, b) => rankIn(a) - rankIn(b));
  }

  async #ask(coordinator: Member, arrival: Arrival, signal: AbortSignal | undefined): Promise<Outcome> {
    // The node may have ended since the coordinator was found.
    this.#context.requireRunning();
    const over = new AbortController();
    const { operation, name, timeoutMs } = arrival;
    try {
      if (coordinator.id === this.#machine.self?.id) {
        const outcome = this.#arrived(arrival, coordinator, over.signal);
        return await waitWithin(outcome, { signal }, () => `${shown(operation, name)} is not over`);
      }
      const bound = timeoutMs === null ? Number.POSITIVE_INFINITY : timeoutMs + answerMs;
      const reply = await this.#requests.requestReserved(coordinator, collectiveTopic, arrival, {
        signal,
        timeoutMs: bound,
      });
      return readOutcome(reply);
    } catch (error) {
      if (!(error instanceof FullmeshError) || !goneCodes.has(error.code)) throw error;
      const message = `${shown(operation, name)}: rank 0 at ${coordinator.address} has left or was lost before all had arrived`;
      throw new FullmeshError("MEMBER_LOST", message, { cause: error });
    } finally {
      over.abort();
    }
  }

  // The coordinator.

  /** A member has arrived, and waits until `signal` is aborted. Resolves with how the operation has ended for it. */
  #arrived(arrival: Arrival, member: Member, signal: AbortSignal): Promise<Outcome> {
    const { operation, name, size, timeoutMs } = arrival;
    const { id = "" } = member;
    const key = keyOf(operation, name);
    const round = this.#rounds.get(key) ?? { operation, name, size, arrived: new Map(), expected: new Set() };
    if (round.size !== size) {
      const message = `${this.#label(member)} has called it with the size ${size}, and others with ${round.size}`;
      return Promise.resolve({ code: "BAD_OPTION", message });
    }
    this.#rounds.set(key, round);
    return new Promise((resolve) => {
      const end = (outcome: Outcome): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", withdraw);
        resolve(outcome);
      };
      const withdraw = (): void => {
        if (round.arrived.get(id)?.end === end) round.arrived.delete(id);
        if (round.arrived.size === 0 && this.#rounds.get(key) === round) this.#rounds.delete(key);
        end({ code: "ABORTED", message: "it was given up" });
      };
      const timer =
        timeoutMs === null
          ? undefined
          : setTimeout(() => {
              end({ code: "TIMED_OUT", message: this.#missing(round) });
              withdraw();
            }, timeoutMs);
      signal.addEventListener("abort", withdraw, { once: true });
      round.arrived.set(id, { arrival, end });
      for (const order of arrival.listed) round.expected.add(order);
      for (const { order = 0 } of this.#group(size)) round.expected.add(order);
      this.#review(key, round);
    });
  }

  /** Ends a round in which all have arrived, or which counts on somebody who has gone. */
  #review(key: string, round: Round): void {
    for (const order of round.expected) {
      // One that the newest entry here does not know yet is still to come.
      if (order > this.#machine.revision || this.#isListed(order)) continue;
      const who = this.#gone.get(order) ?? "a member";
      const message = `${who} has left or was lost before all had arrived`;
      this.#end(key, round, { code: "MEMBER_LOST", message, lost: order });
      return;
    }
    if (round.arrived.size < round.size) return;
    const order = this.#context.peers.members.map(({ id }) => id ?? "");
    const rank = (id: Id): number => {
      const place = order.indexOf(id);
      const member = this.#context.peers.members[place];
      return this.#gang === undefined || member === undefined ? place : rankIn(member);
    };
    const arrivals = [...round.arrived].sort(([a], [b]) => rank(a) - rank(b)).map(([, { arrival }]) => arrival);
    const total = arrivals.reduce((sum, { bytes }) => sum + bytes.length + payloadHeadBytes, 0);
    const most = this.#context.limits.messageBytes - replyFrameBytes - payloadHeadBytes;
    if (total > most) {
      const message = `the values of all ${round.size} members have ${total} bytes together, and may have ${most}`;
      this.#end(key, round, { code: "MESSAGE_TOO_LARGE", message });
    } else {
      this.#end(key, round, { values: arrivals.map(({ kind, bytes }) => [kind, bytes] as const) });
    }
  }

  #end(key: string, round: Round, outcome: Outcome): void {
    this.#rounds.delete(key);
    const waiting = [...round.arrived.values()];
    round.arrived.clear();
    for (const { end } of waiting) end(outcome);
  }

  /** Who has not arrived, and how many of the group have not joined. */
  #missing({ size, arrived }: Round): string {
    const group = this.#group(size);
    const late = group.filter(({ id = "" }) => !arrived.has(id)).map((member) => this.#label(member));
    const absent = size - group.length;
    const parts = [
      ...(late.length === 0 ? [] : [`${late.join(", ")} ${late.length === 1 ? "has" : "have"} not arrived`]),
      ...(absent === 0 ? [] : [`${absent} of ${size} members are not in the mesh`]),
    ];
    return parts.join(", and ");
  }

  /** A member in words; `place`: among those that are listed, or were when it was. */
  #label(member: Member, place = this.#listed.findIndex(({ id }) => id === member.id)): string {
    return `rank ${this.#gang === undefined ? place : rankIn(member)} at ${member.address}`;
  }
}

/** Failures of a request which say that the coordinator has gone, or is on its way out. */
const goneCodes: ReadonlySet<string> = new Set<ErrorCode>(["PEER_DOWN", "NOT_LINKED", "UNKNOWN_PEER", "PEER_GONE"]);

/** The rank that a member has in its gang. */
function rankIn({ meta }: Member): number {
  return typeof meta?.rank === "number" ? meta.rank : Number.POSITIVE_INFINITY;
}

function keyOf(operation: string, name: string): string {
  return `${operation} ${name}`;
}

function shown(operation: string, name: string): string {
  return name === "" ? operation : `${operation} ${JSON.stringify(name)}`;
}

/** What a peer has sent, if it is an arrival; this file is all that may send one. */
function readArrival(payload: unknown): Arrival {
  const { operation, name, size, listed, timeoutMs, kind, bytes } = (payload ?? {}) as Arrival;
  const isOperation = operation === "barrier" || operation === "allGather";
  const isBound =
    timeoutMs === null || (typeof timeoutMs === "number" && timeoutMs >= 0 && timeoutMs <= longestTimerMs);
  const isSize = Number.isInteger(size) && size >= 1;
  const isList = Array.isArray(listed) && listed.every((order) => Number.isSafeInteger(order));
  if (
    isOperation &&
    isBound &&
    isSize &&
    isList &&
    typeof name === "string" &&
    isTopic(name) &&
    isPayload(kind, bytes)
  ) {
    return { operation, name, size, listed, timeoutMs, kind, bytes };
  }
  throw new FullmeshError("BAD_VALUE", "this is no arrival at a barrier or gathering");
}

function readOutcome(reply: unknown): Outcome {
  const { values, code, message, lost } = (reply ?? {}) as Readonly<Record<string, unknown>>;
  const known = outcomeCodes.find((one) => one === code);
  if (known !== undefined)
    return { code: known, message: String(message), ...(typeof lost === "number" ? { lost } : {}) };
  if (Array.isArray(values) && values.every((one) => Array.isArray(one) && isPayload(one[0], one[1])))
    return { values };
  throw new FullmeshError("BAD_VALUE", "the coordinator's answer cannot be read");
}

function isPayload(kind: unknown, bytes: unknown): bytes is Uint8Array {
  return bytes instanceof Uint8Array && Object.values(payloadForms).some((one) => one === kind);
}
