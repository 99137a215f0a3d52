import type { MemberEvent } from "../src/mesh/types.js";
import { type Control, decodeControl } from "../src/protocol/native/control.js";
import { frameHeaderBytes, frameKinds } from "../src/protocol/native/frames.js";
import { isNumbered, nameOfKind, numberBytes, readUint48 } from "../src/protocol/native/numbered-frames.js";
import { firstNativeByte, prefaceBytes } from "../src/protocol/native/preface.js";
import type { Scenario } from "./scenario.js";

/** Where the frame begins in one write: one frame, perhaps behind a preface. */
function frameAt(bytes: Uint8Array): number {
  return bytes[0] === firstNativeByte ? prefaceBytes : 0;
}

const opening = '{"type":"'.length;
const quote = 0x22;

/** The type of the control message in one write; undefined if there is none. Cheap, because every write is looked at. */
export function controlTypeOf(bytes: Uint8Array): string | undefined {
  const at = frameAt(bytes);
  if (bytes[at + frameHeaderBytes - 1] !== frameKinds.control) return undefined;
  let type = "";
  for (let next = at + frameHeaderBytes + opening; next < bytes.length && bytes[next] !== quote; next += 1) {
    type += String.fromCharCode(bytes[next] ?? 0);
  }
  return type;
}

/** The control message in one write, if there is one. */
export function controlOf(bytes: Uint8Array): Control | undefined {
  const control = decodeControl(bytes.subarray(frameAt(bytes) + frameHeaderBytes));
  return control?.type === "bad" ? undefined : control;
}

/** One write, for a history; of several numbered frames the first. */
export function describeBytes(bytes: Uint8Array): string {
  if (frameAt(bytes) === bytes.length) return "preface";
  const at = frameAt(bytes) + frameHeaderBytes;
  const kind = bytes[at - 1] ?? 0xff;
  if (kind === frameKinds.control) return new TextDecoder().decode(bytes.subarray(at));
  if (kind === frameKinds.ping) return "ping";
  if (kind === frameKinds.pong) return "pong";
  if (bytes.length < at + numberBytes) return new TextDecoder().decode(bytes);
  if (kind === frameKinds.acknowledgement) return `acknowledgement ${readUint48(bytes, at)}`;
  if (isNumbered(kind)) return `${nameOfKind(kind)} ${readUint48(bytes, at)}, ${bytes.length} bytes in all`;
  return new TextDecoder().decode(bytes);
}

/**
 * What is written on a classic link: its number and a count. Where messages may be late, a payload that begins with a digit
 * could be read as part of the hello's port, which no reader of this dialect can avoid; there it begins with a letter.
 */
export function payloadText({ isPrompt }: Scenario, link: number, count: number): string {
  return `${isPrompt ? "" : "x"}${link}:${count};`;
}

/** An event, for a history. */
export function quoteBytes(event: MemberEvent): string {
  return JSON.stringify(event);
}
