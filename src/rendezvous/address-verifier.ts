import {
  type ConnectionId,
  type ConnectionInput,
  type Endpoint,
  isNobodyThere,
  isOutOfResources,
  isSelfConnection,
  networkOf,
} from "../core/connections.js";
import { printable } from "../core/escaping.js";
import { FairQueue } from "../core/fair-queue.js";
import type { GracefulCloses } from "../core/graceful-closes.js";
import type { Limits } from "../core/limits.js";
import type { OutputSink } from "../core/machine.js";
import type { KeyedTimers, Timers } from "../core/timers.js";
import { type Address, endpointOf } from "../protocol/address.js";
import type { Id } from "../protocol/directory.js";
import { type Control, decodeControl, encodeControl } from "../protocol/native/control.js";
import { FrameReader, frameKinds } from "../protocol/native/frames.js";
import { encodePreface, isSupported } from "../protocol/native/preface.js";
import type { Verification } from "./member-session.js";
import type { RendezvousOutput } from "./types.js";

/** The result of a dial; `detail` is its text for people. */
export interface VerificationResult {
  readonly task: Verification;
  /**
   * - `here`: the expected member listens there;
   * - `other`: nobody listens there, or another process;
   * - `unclear`: not known, because of the path or a time-out;
   * - `undialed`: this process has no descriptor for another connection.
   */
  readonly found: "here" | "other" | "unclear" | "undialed";
  readonly detail: string;
}

/** A dial under way. */
interface Dial {
  readonly task: Verification;
  readonly connection: ConnectionId;
  readonly reply: VerificationReply;
  readonly since: number;
  isConnected: boolean;
  /** What comes on the connection is still read. */
  isReading: boolean;
}

/**
 * Dials members at the addresses that they advertise: to let a registrant prove its address, to check a member whose
 * session broke, and for those who ask whether an address can be reached. At most `dialBacks` at once, each with a time-out.
 *
 * Further ones wait in a fair queue: registrants, checks and those who ask take turns, then meshes, then hosts. A dial that is not answered
 * within `dialBackSlowMs` goes on, but gives up its place. Of too many slow ones the oldest to the busiest host is given up.
 * So unreachable addresses delay others by a fraction of a second.
 */
export class AddressVerifier {
  readonly #limits: Limits;
  readonly #outputs: OutputSink<RendezvousOutput>;
  readonly #finished: (result: VerificationResult, now: number) => void;
  readonly #gracefulCloses: GracefulCloses;
  readonly #waiting = new FairQueue<Verification>();
  readonly #timers: KeyedTimers<"prompt" | "slow">;
  /** Those under way that may still be prompt, in the order in which they were dialed. */
  readonly #prompt = new Map<Verification, Dial>();
  /** Those under way that are slow, in the same order. */
  readonly #slow = new Map<Verification, Dial>();
  readonly #byConnection = new Map<ConnectionId, Dial>();
  #dialed = 0;

  /** `finished` takes each result. */
  constructor(
    limits: Limits,
    timers: Timers,
    outputs: OutputSink<RendezvousOutput>,
    gracefulCloses: GracefulCloses,
    finished: (result: VerificationResult, now: number) => void,
  ) {
    this.#limits = limits;
    this.#outputs = outputs;
    this.#gracefulCloses = gracefulCloses;
    this.#finished = finished;
    this.#timers = timers.keyed((which, now) => (which === "prompt" ? this.#slowDown(now) : this.#giveUpSlow(now)));
  }

  /** Connections that are not gone. */
  get connections(): number {
    return this.#byConnection.size;
  }

  /** Those that wait, and the connections that are left. */
  get size(): number {
    return this.#byConnection.size + this.#waiting.size;
  }

  /** Where a connection was dialed to. */
  addressOf(connection: ConnectionId): Address | undefined {
    return this.#byConnection.get(connection)?.task.address;
  }

  /** Dials when it is this one's turn. */
  begin(task: Verification, now: number): void {
    this.#waiting.add(task, turnOf(task));
    this.#dialNext(now);
  }

  /** The result is not needed any more: the address is proved, or the session is over. */
  end(task: Verification, now: number): void {
    this.#waiting.delete(task, turnOf(task));
    const dial = this.#prompt.get(task) ?? this.#slow.get(task);
    if (dial === undefined) return;
    this.#settle(dial, now);
    this.#dialNext(now);
  }

  /** Dials nobody any more, and aborts what is open. */
  stop(): void {
    this.#waiting.clear();
    this.#prompt.clear();
    this.#slow.clear();
    this.#timers.clearAll();
    for (const [connection, dial] of this.#byConnection) {
      dial.isReading = false;
      this.#outputs.push({ type: "abort", connection });
    }
  }

  /** Handles an input of a dialed connection. */
  handle(input: Exclude<ConnectionInput, { type: "accepted" | "timeout" }>, now: number): void {
    const dial = this.#byConnection.get(input.connection);
    if (dial === undefined) return;
    if (input.type === "closed") this.#closed(dial, input.failure, now);
    else if (!dial.isReading) return;
    else if (input.type === "connected") this.#connected(dial, input.local, input.remote, now);
    else if (input.type === "bytes") this.#read(dial, input.bytes, now);
    else if (input.type === "unproved") this.#finish(dial, "other", `${input.code}: ${input.message}`, now);
    else if (input.type === "ended") this.#finish(dial, "unclear", "the listener closed without an answer", now);
  }

  /**
   * Those that have had half their time count as slow too: one timer for each of many would often fire late, and the
   * machine's clock stands still while a timer is late.
   */
  #slowDown(now: number): void {
    for (const dial of this.#prompt.values()) {
      if (dial.since + this.#limits.dialBackSlowMs / 2 > now) break;
      this.#prompt.delete(dial.task);
      this.#slow.set(dial.task, dial);
    }
    while (this.#slow.size > this.#limits.dialBacksSlow) {
      const dial = this.#oldestOfBusiest();
      if (dial === undefined) break;
      const detail = `no answer within ${Math.round(now - dial.since)} ms, while many others are dialed`;
      this.#finish(dial, "unclear", detail, now);
    }
    this.#dialNext(now);
  }

  #giveUpSlow(now: number): void {
    const { challengeMs } = this.#limits;
    for (const dial of this.#slow.values()) {
      if (dial.since + challengeMs > now) break;
      this.#finish(dial, "unclear", `no answer within ${challengeMs / 1000} s`, now);
    }
    this.#setTimers();
  }

  #setTimers(): void {
    const [prompt] = this.#prompt.values();
    const [slow] = this.#slow.values();
    this.#timers.set("prompt", prompt && prompt.since + this.#limits.dialBackSlowMs);
    this.#timers.set("slow", slow && slow.since + this.#limits.challengeMs);
  }

  #dialNext(now: number): void {
    while (this.#prompt.size < this.#limits.dialBacks) {
      const task = this.#waiting.take();
      if (task === undefined) break;
      this.#dial(task, now);
    }
    this.#setTimers();
  }

  /** Of the slow ones, the oldest one to the host that has the most. */
  #oldestOfBusiest(): Dial | undefined {
    const byHost = new Map<string, { readonly oldest: Dial; count: number }>();
    let busiest: { readonly oldest: Dial; count: number } | undefined;
    for (const dial of this.#slow.values()) {
      const host = hostOf(dial.task);
      const slow = byHost.get(host) ?? { oldest: dial, count: 0 };
      slow.count += 1;
      byHost.set(host, slow);
      if (busiest === undefined || slow.count > busiest.count) busiest = slow;
    }
    return busiest?.oldest;
  }

  #dial(task: Verification, now: number): void {
    this.#dialed += 1;
    const connection: ConnectionId = `out:${this.#dialed}`;
    const reply = new VerificationReply(task.id, this.#limits.firstFrameBytes);
    const dial: Dial = { task, connection, reply, since: now, isConnected: false, isReading: true };
    this.#prompt.set(task, dial);
    this.#byConnection.set(connection, dial);
    const identity = { mesh: task.mesh, role: "rendezvous" } as const;
    this.#outputs.push({ type: "dial", connection, to: endpointOf(task.address), identity });
  }

  #connected(dial: Dial, local: Endpoint, remote: Endpoint, now: number): void {
    const { task, connection } = dial;
    if (isSelfConnection(local, remote)) {
      this.#finish(dial, "other", "nobody listens there: the dial met its own outgoing port", now);
      return;
    }
    dial.isConnected = true;
    const { mesh, id, challenge } = task;
    const question: Control =
      challenge === undefined ? { type: "check", mesh, id } : { type: "challenge", mesh, id, nonce: challenge.nonce };
    this.#outputs.push({ type: "send", connection, bytes: encodePreface() });
    this.#outputs.push({ type: "send", connection, bytes: encodeControl(question) });
  }

  #read(dial: Dial, bytes: Uint8Array, now: number): void {
    const { task, reply } = dial;
    reply.push(bytes);
    const { result } = reply;
    if (result === undefined) return;
    // That the right member listens does not prove who registered: the nonce has to come back on the session.
    if (result.found === "here" && task.challenge !== undefined) this.#hangUp(dial, now);
    else this.#finish(dial, result.found, result.detail, now);
  }

  #closed(dial: Dial, failure: string | undefined, now: number): void {
    const { connection } = dial;
    this.#byConnection.delete(connection);
    this.#gracefulCloses.closed(connection);
    if (!dial.isReading) return;
    if (isNobodyThere(failure)) this.#finish(dial, "other", `nobody listens there (${failure})`, now);
    else if (isOutOfResources(failure)) this.#finish(dial, "undialed", `no descriptors to dial with (${failure})`, now);
    else this.#finish(dial, "unclear", failure ?? "closed without an answer", now);
  }

  #finish(dial: Dial, found: VerificationResult["found"], detail: string, now: number): void {
    this.#settle(dial, now);
    this.#finished({ task: dial.task, found, detail }, now);
    this.#dialNext(now);
  }

  #settle(dial: Dial, now: number): void {
    this.#prompt.delete(dial.task);
    this.#slow.delete(dial.task);
    this.#hangUp(dial, now);
  }

  /** Reads nothing more from the connection, and closes it. */
  #hangUp(dial: Dial, now: number): void {
    if (!dial.isReading) return;
    dial.isReading = false;
    dial.reply.close();
    if (!this.#byConnection.has(dial.connection)) return;
    if (dial.isConnected) this.#gracefulCloses.begin(dial.connection, now);
    else this.#outputs.push({ type: "abort", connection: dial.connection });
  }
}

/** The levels of the fair queue in which a dial takes its turn. */
function turnOf(task: Verification): readonly string[] {
  const { challenge, asker, mesh } = task;
  const kind = challenge !== undefined ? "challenge" : asker === undefined ? "check" : "probe";
  return [kind, mesh, hostOf(task)];
}

function hostOf({ address }: Verification): string {
  return networkOf(endpointOf(address));
}

/** Reads the answer of a listener. */
class VerificationReply {
  readonly #id: Id;
  readonly #reader: FrameReader;
  result: Pick<VerificationResult, "found" | "detail"> | undefined;

  constructor(id: Id, mostBytes: number) {
    this.#id = id;
    const stranger = { found: "other", detail: "somebody else answers there" } as const;
    this.#reader = new FrameReader(
      { controlBytes: mostBytes, messageBytes: mostBytes },
      {
        preface: (preface) => {
          if (!isSupported(preface)) this.result ??= { found: "other", detail: "another version answers there" };
        },
        frame: (kind, body) => {
          if (kind === frameKinds.control) this.result ??= this.#read(decodeControl(body));
        },
        bad: () => {
          this.result ??= stranger;
        },
      },
    );
  }

  push(bytes: Uint8Array): void {
    this.#reader.push(bytes);
  }

  close(): void {
    this.#reader.close();
  }

  #read(control: ReturnType<typeof decodeControl>): VerificationReply["result"] {
    if (control?.type === "here") {
      const isIt = control.id === this.#id;
      return isIt
        ? { found: "here", detail: "it is there" }
        : { found: "other", detail: "another member answers there" };
    }
    if (control?.type !== "refuse") return undefined;
    return { found: "unclear", detail: `refused there: ${control.code}: ${printable(control.message, 160)}` };
  }
}
