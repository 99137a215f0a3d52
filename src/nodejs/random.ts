import { closeSync, openSync, readSync } from "node:fs";

/**
 * Random bytes for ids and seeds, as good as those of node:crypto, which asks the same kernel. Loading that module takes
 * longer than all that a node computes until it has joined, and each process of a gang would pay for it.
 */

const source = "/dev/urandom";

/** So many random bytes, at most 256: that many the kernel gives in one piece. */
export function randomBytes(count: number): Buffer {
  const bytes = Buffer.alloc(count);
  try {
    const file = openSync(source, "r");
    try {
      if (readSync(file, bytes, 0, count, null) === count) return bytes;
    } finally {
      closeSync(file);
    }
  } catch {
    // A system without this file; a short read comes to the same.
  }
  return process.getBuiltinModule("node:crypto").randomBytes(count);
}

/** 128 random bits as hexadecimal digits. */
export function newId(): string {
  return randomBytes(16).toString("hex");
}

/** A random integer of 48 bits, to seed what needs no secrecy. */
export function newSeed(): number {
  return randomBytes(6).readUIntBE(0, 6);
}
