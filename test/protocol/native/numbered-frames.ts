import { defaultLimits } from "../../../src/core/limits.js";
import { type Batch, decodeBatch, encodeBatched } from "../../../src/protocol/native/batch.js";
import { encodeFrame } from "../../../src/protocol/native/frames.js";
import { decodeMessage, encodeMessage } from "../../../src/protocol/native/message.js";
import { numberBytes, numberedKinds, readUint48, writeUint48 } from "../../../src/protocol/native/numbered-frames.js";
import type { PayloadForm } from "../../../src/protocol/native/payload.js";
import {
  decodeCancel,
  decodeFailure,
  decodeReply,
  decodeRequest,
  encodeCancel,
  encodeFailure,
  encodeReply,
  encodeRequest,
} from "../../../src/protocol/native/request.js";
import {
  decodeAbort,
  decodeCredit,
  decodeEnd,
  decodeOpen,
  decodeStreamData,
  encodeAbort,
  encodeCredit,
  encodeEnd,
  encodeOpen,
  encodeStreamData,
} from "../../../src/protocol/native/stream.js";
import { bytesOfHex, hexOf, utf8 } from "./hex.js";
import { Sheet } from "./link-writer.js";

const { batchBytes } = defaultLimits;

interface Payload {
  readonly form: PayloadForm;
  /** In hexadecimal digits. */
  readonly payload: string;
}

interface Why {
  readonly code: string;
  readonly message: string;
}

/** What is behind the number of a frame, as the vectors write it. */
type Content =
  | ({ readonly type: "message"; readonly topic: string } & Payload)
  | { readonly type: "batch"; readonly messages: readonly ({ readonly topic: string } & Payload)[] }
  | ({ readonly type: "request"; readonly request: number; readonly topic: string } & Payload)
  | ({ readonly type: "reply"; readonly request: number } & Payload)
  | ({ readonly type: "failure"; readonly request: number } & Why)
  | { readonly type: "cancel"; readonly request: number }
  | { readonly type: "open"; readonly stream: number; readonly topic: string }
  | { readonly type: "data"; readonly stream: number; readonly bytes: string }
  | { readonly type: "end"; readonly stream: number }
  | ({ readonly type: "abort"; readonly stream: number } & Why)
  | { readonly type: "credit"; readonly flow: number; readonly limit: number };

/** A numbered frame, as the vectors write it. */
export type NumberedFrame = Content & { readonly number: number };

/** The whole frame. */
export function encodeNumbered(frame: NumberedFrame): Uint8Array {
  const sheet = new Sheet();
  write(sheet, frame);
  const { content, kind } = sheet;
  const body = new Uint8Array(numberBytes + content.length);
  writeUint48(body, 0, frame.number);
  body.set(content, numberBytes);
  return encodeFrame(kind, body);
}

function write(sheet: Sheet, frame: Content): void {
  switch (frame.type) {
    case "message":
      encodeMessage(sheet, utf8(frame.topic), frame.form, bytesOfHex(frame.payload));
      break;
    case "batch": {
      const topics = new Map(frame.messages.map(({ topic }) => [topic, utf8(topic)]));
      let last: Uint8Array | undefined;
      for (const { topic, form, payload } of frame.messages) {
        const bytes = topics.get(topic) ?? utf8(topic);
        encodeBatched(sheet, bytes, form, bytesOfHex(payload), last, batchBytes);
        last = bytes;
      }
      break;
    }
    case "request":
      encodeRequest(sheet, frame.request, utf8(frame.topic), frame.form, bytesOfHex(frame.payload));
      break;
    case "reply":
      encodeReply(sheet, frame.request, frame.form, bytesOfHex(frame.payload));
      break;
    case "failure":
      encodeFailure(sheet, { number: frame.request, code: frame.code, message: frame.message });
      break;
    case "cancel":
      encodeCancel(sheet, frame.request);
      break;
    case "open":
      encodeOpen(sheet, frame.stream, utf8(frame.topic));
      break;
    case "data":
      encodeStreamData(sheet, frame.stream, bytesOfHex(frame.bytes));
      break;
    case "end":
      encodeEnd(sheet, frame.stream);
      break;
    case "abort":
      encodeAbort(sheet, { number: frame.stream, code: frame.code, message: frame.message });
      break;
    case "credit":
      encodeCredit(sheet, frame.flow, frame.limit);
      break;
  }
}

/** Reads a numbered frame, or says by which code it is to be refused. */
export function readNumbered(kind: number, bytes: Uint8Array, from: number, to: number): object {
  if (to - from < numberBytes) return { type: "bad", code: "BAD_FRAME" };
  const content = decode(kind, bytes, from + numberBytes, to);
  if (content === undefined) return { type: "bad", code: "SESSION_LOST" };
  const [type] = Object.entries(numberedKinds).find(([, value]) => value === kind) ?? [];
  return { type, number: readUint48(bytes, from), ...content };
}

type Place = readonly [bytes: Uint8Array, from: number, to: number];

function decode(kind: number, ...place: Place): object | undefined {
  switch (kind) {
    case numberedKinds.message:
      return plain(decodeMessage(...place));
    case numberedKinds.batch:
      return messagesOf(decodeBatch(...place, Number.POSITIVE_INFINITY));
    case numberedKinds.request:
      return plain(decodeRequest(...place));
    case numberedKinds.reply:
      return plain(decodeReply(...place));
    case numberedKinds.failure:
      return plain(decodeFailure(...place), "request");
    case numberedKinds.cancel:
      return plain({ number: decodeCancel(...place) }, "request");
    case numberedKinds.open:
      return plain(decodeOpen(...place));
    case numberedKinds.data:
      return plain(decodeStreamData(...place));
    case numberedKinds.end:
      return plain({ number: decodeEnd(...place) }, "stream");
    case numberedKinds.abort:
      return plain(decodeAbort(...place), "stream");
    case numberedKinds.credit:
      return plain(decodeCredit(...place));
    default:
      return undefined;
  }
}

function messagesOf(batch: Batch | string): object | undefined {
  if (typeof batch === "string") return undefined;
  const messages: object[] = [];
  while (batch.next()) {
    const { form, topic, payload } = batch;
    messages.push({ form, topic, payload: hexOf(payload) });
  }
  return { messages };
}

/** Bytes in hexadecimal digits, and what is called a number here by the name that it has in the vectors. */
function plain(content: object | string, numberName = "number"): object | undefined {
  if (typeof content === "string" || ("number" in content && typeof content.number === "string")) return undefined;
  return Object.fromEntries(
    Object.entries(content).map(([name, value]: [string, unknown]) => [
      name === "number" ? numberName : name,
      value instanceof Uint8Array ? hexOf(value) : value,
    ]),
  );
}
