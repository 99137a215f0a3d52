import type { Change, Id } from "../../../src/protocol/directory.js";
import type { EntryContent, LogHead, PlacedFact, StoreRules } from "../../../src/runtime/replicated/store-keys.js";

/** An id that is easy to read. */
export function idOf(number: number): Id {
  return number.toString(16).padStart(32, "0");
}

export const rules: StoreRules = { format: 1, capacity: null, onFull: "hold", dialect: "any", leaseMs: 20_000 };

/** Two lives of servers. */
export const [first, second] = [idOf(0xa), idOf(0xb)];

export function headWith(changed: Partial<StoreRules> = {}, base = 1_000): LogHead {
  return { log: idOf(0x106), base, clock: base, rules: { ...rules, ...changed } };
}

export function change(of: Change, judges?: number, after = 0): EntryContent {
  return { change: of, after, ...(judges === undefined ? {} : { judges }) };
}

export function joined(id: number, more: { order?: number; port?: number; rank?: number } = {}): EntryContent {
  const { order, port = 4_000 + id, rank } = more;
  return change({
    type: "joined",
    id: idOf(id),
    address: `127.0.0.1:${port}`,
    dialect: "native",
    ...(order === undefined ? {} : { order }),
    ...(rank === undefined ? {} : { meta: { rank } }),
  });
}

export function replaced(
  old: number,
  id: number,
  port = 4_000 + old,
  dialect: "native" | "classic" = "native",
): EntryContent {
  return change({ type: "replaced", replaces: idOf(old), id: idOf(id), address: `127.0.0.1:${port}`, dialect });
}

export function gone(type: "left" | "lost", id: number, judges?: number): EntryContent {
  return change({ type, id: idOf(id), reason: "test" }, judges);
}

export function claimed(key: string, holder: number, token?: number): EntryContent {
  return change({ type: "claimed", key, holder: idOf(holder), ...(token === undefined ? {} : { token }) });
}

export function unclaimed(key: string, judges?: number): EntryContent {
  return change({ type: "unclaimed", key, reason: "test" }, judges);
}

export function fact(of: PlacedFact): EntryContent {
  return { fact: of };
}
