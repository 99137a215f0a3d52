// The whole of what a pure floor may take from its surroundings: the text codecs, which every JavaScript engine has.
// Nothing here tells the time, throws dice or opens a socket, and nothing of that kind is ever added.

declare class TextEncoder {
  encode(text?: string): Uint8Array<ArrayBuffer>;
  encodeInto(text: string, into: Uint8Array): { read: number; written: number };
}

declare class TextDecoder {
  constructor(label?: string, options?: { fatal?: boolean; ignoreBOM?: boolean });
  decode(bytes?: Uint8Array): string;
}
