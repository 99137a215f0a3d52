import type { StoredValue } from "../runtime/store.js";
import type { KeyValue } from "./gateway.js";

/** Keys and values as the gateway has them: below a prefix, in base64. */
export class KeyCodec {
  /** The first key below the prefix, and the end of all of them. */
  readonly all: { readonly key: string; readonly range_end: string };
  readonly #prefix: string;

  /** `prefix`: without a slash at its end. */
  constructor(prefix: string) {
    this.#prefix = `${prefix}/`;
    // "0" is the character after the slash.
    this.all = { key: encodeText(this.#prefix), range_end: encodeText(`${prefix}0`) };
  }

  /** A key, or all keys from it up to `end`. */
  range(key: string, end: string | undefined): { key: string; range_end?: string } {
    const first = encodeText(this.#prefix + key);
    return end === undefined ? { key: first } : { key: first, range_end: encodeText(this.#prefix + end) };
  }

  decode({ key, value = "", create_revision: created = "0", mod_revision: modified = "0" }: KeyValue): StoredValue {
    const name = decodeText(key).slice(this.#prefix.length);
    return { key: name, value: decodeText(value), created: Number(created), modified: Number(modified) };
  }
}

export function encodeText(text: string): string {
  return Buffer.from(text, "utf8").toString("base64");
}

function decodeText(base64: string): string {
  return Buffer.from(base64, "base64").toString("utf8");
}
