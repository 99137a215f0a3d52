import { mkdtempSync } from "node:fs";
import type { Child } from "./children.js";
import type { BenchContext, Measured } from "./types.js";

/** Where the compiled programs are. */
const programs = new URL("programs/", import.meta.url);

/** A program of the bench by its name, such as `one-way-bare`. */
export function programOf(name: string): URL {
  return new URL(`${name}.js`, programs);
}

/** The parameters of a program. */
export type Parameters = Readonly<Record<string, unknown>>;

/** Starts the server that the processes of a program need, and resolves with its address. */
export type StartServer = (context: BenchContext, parameters: Parameters) => Promise<string>;

/** A network path with a delay, made by a relay. */
export interface NetworkPath {
  readonly delayMs: number;
  readonly seed: number;
}

/** The processes of one run: receivers, and one leader, which reports the result. */
export interface ProgramRun {
  readonly program: URL;
  /** Without it, the leader gets the addresses of the receivers. */
  readonly startServer?: StartServer;
  readonly receivers: number;
  readonly parameters: Parameters;
  readonly path?: NetworkPath;
  /** Over local sockets instead of TCP. */
  readonly isLocal?: boolean;
  /** For Node, in the leader. */
  readonly flags?: readonly string[];
}

/** A new folder for the local sockets of one run. */
export function newSocketFolder({ socketFolder }: BenchContext): string {
  return mkdtempSync(`${socketFolder}/`);
}

/** The rendezvous server of a mesh. */
export const startRendezvous: StartServer = ({ children }, parameters) =>
  children.start(programOf("rendezvous"), parameters).reported<string>("ready");

/**
 * How much a program does: see `Stretches`, and the bytes of a stream. V8 goes on compiling for the whole first stretch. Over a
 * path with a delay nothing is measured in it, and a stream is slower, and carries less.
 */
function extentOf({ isQuick, streamBytes }: BenchContext, path: NetworkPath | undefined): Parameters {
  if (path !== undefined) {
    const startedMs = isQuick ? 200 : 1_000;
    return { startedMs, warmMs: startedMs, ms: isQuick ? 300 : 2_000, streamBytes: streamBytes / 8 };
  }
  const startedMs = isQuick ? 50 : 1_500;
  return { startedMs, warmMs: startedMs, ms: isQuick ? 150 : 1_200, streamBytes };
}

/** Starts the processes of a run, and resolves with the result that the leader reports. */
export async function runProgram(context: BenchContext, run: ProgramRun): Promise<Measured> {
  const { program, startServer, receivers, path, isLocal = false } = run;
  const { children } = context;
  const given = {
    ...extentOf(context, path),
    receivers,
    ...run.parameters,
    ...(isLocal ? { socketFolder: newSocketFolder(context) } : {}),
  };
  const parameters = startServer === undefined ? given : { ...given, server: await startServer(context, given) };
  const to: string[] = [];
  // One after the other, so that the leader of a mesh joins last.
  for (let rank = 0; rank < receivers; rank += 1) {
    to.push(await children.start(program, { ...parameters, role: "receive", rank }).reported<string>("ready"));
  }
  const lead = (more: object): Child =>
    children.start(program, { ...parameters, role: "lead", to, ...more }, run.flags);
  if (path === undefined) return await lead({}).reported<Measured>("result");
  const relay = children.start(programOf("relay"), { ...path });
  const relayAddress = await relay.reported<string>("ready");
  // Members dial those who joined after them, so in a mesh the relay stands before the leader.
  const isMesh = startServer !== undefined;
  const leader = lead(isMesh ? { advertise: relayAddress } : { to: [relayAddress] });
  relay.write(isMesh ? await leader.reported<string>("listening") : (to[0] ?? ""));
  return await leader.reported<Measured>("result");
}
