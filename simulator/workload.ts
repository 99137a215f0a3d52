import type { MessagingChannel, MessagingChannels, MessagingEvent } from "../src/messaging/messaging-channel.js";
import type { Address } from "../src/protocol/address.js";
import type { Member } from "../src/protocol/directory.js";
import type { CheckedSimulation } from "./checked-simulation.js";
import type { NativeMemberRun } from "./simulation-context.js";

const noTopic = new Uint8Array(0);

/** What one native member sends to its peers, and what it does with what they send. */
export class Workload {
  readonly messaging: MessagingChannels;
  readonly #context: CheckedSimulation;
  readonly #memberRun: NativeMemberRun;

  constructor(context: CheckedSimulation, memberRun: NativeMemberRun, messaging: MessagingChannels) {
    this.#context = context;
    this.#memberRun = memberRun;
    this.messaging = messaging;
  }

  /** Sends something to a peer: mostly a message. */
  speak({ id, address }: Member): void {
    const { network, messageChecker, requestChecker, streamChecker, count } = this.#context;
    const channel = this.messaging.at(address);
    if (channel === undefined) return;
    const choice = network.engine.random.next();
    if (choice < 0.15) requestChecker.ask(this.#memberRun, channel, id);
    else if (choice < 0.25) streamChecker.open(this.#memberRun, channel, id);
    else {
      const sent = channel.send(noTopic, 0, messageChecker.write(this.#memberRun.id, id));
      if (sent !== "full") messageChecker.wrote(this.#memberRun.id, id);
      if (sent !== "taken") count(`message ${sent}`);
    }
  }

  /** A channel has an event. */
  handle(arrival: MessagingEvent): void {
    const { messageChecker, requestChecker, streamChecker, record, count } = this.#context;
    record(() => `${this.#memberRun.address} receives ${arrival.type}`);
    switch (arrival.type) {
      case "messages":
        for (const { payload, bytes } of arrival) {
          messageChecker.read(this.#memberRun, arrival.from.peer as Address, payload);
          this.#consume(arrival.from, bytes);
        }
        break;
      case "drained":
        count("drained");
        break;
      case "request":
      case "cancelled":
      case "reply":
      case "failed":
        requestChecker.handle(this.#memberRun, arrival);
        break;
      default:
        streamChecker.handle(this.#memberRun, arrival);
    }
  }

  /** Some applications are slow. */
  #consume(from: MessagingChannel, bytes: number): void {
    const { random } = this.#context.network.engine;
    const delayMs = random.chance(0.8) ? 0 : random.next() * 1_000;
    if (delayMs === 0) from.consumed(bytes);
    else this.#memberRun.later(delayMs, () => from.consumed(bytes));
  }
}
