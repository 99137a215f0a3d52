import { type ConnectionOutput, networkOf } from "../../src/core/connections.js";
import { FullmeshError } from "../../src/core/errors.js";
import { Queue } from "../../src/core/queue.js";
import { Timers } from "../../src/core/timers.js";
import { MemberMachine } from "../../src/mesh/member-machine.js";
import type { ListedMember, MemberEvent, MemberInput, MemberOutput } from "../../src/mesh/types.js";
import { MessagingChannels, type MessagingEvent } from "../../src/messaging/messaging-channel.js";
import { type Address, endpointOf } from "../../src/protocol/address.js";
import type { Id } from "../../src/protocol/directory.js";
import { Driver } from "../../src/runtime/driver.js";
import { SimulatedProcess } from "../engine.js";
import { meshName } from "../server.js";
import type { SharedContext, SharedMemberRun } from "./context.js";

/** A member that has the addresses of several servers: the real machine, and a program that sends a little on its links. */
export class SharedMember implements SharedMemberRun {
  readonly number: number;
  readonly process: SimulatedProcess;
  readonly #machine: MemberMachine<MessagingEvent>;
  readonly links = new Map<Address, Id>();
  readonly changedAt = new Map<Id, number>();
  readonly held = new Map<string, number>();
  id: Id = "";
  order: number | undefined;
  isWaiting = false;
  ended: string | undefined;
  isClosed = false;
  readonly #context: SharedContext;
  readonly #driver: Driver<MemberInput, MemberOutput | MessagingEvent>;
  readonly #channels: MessagingChannels;
  readonly #sent = new Map<Id, number>();
  readonly #received = new Map<Id, number>();
  #claims = 0;
  readonly #wanted = new Map<string, number>();
  /** As whom it has each of its links: the next id is drawn before it is told how those of the present one end. */
  readonly #linkedAs = new Map<Address, Id>();

  constructor(context: SharedContext, number: number, address: Address, servers: readonly Address[]) {
    const { network, limits } = context;
    this.#context = context;
    this.number = number;
    this.process = new SimulatedProcess(network.engine, address, networkOf(endpointOf(address)));
    const outputs = new Queue<MemberOutput | MessagingEvent>();
    const timers = new Timers();
    this.#channels = new MessagingChannels(outputs, limits, timers);
    const rules = {
      dialect: "native" as const,
      mesh: meshName,
      isKeyed: false,
      draw: () => this.#draw(),
      serverLostMs: Number.POSITIVE_INFINITY,
      seed: network.engine.random.integer(0, 2 ** 31),
      limits,
      allocate: (bytes: number) => new Uint8Array(bytes),
    };
    this.#machine = new MemberMachine<MessagingEvent>(rules, outputs, timers, this.#channels);
    this.#driver = new Driver<MemberInput, MemberOutput | MessagingEvent>({
      machine: this.#machine,
      transport: network.transportOf(this.process),
      clock: this.process.clock,
      perform: (output) => this.#perform(output),
      onWake: { type: "flush" },
    });
    const input: MemberInput = {
      type: "connectToServer",
      servers: servers.map((server) => endpointOf(server)),
      lookMs: Number.POSITIVE_INFINITY,
    };
    this.process.do(() => this.#driver.input(input));
  }

  get address(): Address {
    return this.process.name as Address;
  }

  get listed(): readonly ListedMember[] {
    return this.#machine.entries;
  }

  get isOver(): boolean {
    return this.ended !== undefined || this.process.isDead;
  }

  get isGone(): boolean {
    return this.isClosed || this.process.isDead;
  }

  leave(): void {
    this.process.do(() => this.#driver.input({ type: "leave" }));
  }

  /** Sends each peer the next number. */
  send(): void {
    this.process.do(() => {
      if (this.isOver) return;
      for (const [address, id] of this.links) {
        const number = (this.#sent.get(id) ?? 0) + 1;
        const payload = new TextEncoder().encode(`${this.id} ${number}`);
        if (this.#channels.at(address)?.send(new Uint8Array(0), 0, payload) === "taken") this.#sent.set(id, number);
      }
      this.#driver.wake();
    });
  }

  /** Claims the key, or gives it up. */
  changeClaim(key: string): void {
    this.process.do(() => {
      if (this.isOver || this.order === undefined) return;
      if (this.#wanted.delete(key)) {
        this.held.delete(key);
        this.#driver.input({ type: "unclaim", key });
      } else {
        this.#claims += 1;
        this.#wanted.set(key, this.#claims);
        this.#driver.input({ type: "claim", key, number: this.#claims, waits: true });
      }
    });
  }

  #draw(): Id {
    this.id = this.#context.network.engine.draw();
    this.#context.checker.drawn(this.id, this);
    return this.id;
  }

  #perform(output: Exclude<MemberOutput | MessagingEvent, ConnectionOutput>): void {
    const { record } = this.#context;
    if (output.type === "note") record(() => `${this.address} ${JSON.stringify(output.note)}`);
    else if (output.type === "event") {
      const { event } = output;
      record(() => `${this.address} ${JSON.stringify(event)}`);
      this.#handle(event);
    } else {
      if (output.type === "messages") {
        for (const { payload, bytes } of output) {
          this.#read(payload);
          output.from.consumed(bytes);
        }
      }
      this.#driver.wake();
    }
  }

  /** S8: numbers of one incarnation come in order, each once. */
  #read(payload: unknown): void {
    const [from = "", number] = new TextDecoder().decode(payload as Uint8Array).split(" ");
    const expected = (this.#received.get(from) ?? 0) + 1;
    this.#received.set(from, Number(number));
    if (Number(number) !== expected)
      this.#context.violate("S8", `${this.address} read ${number} of ${from}, and not ${expected}`);
  }

  #handle(event: MemberEvent): void {
    const { checker, network, count } = this.#context;
    count(event.type);
    const at = network.engine.now;
    switch (event.type) {
      case "connected":
        this.#driver.listen(endpointOf(this.address), (outcome) => {
          if (outcome instanceof FullmeshError) return;
          this.#driver.input({ type: "listening", on: outcome, isDefault: true });
        });
        this.#driver.input({ type: "register" });
        break;
      case "registered":
        this.order = event.order ?? undefined;
        this.isWaiting = false;
        break;
      case "waiting":
        this.isWaiting = true;
        break;
      case "link":
      case "relink":
        if (event.member === undefined) break;
        this.links.set(event.peer, event.member.id);
        this.#linkedAs.set(event.peer, this.id);
        this.changedAt.set(event.member.id, at);
        break;
      case "broken":
        if (event.member !== undefined) this.changedAt.set(event.member.id, at);
        break;
      case "unlink":
        this.links.delete(event.peer);
        if (event.member !== undefined) {
          this.changedAt.set(event.member.id, at);
          checker.unlinked(this, this.#linkedAs.get(event.peer) ?? this.id, event.member.id, event.reason);
        }
        this.#linkedAs.delete(event.peer);
        break;
      case "claimBegun":
        this.held.set(event.key, event.token);
        checker.holds(this, event.key, event.token);
        break;
      case "claimEnded":
      case "claimRefused":
        this.held.delete(event.key);
        this.#wanted.delete(event.key);
        break;
      case "complete":
        checker.told(this, event);
        break;
      case "fenced":
        checker.fenced(this, event.reason);
        this.order = undefined;
        this.held.clear();
        this.#wanted.clear();
        this.#sent.clear();
        this.#received.clear();
        break;
      case "ended":
        this.ended = event.reason;
        this.held.clear();
        break;
      case "closed":
        this.isClosed = true;
        break;
      default:
        break;
    }
  }
}
