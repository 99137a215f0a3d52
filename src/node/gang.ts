import { badOption, integerOption, refuseUnknown } from "../api/options.js";

/** Which copy of a gang a node is. `fullmesh run` starts a gang, and says so in the environment. */
export interface GangPlace {
  /** From 0 to `size` - 1. */
  readonly rank: number;
  /** How many copies there are, at least 1. */
  readonly size: number;
}

/** A copy whose server is gone for so long has lost the command that started it, and ends. */
export const orphanedMs = 10_000;

/** Checks the option `gang`. */
export function gangOption(gang: unknown): GangPlace | undefined {
  if (gang === undefined) return undefined;
  refuseUnknown(gang as object, ["rank", "size"]);
  const { rank, size } = gang as GangPlace;
  integerOption("gang.size", size, 1);
  if (integerOption("gang.rank", rank, 0) >= size) badOption("gang.rank", `an integer below ${size}`, rank);
  return { rank, size };
}

/**
 * What `join` is given by the environment where it is called without an address: `FULLMESH_SERVER`, `FULLMESH_MESH`,
 * `FULLMESH_SECRET`, and in a gang `FULLMESH_RANK` and `FULLMESH_SIZE`. An empty variable counts as one that is not set; an
 * empty secret is refused, because it most often comes of a file that was not found.
 *
 * @throws {FullmeshError} `BAD_OPTION` without `FULLMESH_SERVER`, and for a rank or size that is none
 */
export function environmentOf(env: NodeJS.ProcessEnv): Readonly<{
  server: string;
  options: { readonly mesh?: string; readonly secret?: string; readonly gang?: GangPlace };
}> {
  const { FULLMESH_SERVER: server, FULLMESH_MESH: mesh, FULLMESH_SECRET: secret } = env;
  if (!server) return badOption("server", "given as an argument or as FULLMESH_SERVER", server);
  const gang = gangFrom(env);
  return {
    server,
    options: {
      ...(mesh ? { mesh } : {}),
      ...(secret === undefined ? {} : { secret }),
      ...(gang === undefined ? {} : { gang }),
    },
  };
}

/** The gang that the environment names; undefined if it names none. */
export function gangFrom({ FULLMESH_RANK: rank, FULLMESH_SIZE: size }: NodeJS.ProcessEnv): GangPlace | undefined {
  if (!rank) return undefined;
  const gang = { rank: wholeNumber("FULLMESH_RANK", rank, 0), size: wholeNumber("FULLMESH_SIZE", size, 1) };
  return gang.rank < gang.size ? gang : badOption("FULLMESH_RANK", `an integer below ${gang.size}`, rank);
}

function wholeNumber(name: string, text: string | undefined, least: number): number {
  const value = /^\d{1,9}$/.test(text ?? "") ? Number(text) : -1;
  return value >= least ? value : badOption(name, `an integer >= ${least}`, text);
}
