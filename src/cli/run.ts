import type { Command } from "commander";
import { Deferred } from "../api/deferred.js";
import { badOption } from "../api/options.js";
import { waitWithin } from "../api/waiting.js";
import { defaultMesh } from "../node/options.js";
import { makeSecret } from "../nodejs/secret.js";
import { serve } from "../server/rendezvous-server.js";
import { type CommandContext, runCommand } from "./command.js";
import { ProcessFailure } from "./exit.js";
import { type CommonFlags, flag, parseCount, parseSecondsOrZero, withCommonFlags } from "./flags.js";
import { type CopyEnd, describeEnd, exitCodeOfEnd, GangProcess, type OutputName } from "./gang-process.js";
import { ndjson, type Output } from "./output.js";
import { newOwnSocket, ownListenFlag } from "./own-socket.js";
import { secretFrom, withSecretFlag } from "./secret-source.js";
import { reportServer } from "./server-reporter.js";
import { prefixLines, splitLines } from "./whole-lines.js";

interface RunFlags extends CommonFlags {
  readonly size: number;
  /** How many times one copy may be started again. */
  readonly restart: number;
  /** Seconds. */
  readonly grace: number;
  readonly onFull: "release" | "hold";
  readonly secretFile?: string;
  readonly listen?: string;
}

/** Below the 1,024 members of a mesh without a capacity. */
const maxCopies = 1_000;
/** Less than the 10 s after which `docker stop` kills, and more than the 6 s that a leave may take. */
const defaultGraceSeconds = 8;
const defaultRestarts = 5;
/** The delay before a copy is started again, doubled each time up to a maximum. */
const firstRestartMs = 500;
const maxRestartMs = 30_000;
/** The colours of the rank prefixes (ECMA-48), without red, which is for errors. */
const colours = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94] as const;

/** Adds `fullmesh run`. */
export function addRun(program: Command): void {
  const command = program
    .command("run")
    .usage("-n <n> [options] -- <command> [args...]")
    .argument("<command...>", "the command and its arguments, behind --")
    .summary("run N copies of a command here as the members of a mesh")
    .description(
      "Starts a rendezvous server and N copies of a command on this machine. Each copy has FULLMESH_SERVER, FULLMESH_MESH, " +
        "FULLMESH_RANK, FULLMESH_SIZE and FULLMESH_SECRET in its environment, which join() without an address reads; they " +
        "are admitted in the order of their ranks. Their output is printed line by line, behind the rank. The first " +
        "copy that fails ends the others, and its exit code is that of this command.",
    )
    .addOption(
      flag("-n, --size <n>", `how many copies, 1 to ${maxCopies}`)
        .argParser((text) => parseCount("size", text, maxCopies))
        .makeOptionMandatory(),
    )
    .addOption(
      flag(
        "--restart <when>",
        `never, on-failure (a copy at most ${defaultRestarts} times), or on-failure:<times>; after 0.5 s, twice as long each time`,
      )
        .argParser(restarts)
        .default(0, "never"),
    )
    .addOption(
      flag("--grace <seconds>", "from SIGTERM, or Ctrl-C, to SIGKILL")
        .argParser((text) => parseSecondsOrZero("grace", text))
        .default(defaultGraceSeconds),
    )
    .addOption(
      flag("--on-full <what>", "once all copies are linked: leave the mesh to them, or go on serving it")
        .choices(["release", "hold"])
        .default("hold"),
    )
    .addOption(ownListenFlag());
  withSecretFlag(command);
  withCommonFlags(command, "how long all of it may take (default: for ever)");
  command.action((args: readonly string[]) =>
    runCommand(command.opts<RunFlags>(), (context) => runGang(args, command.opts<RunFlags>(), context)),
  );
}

/** How many times a copy may be started again. */
function restarts(text: string): number {
  if (text === "never") return 0;
  const [, times] =
    /^on-failure(?::([1-9]\d{0,5}))?$/.exec(text) ??
    badOption("restart", "never, on-failure or on-failure:<times>", text);
  return times === undefined ? defaultRestarts : Number(times);
}

async function runGang(
  command: readonly string[],
  flags: RunFlags,
  { output, onSignal, onStdoutClosed }: CommandContext,
): Promise<void> {
  const secret = (await secretFrom(flags, output)) ?? makeSecret();
  const logger = output.options.json ? output.logger : { ...output.logger, info: () => {} };
  if (flags.onFull === "release" && flags.restart > 0) {
    badOption("restart", "never with --on-full release, after which nobody can join", "on-failure");
  }
  const server = await serve({
    listen: flags.listen ?? newOwnSocket(),
    gangSize: flags.size,
    ...(flags.onFull === "release" ? { capacity: flags.size, onFull: flags.onFull } : {}),
    secret,
    logger,
  });
  if (output.options.json) {
    output.event("listening", null, { address: server.address });
    reportServer(server, output);
  }
  const others = Object.entries(process.env).filter(([name]) => !name.startsWith("FULLMESH_"));
  const env = {
    ...Object.fromEntries(others),
    FULLMESH_SERVER: server.address,
    FULLMESH_MESH: defaultMesh,
    FULLMESH_SIZE: String(flags.size),
    FULLMESH_SECRET: secret,
  };
  const copies = new CommandCopies(command, env, flags, output);
  onSignal(
    (signal) => copies.stop(signal),
    () => copies.kill("SIGKILL"),
  );
  onStdoutClosed(() => copies.stop("SIGTERM"));
  // Ctrl-Z stops the copies as well, and SIGCONT continues them.
  process.on("SIGTSTP", () => {
    copies.kill("SIGSTOP");
    process.kill(process.pid, "SIGSTOP");
  });
  process.on("SIGCONT", () => copies.kill("SIGCONT"));
  try {
    copies.start();
    const timeoutMs = flags.timeout === undefined ? undefined : flags.timeout * 1000;
    await waitWithin(copies.ended, { timeoutMs }, () => `${copies.running} of ${flags.size} copies have not ended`);
  } finally {
    copies.stop("SIGTERM");
    await copies.ended;
    await server.close();
  }
  if (copies.failure !== undefined) throw copies.failure;
}

/** One copy with its rank, through all its restarts. */
interface Copy {
  readonly rank: number;
  process: GangProcess | undefined;
  restarts: number;
  /** The delay before it is started again. */
  timer: NodeJS.Timeout | undefined;
}

/** The copies of a command, from their start to their end. */
class CommandCopies {
  /** Resolves when all have ended and their output has been printed. */
  readonly ended: Promise<void>;
  /** The failure of the first copy that failed. */
  failure: ProcessFailure | undefined;
  readonly #command: readonly string[];
  readonly #env: NodeJS.ProcessEnv;
  readonly #flags: RunFlags;
  readonly #output: Output;
  readonly #copies: Copy[];
  readonly #ended = new Deferred<void>();
  #isStopping = false;

  constructor(command: readonly string[], env: NodeJS.ProcessEnv, flags: RunFlags, output: Output) {
    this.#command = command;
    this.#env = env;
    this.#flags = flags;
    this.#output = output;
    this.#copies = Array.from({ length: flags.size }, (_, rank) => ({
      rank,
      process: undefined,
      restarts: 0,
      timer: undefined,
    }));
    this.ended = this.#ended.promise;
  }

  /** The number of copies that have not ended. */
  get running(): number {
    return this.#copies.filter(({ process, timer }) => process !== undefined || timer !== undefined).length;
  }

  start(): void {
    for (const copy of this.#copies) if (!this.#isStopping) this.#start(copy);
  }

  /** Sends the signal to all copies, once, and kills those that have not ended after the grace time. */
  stop(signal: NodeJS.Signals): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    for (const copy of this.#copies) {
      clearTimeout(copy.timer);
      copy.timer = undefined;
    }
    this.kill(signal);
    const timer = setTimeout(() => this.kill("SIGKILL"), this.#flags.grace * 1000);
    void this.ended.then(() => clearTimeout(timer));
    this.#checkEnded();
  }

  kill(signal: NodeJS.Signals): void {
    for (const { process } of this.#copies) process?.kill(signal);
  }

  #start(copy: Copy): void {
    const { rank } = copy;
    const env = { ...this.#env, FULLMESH_RANK: String(rank) };
    const print = (name: OutputName, lines: Buffer): Promise<void> | undefined => this.#print(rank, name, lines);
    const started = new GangProcess(this.#command, env, this.#flags.grace * 1000, {
      lines: print,
      exited: (end) => this.#exited(copy, started, end),
    });
    copy.process = started;
    this.#output.event("started", null, { rank, pid: started.pid ?? null });
    void started.closed.then(() => {
      copy.process = undefined;
      this.#checkEnded();
    });
  }

  #exited(copy: Copy, ended: GangProcess, end: CopyEnd): void {
    const { rank } = copy;
    const { code, signal, error } = end;
    const how = error !== undefined ? { error: error.message } : signal === null ? { code } : { signal };
    this.#output.event("exited", null, { rank, ...how });
    if (code === 0 || this.#isStopping) return;
    if (copy.restarts < this.#flags.restart) {
      this.#restart(copy, ended, end);
      return;
    }
    // Its last output may not have been read yet.
    void ended.closed.then(() => {
      const times = copy.restarts === 0 ? "" : `, started ${copy.restarts + 1} times,`;
      const detail = `rank ${rank}${times} ${describeEnd(end)}`;
      this.failure = new ProcessFailure(detail, exitCodeOfEnd(end), ended.lastLines);
    });
    this.stop("SIGTERM");
  }

  #restart(copy: Copy, ended: GangProcess, end: CopyEnd): void {
    const { rank } = copy;
    const delayMs = Math.min(firstRestartMs * 2 ** copy.restarts, maxRestartMs);
    copy.restarts += 1;
    const attempt = copy.restarts;
    const sentence = `rank ${rank} ${describeEnd(end)}; it is started again in ${delayMs / 1000} s (${attempt} of ${this.#flags.restart})`;
    this.#output.event("restarting", null, { rank, attempt, delayMs }, sentence);
    copy.timer = setTimeout(() => {
      void ended.closed.then(() => {
        copy.timer = undefined;
        if (!this.#isStopping) this.#start(copy);
      });
    }, delayMs);
  }

  #checkEnded(): void {
    if (this.running === 0) this.#ended.resolve();
  }

  #print(rank: number, name: OutputName, lines: Buffer): Promise<void> | undefined {
    const output = this.#output;
    if (output.options.json) {
      const events = splitLines(lines).map(
        (line) => `${ndjson("line", null, { rank, stream: name, ...textOf(line) }, defaultMesh)}\n`,
      );
      return output.relay("stdout", Buffer.from(events.join("")));
    }
    const width = String(this.#flags.size - 1).length;
    const label = `[${String(rank).padStart(width)}] `;
    const colour = colours[rank % colours.length];
    const isColoured = process[name].isTTY === true && process[name].hasColors();
    const prefix = isColoured ? `\u001b[0;${colour}m${label}\u001b[0m` : label;
    return output.relay(name, prefixLines(lines, Buffer.from(prefix)));
  }
}

/** A line as text if it is UTF-8, and as base64 otherwise. */
function textOf(line: Buffer): { readonly text: string } | { readonly base64: string } {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(line) };
  } catch {
    return { base64: line.toString("base64") };
  }
}
