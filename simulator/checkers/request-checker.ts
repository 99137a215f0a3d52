import type { MessagingChannel, MessagingEvent } from "../../src/messaging/messaging-channel.js";
import type { Id } from "../../src/protocol/directory.js";
import { memoryMs, type NativeMemberRun, type SimulationContext } from "../simulation-context.js";

/** What happens to a request: answered at once, later, with a failure, or never; or cancelled by its sender. */
const plans = ["now", "now", "later", "fail", "never", "cancel"] as const;
type RequestPlan = (typeof plans)[number];

/** How much later than its time-out a request may be settled, if nothing held its process up. */
const graceMs = 20_000;

/** One request, as seen at both ends. */
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
 * Sends requests, replies to them, and checks both: a request reaches its peer at most once, and its sender gets exactly one
 * result: the reply that belongs to it, or a failure with a true reason.
 */
export class RequestChecker {
  readonly #context: SimulationContext;
  readonly #byText = new Map<string, WatchedRequest>();
  readonly #asked = new Map<MessagingChannel, Map<number, WatchedRequest>>();
  #count = 0;

  constructor(context: SimulationContext) {
    this.#context = context;
  }

  ask(memberRun: NativeMemberRun, channel: MessagingChannel, to: Id): void {
    const { network, count } = this.#context;
    const { engine } = network;
    const plan = plans[engine.random.integer(0, plans.length - 1)] ?? "now";
    const timeoutMs = engine.random.integer(100, 20_000);
    this.#count += 1;
    const text = `${memberRun.id} ${to} ${this.#count}`;
    const request = channel.request(encode(plan), 0, encode(text), timeoutMs, memberRun.now);
    if (request === "full") return;
    const by = engine.now + timeoutMs;
    const watched: WatchedRequest = { from: memberRun.id, to, text, plan, by, hasArrived: false, isSettled: false };
    this.#byText.set(text, watched);
    const own = this.#asked.get(channel) ?? new Map<number, WatchedRequest>();
    this.#asked.set(channel, own.set(request, watched));
    if (plan !== "cancel") return;
    memberRun.later(engine.random.next() * 200, () => {
      if (watched.isSettled) return;
      watched.isSettled = true;
      channel.cancel(request);
      count("request called off");
    });
  }

  handle(memberRun: NativeMemberRun, arrival: RequestSignal): void {
    switch (arrival.type) {
      case "request":
        this.#serve(memberRun, arrival);
        break;
      case "cancelled":
        this.#context.count("request not wanted any more");
        arrival.from.fail(arrival.request, "ABORTED", "nobody waits for it");
        break;
      case "reply":
        this.#replied(memberRun, arrival);
        break;
      case "failed":
        this.#failed(memberRun, arrival);
        break;
    }
  }

  /** L2: a member that has closed has a result for every request. */
  checkSettled(id: Id, name: string): void {
    for (const watched of this.#byText.values()) {
      if (watched.from !== id || watched.isSettled) continue;
      this.#context.invariantChecker.violate(
        "L2",
        `${name} never hears of its request ${watched.text} (${watched.plan})`,
      );
    }
  }

  #serve(
    memberRun: NativeMemberRun,
    { from, request, topic, payload }: Extract<RequestSignal, { type: "request" }>,
  ): void {
    const { invariantChecker, network } = this.#context;
    const text = new TextDecoder().decode(payload);
    const watched = this.#byText.get(text);
    if (watched === undefined || watched.plan !== topic || watched.to !== memberRun.id) {
      invariantChecker.violate("S3", `${memberRun.address} is asked ${topic} ${text}`);
      return;
    }
    if (watched.hasArrived) invariantChecker.violate("S8", `${memberRun.address} is asked twice: ${text}`);
    watched.hasArrived = true;
    const reply = (): void => from.reply(request, 0, encode(`re: ${text}`));
    if (topic === "now") reply();
    else if (topic === "later") memberRun.later(network.engine.random.next() * 3_000, reply);
    else if (topic === "fail") from.fail(request, "HANDLER_FAILED", text);
  }

  #replied(memberRun: NativeMemberRun, { from, request, payload }: Extract<RequestSignal, { type: "reply" }>): void {
    const watched = this.#settle(memberRun, from, request);
    const text = new TextDecoder().decode(payload);
    if (watched !== undefined && text !== `re: ${watched.text}`) {
      this.#context.invariantChecker.violate("S8", `${memberRun.address} asked ${watched.text} and hears "${text}"`);
    }
    this.#context.count("request answered");
  }

  #failed(
    memberRun: NativeMemberRun,
    { from, request, isOwn, code, message }: Extract<RequestSignal, { type: "failed" }>,
  ): void {
    const watched = this.#settle(memberRun, from, request);
    if (watched === undefined) return;
    const { network } = this.#context;
    // The time of a process that is held up stands still.
    const holds =
      (!isOwn && code === "HANDLER_FAILED" && watched.plan === "fail" && message === watched.text) ||
      (isOwn && code === "TIMED_OUT" && network.engine.now >= watched.by - 1) ||
      (isOwn && code === "PEER_DOWN" && memberRun.channelWith(from.peer) !== from);
    if (!holds)
      this.#context.invariantChecker.violate(
        "S8",
        `${memberRun.address} asked ${watched.text} and hears ${code} ${message}`,
      );
    this.#context.count(`request failed: ${code}`);
  }

  #settle(memberRun: NativeMemberRun, from: MessagingChannel, request: number): WatchedRequest | undefined {
    const watched = this.#asked.get(from)?.get(request);
    if (watched === undefined || watched.isSettled) {
      this.#context.invariantChecker.violate(
        "S8",
        `${memberRun.address} hears of request ${request} ${watched?.text ?? ""} too often`,
      );
      return undefined;
    }
    watched.isSettled = true;
    const { network, invariantChecker } = this.#context;
    // The time of a process that was held up stands still, and it may have been held up several times.
    if (network.engine.now > watched.by + memberRun.process.absentMs(memoryMs) + graceMs) {
      invariantChecker.violate("L2", `${memberRun.address} hears too late of ${watched.text} (${watched.plan})`);
    }
    return watched;
  }
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
