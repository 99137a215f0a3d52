import type { ConnectionId, Endpoint, Identity } from "../../src/core/connections.js";
import { defaultLimits, type Limits } from "../../src/core/limits.js";
import { type Address, endpointOf, formatAddress } from "../../src/protocol/address.js";
import { type Change, entryOf, type Id, type Member } from "../../src/protocol/directory.js";
import type { LinkStage } from "../../src/protocol/missing-pair.js";
import { type Control, type ControlOf, decodeControl, encodeControl } from "../../src/protocol/native/control.js";
import { FrameReader, frameKinds } from "../../src/protocol/native/frames.js";
import { encodePreface, type Preface } from "../../src/protocol/native/preface.js";
import { RendezvousMachine } from "../../src/rendezvous/rendezvous-machine.js";
import type {
  LogAppend,
  LogFact,
  RejectionReason,
  RendezvousEvent,
  RendezvousInput,
  RendezvousOutput,
  RendezvousRules,
} from "../../src/rendezvous/types.js";
import { MemoryLog } from "../../src/runtime/memory-log.js";

/**
 * Plays the server's machine by hand: its log, its network and its callers, one input at a time. What it sends is taken by
 * the kernel at once, and what it dials is answered by whoever listens there, unless the test wants it otherwise.
 */

export const serverEnd: Endpoint = { host: "127.0.0.1", port: 4000 };

export type RuleChoice = Partial<Omit<RendezvousRules, "limits">> & { readonly limits?: Partial<Limits> };

/** Where a dial of the server's ends. */
export interface Dialed {
  readonly connection: ConnectionId;
  readonly to: Address;
  readonly identity: Identity;
  /** What the server says on it. */
  readonly end: NativeEnd;
  isOpen: boolean;
}

/** What somebody does whom the server dials: nobody listening is a refused connection. */
type Listener = (question: ControlOf<"challenge"> | ControlOf<"check">, dialed: Dialed) => void;

/** Reads what the server says on one native connection. */
export class NativeEnd {
  readonly prefaces: Preface[] = [];
  readonly controls: Control[] = [];
  readonly kinds: number[] = [];
  readonly faults: string[] = [];
  readonly #reader = new FrameReader(
    { controlBytes: defaultLimits.controlBytes, messageBytes: 0 },
    {
      preface: (preface) => this.prefaces.push(preface),
      frame: (kind, body) => {
        this.kinds.push(kind);
        if (kind !== frameKinds.control) return;
        const control = decodeControl(body);
        if (control?.type === "bad") this.faults.push(control.detail);
        else if (control !== undefined) this.controls.push(control);
      },
      bad: (code, detail) => this.faults.push(`${code}: ${detail}`),
    },
  );

  push(bytes: Uint8Array): void {
    this.#reader.push(bytes);
  }

  /** The messages of one type, in order. */
  all<Type extends Control["type"]>(type: Type): ControlOf<Type>[] {
    return this.controls.filter((control): control is ControlOf<Type> & Control => control.type === type);
  }

  last<Type extends Control["type"]>(type: Type): ControlOf<Type> | undefined {
    return this.all(type).at(-1);
  }
}

/** Takes what the machine appends and publishes, and answers by `give`. */
export interface PlayLog {
  append(append: LogAppend): void;
  forget(mesh: string): void;
  publish?(mesh: string, fact: LogFact): void;
}

/** The machine, and everything around it. */
export class Play {
  readonly machine: RendezvousMachine;
  readonly limits: Limits;
  readonly events: RendezvousEvent[] = [];
  readonly notes: string[] = [];
  /** What has been appended and not yet answered, if the log is slow. */
  readonly appends: LogAppend[] = [];
  /** What has been published for other servers. */
  readonly published: Extract<RendezvousOutput, { type: "publish" }>[] = [];
  readonly dials: Dialed[] = [];
  readonly callers = new Map<ConnectionId, Caller>();
  readonly #listeners = new Map<Address, Listener>();
  readonly #log: PlayLog;
  readonly #inputs: RendezvousInput[] = [];
  now = 0;
  sentBytes = 0;
  /** Bytes that callers have sent. */
  receivedBytes = 0;
  /** Answers a dial instead of whoever listens; true if it has. */
  dialed: (dialed: Dialed) => boolean = () => false;
  isLogSlow = false;
  /** What its ids begin with, if they are to differ from those of another play. */
  idPrefix = "";
  /** False: what the server sends stays in its own process, as with a reader that does not read. */
  isFlushing = true;
  hasStoppedListening = false;
  #accepted = 0;
  #drawn = 0;
  #isPumping = false;

  /** `log`: one that others share; otherwise it has its own. */
  constructor(choice: RuleChoice = {}, log?: PlayLog) {
    this.#log = log ?? new MemoryLog((answer) => this.give(answer));
    this.limits = { ...defaultLimits, ...choice.limits };
    this.machine = new RendezvousMachine({
      capacity: Number.POSITIVE_INFINITY,
      onFull: "teardown",
      mayAdvertise: () => false,
      dialect: "any",
      isKeyed: false,
      isShared: false,
      newId: () => this.id(),
      wallTime: () => this.now,
      firstRevision: 0,
      startedAtMs: 0,
      version: "0.0.0",
      ...choice,
      limits: this.limits,
    });
  }

  /** An id that nobody has had before. */
  id(): Id {
    this.#drawn += 1;
    const { idPrefix } = this;
    return `${idPrefix}${this.#drawn.toString(16).padStart(32 - idPrefix.length, "0")}`;
  }

  /** What has been told of one type, in order. */
  eventsOf<Type extends RendezvousEvent["type"]>(type: Type): (RendezvousEvent & { readonly type: Type })[] {
    return this.events.filter((event): event is RendezvousEvent & { readonly type: Type } => event.type === type);
  }

  /** The member of this order, as the server has told of it; made up if there is none. */
  memberOf(order: number, mesh = "default"): { readonly id: Id } {
    const joined = this.eventsOf("joined").find((event) => event.mesh === mesh && event.order === order);
    return joined ?? { id: `f${order.toString(16).padStart(31, "0")}` };
  }

  /** Somebody connects; over a local socket if the host is empty. */
  call(host = "127.0.0.1"): Caller {
    this.#accepted += 1;
    const connection: ConnectionId = `in:${this.#accepted}`;
    const caller = new Caller(this, connection, host === "" ? { path: "" } : { host, port: 40_000 + this.#accepted });
    this.callers.set(connection, caller);
    this.give({ type: "accepted", connection, local: serverEnd, remote: caller.remote });
    return caller;
  }

  /** Somebody who speaks the native dialect connects, and listens at this address. */
  native(address: Address, mesh = "default", host = endpointOf(address).host ?? ""): Player {
    return new Player(this.call(host), address, mesh);
  }

  /** From now on somebody listens there; undefined: nobody. */
  listen(address: Address, listener: Listener | undefined): void {
    if (listener === undefined) this.#listeners.delete(address);
    else this.#listeners.set(address, listener);
  }

  give(input: RendezvousInput): void {
    this.#inputs.push(input);
    if (this.#isPumping) return;
    this.#isPumping = true;
    for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) {
      this.machine.handle(next, this.now);
      for (let output = this.machine.poll(); output !== undefined; output = this.machine.poll()) this.#perform(output);
    }
    this.#isPumping = false;
  }

  /** Lets time pass, deadline by deadline. */
  pass(ms: number): void {
    const until = this.now + ms;
    for (;;) {
      const at = this.machine.nextTimeout();
      if (at === undefined || at > until) break;
      this.now = Math.max(this.now, at);
      this.give({ type: "timeout" });
    }
    this.now = until;
  }

  /** Lets the gap between two updates pass, so that everybody has been told everything. */
  settle(): void {
    this.pass(this.limits.updateGapMs);
  }

  /** The log answers the oldest append. */
  answer(): void {
    const append = this.appends.shift();
    if (append === undefined) throw new Error("nothing has been appended");
    this.#log.append(append);
  }

  /** The log rejects the oldest append. */
  reject(reason: RejectionReason): void {
    const append = this.appends.shift();
    if (append === undefined) throw new Error("nothing has been appended");
    this.give({ type: "rejected", mesh: append.mesh, key: append.key, reason });
  }

  /** Another writer appends a change. */
  appendElsewhere(mesh: string, change: Change): void {
    this.give({ type: "appended", mesh, entry: entryOf(change, this.machine.revisionOf(mesh) + 1) });
  }

  #perform(output: RendezvousOutput): void {
    if (output.type === "event") this.events.push(output.event);
    else if (output.type === "note") this.notes.push(output.note.code);
    else if (output.type === "append" && this.isLogSlow) this.appends.push(output);
    else if (output.type === "append") this.#log.append(output);
    else if (output.type === "publish") this.#publish(output);
    else if (output.type === "forgetLog") this.#log.forget(output.mesh);
    else if (output.type === "stopListening") this.hasStoppedListening = true;
    else if (output.type === "dial") this.#dial(output.connection, output.to, output.identity);
    else if (output.connection.startsWith("out:")) this.#performOnDialed(output);
    else this.#performOnCaller(output);
  }

  #publish(output: Extract<RendezvousOutput, { type: "publish" }>): void {
    this.published.push(output);
    this.#log.publish?.(output.mesh, output.fact);
  }

  #performOnCaller(output: Extract<RendezvousOutput, { connection: ConnectionId }>): void {
    const caller = this.callers.get(output.connection);
    if (output.type === "send") {
      this.sentBytes += output.bytes.length;
      caller?.sent.push(output.bytes);
      caller?.end.push(output.bytes);
      if (this.isFlushing) this.give({ type: "flushed", connection: output.connection });
    } else if (output.type === "halfClose") {
      caller?.hear("halfClosed");
    } else if (output.type === "abort") {
      caller?.hear("aborted");
      this.give({ type: "closed", connection: output.connection });
    }
  }

  #dial(connection: ConnectionId, to: Endpoint, identity: Identity): void {
    const dialed: Dialed = { connection, to: formatAddress(to), identity, end: new NativeEnd(), isOpen: true };
    this.dials.push(dialed);
    if (this.dialed(dialed)) return;
    if (this.#listeners.has(dialed.to)) {
      this.give({ type: "connected", connection, local: { host: "127.0.0.1", port: 50_000 }, remote: to });
    } else {
      dialed.isOpen = false;
      this.give({ type: "closed", connection, failure: "ECONNREFUSED" });
    }
  }

  #performOnDialed(output: Extract<RendezvousOutput, { connection: ConnectionId }>): void {
    const dialed = this.dials.find(({ connection }) => connection === output.connection);
    if (dialed === undefined) return;
    if (output.type === "send") {
      this.sentBytes += output.bytes.length;
      dialed.end.push(output.bytes);
      const [question] = dialed.end.controls.splice(0);
      if (question?.type === "challenge" || question?.type === "check") {
        this.#listeners.get(dialed.to)?.(question, dialed);
      }
    } else if (dialed.isOpen) {
      dialed.isOpen = false;
      this.give({ type: "closed", connection: output.connection });
    }
  }

  /** Whoever listens at a dialed address says something. */
  reply(dialed: Dialed, ...controls: Control[]): void {
    const frames = [encodePreface(), ...controls.map(encodeControl)];
    for (const bytes of frames) this.give({ type: "bytes", connection: dialed.connection, bytes });
  }
}

/** One connection to the server, seen from its other end. */
export class Caller {
  readonly play: Play;
  readonly connection: ConnectionId;
  readonly remote: Endpoint;
  readonly end = new NativeEnd();
  readonly sent: Uint8Array[] = [];
  /** What the server has done with the connection. */
  state: "open" | "halfClosed" | "aborted" = "open";

  constructor(play: Play, connection: ConnectionId, remote: Endpoint) {
    this.play = play;
    this.connection = connection;
    this.remote = remote;
  }

  /** All that the server has sent, as text. */
  get text(): string {
    return this.sent.map((bytes) => new TextDecoder().decode(bytes)).join("");
  }

  /** The connection is gone at both ends. */
  isGone = false;

  hear(state: "halfClosed" | "aborted"): void {
    this.state = state;
    if (state === "aborted") this.isGone = true;
  }

  send(bytes: Uint8Array | string): void {
    if (this.isGone) return;
    this.play.receivedBytes += bytes.length;
    const given = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
    this.play.give({ type: "bytes", connection: this.connection, bytes: given });
  }

  say(...controls: Control[]): void {
    for (const control of controls) this.send(encodeControl(control));
  }

  secure(identity: Identity): void {
    this.play.give({ type: "secured", connection: this.connection, identity, cipher: "TLSv1.3" });
  }

  /** Half-closes. */
  finish(): void {
    if (!this.isGone) this.play.give({ type: "ended", connection: this.connection });
  }

  /** The connection is gone, with this errno or cleanly. */
  close(failure?: string): void {
    if (this.isGone) return;
    this.isGone = true;
    const gone = failure === undefined ? {} : { failure };
    this.play.give({ type: "closed", connection: this.connection, ...gone });
  }
}

/** A member that is played by hand. */
export class Player {
  readonly play: Play;
  readonly address: Address;
  readonly mesh: string;
  id: Id;
  caller: Caller;
  #hasAsked = false;
  #isReturning = false;
  /** It listens, and answers checks. */
  isListening = true;
  /** Its order in the log that admitted it last, before it came back. */
  lastOrder = 0;
  /** What it says behind its proof when it comes back; undefined: nothing. */
  known: readonly Omit<ControlOf<"known">, "type">[] | undefined = [{ members: [], gone: [] }];

  constructor(caller: Caller, address: Address, mesh: string) {
    this.play = caller.play;
    this.caller = caller;
    this.address = address;
    this.mesh = mesh;
    this.id = this.play.id();
    this.play.listen(address, (question, dialed) => this.#dialed(question, dialed));
  }

  get end(): NativeEnd {
    return this.caller.end;
  }

  get order(): number {
    return this.end.last("admitted")?.order ?? this.lastOrder;
  }

  /** All that it knows of the mesh, as another member lists it. */
  get row(): Member {
    return { id: this.id, order: this.order, address: this.address, dialect: "native" };
  }

  /** Registers, and answers the challenge that comes of it. */
  register(more: Partial<ControlOf<"register">> = {}): this {
    const { mesh, id, address } = this;
    this.#hasAsked = true;
    this.#isReturning = false;
    this.caller.send(encodePreface());
    this.caller.say({ type: "register", mesh, id, address, ...more });
    return this;
  }

  /** Comes back on a new connection, from this revision of its log. */
  resume(revision: number, log = this.end.last("admitted")?.log ?? "", more: Partial<ControlOf<"resume">> = {}): this {
    const { mesh, id, address } = this;
    this.lastOrder = this.order;
    this.caller = this.play.call(this.caller.remote.host ?? "");
    this.#hasAsked = true;
    this.#isReturning = true;
    this.caller.send(encodePreface());
    const order = Math.max(1, this.lastOrder);
    this.caller.say({ type: "resume", mesh, id, address, log, revision, order, highest: revision, ...more });
    return this;
  }

  /** Reports links with these, each with its attempt. */
  linked(...others: readonly (readonly [player: { readonly id: Id }, attempt: number])[]): void {
    const up = others.map(([{ id }, attempt]): [Id, number] => [id, attempt]);
    this.caller.say({ type: "links", up, down: [] });
  }

  /** Reports that it holds these links and no others, as who has come back does. */
  reportAll(...others: readonly (readonly [player: { readonly id: Id }, attempt: number])[]): void {
    const up = others.map(([{ id }, attempt]): [Id, number] => [id, attempt]);
    this.caller.say({ type: "links", full: true, up, down: [] });
  }

  unlinked(other: { readonly id: Id }, stage: LinkStage, reason: string, attempt = 1): void {
    this.caller.say({ type: "links", up: [], down: [[other.id, stage, attempt, reason]] });
  }

  leave(reason = "enough"): void {
    this.caller.say({ type: "leave", reason });
  }

  /** kill -9: its connection breaks, and nobody listens at its address any more. */
  die(failure?: string): void {
    this.play.listen(this.address, undefined);
    this.caller.close(failure ?? "ECONNRESET");
  }

  /** It has asked to be let in, and has not been. */
  get #isAwaiting(): boolean {
    return this.#hasAsked && this.end.last("admitted") === undefined;
  }

  #dialed(question: ControlOf<"challenge"> | ControlOf<"check">, dialed: Dialed): void {
    const { play } = this;
    if (question.type === "check") {
      if (this.isListening) play.reply(dialed, { type: "here", id: this.id });
    } else if (this.#isAwaiting && question.mesh === this.mesh && question.id === this.id) {
      play.reply(dialed, { type: "here", id: this.id });
      this.caller.say({ type: "proof", nonce: question.nonce });
      if (this.#isReturning) for (const part of this.known ?? []) this.caller.say({ type: "known", ...part });
    } else {
      play.reply(dialed, { type: "refuse", code: "UNAWAITED_CHALLENGE", message: "I have not asked for this" });
    }
  }
}

/** Every two of these report the link between them, with this attempt. */
export function linkAll(players: readonly Player[], attempt = 1): void {
  for (const player of players) {
    player.linked(...players.filter((other) => other !== player).map((other) => [other, attempt] as const));
  }
}

/** Native members at consecutive ports of loopback, admitted one after the other. */
export function nativeMembers(play: Play, count: number, mesh = "default", firstPort = 14_001): Player[] {
  const players = Array.from({ length: count }, (_, index) => {
    const player = play.native(`127.0.0.1:${firstPort + index}`, mesh).register();
    play.settle();
    return player;
  });
  // In a large mesh the others are told of the last ones later.
  if (count * play.limits.joinMemberMs > play.limits.updateGapMs) play.pass(play.limits.joinGapMaxMs);
  return players;
}
