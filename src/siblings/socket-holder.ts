import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { harmless } from "../core/escaping.js";
import { lockNameOf } from "../nodejs/local-socket.js";

/** How much of a command line is quoted. */
const mostShown = 160;

/** What keeps a path taken. */
interface SocketHolder {
  /** The socket, as a person can find it. */
  readonly socket: string;
  /** The process that has it, where /proc shows that. */
  readonly pid: number | undefined;
}

/** Who has the socket at a path, or its lock. */
export function holderOf(path: string): SocketHolder {
  const lock = lockNameOf(path);
  const listed = listedSockets().find(({ name }) => name === lock || name === path);
  if (listed === undefined) return { socket: `the socket ${path}`, pid: undefined };
  const socket = listed.name === path ? `the socket ${path}` : `the abstract socket ${lock}, the lock of ${path}`;
  return { socket, pid: processWith(`socket:[${listed.inode}]`) };
}

/** The same as the end of a sentence. */
export function describeHolder(path: string): string {
  const { socket, pid } = holderOf(path);
  const whose = pid === undefined ? "a process that this user may not see" : `the process ${pid} (${commandOf(pid)})`;
  return `${whose}: it has ${socket}`;
}

/** The local sockets of this network namespace that have a name; none where the system does not list them. */
function listedSockets(): { readonly inode: string; readonly name: string }[] {
  return (attempt(() => readFileSync("/proc/net/unix", "utf8")) ?? "")
    .split("\n")
    .map((line) => /^(?:\S+ +){5}\S+ +(\d+) (.*\S) *$/.exec(line) ?? [])
    .map(([, inode = "", name = ""]) => ({ inode, name }));
}

/** The process that has such a file open. */
function processWith(file: string): number | undefined {
  const processes = attempt(() => readdirSync("/proc")) ?? [];
  const found = processes
    .filter((entry) => /^\d+$/.test(entry))
    .find((pid) => {
      const folder = `/proc/${pid}/fd`;
      const files = attempt(() => readdirSync(folder)) ?? [];
      return files.some((each) => attempt(() => readlinkSync(`${folder}/${each}`)) === file);
    });
  return found === undefined ? undefined : Number(found);
}

function commandOf(pid: number): string {
  const line = attempt(() => readFileSync(`/proc/${pid}/cmdline`, "utf8")) ?? "";
  return harmless(line.split("\0").join(" ").trim().slice(0, mostShown));
}

/** Processes come and go, and those of others cannot be looked into. */
function attempt<Value>(read: () => Value): Value | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
