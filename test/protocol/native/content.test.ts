import { describe, expect, test } from "vitest";
import { encodeAcknowledgement } from "../../../src/protocol/native/acknowledgement.js";
import { decodeFrame } from "../../../src/protocol/native/content.js";
import { encodeControl } from "../../../src/protocol/native/control.js";
import { frameHeaderBytes, frameKinds } from "../../../src/protocol/native/frames.js";
import { isNumbered } from "../../../src/protocol/native/numbered-frames.js";

const nothing = new Uint8Array(0);
const everyKind = Array.from({ length: 256 }, (_, kind) => kind);
const known: ReadonlySet<number> = new Set(Object.values(frameKinds));

describe("the content of a frame", () => {
  test("is read by its kind", () => {
    const leave = { type: "leave", reason: "left" } as const;
    expect(decodeFrame(frameKinds.control, encodeControl(leave).subarray(frameHeaderBytes))).toEqual(leave);
    const acknowledgement = encodeAcknowledgement(7).subarray(frameHeaderBytes);
    expect(decodeFrame(frameKinds.acknowledgement, acknowledgement)).toEqual({ type: "acknowledgement", number: 7 });
    expect(decodeFrame(frameKinds.ping, nothing)).toEqual({ type: "ping" });
    expect(decodeFrame(frameKinds.pong, nothing)).toEqual({ type: "pong" });
  });

  test("of a ping or a pong may be anything", () => {
    const body = Uint8Array.of(1, 2, 3);
    expect([decodeFrame(frameKinds.ping, body), decodeFrame(frameKinds.pong, body)]).toEqual([
      { type: "ping" },
      { type: "pong" },
    ]);
  });

  test("may be ignored if its kind is not known and says so", () => {
    const ignored = everyKind.filter((kind) => !known.has(kind) && decodeFrame(kind, nothing) === undefined);
    expect(ignored).toEqual(everyKind.filter((kind) => kind >= 0x80));
  });

  test("is refused if its kind is not known and does not say so, and if it is numbered, which is read elsewhere", () => {
    for (const kind of everyKind.filter((each) => each < 0x80 && !known.has(each))) {
      expect(decodeFrame(kind, nothing)).toMatchObject({ type: "bad", code: "UNKNOWN_MESSAGE" });
    }
    expect(everyKind.filter((kind) => isNumbered(kind) && known.has(kind))).toEqual([]);
  });

  test.each([0, 5, 7])("is refused if it is an acknowledgement of %d bytes", (length) => {
    expect(decodeFrame(frameKinds.acknowledgement, new Uint8Array(length))).toMatchObject({
      type: "bad",
      code: "BAD_FRAME",
    });
  });

  test("is refused if it is a control message that is none", () => {
    expect(decodeFrame(frameKinds.control, nothing)).toMatchObject({ type: "bad", code: "BAD_FRAME" });
  });
});
