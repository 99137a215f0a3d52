import type { MessagingChannel } from "../../src/messaging/messaging-channel.js";
import type { Stream, StreamEvent } from "../../src/messaging/stream.js";
import type { Id } from "../../src/protocol/directory.js";
import type { NativeMemberRun, SimulationContext } from "../simulation-context.js";

/** One end of a stream: what it has written and read, and how it has ended. */
interface StreamEnd {
  readonly memberRun: NativeMemberRun;
  readonly id: Id;
  readonly topic: string;
  readonly stream: Stream;
  /** Undefined if its link had ended before the stream was handled. */
  readonly channel: MessagingChannel | undefined;
  /** Tells the bytes of one direction of one stream from all others. */
  readonly salt: number;
  toWrite: number;
  written: number;
  read: number;
  hasEnded: boolean;
  hasAborted: boolean;
  hasReadEnd: boolean;
  isOver: boolean;
}

/** The longest stream, in bytes each way, and its longest write. Streams have small windows here. */
const longest = 4_000;
const longestWrite = 900;

/**
 * Writes on streams, reads them, and checks both: what is read is what was written, byte by byte, the end comes behind all of
 * it, and a stream is aborted only for a reason.
 */
export class StreamChecker {
  readonly #context: SimulationContext;
  readonly #banks = new Map<Stream, StreamEnd>();
  /** Both ends by the topic, which is one stream's only; the one that opened it first. */
  readonly #pairs = new Map<string, StreamEnd[]>();
  #count = 0;

  constructor(context: SimulationContext) {
    this.#context = context;
  }

  open(memberRun: NativeMemberRun, channel: MessagingChannel, to: Id): void {
    this.#count += 1;
    const topic = `${memberRun.id} ${to} ${this.#count}`;
    const bank = this.#bank(memberRun, topic, channel.open(new TextEncoder().encode(topic)), 2 * this.#count);
    this.#pairs.set(topic, [bank]);
    this.#write(bank);
  }

  handle(memberRun: NativeMemberRun, arrival: StreamEvent): void {
    if (arrival.type === "stream") {
      this.#opened(memberRun, arrival.stream, arrival.topic);
      return;
    }
    const bank = this.#banks.get(arrival.stream);
    // What was on its way when this end aborted the stream may still come.
    if (bank?.hasAborted === true) return;
    // Both directions have ended, as this end sees it, and what it wrote last was still waiting when the link was lost.
    if (bank?.isOver === true && arrival.type === "aborted" && arrival.code === "PEER_DOWN") return;
    if (bank === undefined || bank.isOver) {
      this.#context.invariantChecker.violate(
        "S8",
        `${memberRun.address} hears ${arrival.type} on a stream that is over`,
      );
    } else if (arrival.type === "data") this.#read(bank, arrival.bytes);
    else if (arrival.type === "finished") this.#finished(bank);
    else if (arrival.type === "aborted") this.#aborted(bank, arrival.code);
    else this.#write(bank);
  }

  /** L1: streams between living members end. */
  unfinished(alive: ReadonlySet<Id>): string | undefined {
    for (const [topic, banks] of this.#pairs) {
      const [from = "", to = ""] = topic.split(" ");
      if (!alive.has(from) || !alive.has(to)) continue;
      const open = banks.find((bank) => !bank.isOver && bank.id === bank.memberRun.id);
      if (open !== undefined)
        return `${open.memberRun.address} waits on stream ${topic}: ${open.read} read, ${open.written} written`;
    }
    return undefined;
  }

  #bank(memberRun: NativeMemberRun, topic: string, stream: Stream, salt: number): StreamEnd {
    const toWrite = this.#context.network.engine.random.integer(0, longest);
    const state = { written: 0, read: 0, hasEnded: false, hasAborted: false, hasReadEnd: false, isOver: false };
    const channel = memberRun.channelWith(stream.peer);
    const bank: StreamEnd = { memberRun, id: memberRun.id, topic, stream, channel, salt, toWrite, ...state };
    this.#banks.set(stream, bank);
    return bank;
  }

  #opened(memberRun: NativeMemberRun, stream: Stream, topic: string): void {
    const pair = this.#pairs.get(topic);
    const [, to, number] = topic.split(" ");
    if (pair === undefined || pair.length > 1 || to !== memberRun.id) {
      this.#context.invariantChecker.violate("S8", `${memberRun.address} is opened the stream ${topic}`);
      return;
    }
    const bank = this.#bank(memberRun, topic, stream, 2 * Number(number) + 1);
    pair.push(bank);
    this.#write(bank);
  }

  /** Writes until the window is full, and then waits for `writable`; sometimes aborts in the middle. */
  #write(bank: StreamEnd): void {
    const { random } = this.#context.network.engine;
    if (bank.hasEnded || bank.isOver) return;
    if (random.chance(0.05)) {
      bank.hasAborted = true;
      bank.isOver = true;
      this.#context.count("stream given up");
      bank.stream.abort("STREAM_ABORTED", "enough");
      return;
    }
    while (bank.written < bank.toWrite) {
      const bytes = pattern(
        bank.salt,
        bank.written,
        Math.min(bank.toWrite - bank.written, random.integer(1, longestWrite)),
      );
      bank.written += bytes.length;
      if (!bank.stream.write(bytes)) return;
    }
    bank.hasEnded = true;
    bank.stream.end();
    this.#closeIfDone(bank);
  }

  #read(bank: StreamEnd, bytes: Uint8Array): void {
    const other = this.#other(bank);
    if (!isPattern(bytes, bank.salt ^ 1, bank.read)) {
      this.#context.invariantChecker.violate(
        "S8",
        `${bank.memberRun.address} reads other bytes at ${bank.read} than were written`,
      );
    }
    bank.read += bytes.length;
    if (bank.read > other.written)
      this.#context.invariantChecker.violate("S8", `${bank.memberRun.address} reads more than was written`);
    const { random } = this.#context.network.engine;
    bank.memberRun.later(random.chance(0.5) ? 0 : random.next() * 100, () => bank.stream.read(bytes.length));
  }

  #finished(bank: StreamEnd): void {
    const other = this.#other(bank);
    if (!other.hasEnded || bank.read !== other.written) {
      this.#context.invariantChecker.violate(
        "S8",
        `${bank.memberRun.address} hears an end at ${bank.read} of ${other.written}`,
      );
    }
    bank.hasReadEnd = true;
    this.#context.count("stream read to its end");
    this.#closeIfDone(bank);
  }

  #aborted(bank: StreamEnd, code: string): void {
    const { channel } = bank;
    const hasEnded = channel === undefined || bank.memberRun.channelWith(channel.peer) !== channel;
    const isDown = code === "PEER_DOWN" && hasEnded;
    const isGivenUp = code === "STREAM_ABORTED" && this.#other(bank).hasAborted;
    if (!isDown && !isGivenUp && code !== "OVERLOADED") {
      this.#context.invariantChecker.violate(
        "S8",
        `${bank.memberRun.address} hears ${code} of a stream without a cause`,
      );
    }
    bank.isOver = true;
    this.#context.count(`stream aborted: ${code}`);
  }

  #closeIfDone(bank: StreamEnd): void {
    if (bank.hasEnded && bank.hasReadEnd) bank.isOver = true;
  }

  #other(bank: StreamEnd): Pick<StreamEnd, "written" | "hasEnded" | "hasAborted"> {
    const other = this.#pairs.get(bank.topic)?.find((one) => one !== bank);
    return other ?? { written: 0, hasEnded: false, hasAborted: false };
  }
}

/** What is written at an offset of one direction of a stream. */
function pattern(salt: number, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const first = salt * 31 + offset * 7;
  for (let index = 0; index < length; index += 1) bytes[index] = first + index * 7;
  return bytes;
}

function isPattern(bytes: Uint8Array, salt: number, offset: number): boolean {
  const first = salt * 31 + offset * 7;
  for (let index = 0; index < bytes.length; index += 1) {
    if (bytes[index] !== ((first + index * 7) & 0xff)) return false;
  }
  return true;
}
