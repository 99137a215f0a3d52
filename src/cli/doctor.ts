import { readFileSync } from "node:fs";
import { styleText } from "node:util";
import type { Command } from "commander";
import { Deferred } from "../api/deferred.js";
import { badOption, listenOption, requireSecure, serversOption } from "../api/options.js";
import { type Endpoint, isLoopback } from "../core/connections.js";
import { type ErrorCode, FullmeshError } from "../core/errors.js";
import { defaultMesh } from "../node/options.js";
import { descriptorLimits } from "../nodejs/descriptors.js";
import { pathBeside } from "../nodejs/local-socket.js";
import { systemLookup } from "../nodejs/name-dial.js";
import { backlog } from "../nodejs/transport.js";
import { type Address, formatAddress, parseAddress } from "../protocol/address.js";
import { canonicalIp, isUnspecified } from "../protocol/ip.js";
import type { ControlOf } from "../protocol/native/control.js";
import { isName } from "../protocol/native/fields.js";
import { version } from "../protocol/native/preface.js";
import { AddressProbe, type ProbeConnection } from "./address-probe.js";
import { type CommandContext, runCommand } from "./command.js";
import {
  type CheckName,
  type Finding,
  isAboutSecret,
  noDescriptors,
  paragraph,
  refused,
  unknownName,
  unreachable,
  unreached,
  wrong,
} from "./diagnosis.js";
import { exitCodes } from "./exit.js";
import { type CommonFlags, flag, withCommonFlags, withInsecureFlag, withListenFlags } from "./flags.js";
import type { Output } from "./output.js";
import { type SecretFlags, secretFrom, withSecretFlag } from "./secret-source.js";

interface DoctorFlags extends CommonFlags, SecretFlags {
  readonly mesh?: string;
  readonly listen?: string;
  readonly advertise?: string;
  readonly insecure?: true;
}

const defaultTimeoutSeconds = 10;
/** Clocks that differ by more make logs of two machines hard to read side by side. */
const clockToleranceMs = 2_000;
/** What a member needs besides one connection for each peer: the server, dials under way, and those that are refused. */
const spareConnections = 16;

/** Adds `fullmesh doctor`. */
export function addDoctor(program: Command): void {
  const command = program
    .command("doctor")
    .argument("[server]", "the rendezvous server's address, host:port or unix:/path (env: FULLMESH_SERVER)")
    .summary("say what keeps a member here from joining a mesh, and what to type")
    .description(
      "Does what a member does before it joins, and says what is wrong: looks up the server, connects, proves the secret, listens, and " +
        "has the server dial it back; then looks at clocks, file descriptors and the backlog. Takes no place in the mesh, and " +
        "members notice nothing. Give it the flags of the member. Exit code 0 when all is well, 1 when something is wrong.",
    );
  withListenFlags(command);
  command.addOption(flag("--mesh <name>", "the mesh to join (default: default)"));
  withSecretFlag(command);
  withInsecureFlag(withCommonFlags(command, "how long the server may take to be reached (default: 10)"));
  command.action((server: string | undefined) =>
    runCommand(command.opts<DoctorFlags>(), (context) => runDoctor(server, command.opts<DoctorFlags>(), context)),
  );
}

async function runDoctor(
  argument: string | undefined,
  flags: DoctorFlags,
  { output, onSignal, exitWith }: CommandContext,
): Promise<void> {
  const name = argument ?? process.env.FULLMESH_SERVER;
  if (name === undefined) badOption("server", "given as an argument or as FULLMESH_SERVER", name);
  const [server, ...others] = serversOption("server", name);
  if (server === undefined || others.length > 0) badOption("server", "one address; ask for each in turn", name);
  const { mesh = defaultMesh } = flags;
  if (!isName(mesh)) badOption("mesh", "1 to 64 bytes of UTF-8 without control characters", mesh);
  const on = flags.listen === undefined ? undefined : listenOption("listen", flags.listen);
  const secret = await secretFrom(flags, output);
  const stopped = new Deferred<undefined>();
  onSignal(() => stopped.resolve(undefined));
  const examination = new Examination(server, mesh, secret, on, flags, output);
  await Promise.race([examination.run(), stopped.promise]);
  if (!examination.isWell) exitWith(exitCodes.failed);
}

/** Goes through what a member needs, step by step, and reports each. */
class Examination {
  readonly #server: Endpoint;
  readonly #mesh: string;
  readonly #secret: string | undefined;
  readonly #on: Endpoint | undefined;
  readonly #flags: DoctorFlags;
  readonly #output: Output;
  readonly #probe: AddressProbe;
  readonly #findings: Finding[] = [];
  #isOver = false;
  #stepBegan = performance.now();

  constructor(
    server: Endpoint,
    mesh: string,
    secret: string | undefined,
    on: Endpoint | undefined,
    flags: DoctorFlags,
    output: Output,
  ) {
    this.#server = server;
    this.#mesh = mesh;
    this.#secret = secret;
    this.#on = on;
    this.#flags = flags;
    this.#output = output;
    // Counted before there are connections.
    descriptorLimits();
    this.#probe = this.#newProbe(secret);
  }

  get isWell(): boolean {
    return this.#isOver && this.#findings.every(({ result }) => result !== "wrong");
  }

  async run(): Promise<void> {
    const answer = await this.#askServer();
    this.#checkDescriptors(answer?.members ?? 0);
    this.#checkBacklog();
    this.#probe.close();
    this.#isOver = true;
    const at = formatAddress(this.#server);
    const success = `All is well: a member that is started here like this can join the mesh "${this.#mesh}" at ${at}, and others reach it.`;
    const text = paragraph(this.#findings, success);
    const first = this.#findings.find(({ result }) => result === "wrong");
    if (this.#output.options.json)
      this.#output.event(
        "diagnosis",
        null,
        { isWell: this.isWell, code: first?.code, message: text },
        undefined,
        this.#mesh,
      );
    else for (const line of ["", text]) this.#output.result(line);
  }

  /** The steps that need the server. Returns its answer, if it has given one. */
  async #askServer(): Promise<ControlOf<"probed"> | undefined> {
    if (!(await this.#lookUp())) return undefined;
    const connection = await this.#connect();
    if (connection === undefined) return undefined;
    const { address, listening } = await this.#listen(connection);
    // Without a listener the server is asked all the same, for all else that it knows; port 1 is nobody's.
    const asked = address ?? this.#nobodysAddress(connection);
    const answer = await this.#probe.ask(asked);
    if (answer.type === "failed") {
      this.#report(refused(this.#server, answer, this.#secretSource));
      return undefined;
    }
    // Known by the answer: the time until then is that of the dial.
    const message = `a fullmesh server, protocol version ${version}`;
    this.#report({ check: "server", result: "ok", message }, this.#stepBegan);
    this.#checkDialBack(address, listening, answer);
    this.#checkAdmission(answer);
    this.#checkClock(answer.at);
    return answer;
  }

  /** False if the name has no address. */
  async #lookUp(): Promise<boolean> {
    const { host } = this.#server;
    if (host === undefined || canonicalIp(host) !== undefined) return true;
    const found = new Deferred<readonly string[] | NodeJS.ErrnoException>();
    systemLookup(host, (error, addresses) => found.resolve(error ?? addresses.map(({ address }) => address)));
    const hosts = await found.promise;
    if (hosts instanceof Error) {
      this.#report(unknownName(host, hosts.code ?? hosts.message));
      return false;
    }
    const isLocalName = /^localhost$|\.localhost$/i.test(host);
    const loopback = hosts.find((each) => isLoopback(canonicalIp(each) ?? each));
    if (loopback === undefined || isLocalName) this.#ok("name", `${host} is ${hosts.join(", ")}`);
    else {
      const message = `the name ${host} leads to ${loopback}, which is on every machine that machine itself: a member elsewhere that uses it finds no server, and one here joins at loopback, where the others cannot reach it`;
      const remedy = `Give the server's address on the network in place of ${host}, or correct the line of ${host} in /etc/hosts: \`getent hosts ${host}\` shows what it leads to.`;
      this.#report(wrong("name", "LOOPBACK_NAME", message, remedy));
    }
    return true;
  }

  async #connect(): Promise<ProbeConnection | undefined> {
    const connection = await this.#probe.connect(this.#server);
    if (connection.type === "failed" && !isAboutSecret(connection)) {
      this.#report(unreachable(this.#server, connection));
      return undefined;
    }
    if (connection.type === "failed") {
      this.#ok("connection", `to ${formatAddress(this.#server)}`);
      const plain = connection.code === "SECRET_NOT_USED" ? await this.#refusalInPlain() : undefined;
      this.#report(plain ?? refused(this.#server, connection, this.#secretSource));
      return undefined;
    }
    const { local, remote, cipher } = connection;
    this.#ok("connection", `from ${formatAddress(local)} to ${formatAddress(remote)}`);
    if (cipher !== undefined) this.#ok("secret", `proved by both ends; ${cipher}`);
    else this.#ok("secret", "none: nothing is encrypted, and nobody proves anything");
    return connection;
  }

  /** What listens there takes no handshake: perhaps it is no server at all. Undefined if it is one without a secret. */
  async #refusalInPlain(): Promise<Finding | undefined> {
    const probe = this.#newProbe(undefined);
    try {
      const connection = await probe.connect(this.#server);
      if (connection.type === "failed") return refused(this.#server, connection, this.#secretSource);
      const answer = await probe.ask(this.#nobodysAddress(connection));
      return answer.type === "failed" ? refused(this.#server, answer, this.#secretSource) : undefined;
    } finally {
      probe.close();
    }
  }

  /** Where a member listens that is not told where. */
  #defaultPlace(local: Endpoint): Endpoint {
    if (this.#server.path !== undefined) return { path: pathBeside(this.#server.path) };
    return local.path === undefined ? { host: local.host, port: 0 } : local;
  }

  /** An address of this machine at which nobody listens. */
  #nobodysAddress({ local }: ProbeConnection): Address {
    const place = this.#defaultPlace(local);
    return formatAddress(place.path === undefined ? { host: place.host, port: 1 } : place);
  }

  /** Listens where the member would. `address`: what it would register, undefined if it may not or cannot. */
  async #listen({ local }: ProbeConnection): Promise<{ address?: Address; listening?: Address }> {
    const on = this.#on ?? this.#defaultPlace(local);
    try {
      requireSecure(on, this.#flags.insecure, this.#secret !== undefined);
      const bound = await this.#probe.listen(on);
      const isEverywhere = bound.path === undefined && isUnspecified(bound.host) && local.path === undefined;
      const listening = formatAddress(isEverywhere ? { host: local.host, port: bound.port } : bound);
      const address = this.#advertised(listening);
      if (address === listening) this.#ok("address", `others would dial ${address}`);
      else if (address !== undefined)
        this.#ok("address", `others would dial ${address}, and this process listens on ${listening}`);
      return { address: address ?? listening, listening };
    } catch (error) {
      if (!(error instanceof FullmeshError)) throw error;
      if (/EMFILE|ENFILE/.test(error.message)) this.#report(noDescriptors(`to listen on ${formatAddress(on)}`));
      else this.#report(wrong("address", error.code as ErrorCode, error.message, error.remedy));
      return {};
    }
  }

  /** What --advertise names; undefined, and reported, if nobody can dial that. */
  #advertised(listening: Address): Address | undefined {
    const { advertise } = this.#flags;
    if (advertise === undefined) return listening;
    const address = parseAddress(advertise);
    if (address !== undefined) return address;
    const host = canonicalIp(advertise.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1"));
    const why =
      host !== undefined && isUnspecified(host)
        ? `${host} means every address of a machine to whoever listens, and nothing to whoever dials`
        : "it is no IP address with a port";
    const remedy = `Leave out --advertise: others would then dial ${listening}, which is looked at below. Where they reach this machine by another address, name that one.`;
    this.#report(wrong("address", "BAD_OPTION", `nobody can dial --advertise ${advertise}: ${why}`, remedy));
    return undefined;
  }

  #checkDialBack(address: Address | undefined, listening: Address | undefined, answer: ControlOf<"probed">): void {
    const { reached, reason, observed, code } = answer;
    if (address === undefined || listening === undefined)
      this.#report({ check: "dial-back", result: "skipped", message: "nothing listens here that could be dialed" });
    else if (reached) this.#ok("dial-back", `the server reaches ${address}`);
    else {
      const wasDialed = this.#probe.dials > 0;
      const server = formatAddress(this.#server);
      this.#report(unreached({ server, address, listening, wasDialed, observed, reason, code }));
    }
  }

  #checkAdmission({ members, waits, code, message = "" }: ControlOf<"probed">): void {
    const size = `${members} ${members === 1 ? "member" : "members"}`;
    if (code === "FOREIGN_HOST")
      this.#report({ check: "admission", result: "skipped", message: `the mesh has ${size}` });
    else if (code !== undefined)
      this.#report(wrong("admission", code as ErrorCode, `a member would be refused: ${message}`));
    else if (waits === true) {
      const text = `the mesh is full, with ${size}: a member would wait in line until one of them goes`;
      this.#report(
        wrong("admission", "MESH_SEALED", text, "Start the server with a larger --capacity, or end a member."),
      );
    } else this.#ok("admission", `a member would be let in, beside ${size}`);
  }

  #checkClock(at: number): void {
    const aheadMs = Math.round(Date.now() - at);
    const seconds = `${(Math.abs(aheadMs) / 1000).toFixed(1)} s`;
    if (Math.abs(aheadMs) <= clockToleranceMs) {
      this.#ok("clock", `agrees with that of the server within ${clockToleranceMs / 1000} s`);
      return;
    }
    const message = `this machine's clock is ${seconds} ${aheadMs > 0 ? "ahead of" : "behind"} the server's; only logs suffer from it`;
    this.#report({
      check: "clock",
      result: "warning",
      message,
      remedy: "`timedatectl` shows whether it is synchronized.",
    });
  }

  #checkDescriptors(members: number): void {
    const { connections = 0 } = descriptorLimits();
    const needed = members + spareConnections;
    const room = `the limit on open files leaves room for ${connections} connections`;
    if (connections >= needed) {
      this.#ok("descriptors", room);
      return;
    }
    const enough = Math.max(1024, 2 ** Math.ceil(Math.log2(2 * needed)));
    const remedy = `Raise the limit in the shell or unit that starts the member: \`ulimit -n ${enough}\`, or LimitNOFILE=${enough}.`;
    const message = `${room}, and a member of this mesh needs ${needed}`;
    this.#report(wrong("descriptors", "NO_DESCRIPTORS", message, remedy));
  }

  #checkBacklog(): void {
    const path = "/proc/sys/net/core/somaxconn";
    let most: number;
    try {
      most = Number(readFileSync(path, "utf8"));
    } catch {
      this.#report({
        check: "backlog",
        result: "skipped",
        message: "this system does not say how many connections may wait",
      });
      return;
    }
    if (most >= backlog) {
      this.#ok("backlog", `${most} connections may wait to be accepted`);
      return;
    }
    const message = `only ${most} connections may wait to be accepted: when more dial at once, each of those loses a second`;
    const remedy = `\`sysctl -w net.core.somaxconn=${backlog}\`, for meshes of more than ${most} members.`;
    this.#report({ check: "backlog", result: "warning", message, remedy });
  }

  get #secretSource(): string {
    return this.#flags.secretFile === undefined ? "FULLMESH_SECRET" : `--secret-file ${this.#flags.secretFile}`;
  }

  #newProbe(secret: string | undefined): AddressProbe {
    const timeoutMs = (this.#flags.timeout ?? defaultTimeoutSeconds) * 1000;
    return new AddressProbe(this.#mesh, secret, timeoutMs);
  }

  #ok(check: CheckName, message: string): void {
    this.#report({ check, result: "ok", message });
  }

  /** Prints what was found, and how long it took. */
  #report(finding: Finding, until = performance.now()): void {
    this.#findings.push(finding);
    const tookMs = Math.round((until - this.#stepBegan) * 10) / 10;
    this.#stepBegan = until;
    const { check, result, message, code, remedy } = finding;
    if (this.#output.options.json) {
      this.#output.event("check", null, { check, result, tookMs, message, code, remedy }, undefined, this.#mesh);
      return;
    }
    const time = `${tookMs.toFixed(1)} ms`.padStart(11);
    this.#output.result(`${check.padEnd(12)}${time}  ${message}`, styleText(colours[result], result.padEnd(8)));
  }
}

const colours = { ok: "green", warning: "yellow", wrong: "red", skipped: "gray" } as const;
