import { setTimeout as sleep } from "node:timers/promises";
import type { Command, Option } from "commander";
import { Deferred } from "../api/deferred.js";
import { Log } from "../api/log.js";
import { badOption, serversOption } from "../api/options.js";
import { waitWithin } from "../api/waiting.js";
import type { Endpoint } from "../core/connections.js";
import type { FullmeshError } from "../core/errors.js";
import { defaultMesh } from "../node/options.js";
import { isName } from "../protocol/native/fields.js";
import type { MeshStatus } from "../protocol/status.js";
import { type CommandContext, runCommand } from "./command.js";
import { type Drawing, openDrawing } from "./drawing.js";
import { type CommonFlags, flag, withCommonFlags } from "./flags.js";
import { MeshObserver } from "./mesh-observer.js";
import type { Output } from "./output.js";
import { canDraw } from "./progress-view.js";
import { type SecretFlags, secretFrom, withSecretFlag } from "./secret-source.js";
import { headline, statusText } from "./status-text.js";

/** How the status of a mesh is shown. */
export interface ViewFlags extends CommonFlags {
  readonly watch?: true;
}

interface StatusFlags extends ViewFlags, SecretFlags {
  readonly mesh?: string;
}

const defaultTimeoutSeconds = 10;
/** While the server is away, it is dialed again after so long. */
const redialMs = 1_000;
/** What has happened long ago is shown anew with its new age, so often. */
const redrawMs = 1_000;

export const answerHelp = `how long the server may take to answer (default: ${defaultTimeoutSeconds})`;

/** `--watch`. */
export function watchFlag(): Option {
  return flag("--watch", "go on, and show each change in place; with --json one object a line");
}

/** Adds `fullmesh status`. */
export function addStatus(program: Command): void {
  const command = program
    .command("status")
    .argument(
      "[server]",
      "the rendezvous server's address, host:port or unix:/path, or several with commas between them (env: FULLMESH_SERVER)",
    )
    .summary("show a mesh: its members, which pairs are linked, and what is missing")
    .description(
      "Asks a rendezvous server for the state of a mesh and prints it: members in join order, a matrix of the links, pairs that " +
        "are not linked and why, suspects, the waiting line, claims, and who has gone lately. Needs no member, and disturbs none.",
    )
    .addOption(flag("--mesh <name>", "the mesh to look at (default: default)"))
    .addOption(watchFlag());
  withSecretFlag(command);
  withCommonFlags(command, answerHelp);
  command.action((server: string | undefined) =>
    runCommand(command.opts<StatusFlags>(), (context) => runStatus(server, command.opts<StatusFlags>(), context)),
  );
}

async function runStatus(argument: string | undefined, flags: StatusFlags, context: CommandContext): Promise<void> {
  const { output } = context;
  const name = argument ?? process.env.FULLMESH_SERVER;
  if (name === undefined) badOption("server", "given as an argument or as FULLMESH_SERVER", name);
  const servers = serversOption("server", name);
  const { mesh = defaultMesh } = flags;
  if (!isName(mesh)) badOption("mesh", "1 to 64 bytes of UTF-8 without control characters", mesh);
  const secret = await secretFrom(flags, output);
  await showStatus(servers, name, mesh, secret, flags, context);
}

/** Shows the status of a mesh, once or until the command is stopped. `name`: what the server is called. */
export async function showStatus(
  servers: readonly Endpoint[],
  name: string,
  mesh: string,
  secret: string | undefined,
  flags: ViewFlags,
  context: CommandContext,
): Promise<void> {
  if (flags.watch) await watch(servers, name, mesh, secret, context);
  else print(await once(servers, mesh, secret, flags, context), name, context.output);
}

/** The status now, from the first of these servers that sends one. */
async function once(
  servers: readonly Endpoint[],
  mesh: string,
  secret: string | undefined,
  { timeout = defaultTimeoutSeconds }: ViewFlags,
  { output, onSignal }: CommandContext,
): Promise<MeshStatus> {
  const stopped = new AbortController();
  onSignal(() => stopped.abort());
  const log = new Log(output.logger);
  const wait = { timeoutMs: timeout * 1000, signal: stopped.signal };
  let failure: FullmeshError | undefined;
  for (const server of servers) {
    let newest: (status: MeshStatus) => void = () => {};
    const first = new Promise<MeshStatus>((resolve) => {
      newest = resolve;
    });
    const observer = new MeshObserver(server, mesh, secret, newest, log);
    try {
      const status = await waitWithin(Promise.race([first, observer.ended]), wait, () => "no status has come");
      if (!("error" in status)) return status;
      failure = status.error;
    } finally {
      observer.close();
    }
  }
  throw failure;
}

/** Shows the status until the command is stopped, or a server refuses. When one is away the next one is asked. */
async function watch(
  servers: readonly Endpoint[],
  name: string,
  mesh: string,
  secret: string | undefined,
  { output, onSignal, onStdoutClosed }: CommandContext,
): Promise<void> {
  const stopped = new AbortController();
  const view = await openStatusView(output, name);
  const log = new Log(output.logger);
  onSignal(() => stopped.abort());
  onStdoutClosed(() => stopped.abort());
  try {
    for (let turn = 0; !stopped.signal.aborted; turn += 1) {
      const server = servers[turn % servers.length] as Endpoint;
      const observer = new MeshObserver(server, mesh, secret, (status) => view.show(status), log);
      const closed = new Deferred<undefined>();
      const stopping = (): void => {
        observer.close();
        closed.resolve(undefined);
      };
      stopped.signal.addEventListener("abort", stopping, { once: true });
      const end = await Promise.race([observer.ended, closed.promise]);
      stopped.signal.removeEventListener("abort", stopping);
      if (end === undefined) return;
      if (end.isRefusal) throw end.error;
      view.away(end.error.message);
      await sleep(redialMs, undefined, { signal: stopped.signal }).catch(() => {});
    }
  } finally {
    view.close();
  }
}

function print(status: MeshStatus, server: string, output: Output): void {
  if (output.options.json) output.result(JSON.stringify(status));
  else for (const line of statusText(status, server, Date.now(), process.stdout.columns)) output.result(line);
}

/** Shows one status after the other. */
interface StatusView {
  show(status: MeshStatus): void;
  /** The server is away, and why. */
  away(reason: string): void;
  close(): void;
}

/** In place on a terminal, a line for each change elsewhere, an object a line with --json. */
async function openStatusView(output: Output, server: string): Promise<StatusView> {
  if (!canDraw(output)) {
    return {
      show: (status) => output.result(output.options.json ? JSON.stringify(status) : headline(status, server)),
      away: (reason) => output.info(`the server is away: ${reason}`),
      close: () => {},
    };
  }
  return new DrawnStatus(await openDrawing(), server);
}

/** The newest status in place, with ages that grow. */
class DrawnStatus implements StatusView {
  readonly #drawing: Drawing;
  readonly #server: string;
  readonly #timer: NodeJS.Timeout;
  #status: MeshStatus | undefined;
  #away: string | undefined;

  constructor(drawing: Drawing, server: string) {
    this.#drawing = drawing;
    this.#server = server;
    this.#timer = setInterval(() => this.#redraw(), redrawMs);
  }

  show(status: MeshStatus): void {
    this.#status = status;
    this.#away = undefined;
    this.#redraw();
  }

  away(reason: string): void {
    this.#away = reason;
    this.#redraw();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#drawing.done();
  }

  #redraw(): void {
    const { columns, rows } = process.stdout;
    const status = this.#status;
    const lines = status === undefined ? [] : statusText(status, this.#server, Date.now(), columns).slice(0, rows - 2);
    const last = status === undefined ? "" : "; this is what it said last";
    const away = this.#away === undefined ? [] : [`the server is away (${this.#away})${last}`];
    this.#drawing.draw([...away, ...lines].join("\n"));
  }
}
