import type { PeerChannel } from "../src/messaging/peer-channel.js";
import type { PeerChannels } from "../src/messaging/peer-channels.js";
import type { MessagingEvent } from "../src/messaging/types.js";
import type { Address } from "../src/protocol/address.js";
import type { Member } from "../src/protocol/directory.js";
import type { NativeMemberRun, SimulationContext } from "./simulation-context.js";

const noTopic = new Uint8Array(0);

/** What one native member says to its peers, and what it does with what they say. */
export class Workload {
  readonly messaging: PeerChannels;
  readonly #stage: SimulationContext;
  readonly #life: NativeMemberRun;

  constructor(stage: SimulationContext, life: NativeMemberRun, messaging: PeerChannels) {
    this.#stage = stage;
    this.#life = life;
    this.messaging = messaging;
  }

  /** Says a little to a peer: mostly a message. */
  speak({ id, address }: Member): void {
    const { network, mail, errands, currents, hit } = this.#stage;
    const conversation = this.messaging.at(address);
    if (conversation === undefined) return;
    const choice = network.world.random.next();
    if (choice < 0.15) errands.ask(this.#life, conversation, id);
    else if (choice < 0.25) currents.open(this.#life, conversation, id);
    else {
      const sent = conversation.send(noTopic, 0, mail.write(this.#life.id, id));
      if (sent !== "full") mail.wrote(this.#life.id, id);
      if (sent !== "taken") hit(`message ${sent}`);
    }
  }

  /** What rides on links has brought something. */
  hear(arrival: MessagingEvent): void {
    const { mail, errands, currents, tell, hit } = this.#stage;
    tell(() => `${this.#life.address} hears ${arrival.type}`);
    switch (arrival.type) {
      case "messages":
        for (const { payload, bytes } of arrival.messages) {
          mail.read(this.#life, arrival.from.peer as Address, payload);
          this.#consume(arrival.from, bytes);
        }
        break;
      case "drained":
        hit("drained");
        break;
      case "request":
      case "cancelled":
      case "reply":
      case "failed":
        errands.hear(this.#life, arrival);
        break;
      default:
        currents.hear(this.#life, arrival);
    }
  }

  /** Some listeners take their time. */
  #consume(from: PeerChannel, bytes: number): void {
    const { random } = this.#stage.network.world;
    const delayMs = random.chance(0.8) ? 0 : random.next() * 1_000;
    if (delayMs === 0) from.consumed(bytes);
    else this.#life.later(delayMs, () => from.consumed(bytes));
  }
}
