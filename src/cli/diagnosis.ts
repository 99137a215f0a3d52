import { type Endpoint, isNobodyThere } from "../core/connections.js";
import { type ErrorCode, FullmeshError } from "../core/errors.js";
import { type Address, formatAddress } from "../protocol/address.js";
import { version } from "../protocol/native/preface.js";
import type { ProbeFailure } from "./address-probe.js";

/** What is looked at, in this order. */
export type CheckName =
  | "options"
  | "name"
  | "connection"
  | "secret"
  | "server"
  | "address"
  | "dial-back"
  | "admission"
  | "clock"
  | "descriptors"
  | "backlog";

/** What was found. `warning`: worth knowing, and no reason for a failure. */
export interface Finding {
  readonly check: CheckName;
  readonly result: "ok" | "warning" | "wrong" | "skipped";
  readonly message: string;
  readonly code?: ErrorCode | undefined;
  /** What to type or to change. */
  readonly remedy?: string | undefined;
}

/** A finding of something that is wrong. */
export function wrong(check: CheckName, code: ErrorCode, message: string, remedy?: string): Finding {
  return { check, result: "wrong", code, message, remedy: remedy ?? new FullmeshError(code, message).remedy };
}

/** Whether the failure shows that there is a connection, so that the secret is what is wrong. */
export function isAboutSecret({ code }: ProbeFailure): boolean {
  return code?.startsWith("SECRET_") === true || code === "WRONG_IDENTITY";
}

/** There is no connection with the server. */
export function unreachable(server: Endpoint, { code, reason }: ProbeFailure): Finding {
  const at = formatAddress(server);
  if (code === "NO_DESCRIPTORS" || /EMFILE|ENFILE/.test(reason)) return noDescriptors(`to connect to ${at}`);
  if (server.path !== undefined) return unreachableSocket(server.path, at, reason);
  if (/ENOTFOUND|EAI_/.test(reason)) return unknownName(server.host, reason);
  if (/ECONNREFUSED|SELF_CONNECT/.test(reason)) {
    const message = `nobody listens at ${at}: a machine answers there, and no server runs at port ${server.port}`;
    const remedy = `Start the server there (fullmesh serve --listen ${at}), or name the port that it listens on: \`ss -ltn\` on its machine lists them.`;
    return wrong("connection", "SERVER_UNREACHABLE", message, remedy);
  }
  const message = `${at} cannot be reached: ${reason}`;
  const remedy = `Check the address, and let TCP to port ${server.port} through: firewalls of that machine, of this one, and between. Try \`nc -vz ${server.host} ${server.port}\`.`;
  return wrong("connection", "SERVER_UNREACHABLE", message, remedy);
}

function unreachableSocket(path: string, at: Address, reason: string): Finding {
  const why = isNobodyThere(reason) ? `nobody listens on ${path}` : `${path} cannot be connected to`;
  const remedy = `Start the server there (fullmesh serve --listen ${at}) as the user of this process, or name the socket that it listens on: \`ss -xl\` lists them.`;
  return wrong("connection", "SERVER_UNREACHABLE", `${why} (${reason})`, remedy);
}

export function unknownName(host: string, reason: string): Finding {
  const remedy = `Check the spelling with \`getent hosts ${host}\`, or give the server's IP address.`;
  return wrong("name", "SERVER_UNREACHABLE", `nobody knows the name ${host} (${reason})`, remedy);
}

export function noDescriptors(what: string): Finding {
  const remedy = "Raise the limit in the shell or unit that starts the member: `ulimit -n 4096`, or LimitNOFILE=4096.";
  return wrong("descriptors", "NO_DESCRIPTORS", `this process has no file descriptors left ${what}`, remedy);
}

/** The server has refused before it knew what is asked, or somebody else is there. `secretFrom`: where ours comes from. */
export function refused(server: Endpoint, failure: ProbeFailure, secretFrom: string | undefined): Finding {
  const at = formatAddress(server);
  const { code, refusal, reason } = failure;
  if (refusal === "SECRET_REQUIRED") {
    const remedy = "Give the server's secret: --secret-file FILE, or FULLMESH_SECRET.";
    return wrong(
      "secret",
      "SECRET_REQUIRED",
      `the server at ${at} takes only who has its secret, and none is given here`,
      remedy,
    );
  }
  if (refusal === "REGISTRATION_AT_NODE") {
    const [, itsServer] = / which is at (\S+)$/.exec(reason) ?? [];
    const remedy =
      itsServer === undefined
        ? undefined
        : `Type \`fullmesh doctor ${itsServer}\`: that is where this member has its server.`;
    return wrong("server", "REGISTRATION_AT_NODE", `at ${at} is a member of a mesh, not its rendezvous server`, remedy);
  }
  if (refusal !== undefined) {
    const known = new FullmeshError(refusal as ErrorCode, reason).remedy;
    return wrong("server", "REFUSED", `the server at ${at} refuses: ${refusal}: ${reason}`, known);
  }
  if (code === "VERSION_MISMATCH") {
    const message = `at ${at} is a fullmesh of another version: here the protocol has version ${version}, and ${reason}`;
    return wrong("server", code, message, "Install the same version at both ends: `fullmesh --version` shows it.");
  }
  if (/HTTP\//.test(reason)) {
    const remedy = "Name the port of `fullmesh serve --listen`, not that of a web server or of --http.";
    return wrong("server", "BAD_PREFACE", `at ${at} is an HTTP server, not a rendezvous server`, remedy);
  }
  if (code === "BAD_PREFACE") {
    return wrong(
      "server",
      code,
      `what listens at ${at} is no fullmesh server: ${reason}`,
      "Check the port: another program has it.",
    );
  }
  if (isAboutSecret(failure)) return badSecret(at, failure, secretFrom);
  const message = `what listens at ${at} does not answer as a server does: ${reason}`;
  return wrong("server", code ?? "SERVER_UNREACHABLE", message, "Check the port, and whether the server hangs.");
}

/** The secret is not taken. */
function badSecret(at: Address, { code = "SECRET_MISMATCH", reason }: ProbeFailure, from: string | undefined): Finding {
  if (code === "SECRET_NOT_USED") {
    const remedy = `Start the server with it (fullmesh serve --secret-file FILE); or go on without: leave out ${from}.`;
    return wrong("secret", code, `the server at ${at} uses no secret, and ${from} gives one`, remedy);
  }
  if (code !== "SECRET_MISMATCH" && code !== "WRONG_IDENTITY") return wrong("secret", code, `${at}: ${reason}`);
  const remedy = `Copy the server's secret file to this machine and name it with --secret-file; \`sha256sum\` of both must agree. Compare --mesh as well.`;
  return wrong("secret", code, `the server at ${at} does not take the secret of ${from}: ${reason}`, remedy);
}

/** What the server has found at the address of this member. */
export interface DialBack {
  readonly server: Address;
  /** The address that it has dialed, where this process listens, and whether anything has come there. */
  readonly address: Address;
  readonly listening: Address;
  readonly wasDialed: boolean;
  /** Where the server sees this process. */
  readonly observed: Address;
  readonly reason: string;
  readonly code: string | undefined;
}

/** Others do not reach this member. */
export function unreached(dialBack: DialBack): Finding {
  const { server, address, listening, observed, reason, code } = dialBack;
  const [host, port] = parts(address);
  const [seenHost] = parts(observed);
  if (code === "FOREIGN_HOST") {
    const message = `the server sees this member at ${seenHost}, and does not let it advertise ${host}`;
    const remedy =
      address === listening
        ? `An address translation is between them. Map a port to this machine, and type: fullmesh join ${server} --listen 0.0.0.0:${port} --advertise ${bracketed(seenHost)}:${port}`
        : `Start the server with --allow-advertise ${host}/${host.includes(":") ? 128 : 32}, or leave out --advertise.`;
    return wrong("dial-back", "FOREIGN_HOST", message, remedy);
  }
  if (address !== listening) {
    const message = `others do not reach ${address}, which --advertise names: the server has dialed it: ${reason}`;
    const remedy = `Leave out --advertise if others reach ${listening}; otherwise map ${address} to it, and try again.`;
    return wrong("dial-back", "ADDRESS_UNPROVED", message, remedy);
  }
  const isBlocked = !dialBack.wasDialed && !/REFUSED/.test(reason);
  const message = isBlocked
    ? `the server's dial to ${address} does not arrive (${reason}), though this machine reaches the server: a firewall lets through one way only`
    : `others do not reach ${address}: the server has dialed it: ${reason}`;
  const remedy = isBlocked
    ? `Let TCP to this machine in, at a port that you choose: \`fullmesh doctor ${server} --listen ${bracketed(host)}:7000\`, and on this machine \`nft insert rule inet filter input tcp dport 7000 accept\` or \`ufw allow 7000/tcp\`.`
    : "Name an address of this machine that others reach, with --listen.";
  return wrong("dial-back", "ADDRESS_UNPROVED", message, remedy);
}

function parts(address: Address): [host: string, port: string] {
  const colon = address.lastIndexOf(":");
  return [address.slice(0, colon).replace(/^\[(.*)\]$/, "$1"), address.slice(colon + 1)];
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

/** The paragraph at the end: everything that is wrong, and what to do about it. */
export function paragraph(findings: readonly Finding[], success: string): string {
  const faults = findings.filter(({ result }) => result === "wrong");
  const sentences = faults.map(
    ({ message, remedy }) => `${capital(message)}.${remedy === undefined ? "" : ` ${remedy}`}`,
  );
  return sentences.length === 0 ? success : sentences.join(" ");
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
