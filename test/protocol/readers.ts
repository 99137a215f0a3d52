import fc from "fast-check";
import type { Address } from "../../src/protocol/address.js";
import { HelloReader } from "../../src/protocol/classic/hello.js";
import { ServerStreamReader } from "../../src/protocol/classic/list.js";
import { RegistrationReader } from "../../src/protocol/classic/registration.js";

/** What the three readers of the classic dialect have in common. */
export interface Reader<Event> {
  readonly awaitsQuiet: boolean;
  push(bytes: Uint8Array): void;
  poll(): Event | undefined;
  quiet(): void;
  finish(): void;
}

/** A string of which each character is one byte. */
export function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

/** The inverse of `bytesOf`. */
export function textOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/** Everything that a reader has understood so far. */
export function drain<Event>(reader: Reader<Event>): Event[] {
  const events: Event[] = [];
  for (let event = reader.poll(); event !== undefined; event = reader.poll()) events.push(event);
  return events;
}

/** Gives a reader these pieces and then the end of the stream; all that it has understood. */
export function readAll<Event>(reader: Reader<Event>, pieces: readonly Uint8Array[]): Event[] {
  const events: Event[] = [];
  for (const piece of pieces) {
    reader.push(piece);
    events.push(...drain(reader));
  }
  reader.finish();
  events.push(...drain(reader));
  return events;
}

/** The bytes cut at these places. */
export function cut(bytes: Uint8Array, places: readonly number[]): Uint8Array[] {
  const sorted = [0, ...places.map((place) => Math.min(place, bytes.length)).sort((a, b) => a - b), bytes.length];
  return sorted.slice(1).map((end, index) => bytes.slice(sorted[index], end));
}

/** The bytes whole, one at a time, and at every two-way split. */
export function* everyDelivery(bytes: Uint8Array): Generator<Uint8Array[]> {
  yield [bytes];
  yield Array.from(bytes, (byte) => Uint8Array.of(byte));
  for (let place = 1; place < bytes.length; place += 1) yield cut(bytes, [place]);
}

export const listLimits = { listBytes: 65_536, endTextBytes: 512 };

/** What a registration comes to once its stream has ended. */
export function registrationResult(pieces: readonly Uint8Array[]): object {
  const result: { address?: string; verdict: string; hasExtra: boolean } = { verdict: "nothing", hasExtra: false };
  for (const event of readAll(new RegistrationReader(), pieces)) {
    if (event.type === "registered" || event.type === "revised") {
      result.address = event.address;
      result.verdict = "registered";
    } else if (event.type === "extra") {
      result.hasExtra = true;
    } else {
      delete result.address;
      result.verdict = event.type === "bad" ? "bad" : `wrong caller: ${event.caller}`;
    }
  }
  return result;
}

/** What a hello comes to once its stream has ended. */
export function helloResult(pieces: readonly Uint8Array[]): object {
  const result: { address?: string; payload: string; bad?: string } = { payload: "" };
  for (const event of readAll(new HelloReader(), pieces)) {
    if (event.type === "hello") result.address = event.address;
    else if (event.type === "payload") result.payload += textOf(event.bytes);
    else result.bad = event.caller;
  }
  return result;
}

/**
 * What a server's words come to once its stream has ended: the last list, how much of it was junk, and how it ended. The
 * word `teardown` is acted upon at its last letter if the piece ends there, so what is glued behind it does not count.
 */
export function serverResult(pieces: readonly Uint8Array[], limits = listLimits): object {
  const result: { members?: readonly string[]; end?: string; badEntries: number; isTooLong: boolean } = {
    badEntries: 0,
    isTooLong: false,
  };
  for (const event of readAll(new ServerStreamReader(limits), pieces)) {
    if (event.type === "list" && event.isSettled) result.members = event.members;
    else if (event.type === "end") result.end = event.text.startsWith("teardown") ? "teardown" : event.text;
    else if (event.type === "badEntry") result.badEntries += 1;
    else if (event.type === "tooLong") result.isTooLong = true;
  }
  return result;
}

const fragments = [
  ...["list:\n", "lis", "list:", "teardown", "end", "l", "refused BUSY: later"],
  ...["Hello from:", "Hello from ", "Hell", "HEAD / ", "GET / ", "\x16\x03\x01"],
  ...["127.0.0.1:80", "127.0.0.1:8080", "10.0.0.1:6553", "10.0.0.1:6554", "10.0.0.1:65535", "10.0.0.1:65536"],
  ...["[::1]:4000", "[2001:db8::a]:9999", "[::ffff:10.0.0.1]:7000", "[::1", "[fe80::1%eth0]:80", "localhost:80"],
  ...["0.0.0.0:80", "1.2.3.4:0", "1.2.3.4:080", "1.2.3.4:70000", "0", "5", "65", "1.", ":", "[", "]", "a"],
  ...["\n", "\r\n", " ", "\0", "\x1b[31m", "\xff"],
];

/** Streams that look like the classic dialect, correct or nearly so, and streams that are nothing at all. */
export const streams: fc.Arbitrary<Uint8Array> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.array(fc.constantFrom(...fragments), { maxLength: 12 }).map((parts) => bytesOf(parts.join(""))),
  },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 200 }) },
);

/** Places at which to cut a stream. */
export const cuts: fc.Arbitrary<number[]> = fc.array(fc.nat({ max: 200 }), { maxLength: 12 });

const octet = fc.integer({ min: 0, max: 255 });
const port = fc.oneof(fc.integer({ min: 1, max: 65_535 }), fc.constantFrom(1, 80, 655, 6553, 6554, 8080, 65_535));

/** Addresses that a member may register, in canonical form. */
export const addresses: fc.Arbitrary<Address> = fc.oneof(
  fc
    .tuple(fc.integer({ min: 1, max: 255 }), octet, octet, octet, port)
    .map(([a, b, c, d, number]) => `${a}.${b}.${c}.${d}:${number}` as Address),
  fc
    .tuple(fc.integer({ min: 1, max: 0xffff }), fc.integer({ min: 1, max: 0xffff }), port)
    .map(([a, b, number]) => `[2001:db8:${a.toString(16)}::${b.toString(16)}]:${number}` as Address),
);
