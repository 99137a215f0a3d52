import { frameHeaderBytes, frameKinds, writeFrameHeader } from "./frames.js";
import { numberBytes, readUint48, writeUint48 } from "./numbered-frames.js";

/** The whole frame: every numbered frame up to `number` has arrived. */
export function encodeAcknowledgement(number: number): Uint8Array {
  const frame = new Uint8Array(frameHeaderBytes + numberBytes);
  writeFrameHeader(frame, frameKinds.acknowledgement, numberBytes);
  writeUint48(frame, frameHeaderBytes, number);
  return frame;
}

/** Reads the body of an acknowledgement; undefined if it is none. */
export function decodeAcknowledgement(body: Uint8Array): number | undefined {
  return body.length === numberBytes ? readUint48(body, 0) : undefined;
}
