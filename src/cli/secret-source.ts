import type { Stats } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { Command } from "commander";
import { FullmeshError } from "../core/errors.js";
import { Secret } from "../nodejs/secret.js";
import { flag } from "./flags.js";
import type { Output } from "./output.js";

/** A command takes its secret from a file or the environment, never from arguments, which every user of the machine can see. */

/** The flags that concern a secret. */
export interface SecretFlags {
  readonly secretFile?: string;
  readonly dialect?: string;
}

const variable = "FULLMESH_SECRET";

/** Far more than a secret has, so that a wrong file is noticed without reading all of it. */
const maxReadBytes = 256;

/** The mode bits of users other than the owner. */
const othersMode = 0o077;

/** Adds `--secret-file`. */
export function withSecretFlag(command: Command): Command {
  const help = `a file with the secret of the mesh, which fullmesh secret makes; or set ${variable}`;
  return command.addOption(flag("--secret-file <file>", help));
}

/**
 * The secret to use, undefined if there is none. A file takes precedence over the variable.
 *
 * @throws {FullmeshError} `BAD_SECRET`, `SECRET_FILE`; `SECRET_IN_CLASSIC` if the dialect can do nothing with it
 */
export async function secretFrom(flags: SecretFlags, output: Output): Promise<string | undefined> {
  const { secretFile, dialect } = flags;
  const text = process.env[variable];
  if (secretFile === undefined && text === undefined) return undefined;
  // To ignore a secret silently would be worse than to have none.
  if (dialect === "classic") {
    const source = secretFile === undefined ? `${variable} is set` : "there is a secret file";
    throw new FullmeshError("SECRET_IN_CLASSIC", `${source}, and this mesh would be in plain text`);
  }
  if (secretFile !== undefined) return await secretInFile(secretFile, output);
  // An empty variable most often means that a file was not found, so it must not mean plain text.
  if (!text) throw new FullmeshError("BAD_SECRET", `${variable} is empty; unset it to go on without a secret`);
  return checked(text, variable);
}

async function secretInFile(path: string, output: Output): Promise<string> {
  const name = `the secret file ${JSON.stringify(path)}`;
  let content: string;
  try {
    const file = await open(path);
    try {
      warnIfReadableByOthers(await file.stat(), name, output);
      content = await readStart(file);
    } finally {
      await file.close();
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const sentence = code === "ENOENT" ? `${name} does not exist` : `cannot read ${name}: ${code ?? String(error)}`;
    throw new FullmeshError("SECRET_FILE", sentence, { cause: error });
  }
  return checked(content.replace(/\r?\n$/, ""), `the content of ${name}`);
}

function warnIfReadableByOthers(stats: Stats, name: string, output: Output): void {
  const mode = stats.mode & 0o777;
  // Windows has no such modes.
  if (process.platform === "win32" || !stats.isFile() || (mode & othersMode) === 0) return;
  output.info(`${name} is open to other users (mode 0${mode.toString(8)}); chmod 600 closes it`);
}

/** The first bytes of a file or a pipe. */
async function readStart(file: FileHandle): Promise<string> {
  const bytes = Buffer.alloc(maxReadBytes);
  let length = 0;
  while (length < maxReadBytes) {
    const { bytesRead } = await file.read(bytes, length, maxReadBytes - length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return bytes.toString("latin1", 0, length);
}

function checked(text: string, name: string): string {
  new Secret(text, name);
  return text;
}
