import type { PeerChannel } from "../../src/messaging/peer-channel.js";
import type { MessagingEvent } from "../../src/messaging/types.js";
import type { Id } from "../../src/protocol/directory.js";
import { memoryMs, type NativeMemberRun, type SimulationContext } from "../simulation-context.js";

/** What the one who is asked does: answers at once, later, with a failure, or never; or the one who asks calls it off. */
const plans = ["now", "now", "later", "fail", "never", "cancel"] as const;
type RequestPlan = (typeof plans)[number];

/** How much later than its time-out a request may be settled, if nothing held its process up. */
const patienceMs = 20_000;

/** One request, as both ends of it are known. */
interface WatchedRequest {
  readonly from: Id;
  readonly to: Id;
  readonly text: string;
  readonly plan: RequestPlan;
  /** When it is to have failed at the latest. */
  readonly by: number;
  hasArrived: boolean;
  isSettled: boolean;
}

type RequestSignal = Extract<MessagingEvent, { type: "request" | "cancelled" | "reply" | "failed" }>;

/**
 * Asks for replies, gives them, and watches both: a request reaches its peer once at most, and whoever asks hears of it
 * exactly once, with the reply that belongs to it or with a reason that holds.
 */
export class RequestChecker {
  readonly #stage: SimulationContext;
  readonly #byText = new Map<string, WatchedRequest>();
  readonly #asked = new Map<PeerChannel, Map<number, WatchedRequest>>();
  #count = 0;

  constructor(stage: SimulationContext) {
    this.#stage = stage;
  }

  ask(life: NativeMemberRun, conversation: PeerChannel, to: Id): void {
    const { network, hit } = this.#stage;
    const { world } = network;
    const plan = plans[world.random.integer(0, plans.length - 1)] ?? "now";
    const timeoutMs = world.random.integer(100, 20_000);
    this.#count += 1;
    const text = `${life.id} ${to} ${this.#count}`;
    const request = conversation.request(encode(plan), 0, encode(text), timeoutMs, life.now);
    if (request === "full") return;
    const by = world.now + timeoutMs;
    const errand: WatchedRequest = { from: life.id, to, text, plan, by, hasArrived: false, isSettled: false };
    this.#byText.set(text, errand);
    const own = this.#asked.get(conversation) ?? new Map<number, WatchedRequest>();
    this.#asked.set(conversation, own.set(request, errand));
    if (plan !== "cancel") return;
    life.later(world.random.next() * 200, () => {
      if (errand.isSettled) return;
      errand.isSettled = true;
      conversation.cancel(request);
      hit("request called off");
    });
  }

  hear(life: NativeMemberRun, arrival: RequestSignal): void {
    switch (arrival.type) {
      case "request":
        this.#serve(life, arrival);
        break;
      case "cancelled":
        this.#stage.hit("request not wanted any more");
        arrival.from.fail(arrival.request, "ABORTED", "nobody waits for it");
        break;
      case "reply":
        this.#replied(life, arrival);
        break;
      case "failed":
        this.#failed(life, arrival);
        break;
    }
  }

  /** L2: whoever has closed has heard of everything that it asked. */
  checkSettled(id: Id, name: string): void {
    for (const errand of this.#byText.values()) {
      if (errand.from !== id || errand.isSettled) continue;
      this.#stage.observer.violate("L2", `${name} never hears of its request ${errand.text} (${errand.plan})`);
    }
  }

  #serve(life: NativeMemberRun, { from, request, topic, payload }: Extract<RequestSignal, { type: "request" }>): void {
    const { observer, network } = this.#stage;
    const text = new TextDecoder().decode(payload);
    const errand = this.#byText.get(text);
    if (errand === undefined || errand.plan !== topic || errand.to !== life.id) {
      observer.violate("S3", `${life.address} is asked ${topic} ${text}`);
      return;
    }
    if (errand.hasArrived) observer.violate("S8", `${life.address} is asked twice: ${text}`);
    errand.hasArrived = true;
    const reply = (): void => from.reply(request, 0, encode(`re: ${text}`));
    if (topic === "now") reply();
    else if (topic === "later") life.later(network.world.random.next() * 3_000, reply);
    else if (topic === "fail") from.fail(request, "HANDLER_FAILED", text);
  }

  #replied(life: NativeMemberRun, { from, request, payload }: Extract<RequestSignal, { type: "reply" }>): void {
    const errand = this.#settle(life, from, request);
    const text = new TextDecoder().decode(payload);
    if (errand !== undefined && text !== `re: ${errand.text}`) {
      this.#stage.observer.violate("S8", `${life.address} asked ${errand.text} and hears "${text}"`);
    }
    this.#stage.hit("request answered");
  }

  #failed(
    life: NativeMemberRun,
    { from, request, isOwn, code, message }: Extract<RequestSignal, { type: "failed" }>,
  ): void {
    const errand = this.#settle(life, from, request);
    if (errand === undefined) return;
    const { network } = this.#stage;
    // The time of a process that is held up stands still.
    const holds =
      (!isOwn && code === "HANDLER_FAILED" && errand.plan === "fail" && message === errand.text) ||
      (isOwn && code === "TIMED_OUT" && network.world.now >= errand.by - 1) ||
      (isOwn && code === "PEER_DOWN" && life.conversationWith(from.peer) !== from);
    if (!holds) this.#stage.observer.violate("S8", `${life.address} asked ${errand.text} and hears ${code} ${message}`);
    this.#stage.hit(`request failed: ${code}`);
  }

  #settle(life: NativeMemberRun, from: PeerChannel, request: number): WatchedRequest | undefined {
    const errand = this.#asked.get(from)?.get(request);
    if (errand === undefined || errand.isSettled) {
      this.#stage.observer.violate("S8", `${life.address} hears of request ${request} ${errand?.text ?? ""} too often`);
      return undefined;
    }
    errand.isSettled = true;
    const { network, observer } = this.#stage;
    // The time of a process that was held up stands still, and it may have been held up several times.
    if (network.world.now > errand.by + life.process.absentMs(memoryMs) + patienceMs) {
      observer.violate("L2", `${life.address} hears too late of ${errand.text} (${errand.plan})`);
    }
    return errand;
  }
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
