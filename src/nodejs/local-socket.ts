import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  realpathSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
} from "node:fs";
import { connect, createServer, type Server } from "node:net";
import { FullmeshError } from "../core/errors.js";
import { pathBytes } from "../protocol/address.js";
import { digestOf } from "./digest.js";
import { randomBytes } from "./random.js";

/**
 * Sockets at a path. Whoever may connect may join, so a socket has the mode 0600, and its folder belongs to the user of this
 * process and has the mode 0700. The folder is what protects: nobody else gets to what is in it, not even in the moment between
 * the making of a socket and the setting of its mode.
 *
 * A process that was killed leaves its file behind. A new one takes its place, but never that of a living one: who wants a
 * path holds the lock of the path first, for as long as it listens there.
 */

/** The longest path: `sun_path` has 108 bytes on Linux and 104 on other systems, the last of them 0. */
const longestPath = process.platform === "linux" ? 107 : 103;

/** The length of an abstract name: all of `sun_path`. */
const lockBytes = 108;

/** How long somebody else may hold the lock of a path at which nobody listens: a process that is just starting or ending. */
const lockMs = 2000;
const lockPauseMs = 10;

/** Rights of others than the owner. */
const rightsOfOthers = 0o077;
const writeOfOthers = 0o022;
const stickyBit = 0o1000;

/** The locks of paths at which this process is going to listen. */
const reserved = new Map<string, Server>();

/** The files that this process has made and not removed, each with what tells it from a later one at the same path. */
const published = new Map<string, string>();

/** @throws {FullmeshError} `PATH_TOO_LONG` */
export function requireShortPath(path: string): void {
  const bytes = pathBytes(path);
  if (bytes <= longestPath) return;
  throw new FullmeshError("PATH_TOO_LONG", `${path} has ${bytes} bytes, and a local socket at most ${longestPath}`);
}

/** A new path in the folder of another one, for a member that listens beside its server. */
export function pathBeside(path: string): string {
  return `${folderOf(path)}/m-${randomBytes(4).toString("hex")}.sock`;
}

const besidePattern = /^m-[0-9a-f]{8}\.sock$/;

/** Removes the sockets of members that listened beside this path, and were killed. */
export async function removeDeadBeside(path: string): Promise<void> {
  const folder = folderOf(path);
  for (const name of readdirSync(folder)) {
    if (besidePattern.test(name)) await removeDead(`${folder}/${name}`);
  }
}

/** Removes the socket of a member, if that was killed: it had a name that nobody takes again. */
export async function removeDead(path: string): Promise<void> {
  if ((await stateOf(path)) !== "dead") return;
  try {
    const lock = await lockPath(path);
    await makeRoom(path).finally(() => lock?.close());
  } catch {
    // Somebody else has taken or removed it meanwhile.
  }
}

/**
 * Lets a server listen at a path, and resolves with what ends that and removes the file.
 *
 * @throws {FullmeshError} `PATH_TOO_LONG`, `UNSAFE_FOLDER`, `PATH_IN_USE`
 */
export async function listenLocally(server: Server, path: string, backlog: number): Promise<() => void> {
  requireShortPath(path);
  makeFolder(folderOf(path));
  const lock = reserved.get(path) ?? (await lockPath(path));
  reserved.delete(path);
  try {
    await makeRoom(path);
    await publish(server, path, backlog);
  } catch (error) {
    lock?.close();
    throw error;
  }
  return () => {
    withdraw(path);
    server.close();
    lock?.close();
  };
}

/**
 * Takes a path at which this process is going to listen if nobody else does, before it prepares for that. `inUse`: somebody
 * listens there. `locked`: somebody is about to, or has just ended. One that is reserved is listened at, or released.
 *
 * @throws {FullmeshError} `PATH_TOO_LONG`, `UNSAFE_FOLDER`; `PATH_IN_USE` if there is something that is no socket
 */
export async function reservePath(path: string): Promise<"reserved" | "inUse" | "locked"> {
  requireShortPath(path);
  makeFolder(folderOf(path));
  if ((await stateOf(path)) === "alive") return "inUse";
  const lock = await tryLock(path);
  if (lock === "held") return "locked";
  const state = await stateOf(path);
  if (state === "free" || state === "dead") {
    if (lock !== undefined) reserved.set(path, lock);
    return "reserved";
  }
  lock?.close();
  if (state === "alive") return "inUse";
  throw isForeign(path);
}

/** Gives up a path that was reserved, and at which nobody has come to listen. */
export function releasePath(path: string): void {
  reserved.get(path)?.close();
  reserved.delete(path);
}

/** The lock of a path as the system shows it; undefined where there are no such locks, or the folder is gone. */
export function lockNameOf(path: string): string | undefined {
  const stats = process.platform === "linux" ? statSync(folderOf(path), { throwIfNoEntry: false }) : undefined;
  return stats && `@${lockName(path).slice(1).trimEnd()}`;
}

/**
 * The folder of a socket must be this user's alone, also for whoever connects: somebody else could listen there.
 *
 * @throws {FullmeshError} `UNSAFE_FOLDER`
 */
export function requireSafeFolder(path: string): void {
  const folder = folderOf(path);
  const stats = statSync(folder, { throwIfNoEntry: false });
  // What is not there is harmless: nobody listens in it.
  if (stats !== undefined) requirePrivate(folder, stats);
}

function requirePrivate(folder: string, stats: Stats): void {
  if (!stats.isDirectory()) throw new FullmeshError("UNSAFE_FOLDER", `${folder} is no folder`);
  const { mode, uid } = stats;
  const own = ownUid();
  if (uid === own && (mode & rightsOfOthers) === 0) return;
  throw new FullmeshError(
    "UNSAFE_FOLDER",
    `${folder} belongs to the user ${uid} and has the mode ${modeText(mode)}; this process runs as the user ${own}`,
  );
}

/** Makes the folder if it is not there, with its parents, where nobody else could replace one of them. */
function makeFolder(folder: string): void {
  if (statSync(folder, { throwIfNoEntry: false }) === undefined) {
    requireSafeParents(folder);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }
  requirePrivate(folder, statSync(folder));
}

function requireSafeParents(folder: string): void {
  let parent = folderOf(folder);
  while (statSync(parent, { throwIfNoEntry: false }) === undefined) parent = folderOf(parent);
  for (let each = realpathSync(parent); ; each = folderOf(each)) {
    const { mode, uid } = statSync(each);
    const isOurs = uid === 0 || uid === ownUid();
    // In a folder such as /tmp others may write, but not replace what is ours.
    if (!isOurs || ((mode & writeOfOthers) !== 0 && (mode & stickyBit) === 0)) {
      const why = `${each} belongs to the user ${uid} and has the mode ${modeText(mode)}, so others could replace it`;
      throw new FullmeshError("UNSAFE_FOLDER", `${folder} is not made: ${why}`);
    }
    if (each === "/") return;
  }
}

/**
 * Takes the lock of a path: on Linux an abstract socket, which the kernel frees when the process ends in whatever way.
 * Undefined on other systems.
 */
async function lockPath(path: string): Promise<Server | undefined> {
  for (let leftMs = lockMs; ; leftMs -= lockPauseMs) {
    const lock = await tryLock(path);
    if (lock !== "held") return lock;
    if ((await stateOf(path)) === "alive") throw inUse(`a process listens on ${path}`);
    if (leftMs <= 0) throw inUse(`another process holds the lock of ${path}, the abstract socket ${lockNameOf(path)}`);
    await new Promise((resolve) => setTimeout(resolve, lockPauseMs));
  }
}

async function tryLock(path: string): Promise<Server | "held" | undefined> {
  if (process.platform !== "linux") return undefined;
  const lock = createServer((socket) => socket.destroy());
  try {
    await listening(lock, lockName(path), 1);
    return lock.unref();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") return "held";
    throw error;
  }
}

/**
 * The lock is named after the folder as the kernel knows it, because a path may be spelled in several ways. It has all bytes that
 * there are: Node 20 fills up a shorter name with zeros, and later ones do not, so it would be two.
 */
function lockName(path: string): string {
  const { dev, ino } = statSync(folderOf(path), { bigint: true });
  const name = `\0fullmesh ${dev} ${ino} ${path.slice(folderOf(path).length + 1)}`;
  const bytes = pathBytes(name);
  if (bytes <= lockBytes) return name + " ".repeat(lockBytes - bytes);
  return `\0fullmesh ${digestOf(name)}`.padEnd(lockBytes);
}

/**
 * Removes the socket of a process that is gone. It is moved away first and looked at again: where there is no lock, another
 * process may have taken the place since.
 */
async function makeRoom(path: string): Promise<void> {
  const state = await stateOf(path);
  if (state === "free") return;
  if (state === "alive") throw inUse(`a process listens on ${path}`);
  if (state === "foreign") throw isForeign(path);
  const aside = temporaryPath(path);
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  if ((await stateOf(aside)) !== "dead") {
    renameSync(aside, path);
    throw inUse(`another process has taken ${path}`);
  }
  unlinkSync(aside);
}

/** What is at a path: nothing, a socket that somebody listens on, one that nobody does, or something else. */
async function stateOf(path: string): Promise<"free" | "alive" | "dead" | "foreign"> {
  const failure = await new Promise<string | undefined>((resolve) => {
    const socket = connect({ path });
    socket.once("connect", () => resolve(undefined));
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    socket.on("connect", () => socket.destroy());
  });
  // The queue of a living one may be full.
  if (failure === undefined || failure === "EAGAIN") return "alive";
  if (failure === "ENOENT") return "free";
  const isSocket = lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true;
  return failure === "ECONNREFUSED" && isSocket ? "dead" : "foreign";
}

/**
 * Listens under another name, and gives the socket its own once it has its mode. So who connects never meets one on which
 * nobody listens yet. And when Node closes a socket it removes the file of the first name, whoever's that is by then.
 */
async function publish(server: Server, path: string, backlog: number): Promise<void> {
  const first = temporaryPath(path);
  await listening(server, first, backlog);
  try {
    chmodSync(first, 0o600);
    give(first, path);
  } catch (error) {
    server.close();
    throw error;
  }
  if (published.size === 0) process.on("exit", withdrawAll);
  published.set(path, identityOf(path) ?? "");
}

function give(first: string, path: string): void {
  try {
    linkSync(first, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") throw inUse(`another process has taken ${path}`);
    // The file system has no hard links.
    renameSync(first, path);
    return;
  }
  unlinkSync(first);
}

/** Removes the file, if it is still the one that this process has made. */
function withdraw(path: string): void {
  const identity = published.get(path);
  if (!published.delete(path)) return;
  if (published.size === 0) process.off("exit", withdrawAll);
  try {
    if (identityOf(path) === identity) unlinkSync(path);
  } catch {
    // It cannot be removed any more. The next one that listens there replaces it.
  }
}

function withdrawAll(): void {
  for (const path of [...published.keys()]) withdraw(path);
}

function identityOf(path: string): string | undefined {
  const stats = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return stats && `${stats.dev} ${stats.ino}`;
}

/** Workers of node:cluster would otherwise have their primary listen. */
async function listening(server: Server, path: string, backlog: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen({ path, backlog, exclusive: true }, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function temporaryPath(path: string): string {
  return `${folderOf(path)}/.${randomBytes(4).toString("hex")}`;
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/")) || "/";
}

function ownUid(): number {
  return process.geteuid?.() ?? 0;
}

function modeText(mode: number): string {
  return `0${(mode & 0o7777).toString(8)}`;
}

function isForeign(path: string): FullmeshError {
  return inUse(`${path} is there, and is no socket that could be replaced`);
}

function inUse(message: string): FullmeshError {
  return new FullmeshError("PATH_IN_USE", message);
}
