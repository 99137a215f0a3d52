import { frameHeaderBytes, frameKinds, writeFrameHeader } from "./frames.js";
import { numberBytes, readNumber, writeNumber } from "./numbered.js";

/** The whole frame: every numbered frame up to `number` has arrived. */
export function encodeAcknowledgement(number: number): Uint8Array {
  const frame = new Uint8Array(frameHeaderBytes + numberBytes);
  writeFrameHeader(frame, frameKinds.acknowledgement, numberBytes);
  writeNumber(frame, frameHeaderBytes, number);
  return frame;
}

/** Reads the body of an acknowledgement; undefined if it is none. */
export function decodeAcknowledgement(body: Uint8Array): number | undefined {
  return body.length === numberBytes ? readNumber(body, 0) : undefined;
}
