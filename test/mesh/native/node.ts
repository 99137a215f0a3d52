import type { ConnectionId, ConnectionInput, Identity } from "../../../src/core/connections.js";
import type { ErrorCode } from "../../../src/core/errors.js";
import type { Clocks } from "../../../src/core/machine.js";
import { Queue } from "../../../src/core/queue.js";
import { Timers } from "../../../src/core/timers.js";
import { MemberMachine } from "../../../src/mesh/member-machine.js";
import type { Link } from "../../../src/mesh/native/link.js";
import type { MemberEvent, MemberInput, MemberOutput, MemberRules } from "../../../src/mesh/types.js";
import { type Address, endpointOf, formatAddress } from "../../../src/protocol/address.js";
import type { Entry, Member as Listed } from "../../../src/protocol/directory.js";
import type { Control } from "../../../src/protocol/native/control.js";
import { pong } from "../../../src/protocol/native/frames.js";

import { idOf, listed, logId, serverAddress } from "./names.js";
import { type RecordingHandler, RecordingHandlers } from "./recording-handler.js";
import type { Frame, Stand, Wire } from "./wire.js";
import type { World } from "./world.js";

/** A member's machine, and what it has said. */
export class Node implements Stand {
  readonly member: MemberMachine<never>;
  readonly handlers = new RecordingHandlers();
  readonly number: number;
  readonly address: Address;
  readonly events: MemberEvent[] = [];
  readonly notes: ErrorCode[] = [];
  readonly noteMessages: string[] = [];
  /** As whom it has dialed. */
  readonly identities: Identity[] = [];
  isListening = true;
  /** What its clocks say, if that is not the time of the world: they went on while it was stopped. */
  clocks: Clocks | undefined;
  /** False while what it sends stays in its sockets: nothing is told to have gone out. */
  isFlushing = true;
  readonly #world: World;
  readonly #places = new Map<ConnectionId, { readonly wire: Wire; readonly side: "dialer" | "acceptor" }>();
  readonly #inputs: MemberInput[] = [];
  readonly #unflushed = new Set<ConnectionId>();
  #isBusy = false;
  #accepted = 0;

  constructor(world: World, number: number, rules: Partial<MemberRules>) {
    this.#world = world;
    this.number = number;
    this.address = listed(number).address;
    let incarnation = 0;
    const native: MemberRules = {
      dialect: "native",
      mesh: "m",
      isKeyed: false,
      draw: () => idOf(number + 1_000 * incarnation++),
      allocate: (bytes) => new Uint8Array(bytes).fill(0xee),
      serverLostMs: Number.POSITIVE_INFINITY,
      seed: number,
      limits: world.limits,
    };
    this.member = new MemberMachine<never>({ ...native, ...rules }, new Queue(), new Timers(), this.handlers);
  }

  handle(input: MemberInput | ConnectionInput): void {
    this.#inputs.push(input);
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      for (let next = this.#inputs.shift(); next !== undefined; next = this.#inputs.shift()) {
        this.member.handle(next, this.#world.now, this.clocks);
        for (let output = this.member.poll(); output !== undefined; output = this.member.poll()) this.#perform(output);
      }
    } finally {
      this.#isBusy = false;
    }
  }

  // What the owner of the member does.

  /** Reaches the server and asks to be let in. */
  begin(): this {
    this.handle({ type: "connectToServer", servers: [endpointOf(serverAddress)] });
    this.session.connect();
    this.handle({ type: "listening", on: endpointOf(this.address) });
    this.handle({ type: "register" });
    return this;
  }

  /** Begins a message and lets it go; nothing comes of it where there is no link that takes it. */
  send(to: Node, text: string, isLong = false): void {
    this.handlers.at(to.address)?.send(text, isLong);
    this.handle({ type: "flush" });
  }

  leave(): void {
    this.handle({ type: "leave" });
  }

  // What the server does, played by the test.

  /** The newest connection to the server. */
  get session(): Wire {
    return this.dialsTo(serverAddress).at(-1) as Wire;
  }

  /** The session breaks, and the member notices. */
  loseSession(): this {
    this.session.abort("acceptor");
    this.session.from("acceptor");
    return this;
  }

  /** The pause before the first try to come back is over, and the server is there. */
  reachAgain(): this {
    this.#world.pass(this.#world.limits.redialMinMs);
    this.session.connect();
    return this;
  }

  hear(...controls: readonly Control[]): this {
    this.session.say("acceptor", ...controls);
    return this;
  }

  admit(members: readonly Listed[], order = this.number): this {
    const revision = Math.max(...members.map((member) => member.order));
    return this.hear(
      { type: "admitted", log: logId, order, revision, observed: this.address, leaseMs: 20_000 },
      { type: "directory", revision, members: [...members] },
    );
  }

  entries(...entries: readonly Entry[]): this {
    return this.hear({ type: "entries", entries: [...entries] });
  }

  answerPings(): void {
    const { session } = this;
    if (session === undefined || !session.isOpen) return;
    const count = (side: "dialer" | "acceptor", type: string): number =>
      session.frames(side).filter((frame) => frame.type === type).length;
    for (let due = count("dialer", "ping") - count("acceptor", "pong"); due > 0; due -= 1)
      session.say("acceptor", pong);
  }

  /** What it has said to the server on the newest session. */
  get said(): Frame[] {
    return this.session.frames("dialer");
  }

  // What the test sees.

  dialsTo(to: Address): Wire[] {
    return [...this.#places.values()]
      .filter(({ wire, side }) => side === "dialer" && wire.to === to)
      .map((at) => at.wire);
  }

  dials(to: Node): Wire[] {
    return this.dialsTo(to.address);
  }

  /** The newest dial to another member. */
  newest(to: Node): Wire {
    const wire = this.dials(to).at(-1);
    if (wire === undefined) throw new Error(`${this.address} has not dialed ${to.address}`);
    return wire;
  }

  /** When its next timer fires. */
  get timeout(): number {
    return this.member.nextTimeout() ?? Number.POSITIVE_INFINITY;
  }

  link(to: Node): Link | undefined {
    return this.member.nativeLink(to.address);
  }

  isUp(to: Node): boolean {
    return this.link(to)?.state === "up";
  }

  /** The payloads that its handlers have taken. */
  get messages(): string[] {
    return this.handlers.taken.map(({ text }) => text);
  }

  /** Who handles its newest link with another member. */
  handler(to: Node): RecordingHandler {
    const handler = this.handlers.at(to.address);
    if (handler === undefined) throw new Error(`${this.address} was never linked with ${to.address}`);
    return handler;
  }

  /** How many messages to another member are not known to have arrived. */
  unacknowledged(to: Node): number | undefined {
    return this.link(to)?.resendBuffer.countMessages();
  }

  /** All that it has sent has gone out. */
  flush(): void {
    const connections = [...this.#unflushed];
    this.#unflushed.clear();
    for (const connection of connections) this.handle({ type: "flushed", connection });
  }

  eventsOf<Type extends MemberEvent["type"]>(type: Type): Extract<MemberEvent, { type: Type }>[] {
    return this.events.filter((event): event is Extract<MemberEvent, { type: Type }> => event.type === type);
  }

  /** Connections that are not closed at this end. */
  get openWires(): Wire[] {
    return [...this.#places.values()].filter(({ wire, side }) => !wire[side].isClosed).map(({ wire }) => wire);
  }

  accept(
    wire: Wire,
    remote: ReturnType<typeof endpointOf>,
    local: ReturnType<typeof endpointOf>,
  ): Wire["acceptor"]["stand"] {
    this.#accepted += 1;
    const connection: ConnectionId = `in:${this.#accepted}`;
    this.#places.set(connection, { wire, side: "acceptor" });
    wire.acceptor.stand = { node: this, connection };
    this.handle({ type: "accepted", connection, local, remote });
    return wire.acceptor.stand;
  }

  #perform(output: MemberOutput): void {
    if (output.type === "event") this.events.push(output.event);
    else if (output.type === "note") {
      this.notes.push(output.note.code);
      this.noteMessages.push(output.note.message);
    } else if (output.type === "stopListening") this.isListening = false;
    else if (output.type === "dial") {
      const wire = this.#world.wire(formatAddress(output.to));
      wire.dialer.stand = { node: this, connection: output.connection };
      this.#places.set(output.connection, { wire, side: "dialer" });
      this.identities.push(output.identity);
    } else this.#onWire(output);
  }

  #onWire(output: Extract<MemberOutput, { type: "send" | "halfClose" | "abort" }>): void {
    const { connection } = output;
    const place = this.#places.get(connection);
    if (place === undefined) throw new Error(`there is no connection ${connection}`);
    if (output.type === "send") {
      place.wire.send(place.side, output.bytes);
      if (this.isFlushing) this.#inputs.push({ type: "flushed", connection });
      else this.#unflushed.add(connection);
    } else place.wire[output.type](place.side);
  }
}
