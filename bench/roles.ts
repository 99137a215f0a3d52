import type { Child } from "./children.js";
import type { BenchContext, Measured } from "./types.js";

/** The measured programs, as they were built. */
const programs = new URL("programs/", import.meta.url);

/** A program of the bench by its name, such as `one-way-bare`. */
export function programOf(name: string): URL {
  return new URL(`${name}.js`, programs);
}

/** Told to everybody who plays. */
export type Parameters = Readonly<Record<string, unknown>>;

/** Starts a place where the others meet, and resolves with its address. */
export type Meeting = (stage: BenchContext, parameters: Parameters) => Promise<string>;

/** A path on which everything takes its time: what a relay in between does. */
export interface Path {
  readonly delayMs: number;
  readonly seed: number;
}

/** Who plays in one run: some receivers, and one who leads, and tells the result. */
export interface Programs {
  readonly program: URL;
  /** Where they meet. Without it, the leader is told where the receivers are. */
  readonly meeting?: Meeting;
  readonly receivers: number;
  readonly parameters: Parameters;
  readonly path?: Path;
  /** Node's, for the leader. */
  readonly flags?: readonly string[];
}

/** A rendezvous server is where members of a mesh meet. */
export const rendezvous: Meeting = ({ children }, parameters) =>
  children.start(programOf("rendezvous"), parameters).told<string>("ready");

/**
 * How much a program does: the milliseconds before it is measured, and while it is, and the bytes of a stream. What is
 * measured is the steady state, and V8 compiles more code for fullmesh than for the few lines of a bare program, which takes
 * it a second. Over a long path a stream is slower, and carries less.
 */
function extentOf({ isQuick, streamBytes }: BenchContext, path: Path | undefined): Parameters {
  if (path !== undefined)
    return { warmMs: isQuick ? 200 : 1_000, ms: isQuick ? 300 : 2_000, streamBytes: streamBytes / 8 };
  return { warmMs: isQuick ? 50 : 1_500, ms: isQuick ? 150 : 1_200, streamBytes };
}

/** Plays one run, and resolves with the result that the leader tells. */
export async function play(
  stage: BenchContext,
  { program, meeting, receivers, path, flags, ...cast }: Programs,
): Promise<Measured> {
  const { children } = stage;
  const given = { ...extentOf(stage, path), receivers, ...cast.parameters };
  const parameters = meeting === undefined ? given : { ...given, server: await meeting(stage, given) };
  const to: string[] = [];
  // One after the other, so that the leader of a mesh joins last.
  for (let rank = 0; rank < receivers; rank += 1) {
    to.push(await children.start(program, { ...parameters, role: "receive", rank }).told<string>("ready"));
  }
  const lead = (more: object): Child => children.start(program, { ...parameters, role: "lead", to, ...more }, flags);
  if (path === undefined) return await lead({}).told<Measured>("result");
  const relay = children.start(programOf("relay"), { ...path });
  const through = await relay.told<string>("ready");
  // Members dial those who joined after them, so in a mesh it is the leader whom the relay leads to.
  const isMesh = meeting !== undefined;
  const leader = lead(isMesh ? { advertise: through } : { to: [through] });
  relay.command(isMesh ? await leader.told<string>("listening") : (to[0] ?? ""));
  return await leader.told<Measured>("result");
}
