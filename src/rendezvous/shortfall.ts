import type { AbsentMemberRow, MissingPairRow } from "./types.js";

/** What a mesh is short of. */
export interface Shortfall {
  /** How many members are there, and how many are to be; Infinity for no bound. */
  readonly there: number;
  readonly wanted: number;
  /** Members that are not there, those that are named. */
  readonly absent: readonly AbsentMemberRow[];
  /** How many pairs are not linked, and the first of them. */
  readonly count: number;
  readonly missing: readonly MissingPairRow[];
}

/** What a mesh is short of, in a sentence for people. */
export function shortfallOf({ there, wanted, absent, count, missing }: Shortfall): string {
  const parts: string[] = [];
  if (there < wanted && wanted !== Number.POSITIVE_INFINITY) parts.push(`${there} of ${wanted} members are there`);
  if (absent.length > 0) {
    parts.push(`not there: ${absent.map(([address, reason]) => `${address} (${reason})`).join(", ")}`);
  }
  if (count > 0) {
    const named = missing.map(([a, b, reason]) => `${a} - ${b} (${reason})`).join(", ");
    const rest = count > missing.length ? ` and ${count - missing.length} more` : "";
    parts.push(`${count} pairs are missing: ${named}${rest}`);
  }
  if (parts.length === 0) parts.push("a member that came back has not reported its links since");
  return parts.join("; ");
}
