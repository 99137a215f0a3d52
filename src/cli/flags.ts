import { type Command, Option } from "commander";
import { badOption } from "../api/options.js";
import { defaultLimits } from "../core/limits.js";

/** The flags of the commands. Each has an environment variable `FULLMESH_<FLAG>`, which the flag overrides. */

/** The flags of every command. */
export interface CommonFlags {
  readonly json?: true;
  readonly quiet?: true;
  /** Seconds. */
  readonly timeout?: number;
}

/** The values of an environment variable that turn a switch off. */
const offValues: ReadonlySet<string> = new Set(["0", "false", "no", "off"]);

function variableOf(flags: string): string {
  const [, name = ""] = /--([a-z-]+)/.exec(flags) ?? [];
  return `FULLMESH_${name.toUpperCase().replaceAll("-", "_")}`;
}

/** A flag with its environment variable. */
export function flag(flags: string, description: string): Option {
  const option = new Option(flags, description);
  const variable = variableOf(flags);
  const value = process.env[variable];
  // An empty variable counts as unset, because compose files set such.
  const isOff = value === "" || (option.isBoolean() && value !== undefined && offValues.has(value.toLowerCase()));
  return isOff ? option : option.env(variable);
}

/** Adds the flags that every command has. */
export function withCommonFlags(command: Command, timeoutHelp: string): Command {
  return command
    .addOption(flag("--timeout <seconds>", timeoutHelp).argParser((text) => parseSeconds("timeout", text)))
    .addOption(flag("--json", "one JSON object a line on stdout"))
    .addOption(flag("--quiet", "print nothing on stderr but errors"));
}

/** Adds `--dialect`. The first choice is the default. */
export function withDialectFlag(command: Command, choices: readonly [string, ...string[]]): Command {
  const option = flag("--dialect <dialect>", "the dialect of members").choices(choices);
  return command.addOption(option.default(choices[0]));
}

/** Adds `--listen` and `--advertise` of a member. */
export function withListenFlags(command: Command): Command {
  return command
    .addOption(
      flag(
        "--listen <address>",
        "where to listen, ip:port or unix:/path (default: the address that reaches the server, any free port; beside the server's local socket)",
      ),
    )
    .addOption(flag("--advertise <address>", "the address to register, if others reach this member by another one"));
}

/** Adds `--insecure`. */
export function withInsecureFlag(command: Command): Command {
  return command.addOption(flag("--insecure", "listen beyond loopback without a secret, so without encryption"));
}

/** Adds `--silent`, in seconds. */
export function withSilentFlag(command: Command): Command {
  const help = "give up a connection on which nothing has come for so long";
  return command.addOption(detectionFlag("silent", help, defaultLimits.silentMs));
}

/** Adds `--lease`, in seconds: the server's, which its members learn from it. */
export function withLeaseFlag(command: Command): Command {
  return command.addOption(
    detectionFlag("lease", "how long a member without a session stays a member", defaultLimits.leaseMs),
  );
}

function detectionFlag(name: string, help: string, defaultMs: number): Option {
  const option = flag(`--${name} <seconds>`, `${help} (default: ${defaultMs / 1_000})`);
  return option.argParser((text) => parseSecondsWithin(name, text, detectionRange.least, detectionRange.most));
}

/** From the shortest that a loaded machine can keep, to an hour. */
const detectionRange = { least: 1, most: 3_600 } as const;

/** A number of seconds above 0, with fractions. */
export function parseSeconds(name: string, text: string): number {
  const value = Number(text);
  return /^\d+(\.\d+)?$/.test(text) && value > 0 ? value : badOption(name, "a number of seconds > 0", text);
}

/** A number of seconds in a range, with fractions. */
export function parseSecondsWithin(name: string, text: string, least: number, most: number): number {
  const value = Number(text);
  const isWithin = /^\d+(\.\d+)?$/.test(text) && value >= least && value <= most;
  return isWithin ? value : badOption(name, `a number of seconds from ${least} to ${most}`, text);
}

/** A number of seconds, 0 included. */
export function parseSecondsOrZero(name: string, text: string): number {
  return /^\d+(\.\d+)?$/.test(text) ? Number(text) : badOption(name, "a number of seconds >= 0", text);
}

/** A whole number from 1, up to `most` if there is such a bound. */
export function parseCount(name: string, text: string, most = Number.POSITIVE_INFINITY): number {
  const isCount = /^[1-9]\d{0,8}$/.test(text) && Number(text) <= most;
  const expected = most === Number.POSITIVE_INFINITY ? "an integer >= 1" : `an integer from 1 to ${most}`;
  return isCount ? Number(text) : badOption(name, expected, text);
}
