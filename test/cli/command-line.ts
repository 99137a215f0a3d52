import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { StartedProcess, type StartOptions } from "../support/processes.js";

export const main = fileURLToPath(new URL("../../dist/bundle/main.js", import.meta.url));

/** The environment of the tests without the variables that the command reads. */
export function plainEnvironment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(FULLMESH_|NO_COLOR|FORCE_COLOR|CI$)/.test(name));
  return { ...Object.fromEntries(inherited), ...extra };
}

/** One line of NDJSON. */
export interface EventLine {
  readonly event: string;
  readonly at: number;
  readonly node: string | null;
  readonly mesh: string;
  readonly [field: string]: unknown;
}

export function parseLines(lines: readonly string[]): EventLine[] {
  return lines.map((line) => JSON.parse(line) as EventLine);
}

/** Starts the command; it is stopped at the end of the test. */
export function fullmesh(args: readonly string[], options: StartOptions = {}): StartedProcess {
  return startProgram(main, args, options);
}

/** Starts a program of this project without flags in its environment; it is stopped at the end of the test. */
export function startProgram(path: string, args: readonly string[], options: StartOptions = {}): StartedProcess {
  const started = new StartedProcess(process.execPath, [path, ...args], { env: plainEnvironment(), ...options });
  onTestFinished(() => started.stop());
  return started;
}

/** Resolves with the first NDJSON line of this event that `isWanted`. */
export async function eventOf(
  process: StartedProcess,
  event: string,
  isWanted: (line: EventLine) => boolean = () => true,
): Promise<EventLine> {
  const matches = (line: string): boolean => {
    const parsed = JSON.parse(line) as EventLine;
    return parsed.event === event && isWanted(parsed);
  };
  return JSON.parse(await process.line(matches, `the event ${event}`)) as EventLine;
}

/** Starts `serve --json` on a free port and resolves with its address. */
export async function startServer(
  args: readonly string[] = [],
  options: StartOptions = {},
): Promise<{ readonly server: StartedProcess; readonly address: string }> {
  const server = fullmesh(["serve", "--json", "--listen", "127.0.0.1:0", ...args], options);
  const { address } = await eventOf(server, "listening");
  return { server, address: String(address) };
}
