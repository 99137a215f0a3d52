import { describe, expect, test } from "vitest";
import { type Address, parseAddress } from "../../src/protocol/address.js";
import { encodeHello, HelloReader } from "../../src/protocol/classic/hello.js";
import {
  encodeEnd,
  encodeList,
  encodeRefusal,
  readEndText,
  ServerStreamReader,
} from "../../src/protocol/classic/list.js";
import { encodeRegistration, RegistrationReader } from "../../src/protocol/classic/registration.js";
import vectors from "../vectors/classic.json" with { type: "json" };
import { bytesOf, drain, listLimits, type Reader, textOf } from "./readers.js";

type Step = string | { readonly after: string };
type AnyEvent = { readonly type: string; readonly bytes?: Uint8Array; readonly text?: string };

/** What the vectors say of an event: payload as text, and no sentences that are meant for people. */
function toVector(event: AnyEvent): object {
  const { bytes, text, ...rest } = event;
  if (bytes !== undefined) return { ...rest, text: textOf(bytes) };
  return event.type === "end" ? { ...rest, text } : rest;
}

/** Where one payload ends and the next begins has no meaning, so neighbours count as one. */
function joinPayload(events: readonly AnyEvent[]): AnyEvent[] {
  const joined: AnyEvent[] = [];
  for (const event of events) {
    const last = joined.at(-1);
    if (event.type === "payload" && last?.type === "payload") {
      const bytes = Uint8Array.of(...(last.bytes ?? []), ...(event.bytes ?? []));
      joined[joined.length - 1] = { type: "payload", bytes };
    } else {
      joined.push(event);
    }
  }
  return joined;
}

function run(reader: Reader<AnyEvent>, steps: readonly Step[]): object[] {
  for (const step of steps) {
    if (typeof step === "string") reader.push(bytesOf(step));
    else if (step.after === "quiet") reader.quiet();
    else if (step.after === "end") reader.finish();
    else throw new Error(`unknown step: after ${step.after}`);
  }
  return joinPayload(drain(reader)).map(toVector);
}

describe("addresses", () => {
  test.each(vectors.addresses)("$text is $address", ({ text, address }) => {
    expect(parseAddress(text) ?? null).toBe(address);
  });
});

describe("encoders", () => {
  test.each(vectors.encode.registration)("write the registration $text", ({ fields, text }) => {
    expect(textOf(encodeRegistration(fields.address as Address))).toBe(text);
  });

  test.each(vectors.encode.list)("write a list of $fields.members", ({ fields, text }) => {
    expect(textOf(encodeList(fields.members as Address[]))).toBe(text);
  });

  test.each(vectors.encode.end)("write the end $text", ({ fields, text }) => {
    expect(textOf(encodeEnd(fields.word))).toBe(text);
  });

  test.each(vectors.encode.refusal)("write the refusal $text", ({ fields, text }) => {
    expect(textOf(encodeRefusal(fields.code, fields.sentence))).toBe(text);
  });

  test.each(vectors.encode.hello)("write the hello $text", ({ fields, text }) => {
    expect(textOf(encodeHello(fields.address as Address))).toBe(text);
  });
});

describe("decoders", () => {
  test.each(vectors.decode.registration)("read a registration: $name", ({ steps, events }) => {
    expect(run(new RegistrationReader(), steps)).toEqual(events);
  });

  test.each(vectors.decode.list)("read a list: $name", ({ steps, events }) => {
    expect(run(new ServerStreamReader(listLimits), steps)).toEqual(events);
  });

  test.each(vectors.decode.hello)("read a hello: $name", ({ steps, events }) => {
    expect(run(new HelloReader(), steps)).toEqual(events);
  });

  test.each(vectors.endings)("find the refusal in $text", ({ text, refusal }) => {
    expect(readEndText(text).refusal ?? null).toBe(refusal);
  });
});

test("every vector has a name of its own", () => {
  for (const group of Object.values(vectors.decode)) {
    const names = group.map(({ name }) => name);
    expect(names).toEqual([...new Set(names)]);
  }
});
