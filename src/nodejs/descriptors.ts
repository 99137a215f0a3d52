import { readdirSync, readFileSync } from "node:fs";
import { defaultLimits, type Limits } from "../core/limits.js";

/** The share of the file descriptors for connections; the rest is for files, pipes and libraries. */
const share = 0.8;

/** The limits on kinds of connections, each as a share of all. */
const parts = {
  handshakesPending: 1 / 2,
  handshakesPendingPerHost: 1 / 4,
  handshakesCrowded: 1 / 8,
  refusalsPending: 1 / 8,
  parked: 1 / 8,
  dialBacks: 1 / 8,
  dialBacksSlow: 1 / 8,
} as const satisfies Partial<Record<keyof Limits, number>>;

/** Computed once, before there are connections, also for many members in one process. */
let connections: number | undefined;

/**
 * The limits that follow from how many descriptors this process may open, and how many it had open at the first call. Node does
 * not report an accept that fails for want of descriptors, so connections must be counted. Without /proc, the defaults apply.
 */
export function descriptorLimits(): Partial<Limits> {
  connections ??= connectionsAllowed();
  const all = connections;
  const within = Object.entries(parts).map(([name, part]) => {
    const most = defaultLimits[name as keyof typeof parts];
    return [name, Math.max(1, Math.min(most, Math.floor(all * part)))];
  });
  return { connections: all, ...Object.fromEntries(within) };
}

function connectionsAllowed(): number {
  try {
    const soft = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
    if (soft === undefined) return defaultLimits.connections;
    return Math.max(1, Math.floor((Number(soft) - readdirSync("/proc/self/fd").length) * share));
  } catch {
    return defaultLimits.connections;
  }
}
