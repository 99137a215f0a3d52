import type { Decoder, Encoder, ExtensionCodecType } from "@msgpack/msgpack";
import { FullmeshError } from "../core/errors.js";
import { defaultLimits } from "../core/limits.js";
import { isReferenced, type PayloadForm, payloadForms } from "../protocol/native/payload.js";
import { deepestValue, weighValue } from "../protocol/native/value.js";
import { findFault } from "./payload-faults.js";

/**
 * Payloads, and the bytes that travel. A `Uint8Array` travels as it is and `undefined` as nothing; everything else is a
 * value, and travels as MessagePack: null, booleans, numbers, texts, dates, byte arrays, and arrays and plain objects of
 * these. What would come out as something else (a Map, a class of the language, a function, a bigint) is refused.
 */

type Codec = typeof import("@msgpack/msgpack");

/** An encoder that has grown beyond this for one large value is let go; the next value gets a small one. */
const encoderBytes = 65_536;

const nothing = new Uint8Array(0);

let codec: Codec | undefined;
let encoder: Encoder | undefined;
let decoder: Decoder | undefined;

/** How this payload travels. */
export function payloadFormOf(payload: unknown): PayloadForm {
  if (payload instanceof Uint8Array) return payloadForms.bytes;
  return payload === undefined ? payloadForms.nothing : payloadForms.value;
}

/**
 * The bytes that travel. Below 4 KiB those of a value are overwritten by the next call, so they must be copied at once.
 * `most`: what a value may weigh; see `weighValue`.
 *
 * @throws {FullmeshError} `BAD_VALUE`
 */
export function bytesOf(payload: unknown, form: PayloadForm, most: number = defaultLimits.valueBytes): Uint8Array {
  if (form === payloadForms.bytes) return payload as Uint8Array;
  return form === payloadForms.nothing ? nothing : encode(payload, most);
}

/**
 * The payload again. Bytes in a value share the memory of those that came. `most`: what a value may weigh.
 *
 * @throws {FullmeshError} `BAD_VALUE` for bytes that are no value
 */
export function payloadOf(form: PayloadForm, bytes: Uint8Array, most: number = defaultLimits.valueBytes): unknown {
  if (form === payloadForms.bytes) return bytes;
  return form === payloadForms.nothing ? undefined : decode(bytes, most);
}

/** An error with data is a reply of one extension of this type: the code, the message and the data in an array. */
const errorType = 1;
const extensionHeadBytes = 6;
/** An extension whose length has four bytes. */
const extension32 = 0xc9;
const mostErrorDataBytes = 16_384;

/** The payload of a reply that carries an error with data; undefined if the data is not a value of at most 16 KiB. */
export function encodeErrorData(code: string, message: string, data: unknown): Uint8Array | undefined {
  try {
    if (encode(data, defaultLimits.valueBytes).length > mostErrorDataBytes) return undefined;
    const content = encode([code, message, data], defaultLimits.valueBytes);
    const bytes = new Uint8Array(extensionHeadBytes + content.length);
    bytes[0] = extension32;
    new DataView(bytes.buffer).setUint32(1, content.length);
    bytes[5] = errorType;
    bytes.set(content, extensionHeadBytes);
    return bytes;
  } catch {
    return undefined;
  }
}

/** What such a payload carries; undefined for any other value. */
export function decodeErrorData(
  bytes: Uint8Array,
  most: number,
): { readonly code: string; readonly message: string; readonly data: unknown } | undefined {
  if (bytes[0] !== extension32 || bytes[5] !== errorType) return undefined;
  const content = decode(bytes.subarray(extensionHeadBytes), most);
  const [code, message, data] = Array.isArray(content) ? (content as unknown[]) : [];
  if (typeof code !== "string" || typeof message !== "string")
    throw badValue("an error has no code or no message", undefined);
  return { code, message, data };
}

/** No byte of a value weighs more. */
const heaviestByte = 4_096;

function encode(value: unknown, most: number): Uint8Array {
  const { Encoder, ExtensionCodec } = loaded();
  encoder ??= new Encoder({
    extensionCodec: extensions(ExtensionCodec.defaultCodec),
    maxDepth: deepestValue,
    ignoreUndefined: true,
  });
  let bytes: Uint8Array;
  try {
    bytes = encoder.encodeSharedRef(value);
  } catch (error) {
    encoder = undefined;
    throw unsendable(value, error);
  }
  if (bytes.buffer.byteLength > encoderBytes) encoder = undefined;
  // Whoever gets it would refuse it, so it is refused here, where somebody can do something about it.
  if (bytes.length * heaviestByte > most && (weighValue(bytes, most) ?? 0) > most) throw tooHeavy(bytes, most);
  // What is not copied at once must not be the encoder's own memory, which the next value overwrites.
  return isReferenced(bytes) ? bytes.slice() : bytes;
}

function decode(bytes: Uint8Array, most: number): unknown {
  // The decoder believes every length, so it gets only what has been looked through, and is light enough.
  const weight = weighValue(bytes, most);
  if (weight === undefined) throw badValue(`these ${bytes.length} bytes are not one value`, undefined);
  if (weight > most) throw tooHeavy(bytes, most);
  const { Decoder, ExtensionCodec } = loaded();
  decoder ??= new Decoder({ extensionCodec: extensions(ExtensionCodec.defaultCodec) });
  try {
    return decoder.decode(bytes);
  } catch (error) {
    // Whatever it was in the middle of, the next value begins afresh.
    decoder = undefined;
    throw badValue(`these ${bytes.length} bytes are not one value`, error);
  }
}

/** The codec takes some milliseconds to load, and programs that send bytes need none. */
function loaded(): Codec {
  codec ??= process.getBuiltinModule("node:module").createRequire(import.meta.url)("@msgpack/msgpack") as Codec;
  return codec;
}

/** Only times are an extension here. The codec asks about every object, which is where the others are refused. */
function extensions(times: ExtensionCodecType<undefined>): ExtensionCodecType<undefined> {
  return {
    tryToEncode(object: unknown, context) {
      if (Array.isArray(object) || object instanceof Uint8Array) return null;
      const prototype: unknown = Object.getPrototypeOf(object);
      if (prototype === Object.prototype || prototype === null) return null;
      if (object instanceof Date && !Number.isNaN(object.getTime())) return times.tryToEncode(object, context);
      const kind = Object.prototype.toString.call(object).slice("[object ".length, -1);
      if (kind !== "Object") throw new TypeError(`a ${kind} would come out as something else`);
      return null;
    },
    decode(bytes, type, context) {
      const time = times.decode(bytes, type, context);
      if (!(time instanceof Date)) throw new TypeError(`there is no extension ${type}`);
      if (Number.isNaN(time.getTime())) throw new TypeError("a date is beyond those that there are");
      return time;
    },
  };
}

function tooHeavy({ length }: Uint8Array, most: number): FullmeshError {
  const words = `a value of ${length} bytes would take more than ${most} bytes of memory at who gets it`;
  return new FullmeshError("BAD_VALUE", `${words}; send it in parts, or as bytes`);
}

function unsendable(value: unknown, cause: unknown): FullmeshError {
  try {
    const fault = findFault(value);
    if (fault !== undefined) return new FullmeshError("BAD_VALUE", fault, { cause });
  } catch {
    // A getter has thrown, which is what the encoder says.
  }
  return badValue("this payload cannot be sent", cause);
}

function badValue(what: string, cause: unknown): FullmeshError {
  const why = cause instanceof Error ? `: ${cause.message}` : "";
  return new FullmeshError("BAD_VALUE", `${what}${why}`, { cause });
}
