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
import { encodePreface, isSupported } from "../protocol/native/preface.js";
import type { RendezvousOutput } from "./types.js";

/** A dial to the address of a member or of a registrant. */
export interface Verification {
  readonly mesh: string;
  readonly id: Id;
  readonly address: Address;
  /** Sent to the listener, which has to send it back on its session; without it, only the id is asked for. */
  readonly nonce?: Id;
}

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

interface RunningVerification {
  readonly task: Verification;
  readonly connection: ConnectionId;
  readonly answer: VerificationReply;
  /** When it was dialed. */
  readonly since: number;
  isConnected: boolean;
  /** What comes on the connection is still read. */
  isListening: boolean;
}

/**
 * Dials members at the addresses that they advertise: to let a registrant prove its address, and to check a member whose
 * session broke. At most `dialBacks` at once, each with a time-out.
 *
 * Further ones wait in a fair queue: registrants and checks take turns, then meshes, then hosts. A dial that is not answered
 * within `dialBackSlowMs` goes on, but gives up its place. Of too many slow ones the oldest to the busiest host is given up.
 * So unreachable addresses delay others by a fraction of a second.
 */
export class AddressVerifier {
  readonly #limits: Limits;
  readonly #outputs: OutputSink<RendezvousOutput>;
  readonly #finished: (outcome: VerificationResult, now: number) => void;
  readonly #gracefulCloses: GracefulCloses;
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
    this.#gracefulCloses = new GracefulCloses(outputs, limits.lingerMs);
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

  /** Dials when it is this one's turn. */
  begin(task: Verification, now: number): void {
    this.#waiting.add(task, turnOf(task));
    this.#dialNext(now);
  }

  /** The result is not needed any more: the address is proved, or the session is over. */
  end(task: Verification, now: number): void {
    this.#waiting.delete(task, turnOf(task));
    const running = this.#prompt.get(task) ?? this.#slow.get(task);
    if (running === undefined) return;
    this.#settle(running, now);
    this.#dialNext(now);
  }

  /** Dials nobody any more, and aborts what is open. */
  stop(): void {
    this.#waiting.clear();
    this.#prompt.clear();
    this.#slow.clear();
    for (const [connection, running] of this.#byConnection) {
      running.isListening = false;
      this.#outputs.push({ type: "abort", connection });
    }
  }

  /** Handles an input of a dialed connection. */
  handle(input: Exclude<ConnectionInput, { type: "accepted" | "timeout" }>, now: number): void {
    const running = this.#byConnection.get(input.connection);
    if (running === undefined) return;
    if (input.type === "closed") this.#closed(running, input.failure, now);
    else if (!running.isListening) return;
    else if (input.type === "connected") this.#connected(running, input.local, input.remote, now);
    else if (input.type === "bytes") this.#read(running, input.bytes, now);
    else if (input.type === "unproved") this.#finish(running, "other", `${input.code}: ${input.message}`, now);
    else if (input.type === "ended") this.#finish(running, "unclear", "whoever answers there says nothing", now);
  }

  nextTimeout(): number | undefined {
    const [prompt] = this.#prompt.values();
    const [slow] = this.#slow.values();
    return earliest(
      prompt === undefined ? undefined : prompt.since + this.#limits.dialBackSlowMs,
      slow === undefined ? undefined : slow.since + this.#limits.challengeMs,
      this.#gracefulCloses.nextTimeout(),
    );
  }

  handleTimeout(now: number): void {
    const { dialBackSlowMs, dialBacksSlow, challengeMs } = this.#limits;
    const [oldest] = this.#prompt.values();
    const isOneSlow = oldest !== undefined && oldest.since + dialBackSlowMs <= now;
    // Those that have had half that time count as slow too: one timer for each of many would often fire late, and the
    // machine's clock stands still while a timer is late.
    for (const running of isOneSlow ? this.#prompt.values() : []) {
      if (running.since + dialBackSlowMs / 2 > now) break;
      this.#prompt.delete(running.task);
      this.#slow.set(running.task, running);
    }
    for (const running of this.#slow.values()) {
      if (running.since + challengeMs > now) break;
      this.#finish(running, "unclear", `no answer within ${challengeMs / 1000} s`, now);
    }
    while (this.#slow.size > dialBacksSlow) {
      const running = this.#oldestOfBusiest();
      if (running === undefined) break;
      const detail = `no answer within ${Math.round(now - running.since)} ms, while many others are dialed`;
      this.#finish(running, "unclear", detail, now);
    }
    this.#dialNext(now);
    this.#gracefulCloses.handleTimeout(now);
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
    for (const running of this.#slow.values()) {
      const host = hostOf(running.task);
      const slow = byHost.get(host) ?? { oldest: running, count: 0 };
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
    const running: RunningVerification = {
      task,
      connection,
      answer,
      since: now,
      isConnected: false,
      isListening: true,
    };
    this.#prompt.set(task, running);
    this.#byConnection.set(connection, running);
    const identity = { mesh: task.mesh, role: "rendezvous" } as const;
    this.#outputs.push({ type: "dial", connection, to: endpointOf(task.address), identity });
  }

  #connected(running: RunningVerification, local: Endpoint, remote: Endpoint, now: number): void {
    const { task, connection } = running;
    if (local.host === remote.host && local.port === remote.port) {
      this.#finish(running, "other", "nobody listens there: the dial met its own outgoing port", now);
      return;
    }
    running.isConnected = true;
    const { mesh, id, nonce } = task;
    const question: Control =
      nonce === undefined ? { type: "check", mesh, id } : { type: "challenge", mesh, id, nonce };
    this.#outputs.push({ type: "send", connection, bytes: encodePreface() });
    this.#outputs.push({ type: "send", connection, bytes: encodeControl(question) });
  }

  #read(running: RunningVerification, bytes: Uint8Array, now: number): void {
    const { task, answer } = running;
    answer.push(bytes);
    const { said } = answer;
    if (said === undefined) return;
    // That the right member listens does not prove who registered: the nonce has to come back on the session.
    if (said.found === "here" && task.nonce !== undefined) this.#hangUp(running, now);
    else this.#finish(running, said.found, said.detail, now);
  }

  #closed(running: RunningVerification, failure: string | undefined, now: number): void {
    const { connection } = running;
    this.#byConnection.delete(connection);
    this.#gracefulCloses.closed(connection);
    if (!running.isListening) return;
    if (failure === "ECONNREFUSED") this.#finish(running, "other", "nobody listens there (ECONNREFUSED)", now);
    else if (isShortage(failure)) this.#finish(running, "undialed", `no descriptors to dial with (${failure})`, now);
    else this.#finish(running, "unclear", failure ?? "closed without an answer", now);
  }

  #finish(running: RunningVerification, found: VerificationResult["found"], detail: string, now: number): void {
    this.#settle(running, now);
    this.#finished({ task: running.task, found, detail }, now);
    this.#dialNext(now);
  }

  #settle(running: RunningVerification, now: number): void {
    this.#prompt.delete(running.task);
    this.#slow.delete(running.task);
    this.#hangUp(running, now);
  }

  /** Reads nothing more from the connection, and closes it. */
  #hangUp(running: RunningVerification, now: number): void {
    if (!running.isListening) return;
    running.isListening = false;
    running.answer.close();
    if (!this.#byConnection.has(running.connection)) return;
    if (running.isConnected) this.#gracefulCloses.begin(running.connection, now);
    else this.#outputs.push({ type: "abort", connection: running.connection });
  }
}

/** The levels of the fair queue in which a dial takes its turn. */
function turnOf(task: Verification): readonly string[] {
  return [task.nonce === undefined ? "check" : "challenge", task.mesh, hostOf(task)];
}

function hostOf({ address }: Verification): string {
  return networkOf(endpointOf(address).host);
}

/** Reads the answer of a listener. */
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
          if (!isSupported(preface)) this.said ??= { found: "other", detail: "another version answers there" };
        },
        frame: (kind, body) => {
          if (kind === frameKinds.control) this.said ??= this.#read(decodeControl(body));
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

  #read(control: ReturnType<typeof decodeControl>): VerificationReply["said"] {
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
