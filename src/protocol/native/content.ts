import { decodeAcknowledgement } from "./acknowledgement.js";
import { type BadControl, type Control, decodeControl } from "./control.js";
import { firstOptionalKind, frameKinds } from "./frames.js";

/** The content of a frame that is not numbered. */
export type FrameContent =
  | Control
  | { readonly type: "acknowledgement"; readonly number: number }
  | { readonly type: "ping" | "pong" }
  /** Refuse it with this code. */
  | BadControl;

/** Reads the body of a frame that is not numbered; undefined if it may be ignored. */
export function decodeFrame(kind: number, body: Uint8Array): FrameContent | undefined {
  switch (kind) {
    case frameKinds.control:
      return decodeControl(body);
    case frameKinds.acknowledgement: {
      const number = decodeAcknowledgement(body);
      return number === undefined
        ? bad("BAD_FRAME", "an acknowledgement has no number")
        : { type: "acknowledgement", number };
    }
    case frameKinds.ping:
      return { type: "ping" };
    case frameKinds.pong:
      return { type: "pong" };
    default:
      return kind >= firstOptionalKind ? undefined : bad("UNKNOWN_MESSAGE", `there is no frame of kind ${kind}`);
  }
}

function bad(code: BadControl["code"], detail: string): BadControl {
  return { type: "bad", code, detail };
}
