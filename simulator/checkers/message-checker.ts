import type { Address } from "../../src/protocol/address.js";
import type { Id } from "../../src/protocol/directory.js";
import type { MessageFacts, NativeRun, SimulationContext } from "../simulation-context.js";

/** The longest message, in bytes: long enough for some to be referenced where short ones are copied. */
export const longestMessage = 6_000;

/** What one incarnation has sent to another, as far as it is known. */
interface SentMessages {
  sent: number;
  delivered: number;
}

/**
 * Writes the messages that native members send, and reads those that are delivered: each names its sender, its receiver and
 * its number.
 */
export class MessageChecker implements MessageFacts {
  readonly #context: SimulationContext;
  /** By sender, and then by receiver. */
  readonly #exchanges = new Map<Id, Map<Id, SentMessages>>();

  constructor(context: SimulationContext) {
    this.#context = context;
  }

  /** The next message of one incarnation to another. */
  write(from: Id, to: Id): Uint8Array {
    const { random } = this.#context.network.engine;
    const padding = random.chance(0.1) ? random.integer(0, longestMessage - 200) : 0;
    return new TextEncoder().encode(`${from} ${to} ${this.#exchange(from, to).sent + 1} ${"p".repeat(padding)}`);
  }

  /** It was accepted. */
  wrote(from: Id, to: Id): void {
    this.#exchange(from, to).sent += 1;
  }

  /** How many messages are still under way, or lost. */
  undelivered(from: Id, to: Id): number {
    const { sent, delivered } = this.#exchange(from, to);
    return sent - delivered;
  }

  /** How many messages there were. */
  sent(from: Id, to: Id): number {
    return this.#exchange(from, to).sent;
  }

  /** S3 and S8: a message has come from the peer at this address. */
  read(memberRun: NativeRun, peer: Address, payload: Uint8Array): void {
    const { invariantChecker } = this.#context;
    const [from = "", to = "", number = ""] = new TextDecoder().decode(payload).split(" ");
    const said = `${memberRun.address} heard message ${number} of ${from} from ${peer}`;
    if (to !== memberRun.id) invariantChecker.violate("S3", `${said}, which was for ${to}`);
    this.#checkSender(memberRun, peer, from, said);
    const exchange = this.#exchange(from, to);
    if (Number(number) !== exchange.delivered + 1)
      invariantChecker.violate("S8", `${said}, after ${exchange.delivered}`);
    if (Number(number) > exchange.sent) invariantChecker.violate("S8", `${said}, which was not sent`);
    exchange.delivered = Math.max(exchange.delivered, Number(number));
  }

  /** S3: the sender is a member, as far as the receiver knows, or leaves and is still delivered. */
  #checkSender(memberRun: NativeRun, peer: Address, from: Id, said: string): void {
    const { invariantChecker, logChecker, linkChecker } = this.#context;
    const listed = memberRun.machine.entries.find(({ address }) => address === peer);
    const isLeaving = listed === undefined && logChecker.departure(from)?.type === "left";
    if (listed?.id !== from && !isLeaving)
      invariantChecker.violate("S3", `${said}, and ${listed?.id} has that address`);
    if (!linkChecker.has(memberRun, from)) invariantChecker.violate("S3", `${said}, with which it has no link`);
  }

  #exchange(from: Id, to: Id): SentMessages {
    let own = this.#exchanges.get(from);
    if (own === undefined) {
      own = new Map();
      this.#exchanges.set(from, own);
    }
    let exchange = own.get(to);
    if (exchange === undefined) {
      exchange = { sent: 0, delivered: 0 };
      own.set(to, exchange);
    }
    return exchange;
  }
}
