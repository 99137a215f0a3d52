import { badOption } from "../api/options.js";
import { isTopic, longestTopic } from "../protocol/native/topics.js";

/** A program has some dozen topics. One that makes them up as it goes begins anew from time to time. */
const mostKept = 1_024;

/** Topics of the library itself begin so; an application cannot use them. */
const reservedPrefix = "$fullmesh/";
/** The requests behind `barrier` and `allGather`. */
export const collectiveTopic = `${reservedPrefix}collective`;

/**
 * The topics that have been used, in the bytes that travel: each is checked and encoded once. Without that, a message of 64
 * bytes to a topic of a dozen letters takes twice as much of the processor (measured on Node 20, one way over loopback).
 */
export class TopicEncoder {
  readonly #kept = new Map<string, Uint8Array>();

  /**
   * The bytes of a topic.
   *
   * @throws {FullmeshError} `BAD_OPTION` for what is none
   */
  bytesOf(topic: string): Uint8Array {
    return this.#kept.get(topic) ?? this.#keep(topic);
  }

  #keep(topic: string): Uint8Array {
    checkTopic(topic);
    if (this.#kept.size >= mostKept) this.#kept.clear();
    const bytes = new TextEncoder().encode(topic);
    this.#kept.set(topic, bytes);
    return bytes;
  }
}

/** Throws `BAD_OPTION` for what is no topic. */
export function checkTopic(topic: unknown): asserts topic is string {
  if (typeof topic !== "string") badOption("topic", "a string", topic);
  if (!isTopic(topic)) badOption("topic", `a string of at most ${longestTopic} bytes of UTF-8`, topic);
  if (topic.startsWith(reservedPrefix))
    badOption("topic", `a string that does not begin with ${reservedPrefix}`, topic);
}
