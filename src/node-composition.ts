import type { EventEmitter } from "node:events";
import type { ConnectionOutput } from "./core/connections.js";
import { FullmeshError, type Note } from "./core/errors.js";
import { OutputQueue } from "./core/machine.js";
import { isolate, throwLater } from "./isolation.js";
import { Member } from "./mesh/member.js";
import type { MemberEvent, MemberInput, MemberOutput } from "./mesh/vocabulary.js";
import { Messaging } from "./messaging/messaging.js";
import type { Arrival } from "./messaging/vocabulary.js";
import { Changes } from "./node-changes.js";
import type { NodeEvents } from "./node-events.js";
import { Exchange } from "./node-exchange.js";
import { Standing } from "./node-leader.js";
import { type NodeOptions, nodeParts } from "./node-options.js";
import { Peers } from "./node-peers.js";
import { Steps } from "./node-steps.js";
import { Tidings } from "./node-tidings.js";
import { Traffic } from "./node-traffic.js";
import { nodeClock } from "./nodejs/clock.js";
import { Driver } from "./runtime/driver.js";
import { type LogRecord, NoteGate } from "./runtime/notes.js";
import { Wholeness } from "./wholeness.js";
import { Writing } from "./writing.js";

/** All that a node consists of behind its face. What happens comes in here, and goes to the parts that it concerns. */
export class Composition {
  /** The name of the mesh. */
  readonly mesh: string;
  readonly machine: Member<Arrival>;
  readonly peers: Peers;
  readonly steps: Steps;
  readonly exchange: Exchange;
  readonly traffic: Traffic;
  readonly writing: Writing;
  readonly standing: Standing;
  readonly changes: Changes;
  readonly wholeness: Wholeness;
  readonly #node: EventEmitter<NodeEvents>;
  readonly #tidings: Tidings;
  readonly #gate = new NoteGate();

  /** `node` is told of everything. Throws `BAD_OPTION` for an option with a value that it cannot take. */
  constructor(node: EventEmitter<NodeEvents>, options: NodeOptions) {
    const { rules, transport } = nodeParts(options);
    const { limits, isKeyed } = rules;
    // A classic node has no native links, and so nobody to say anything to.
    let messaging = new Messaging(new OutputQueue(), limits);
    this.machine = new Member<Arrival>(rules, (outputs) => {
      messaging = new Messaging(outputs, limits);
      return messaging;
    });
    const driver = new Driver<MemberInput, MemberOutput | Arrival>({
      machine: this.machine,
      transport,
      clock: nodeClock,
      onWake: { type: "flush" },
      perform: (output) => this.#perform(output),
    });
    this.#node = node;
    this.mesh = rules.mesh;
    this.peers = new Peers(this.machine);
    this.steps = new Steps(this.machine, driver, { insecure: options.insecure, isKeyed });
    this.exchange = new Exchange({
      machine: this.machine,
      messaging,
      peers: this.peers,
      limits,
      wake: () => driver.wake(),
      now: () => driver.now(),
      note: (note) => this.#note(note),
    });
    this.traffic = new Traffic(this.exchange, node);
    this.writing = new Writing(this.machine, driver, limits);
    this.standing = new Standing(this.machine);
    this.changes = new Changes(limits.changesUnread);
    this.wholeness = new Wholeness(this.machine, (size) => driver.input({ type: "watch", size }));
    this.#tidings = new Tidings(node, this.peers, this.standing, this.changes);
  }

  #perform(output: Exclude<MemberOutput | Arrival, ConnectionOutput>): void {
    if (output.type === "event") this.#hear(output.event);
    else if (output.type === "note") this.#note(output.note);
    else this.traffic.arrived(output);
  }

  #hear(event: MemberEvent): void {
    this.wholeness.hear(event);
    this.steps.hear(event);
    switch (event.type) {
      case "bytes":
        this.#node.emit("bytes", { peer: event.peer, bytes: event.bytes });
        return;
      case "drained":
        if (this.writing.drained(event.peer)) this.#node.emit("drain", event.peer);
        return;
      case "moved":
        void this.#move(event.host);
        return;
      case "unlink":
        this.writing.forget(event.peer);
        break;
      case "ended":
        this.writing.ended();
        this.exchange.ended(event.reason);
        break;
      case "closed":
        this.traffic.closed();
        this.#log(this.#gate.finish(Date.now()));
        break;
      default:
        break;
    }
    this.#tidings.hear(event);
  }

  /** Where that is not possible the machine asks again, until the server has refused it for too long. */
  async #move(host: string): Promise<void> {
    try {
      const address = await this.steps.moveTo(host);
      isolate(() => this.#node.emit("listening", address));
    } catch (error) {
      if (error instanceof FullmeshError) this.#note({ code: error.code, message: error.message });
      else throwLater(error);
    }
  }

  #note(note: Note): void {
    this.#log(this.#gate.pass(note, Date.now()));
  }

  #log(records: readonly LogRecord[]): void {
    for (const record of records) isolate(() => this.#node.emit("note", record));
  }
}
