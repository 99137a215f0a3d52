import { readFileSync } from "node:fs";
import { defaultLimits } from "../core/limits.js";

/** The share of the process's descriptors that connections may take; the rest is for files, pipes and libraries. */
const share = 0.8;

/**
 * How many connections this process may hold. Node says nothing when an accept fails for want of descriptors, so the bound
 * must be kept by counting. Where the system does not tell its limit, the default stands.
 */
export function connectionsAllowed(): number {
  try {
    const limits = readFileSync("/proc/self/limits", "utf8");
    const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
    return soft === undefined ? defaultLimits.connections : Math.floor(Number(soft) * share);
  } catch {
    return defaultLimits.connections;
  }
}
