import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Option } from "commander";
import { parseAddress } from "../protocol/address.js";
import { flag } from "./flags.js";

/** Any free port on loopback. */
const onLoopback = "127.0.0.1:0";

/** The longest name of a socket beside that of a server. */
const longestName = "m-00000000.sock";

/** `--listen` of a command that starts a server and its members. */
export function ownListenFlag(): Option {
  const help = "where the server listens: ip:port, port 0 for any free one, or unix:/path";
  return flag("--listen <address>", `${help} (default: a local socket in a folder of its own)`);
}

/**
 * A local socket in a new folder, which is removed when this process exits; where the system or the folder for temporary files
 * allows none, a port on loopback.
 */
export function newOwnSocket(): string {
  if (process.platform === "win32") return onLoopback;
  const folder = mkdtempSync(join(tmpdir(), "fullmesh-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  return parseAddress(`unix:${folder}/${longestName}`) === undefined ? onLoopback : `unix:${folder}/server.sock`;
}
