import type { Candidate } from "../protocol/directory.js";

/**
 * What the members of one shared log may take in the store. Its snapshot is one value, and etcd takes requests up to 1.5 MiB:
 * beside the members it holds 4,096 removed ids, 1,024 claims and the numbers of 64 writers, some 500 KiB at the most. All
 * servers must count alike, so this is no limit that one of them may choose.
 */
export const storedMembersBytes = 1_000_000;

/** Its id and its order, and where it is attached. */
const fixedBytes = 200;

/** How much of that a member takes. */
export function storedBytes({ address, dialect, name, meta }: Omit<Candidate, "id">): number {
  return fixedBytes + new TextEncoder().encode(JSON.stringify({ address, dialect, name, meta })).length;
}
