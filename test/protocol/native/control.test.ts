import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { harmless } from "../../../src/core/escaping.js";
import { greatestClaim } from "../../../src/protocol/directory.js";
import { linkStages } from "../../../src/protocol/missing-pair.js";
import {
  type BadControl,
  type Control,
  controls,
  decodeControl,
  encodeControl,
  mostServers,
} from "../../../src/protocol/native/control.js";
import { isMeta, isName } from "../../../src/protocol/native/fields.js";
import { frameHeaderBytes, frameKinds } from "../../../src/protocol/native/frames.js";
import vectors from "../../vectors/native.json" with { type: "json" };
import { addresses } from "../readers.js";
import { utf8 } from "./hex.js";
import { texts } from "./reading.js";

/** Reads a control frame's body that is given as text. */
function read(text: string): Control | BadControl | undefined {
  return decodeControl(utf8(text));
}

/** The code with which a body is refused, or the type of the message that it is. */
function verdict(text: string): string | undefined {
  const control = read(text);
  return control?.type === "bad" ? control.code : control?.type;
}

const ids = fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: 32, maxLength: 32 });
const counts = fc.oneof(fc.nat(), fc.maxSafeNat());
const ones = counts.map((count) => Math.max(1, count));
const claimedRevisions = fc.oneof(fc.nat(), fc.nat({ max: greatestClaim }), fc.constant(greatestClaim));
const claimedOrders = claimedRevisions.map((order) => Math.max(1, order));
const names = texts.filter(isName);
const sentences = fc.string({ unit: "grapheme", maxLength: 60 }).filter((text) => harmless(text) === text);
const metas = fc
  .dictionary(fc.string({ maxLength: 5 }), fc.jsonValue({ maxDepth: 2 }))
  .map(JSON.stringify)
  .map(parse)
  .filter(isMeta);
const yes = fc.constant(true as const);
const optional = { requiredKeys: [] as [] };
const tokens = fc.record({ token: ones }, optional);

function parse(text: string): unknown {
  return JSON.parse(text);
}

const self = { id: ids, address: addresses };
const member = fc
  .tuple(
    fc.record({ id: ids, order: ones, address: addresses, dialect: fc.constantFrom("classic", "native") }),
    fc.record({ name: names, meta: metas }, optional),
  )
  .map(([must, may]) => ({ ...must, ...may }));
const departure = fc.record({ type: fc.constantFrom("left", "lost"), revision: ones, id: ids, reason: sentences });
const arrival = fc
  .tuple(ones, ids, member)
  .chain(([revision, replaces, who]) =>
    fc.constantFrom({ type: "joined", revision, ...who }, { type: "replaced", revision, replaces, ...who }),
  );

const claimed = fc
  .tuple(fc.record({ type: fc.constant("claimed"), revision: ones, key: names, holder: ids }), tokens)
  .map(([must, may]) => ({ ...must, ...may }));
const unclaimed = fc.record({ type: fc.constant("unclaimed"), revision: ones, key: names, reason: sentences });

const stages = fc.constantFrom(...linkStages);
const unlisted = fc.array(fc.record({ id: ids, order: ones, address: addresses }), { maxLength: 4 });

/** Messages of every type, with and without what may be absent. */
const messages: Readonly<Record<Control["type"], fc.Arbitrary<object>>> = {
  register: fc
    .tuple(
      fc.record({ mesh: names, ...self }),
      fc.record({ name: names, meta: metas, waited: yes, looked: yes }, optional),
    )
    .map(([must, may]) => ({ ...must, ...may })),
  resume: fc
    .tuple(
      fc.record({ mesh: names, ...self, log: ids, revision: counts, order: claimedOrders, highest: claimedRevisions }),
      fc.record({ name: names, meta: metas }, optional),
    )
    .map(([must, may]) => ({ ...must, ...may })),
  known: fc
    .tuple(
      fc.record({ members: fc.array(member, { maxLength: 4 }), gone: fc.array(ids, { maxLength: 4 }) }),
      fc.record({ more: yes }, optional),
    )
    .map(([must, may]) => ({ ...must, ...may })),
  proof: fc.record({ nonce: ids }),
  links: fc
    .tuple(
      fc.record({ full: yes, unlisted }, optional),
      fc.record({
        up: fc.array(fc.tuple(ids, counts), { maxLength: 5 }),
        down: fc.array(fc.tuple(ids, stages, counts, sentences), { maxLength: 5 }),
      }),
    )
    .map(([may, must]) => ({ ...may, ...must })),
  grant: fc
    .tuple(fc.record({ owner: ids, later: ids, attempt: ones }), fc.record({ failed: sentences }, optional))
    .map(([must, may]) => ({ ...must, ...may })),
  measured: fc.record({
    links: fc.array(
      fc.tuple(ids, fc.option(fc.double({ min: 0, max: 86_400_000, noNaN: true }).map((ms) => ms + 0)), counts),
      {
        maxLength: 5,
      },
    ),
  }),
  measure: fc.record({ everyMs: fc.integer({ min: 0, max: 60_000 }) }),
  watch: fc.record({ size: ones }),
  leave: fc.record({ reason: sentences }),
  renew: fc.record({ number: ones }),
  claim: fc
    .tuple(fc.record({ key: names }), fc.record({ wait: yes }, optional))
    .map(([must, may]) => ({ ...must, ...may })),
  unclaim: fc.tuple(fc.record({ key: names }), tokens).map(([must, may]) => ({ ...must, ...may })),
  held: fc.record({ claims: fc.array(fc.tuple(names, ones), { maxLength: 4 }) }),
  renewed: fc.record({ number: ones }),
  unclaimable: fc
    .tuple(
      fc.record({ key: names, code: fc.stringMatching(/^[A-Z][A-Z_]{0,39}$/), message: sentences }),
      fc.record({ holder: ids }, optional),
    )
    .map(([must, may]) => ({ ...must, ...may })),
  observe: fc.record({ mesh: names }),
  status: fc
    .tuple(fc.record({ part: texts }), fc.record({ more: yes }, optional))
    .map(([must, may]) => ({ ...must, ...may })),
  probe: fc.record({ mesh: names, id: ids, address: addresses }),
  probed: fc
    .tuple(
      fc.record({ reached: fc.boolean(), reason: sentences, observed: addresses, at: counts, members: counts }),
      fc.record({ waits: yes, code: fc.stringMatching(/^[A-Z][A-Z_]{0,39}$/), message: sentences }, optional),
    )
    .map(([must, may]) => ({ ...must, ...may })),
  admitted: fc
    .tuple(
      fc.record({ log: ids, order: ones, revision: ones, observed: addresses, leaseMs: ones }),
      fc.record({ servers: fc.array(addresses, { maxLength: mostServers }) }, optional),
    )
    .map(([must, may]) => ({ ...must, ...may })),
  servers: fc.record({ servers: fc.array(addresses, { maxLength: mostServers }) }),
  directory: fc
    .tuple(
      fc.record({ revision: ones, members: fc.array(member, { maxLength: 4 }) }),
      fc.record(
        {
          claims: fc.array(fc.record({ key: names, holder: ids, token: ones }), { maxLength: 3 }),
          gone: fc.array(ids, { maxLength: 3 }),
          more: yes,
        },
        optional,
      ),
    )
    .map(([must, may]) => ({ ...must, ...may })),
  entries: fc.record({ entries: fc.array(fc.oneof(departure, arrival, claimed, unclaimed), { maxLength: 4 }) }),
  leader: fc.record({ id: ids }),
  waiting: fc.record({ place: ones }),
  complete: fc.record({ revision: ones, members: ones, links: counts, unverified: counts }),
  degraded: fc
    .tuple(
      fc.record({
        revision: ones,
        count: counts,
        missing: fc.array(fc.tuple(ids, ids, stages, counts, sentences, counts), { maxLength: 4 }),
      }),
      fc.record({ unlisted }, optional),
    )
    .map(([must, may]) => ({ ...must, ...may })),
  release: fc.record({ reason: sentences }),
  teardown: fc.record({ reason: sentences, deadlineMs: counts }),
  challenge: fc.record({ mesh: names, id: ids, nonce: ids }),
  check: fc.record({ mesh: names, id: ids }),
  here: fc.record({ id: ids }),
  hello: fc.record({ mesh: names, from: ids, to: ids, attempt: ones, since: counts, received: counts }),
  answer: fc.record({ attempt: ones, since: ones, received: counts }),
  goodbye: fc.record({ reason: sentences, received: counts }),
  refuse: fc
    .tuple(
      fc.record({ code: fc.stringMatching(/^[A-Z][A-Z_]{0,39}$/), message: sentences }),
      fc.record({ highest: counts, retryMs: counts }, optional),
    )
    .map(([must, may]) => ({ ...must, ...may })),
};

const everyMessage = Object.entries(messages);

describe("a control message", () => {
  test("of every type is tried here and in the vectors", () => {
    expect(Object.keys(messages).sort()).toEqual(Object.keys(controls).sort());
    const inVectors = new Set(vectors.frames.map(({ content }) => content.type));
    expect(Object.keys(controls).filter((type) => !inVectors.has(type))).toEqual([]);
  });

  test.each(everyMessage)("reads back as it was written: %s", (type, arbitrary) => {
    fc.assert(
      fc.property(arbitrary, (fields) => {
        const control = { type, ...fields } as Control;
        const frame = encodeControl(control);
        expect(frame[frameHeaderBytes - 1]).toBe(frameKinds.control);
        expect(decodeControl(frame.subarray(frameHeaderBytes))).toEqual(control);
      }),
    );
  });

  test.each(everyMessage)("is read without the fields that nobody knows: %s", (type, arbitrary) => {
    fc.assert(
      fc.property(arbitrary, fc.jsonValue(), (fields, unknown) => {
        const known = { type, ...fields };
        const more = { newField: unknown, toString: unknown, ...known, optional: unknown };
        expect(read(JSON.stringify(more))).toEqual(read(JSON.stringify(known)));
      }),
      { numRuns: 30 },
    );
  });

  test.each(everyMessage)("is refused without one of the fields that it needs: %s", (type, arbitrary) => {
    const needed = Object.entries(controls[type as Control["type"]]).filter(([, field]) => !("isOptional" in field));
    for (const [missing] of needed) {
      for (const fields of fc.sample(arbitrary, 5)) {
        const { [missing]: _, ...rest } = fields as Record<string, unknown>;
        const text = JSON.stringify({ type, ...rest });
        expect(read(text)).toMatchObject({
          type: "bad",
          code: "BAD_FRAME",
          detail: `${type} has no good "${missing}"`,
        });
      }
    }
  });

  test.each(everyMessage)("is that message or refused, whatever its fields hold: %s", (type) => {
    const values = fc.oneof(fc.jsonValue(), fc.constantFrom<unknown>(-0, 2 ** 53, "a\ud800", [], {}, "0".repeat(32)));
    const names = Object.keys(controls[type as Control["type"]]);
    const fields = fc.record(Object.fromEntries(names.map((field) => [field, values])), optional);
    fc.assert(
      fc.property(fields, (any) => ["BAD_FRAME", type].includes(verdict(JSON.stringify({ type, ...any })) ?? "")),
    );
  });
});

describe("the other servers that share a log", () => {
  test.each([
    ["more than a message may name", Array.from({ length: mostServers + 1 }, (_, index) => `10.0.0.1:${index + 1}`)],
    ["a host name", ["server-2:6200"]],
    ["every address of a machine", ["0.0.0.0:6200"]],
    ["no port", ["10.0.0.1"]],
    ["no list", "10.0.0.1:6200"],
    ["null", null],
  ])("are refused as a whole: %s", (_, servers) => {
    const bad = (type: string) => ({ type: "bad", code: "BAD_FRAME", detail: `${type} has no good "servers"` });
    const admitted = {
      type: "admitted",
      log: "0".repeat(32),
      order: 1,
      revision: 1,
      observed: "10.0.0.1:1",
      leaseMs: 1,
    };
    expect(read(JSON.stringify({ type: "servers", servers }))).toEqual(bad("servers"));
    expect(read(JSON.stringify({ ...admitted, servers }))).toEqual(bad("admitted"));
  });
});

describe("a type that nobody knows", () => {
  const unknown = texts.filter((text) => !Object.hasOwn(controls, text));

  test("is refused, unless the message may be ignored", () => {
    fc.assert(
      fc.property(unknown, (type) => {
        expect(verdict(JSON.stringify({ type }))).toBe("UNKNOWN_MESSAGE");
        expect(verdict(JSON.stringify({ type, optional: false }))).toBe("UNKNOWN_MESSAGE");
        expect(verdict(JSON.stringify({ type, optional: "true" }))).toBe("UNKNOWN_MESSAGE");
        expect(read(JSON.stringify({ type, optional: true }))).toBeUndefined();
      }),
    );
  });

  test.each(["__proto__", "constructor", "toString", "hasOwnProperty"])("may be called %s", (type) => {
    expect(verdict(`{"type":"${type}"}`)).toBe("UNKNOWN_MESSAGE");
  });

  test("is named in what people read, and steers no terminal", () => {
    const control = read(JSON.stringify({ type: "weather\x1b[2J" }));
    expect(control).toEqual({ type: "bad", code: "UNKNOWN_MESSAGE", detail: 'there is no message "weather\\x1b[2J"' });
  });
});

describe("a body", () => {
  test("of any bytes is a message, to be ignored, or refused with a code; nothing is thrown", () => {
    const bodies = fc.oneof(
      fc.uint8Array({ maxLength: 100 }),
      fc.json().map(utf8),
      fc.jsonValue().map(JSON.stringify).map(utf8),
    );
    fc.assert(
      fc.property(bodies, (body) => {
        const control = decodeControl(body);
        if (control?.type === "bad") expect(["BAD_FRAME", "UNKNOWN_MESSAGE"]).toContain(control.code);
      }),
      { numRuns: 3_000 },
    );
  });

  test("that is nearly a message is one, or refused with a code; nothing is thrown", () => {
    const near = fc
      .tuple(
        fc.constantFrom(...vectors.frames.filter(({ hex }) => hex.slice(8, 10) === "01")),
        fc.nat(),
        fc.nat({ max: 255 }),
      )
      .map(([{ hex }, place, byte]) => {
        const body = Uint8Array.from(Buffer.from(hex, "hex")).subarray(frameHeaderBytes);
        return body.with(place % body.length, byte);
      });
    fc.assert(
      fc.property(near, (body) => {
        const control = decodeControl(body);
        if (control?.type === "bad") expect(["BAD_FRAME", "UNKNOWN_MESSAGE"]).toContain(control.code);
      }),
      { numRuns: 3_000 },
    );
  });

  test.each([
    ["an unknown field", '{"type":"waiting","place":1,"x":', "}", "waiting"],
    [
      "what a member says of itself",
      `{"type":"register","mesh":"m","id":"${"0".repeat(32)}","address":"1.1.1.1:1","meta":{"a":`,
      "}}",
      "BAD_FRAME",
    ],
    ["a known field", '{"type":"waiting","place":', "}", "BAD_FRAME"],
    ["the whole body", "", "", "BAD_FRAME"],
  ])("that is nested as deep as its size allows is refused or read: %s", (_, before, after, expected) => {
    for (const depth of [2_000, 8_000, 32_000]) {
      expect(verdict(`${before}${"[".repeat(depth)}${"]".repeat(depth)}${after}`)).toBe(expected);
      const open = '{"a":';
      expect(verdict(`${before}${open.repeat(depth / 8)}1${"}".repeat(depth / 8)}${after}`)).toBe(expected);
    }
  });

  test("that names a field twice has the last one", () => {
    expect(read('{"type":"leave","type":"waiting","place":1,"place":2}')).toEqual({ type: "waiting", place: 2 });
  });
});
