import type { ConnectionId, ConnectionInput, Endpoint } from "../core/connections.js";
import { Deadlines, earliest } from "../core/deadlines.js";
import { printable } from "../core/escaping.js";
import type { Limits } from "../core/limits.js";
import { Lingering } from "../core/lingering.js";
import type { Sink } from "../core/machine.js";
import { type Address, endpointOf } from "../protocol/address.js";
import type { Id } from "../protocol/directory.js";
import { type Control, decodeControl, encodeControl } from "../protocol/native/control.js";
import { FrameReader, frameKinds } from "../protocol/native/frames.js";
import { encodePreface, speaksOurs } from "../protocol/native/preface.js";
import type { RendezvousOutput } from "./vocabulary.js";

/** The share of all dials that may be under way to one host. */
const shareOfHost = 1 / 4;

/** A dial to the address of a member, or of somebody who wants to be one. */
export interface Task {
  readonly mesh: string;
  readonly id: Id;
  readonly address: Address;
  /** Given to whoever listens there, to be said on the session that asked; without it, only the id is asked for. */
  readonly nonce?: Id;
}

/** What a dial-back has come to. `detail` says it for people. */
export interface Outcome {
  readonly task: Task;
  /**
   * - `here`: the one that was looked for listens there;
   * - `other`: nobody does, or somebody else;
   * - `unclear`: neither can be told, because of the path or because of a time-out.
   */
  readonly found: "here" | "other" | "unclear";
  readonly detail: string;
}

interface DialBack {
  readonly task: Task;
  readonly connection: ConnectionId;
  readonly answer: Answer;
  isConnected: boolean;
  /** What comes on the connection still matters. */
  isListening: boolean;
}

/**
 * Dials members where they say that they listen: to let a newcomer prove its address, and to look after a member whose
 * session has broken. So many at once, each with its deadline; what is more waits, looking after members first.
 */
export class DialBacks {
  readonly #limits: Limits;
  readonly #outputs: Sink<RendezvousOutput>;
  readonly #finished: (outcome: Outcome, now: number) => void;
  readonly #lingering: Lingering;
  /** Those under way, by their tasks. */
  readonly #underWay = new Map<Task, DialBack>();
  readonly #byConnection = new Map<ConnectionId, DialBack>();
  readonly #deadlines = new Deadlines<Task>();
  readonly #waitingChecks = new Set<Task>();
  readonly #waitingChallenges = new Set<Task>();
  #dialed = 0;

  /** Dials under way to each host. */
  readonly #perHost = new Map<string, number>();
  #isChallengeNext = true;

  constructor(limits: Limits, outputs: Sink<RendezvousOutput>, finished: (outcome: Outcome, now: number) => void) {
    this.#limits = limits;
    this.#outputs = outputs;
    this.#finished = finished;
    this.#lingering = new Lingering(outputs, limits.lingerMs);
  }

  /** True when no connection is left. */
  get isIdle(): boolean {
    return this.#byConnection.size === 0;
  }

  /** Where a connection was dialed to. */
  addressOf(connection: ConnectionId): Address | undefined {
    return this.#byConnection.get(connection)?.task.address;
  }

  /** Dials as soon as it is this one's turn. */
  begin(task: Task, now: number): void {
    (task.nonce === undefined ? this.#waitingChecks : this.#waitingChallenges).add(task);
    this.#dialNext(now);
  }

  /** The outcome is not needed any more: it has been proved, or whoever asked has gone. */
  end(task: Task, now: number): void {
    this.#waitingChecks.delete(task);
    this.#waitingChallenges.delete(task);
    const dialBack = this.#underWay.get(task);
    if (dialBack === undefined) return;
    this.#settle(dialBack, now);
    this.#dialNext(now);
  }

  /** Nobody is looked after any more. */
  stop(): void {
    this.#waitingChecks.clear();
    this.#waitingChallenges.clear();
    this.#deadlines.clearAll();
    this.#underWay.clear();
    this.#perHost.clear();
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
    return earliest(this.#deadlines.next(), this.#lingering.nextTimeout());
  }

  handleTimeout(now: number): void {
    for (let task = this.#deadlines.takeDue(now); task !== undefined; task = this.#deadlines.takeDue(now)) {
      const dialBack = this.#underWay.get(task);
      const detail = `no answer within ${this.#limits.challengeMs / 1000} s`;
      if (dialBack !== undefined) this.#finish(dialBack, "unclear", detail, now);
    }
    this.#lingering.handleTimeout(now);
  }

  #dialNext(now: number): void {
    while (this.#underWay.size < this.#limits.dialBacks) {
      // In turns: neither many newcomers nor many who have gone keep the others waiting for long.
      const [first, second] = this.#isChallengeNext
        ? [this.#waitingChallenges, this.#waitingChecks]
        : [this.#waitingChecks, this.#waitingChallenges];
      const task = this.#firstOf(first) ?? this.#firstOf(second);
      if (task === undefined) return;
      this.#isChallengeNext = !this.#isChallengeNext;
      this.#waitingChecks.delete(task);
      this.#waitingChallenges.delete(task);
      this.#dial(task, now);
    }
  }

  /** The first that may be dialed: hosts that do not answer get a share of the dials, and not all of them. */
  #firstOf(waiting: Iterable<Task>): Task | undefined {
    const most = Math.ceil(this.#limits.dialBacks * shareOfHost);
    for (const task of waiting) {
      if ((this.#perHost.get(endpointOf(task.address).host) ?? 0) < most) return task;
    }
    return undefined;
  }

  #countHost({ address }: Task, change: 1 | -1): void {
    const { host } = endpointOf(address);
    const count = (this.#perHost.get(host) ?? 0) + change;
    if (count === 0) this.#perHost.delete(host);
    else this.#perHost.set(host, count);
  }

  #dial(task: Task, now: number): void {
    this.#dialed += 1;
    const connection: ConnectionId = `out:${this.#dialed}`;
    const answer = new Answer(task.id, this.#limits.firstFrameBytes);
    const dialBack: DialBack = { task, connection, answer, isConnected: false, isListening: true };
    this.#underWay.set(task, dialBack);
    this.#countHost(task, 1);
    this.#byConnection.set(connection, dialBack);
    this.#deadlines.set(task, now + this.#limits.challengeMs);
    const identity = { mesh: task.mesh, role: "rendezvous" } as const;
    this.#outputs.push({ type: "dial", connection, to: endpointOf(task.address), identity });
  }

  #connected(dialBack: DialBack, local: Endpoint, remote: Endpoint, now: number): void {
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

  #read(dialBack: DialBack, bytes: Uint8Array, now: number): void {
    const { task, answer } = dialBack;
    answer.push(bytes);
    const { said } = answer;
    if (said === undefined) return;
    // That the right one listens proves nothing yet about who asked: the nonce has to come back on the session.
    if (said.found === "here" && task.nonce !== undefined) this.#hangUp(dialBack, now);
    else this.#finish(dialBack, said.found, said.detail, now);
  }

  #closed(dialBack: DialBack, failure: string | undefined, now: number): void {
    const { connection } = dialBack;
    this.#byConnection.delete(connection);
    this.#lingering.closed(connection);
    if (!dialBack.isListening) return;
    if (failure === "ECONNREFUSED") this.#finish(dialBack, "other", "nobody listens there (ECONNREFUSED)", now);
    else this.#finish(dialBack, "unclear", failure ?? "closed without an answer", now);
  }

  #finish(dialBack: DialBack, found: Outcome["found"], detail: string, now: number): void {
    this.#settle(dialBack, now);
    this.#finished({ task: dialBack.task, found, detail }, now);
    this.#dialNext(now);
  }

  #settle(dialBack: DialBack, now: number): void {
    if (this.#underWay.delete(dialBack.task)) this.#countHost(dialBack.task, -1);
    this.#deadlines.clear(dialBack.task);
    this.#hangUp(dialBack, now);
  }

  /** What was to be heard on the connection has been heard. */
  #hangUp(dialBack: DialBack, now: number): void {
    if (!dialBack.isListening) return;
    dialBack.isListening = false;
    dialBack.answer.close();
    if (!this.#byConnection.has(dialBack.connection)) return;
    if (dialBack.isConnected) this.#lingering.begin(dialBack.connection, now);
    else this.#outputs.push({ type: "abort", connection: dialBack.connection });
  }
}

/** What a listener answers. */
class Answer {
  readonly #id: Id;
  readonly #reader: FrameReader;
  said: Pick<Outcome, "found" | "detail"> | undefined;

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

  #understand(control: ReturnType<typeof decodeControl>): Answer["said"] {
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
