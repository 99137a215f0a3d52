import { type BadControl, type Control, decodeControl } from "./control.js";
import { firstOptionalKind, frameKinds } from "./frames.js";
import { decodeAcknowledgement, decodeMessage, type Message } from "./message.js";

/** What a frame holds. */
export type Content =
  | Control
  | { readonly type: "message"; readonly message: Message }
  | { readonly type: "acknowledgement"; readonly number: number }
  | { readonly type: "ping" | "pong" }
  /** It is to be refused with this code. */
  | BadControl;

/** Reads the body of a frame of any kind; undefined if it may be ignored. */
export function readContent(kind: number, body: Uint8Array): Content | undefined {
  switch (kind) {
    case frameKinds.control:
      return decodeControl(body);
    case frameKinds.message: {
      const message = decodeMessage(body);
      return message === undefined
        ? bad("BAD_FRAME", "a message frame holds no message")
        : { type: "message", message };
    }
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
