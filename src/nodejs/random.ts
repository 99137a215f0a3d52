import { closeSync, openSync, readSync } from "node:fs";

/**
 * Random bytes for ids and seeds, from the same kernel source as those of node:crypto. Loading that module would take longer
 * than everything else that a node computes until it has joined.
 */

const source = "/dev/urandom";

/** `count` random bytes, at most 256, which the kernel returns in one read. */
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
    // The system has no such file.
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
