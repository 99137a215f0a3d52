import type { EventEmitter } from "node:events";
import { Log } from "../api/log.js";
import { LoopDelay } from "../api/loop-delay.js";
import type { ConnectionOutput } from "../core/connections.js";
import { type ErrorCode, FullmeshError } from "../core/errors.js";
import { Queue } from "../core/queue.js";
import { Timers } from "../core/timers.js";
import { MemberMachine } from "../mesh/member-machine.js";
import type { MemberEvent, MemberInput, MemberOutput } from "../mesh/types.js";
import { MessagingChannels, type MessagingEvent } from "../messaging/messaging-channel.js";
import { nodeClock } from "../nodejs/clock.js";
import type { Address } from "../protocol/address.js";
import { movedPair } from "../protocol/missing-pair.js";
import { Driver } from "../runtime/driver.js";
import { NodeClaims } from "./claims.js";
import { ClassicWriter } from "./classic-writer.js";
import { Collectives } from "./collectives.js";
import { CompletenessWaiter } from "./completeness-waiter.js";
import { NodeEventEmitter } from "./event-emitter.js";
import type { NodeEvents } from "./events.js";
import { Lifecycle } from "./lifecycle.js";
import { NodeMessages } from "./messages.js";
import { MessagingContext } from "./messaging-context.js";
import { nodeMetricsText } from "./metrics.js";
import { type NodeOptions, nodeConfig } from "./options.js";
import { Peers } from "./peers.js";
import { RequestHandlers } from "./request-handlers.js";
import { NodeRequests } from "./requests.js";
import { type NodeStats, statsOf } from "./stats.js";
import { NodeStreams } from "./streams.js";

/** The parts of a node. Each output of the machine comes in here, and goes to the part that it concerns. */
export class NodeRuntime {
  /** The name of the mesh. */
  readonly mesh: string;
  readonly machine: MemberMachine<MessagingEvent>;
  readonly peers: Peers;
  readonly steps: Lifecycle;
  readonly messages: NodeMessages;
  readonly requests: NodeRequests;
  readonly requestHandlers: RequestHandlers;
  readonly streams: NodeStreams;
  readonly classicWriter: ClassicWriter;
  readonly events: NodeEventEmitter;
  readonly completion: CompletenessWaiter;
  readonly claims: NodeClaims;
  readonly collectives: Collectives;
  readonly context: MessagingContext;
  readonly stats: () => NodeStats;
  readonly #log: Log;
  readonly #driver: Driver<MemberInput, MemberOutput | MessagingEvent>;
  readonly #loopDelay = new LoopDelay();
  #reconnects = 0;

  /** `node` emits the events. Throws `BAD_OPTION` for an option with a value that it cannot take. */
  constructor(node: EventEmitter<NodeEvents>, options: NodeOptions) {
    const { rules, transport, logger, gang, schemas } = nodeConfig(options);
    const { limits, isKeyed } = rules;
    const outputs = new Queue<MemberOutput | MessagingEvent>();
    const timers = new Timers();
    const channels = new MessagingChannels(outputs, limits, timers);
    this.machine = new MemberMachine<MessagingEvent>(rules, outputs, timers, channels);
    const driver = new Driver<MemberInput, MemberOutput | MessagingEvent>({
      machine: this.machine,
      transport,
      clock: nodeClock,
      onWake: { type: "flush" },
      perform: (output) => this.#perform(output),
    });
    this.#driver = driver;
    this.#log = new Log(logger);
    this.mesh = rules.mesh;
    this.peers = new Peers(this.machine);
    this.steps = new Lifecycle(this.machine, driver, {
      insecure: options.insecure,
      isKeyed,
      advertise: rules.advertise,
    });
    this.events = new NodeEventEmitter(node, this.machine, this.peers, this.#log, limits.eventsUnread, gang?.rank);
    this.context = new MessagingContext(this.machine, driver, channels, this.peers, limits, this.#log);
    this.messages = new NodeMessages(this.context, node, schemas?.messages);
    this.requests = new NodeRequests(this.context, schemas?.replies);
    this.requestHandlers = new RequestHandlers(this.context, schemas?.payloads);
    this.streams = new NodeStreams(this.context);
    this.classicWriter = new ClassicWriter(this.machine, this.peers, driver, limits);
    this.completion = new CompletenessWaiter(this.machine, (size) => driver.input({ type: "watch", size }), this.#log);
    this.collectives = new Collectives(this.context, this.requests, this.requestHandlers, gang, this.machine);
    this.stats = () =>
      statsOf(this.machine, this.peers, channels, {
        messages: this.messages.totals,
        reconnects: this.#reconnects,
        sentBytes: driver.sentBytes,
        receivedBytes: driver.receivedBytes,
      });
    this.claims = new NodeClaims(this.machine, limits.claimsPerMember, (input) => driver.input(input));
  }

  /** See `MeshNode.metrics`. */
  metrics(): string {
    const { self } = this.machine;
    return nodeMetricsText({
      ...this.stats(),
      mesh: this.mesh,
      members: this.machine.members.length,
      isServed: this.steps.isServed,
      claims: this.claims.all.filter(({ holder }) => holder.id === self?.id).length,
      roundTrips: this.machine.roundTrips,
      loopDelay: this.#loopDelay.read(),
    });
  }

  #perform(output: Exclude<MemberOutput | MessagingEvent, ConnectionOutput>): void {
    switch (output.type) {
      case "event":
        this.#handleEvent(this.#dated(output.event));
        break;
      case "note":
        this.#log.write(output.note);
        break;
      case "messages":
        this.messages.arrived(output);
        break;
      case "request":
        this.requestHandlers.asked(output);
        break;
      case "cancelled":
        this.requestHandlers.cancelled(output.from, output.request);
        break;
      case "reply":
      case "failed":
        this.requests.settled(output);
        break;
      case "drained":
        this.#emitDrain(output.from.peer as Address);
        break;
      default:
        this.streams.arrived(output);
    }
  }

  /** The event with times since the epoch instead of the machine's. */
  #dated(event: MemberEvent): MemberEvent {
    if (event.type !== "degraded" && event.type !== "outage") return event;
    const aheadMs = nodeClock.wallTime() - this.#driver.now();
    if (event.type === "outage") return { ...event, since: Math.round(event.since + aheadMs) };
    return { ...event, missing: event.missing.map((pair) => movedPair(pair, aheadMs)) };
  }

  #handleEvent(event: MemberEvent): void {
    this.completion.handle(event);
    this.steps.handle(event);
    this.claims.handle(event);
    switch (event.type) {
      case "drained":
        if (this.classicWriter.drained(event.peer)) this.#emitDrain(event.peer);
        break;
      case "moved":
        void this.#move(event.host);
        break;
      case "relink":
        this.#reconnects += 1;
        break;
      case "unlink":
        this.classicWriter.forget(event.peer);
        break;
      case "ended":
        this.classicWriter.ended();
        this.context.ended(event.reason);
        this.collectives.ended();
        break;
      case "directory":
        this.collectives.directoryChanged();
        break;
      case "closed":
        this.#loopDelay.stop();
        this.messages.closed();
        this.requestHandlers.closed();
        this.streams.closed();
        break;
      default:
        break;
    }
    this.events.handle(event);
    if (event.type === "closed") this.#log.close();
  }

  #emitDrain(address: Address): void {
    const peer = this.peers.at(address);
    if (peer !== undefined) this.events.emit({ type: "drain", peer });
  }

  /** Where that is not possible the machine asks again, until the server has refused it for too long. */
  async #move(host: string): Promise<void> {
    try {
      const address = await this.steps.moveTo(host);
      this.events.emit({ type: "listening", address });
    } catch (error) {
      if (!(error instanceof FullmeshError)) throw error;
      this.#log.write({ code: error.code as ErrorCode, message: error.message });
    }
  }
}
