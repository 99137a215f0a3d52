import { type ConnectionId, type ConnectionInput, type Endpoint, isShortage, networkOf } from "../core/connections.js";
import { printable } from "../core/escaping.js";
import { FairQueue } from "../core/fair-queue.js";
import { GracefulCloses } from "../core/graceful-closes.js";
import type { Limits } from "../core/limits.js";
import type { OutputSink } from "../core/machine.js";
import { earliest } from "../core/timer-table.js";
import { type Address, endpointOf } from "../protocol/address.js";
import type { Id } from "../protocol/directory.js";
import { type Control, decodeControl, encodeControl } from "../protocol/native/control.js";
import { FrameReader, frameKinds } from "../protocol/native/frames.js";
import { encodePreface, speaksOurs } from "../protocol/native/preface.js";
import type { RendezvousOutput } from "./types.js";

/** A dial to the address of a member, or of somebody who wants to be one. */
export interface Verification {
  readonly mesh: string;
  readonly id: Id;
  readonly address: Address;
  /** Given to whoever listens there, to be said on the session that asked; without it, only the id is asked for. */
  readonly nonce?: Id;
}

/** What a dial-back has come to. `detail` says it for people. */
export interface VerificationResult {
  readonly task: Verification;
  /**
   * - `here`: the one that was looked for listens there;
   * - `other`: nobody does, or somebody else;
   * - `unclear`: neither can be told, because of the path or because of a time-out;
   * - `undialed`: this computer has no room for another connection.
   */
  readonly found: "here" | "other" | "unclear" | "undialed";
  readonly detail: string;
}

interface RunningVerification {
  readonly task: Verification;
  readonly connection: ConnectionId;
  readonly answer: VerificationReply;
  /** When it was dialed. */
  readonly since: number;
  isConnected: boolean;
  /** What comes on the connection still matters. */
  isListening: boolean;
}

/**
 * Dials members where they say that they listen: to let a newcomer prove its address, and to look after a member whose
 * session has broken. So many at once, each with its deadline.
 *
 * What is more waits for its turn: newcomers and members that are looked after in turns, then the meshes, then the hosts.
 * One that is not answered soon is slow: it goes on, but takes no place from others. Too many slow ones are given up, first
 * those to the host that has the most. So addresses at which nobody answers delay others by a fraction of a second.
 */
export class AddressVerifier {
  readonly #limits: Limits;
  readonly #outputs: OutputSink<RendezvousOutput>;
  readonly #finished: (outcome: VerificationResult, now: number) => void;
  readonly #lingering: GracefulCloses;
  readonly #waiting = new FairQueue<Verification>();
  /** Those under way that may still be prompt, by their tasks, in the order in which they were dialed. */
  readonly #prompt = new Map<Verification, RunningVerification>();
  /** Those under way that are slow, in the same order. */
  readonly #slow = new Map<Verification, RunningVerification>();
  readonly #byConnection = new Map<ConnectionId, RunningVerification>();
  #dialed = 0;

  constructor(
    limits: Limits,
    outputs: OutputSink<RendezvousOutput>,
    finished: (outcome: VerificationResult, now: number) => void,
  ) {
    this.#limits = limits;
    this.#outputs = outputs;
    this.#finished = finished;
    this.#lingering = new GracefulCloses(outputs, limits.lingerMs);
  }

  /** Connections that are not gone. */
  get connections(): number {
    return this.#byConnection.size;
  }

  /** True when no connection is left. */
  get isIdle(): boolean {
    return this.#byConnection.size === 0;
  }

  /** Those that wait, and the connections that are left. */
  get size(): number {
    return this.#byConnection.size + this.#waiting.size;
  }

  /** Where a connection was dialed to. */
  addressOf(connection: ConnectionId): Address | undefined {
    return this.#byConnection.get(connection)?.task.address;
  }

  /** Dials as soon as it is this one's turn. */
  begin(task: Verification, now: number): void {
    this.#waiting.add(task, turnOf(task));
    this.#dialNext(now);
  }

  /** The outcome is not needed any more: it has been proved, or whoever asked has gone. */
  end(task: Verification, now: number): void {
    this.#waiting.delete(task, turnOf(task));
    const dialBack = this.#prompt.get(task) ?? this.#slow.get(task);
    if (dialBack === undefined) return;
    this.#settle(dialBack, now);
    this.#dialNext(now);
  }

  /** Nobody is looked after any more. */
  stop(): void {
    this.#waiting.clear();
    this.#prompt.clear();
    this.#slow.clear();
    for (const [connection, dialBack] of this.#byConnection) {
      dialBack.isListening = false;
      this.#outputs.push({ type: "abort", connection });
    }
  }

  /** Something has happened to a connection that was dialed. */
  handle(input: Exclude<ConnectionInput, { type: "accepted" | "timeout" }>, now: number): void {
    const dialBack = this.#byConnection.get(input.connection);
    if (dialBack === undefined) return;
    if (input.type === "closed") this.#closed(dialBack, input.failure, now);
    else if (!dialBack.isListening) return;
    else if (input.type === "connected") this.#connected(dialBack, input.local, input.remote, now);
    else if (input.type === "bytes") this.#read(dialBack, input.bytes, now);
    else if (input.type === "unproved") this.#finish(dialBack, "other", `${input.code}: ${input.message}`, now);
    else if (input.type === "ended") this.#finish(dialBack, "unclear", "whoever answers there says nothing", now);
  }

  nextTimeout(): number | undefined {
    const [prompt] = this.#prompt.values();
    const [slow] = this.#slow.values();
    return earliest(
      prompt === undefined ? undefined : prompt.since + this.#limits.dialBackSlowMs,
      slow === undefined ? undefined : slow.since + this.#limits.challengeMs,
      this.#lingering.nextTimeout(),
    );
  }

  handleTimeout(now: number): void {
    const { dialBackSlowMs, dialBacksSlow, challengeMs } = this.#limits;
    const [oldest] = this.#prompt.values();
    const isOneSlow = oldest !== undefined && oldest.since + dialBackSlowMs <= now;
    // With one that is slow go those that have had half its time: a timer for each of many would often fire late, and our
    // clock stands still for as long as one does.
    for (const dialBack of isOneSlow ? this.#prompt.values() : []) {
      if (dialBack.since + dialBackSlowMs / 2 > now) break;
      this.#prompt.delete(dialBack.task);
      this.#slow.set(dialBack.task, dialBack);
    }
    for (const dialBack of this.#slow.values()) {
      if (dialBack.since + challengeMs > now) break;
      this.#finish(dialBack, "unclear", `no answer within ${challengeMs / 1000} s`, now);
    }
    while (this.#slow.size > dialBacksSlow) {
      const dialBack = this.#oldestOfBusiest();
      if (dialBack === undefined) break;
      const detail = `no answer within ${Math.round(now - dialBack.since)} ms, while many others are dialed`;
      this.#finish(dialBack, "unclear", detail, now);
    }
    this.#dialNext(now);
    this.#lingering.handleTimeout(now);
  }

  #dialNext(now: number): void {
    while (this.#prompt.size < this.#limits.dialBacks) {
      const task = this.#waiting.take();
      if (task === undefined) return;
      this.#dial(task, now);
    }
  }

  /** Of the slow ones, the oldest one to the host that has the most. */
  #oldestOfBusiest(): RunningVerification | undefined {
    const byHost = new Map<string, { readonly oldest: RunningVerification; count: number }>();
    let busiest: { readonly oldest: RunningVerification; count: number } | undefined;
    for (const dialBack of this.#slow.values()) {
      const host = hostOf(dialBack.task);
      const slow = byHost.get(host) ?? { oldest: dialBack, count: 0 };
      slow.count += 1;
      byHost.set(host, slow);
      if (busiest === undefined || slow.count > busiest.count) busiest = slow;
    }
    return busiest?.oldest;
  }

  #dial(task: Verification, now: number): void {
    this.#dialed += 1;
    const connection: ConnectionId = `out:${this.#dialed}`;
    const answer = new VerificationReply(task.id, this.#limits.firstFrameBytes);
    const dialBack: RunningVerification = {
      task,
      connection,
      answer,
      since: now,
      isConnected: false,
      isListening: true,
    };
    this.#prompt.set(task, dialBack);
    this.#byConnection.set(connection, dialBack);
    const identity = { mesh: task.mesh, role: "rendezvous" } as const;
    this.#outputs.push({ type: "dial", connection, to: endpointOf(task.address), identity });
  }

  #connected(dialBack: RunningVerification, local: Endpoint, remote: Endpoint, now: number): void {
    const { task, connection } = dialBack;
    if (local.host === remote.host && local.port === remote.port) {
      this.#finish(dialBack, "other", "nobody listens there: the dial met its own outgoing port", now);
      return;
    }
    dialBack.isConnected = true;
    const { mesh, id, nonce } = task;
    const question: Control =
      nonce === undefined ? { type: "check", mesh, id } : { type: "challenge", mesh, id, nonce };
    this.#outputs.push({ type: "send", connection, bytes: encodePreface() });
    this.#outputs.push({ type: "send", connection, bytes: encodeControl(question) });
  }

  #read(dialBack: RunningVerification, bytes: Uint8Array, now: number): void {
    const { task, answer } = dialBack;
    answer.push(bytes);
    const { said } = answer;
    if (said === undefined) return;
    // That the right one listens proves nothing yet about who asked: the nonce has to come back on the session.
    if (said.found === "here" && task.nonce !== undefined) this.#hangUp(dialBack, now);
    else this.#finish(dialBack, said.found, said.detail, now);
  }

  #closed(dialBack: RunningVerification, failure: string | undefined, now: number): void {
    const { connection } = dialBack;
    this.#byConnection.delete(connection);
    this.#lingering.closed(connection);
    if (!dialBack.isListening) return;
    if (failure === "ECONNREFUSED") this.#finish(dialBack, "other", "nobody listens there (ECONNREFUSED)", now);
    else if (isShortage(failure)) this.#finish(dialBack, "undialed", `no descriptors to dial with (${failure})`, now);
    else this.#finish(dialBack, "unclear", failure ?? "closed without an answer", now);
  }

  #finish(dialBack: RunningVerification, found: VerificationResult["found"], detail: string, now: number): void {
    this.#settle(dialBack, now);
    this.#finished({ task: dialBack.task, found, detail }, now);
    this.#dialNext(now);
  }

  #settle(dialBack: RunningVerification, now: number): void {
    this.#prompt.delete(dialBack.task);
    this.#slow.delete(dialBack.task);
    this.#hangUp(dialBack, now);
  }

  /** What was to be heard on the connection has been heard. */
  #hangUp(dialBack: RunningVerification, now: number): void {
    if (!dialBack.isListening) return;
    dialBack.isListening = false;
    dialBack.answer.close();
    if (!this.#byConnection.has(dialBack.connection)) return;
    if (dialBack.isConnected) this.#lingering.begin(dialBack.connection, now);
    else this.#outputs.push({ type: "abort", connection: dialBack.connection });
  }
}

/** Whose turn it is when a task has its turn. */
function turnOf(task: Verification): readonly string[] {
  return [task.nonce === undefined ? "check" : "challenge", task.mesh, hostOf(task)];
}

function hostOf({ address }: Verification): string {
  return networkOf(endpointOf(address).host);
}

/** What a listener answers. */
class VerificationReply {
  readonly #id: Id;
  readonly #reader: FrameReader;
  said: Pick<VerificationResult, "found" | "detail"> | undefined;

  constructor(id: Id, mostBytes: number) {
    this.#id = id;
    const stranger = { found: "other", detail: "somebody else answers there" } as const;
    this.#reader = new FrameReader(
      { controlBytes: mostBytes, messageBytes: mostBytes },
      {
        preface: (preface) => {
          if (!speaksOurs(preface)) this.said ??= { found: "other", detail: "another version answers there" };
        },
        frame: (kind, body) => {
          if (kind === frameKinds.control) this.said ??= this.#understand(decodeControl(body));
        },
        bad: () => {
          this.said ??= stranger;
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

  #understand(control: ReturnType<typeof decodeControl>): VerificationReply["said"] {
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
