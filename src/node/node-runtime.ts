import type { EventEmitter } from "node:events";
import type { ConnectionOutput } from "../core/connections.js";
import { FullmeshError, type LogEvent } from "../core/errors.js";
import { Queue } from "../core/queue.js";
import { Timers } from "../core/timers.js";
import { MemberMachine } from "../mesh/member-machine.js";
import type { MemberEvent, MemberInput, MemberOutput } from "../mesh/types.js";
import { PeerChannels } from "../messaging/peer-channels.js";
import type { MessagingEvent } from "../messaging/types.js";
import { nodeClock } from "../nodejs/clock.js";
import { callListener, throwLater } from "../nodejs/uncaught.js";
import type { Address } from "../protocol/address.js";
import { Driver } from "../runtime/driver.js";
import { LogRateLimiter, type LogRecord } from "../runtime/log-rate-limiter.js";
import { NodeClaims } from "./claims.js";
import { ClassicWriter } from "./classic-writer.js";
import { CompletionWaiter } from "./completion-waiter.js";
import { NodeEventEmitter } from "./event-emitter.js";
import type { NodeEvents } from "./events.js";
import { Lifecycle } from "./lifecycle.js";
import { MessagingContext } from "./messaging-context.js";
import { MessagingRouter } from "./messaging-router.js";
import { type NodeOptions, nodeConfig } from "./options.js";
import { Peers } from "./peers.js";

/** All that a node consists of behind its face. What happens comes in here, and goes to the parts that it concerns. */
export class NodeRuntime {
  /** The name of the mesh. */
  readonly mesh: string;
  readonly machine: MemberMachine<MessagingEvent>;
  readonly peers: Peers;
  readonly steps: Lifecycle;
  readonly exchange: MessagingContext;
  readonly traffic: MessagingRouter;
  readonly writing: ClassicWriter;
  readonly events: NodeEventEmitter;
  readonly wholeness: CompletionWaiter;
  readonly claims: NodeClaims;
  readonly #node: EventEmitter<NodeEvents>;
  readonly #gate = new LogRateLimiter();

  /** `node` is told of everything. Throws `BAD_OPTION` for an option with a value that it cannot take. */
  constructor(node: EventEmitter<NodeEvents>, options: NodeOptions) {
    const { rules, transport, gang } = nodeConfig(options);
    const { limits, isKeyed } = rules;
    // A classic node has no native links, and so nobody to say anything to.
    let messaging = new PeerChannels(new Queue(), limits, new Timers());
    this.machine = new MemberMachine<MessagingEvent>(rules, (outputs, timers) => {
      messaging = new PeerChannels(outputs, limits, timers);
      return messaging;
    });
    const driver = new Driver<MemberInput, MemberOutput | MessagingEvent>({
      machine: this.machine,
      transport,
      clock: nodeClock,
      onWake: { type: "flush" },
      perform: (output) => this.#perform(output),
    });
    this.#node = node;
    this.mesh = rules.mesh;
    this.peers = new Peers(this.machine);
    this.steps = new Lifecycle(this.machine, driver, { insecure: options.insecure, isKeyed });
    this.exchange = new MessagingContext({
      machine: this.machine,
      messaging,
      peers: this.peers,
      limits,
      wake: () => driver.wake(),
      now: () => driver.now(),
      note: (note) => this.#note(note),
    });
    this.events = new NodeEventEmitter(node, this.machine, this.peers, limits.eventsUnread, gang?.rank);
    this.traffic = new MessagingRouter(this.exchange, node, this.events);
    this.writing = new ClassicWriter(this.machine, this.peers, driver, limits);
    this.wholeness = new CompletionWaiter(this.machine, (size) => driver.input({ type: "watch", size }));
    this.claims = new NodeClaims(this.machine, limits.claimsPerMember, (input) => driver.input(input));
  }

  #perform(output: Exclude<MemberOutput | MessagingEvent, ConnectionOutput>): void {
    if (output.type === "event") this.#hear(output.event);
    else if (output.type === "note") this.#note(output.note);
    else this.traffic.arrived(output);
  }

  #hear(event: MemberEvent): void {
    this.wholeness.hear(event);
    this.steps.handle(event);
    this.claims.handle(event);
    switch (event.type) {
      case "drained":
        this.#drained(event.peer);
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
    this.events.handle(event);
  }

  #drained(address: Address): void {
    const peer = this.writing.drained(address) ? this.peers.at(address) : undefined;
    if (peer !== undefined) this.events.emit({ type: "drain", peer });
  }

  /** Where that is not possible the machine asks again, until the server has refused it for too long. */
  async #move(host: string): Promise<void> {
    try {
      const address = await this.steps.moveTo(host);
      this.events.emit({ type: "listening", address });
    } catch (error) {
      if (error instanceof FullmeshError) this.#note({ code: error.code, message: error.message });
      else throwLater(error);
    }
  }

  #note(note: LogEvent): void {
    this.#log(this.#gate.pass(note, Date.now()));
  }

  #log(records: readonly LogRecord[]): void {
    for (const record of records) callListener(() => this.#node.emit("note", record));
  }
}
