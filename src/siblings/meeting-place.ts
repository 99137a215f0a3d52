import { readlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { badOption } from "../api/options.js";
import { FullmeshError } from "../core/errors.js";
import { digestOf } from "../nodejs/digest.js";
import { requireSafeFolder } from "../nodejs/local-socket.js";
import { type Address, formatAddress, isPath } from "../protocol/address.js";
import { isName } from "../protocol/native/fields.js";

/** Where the siblings of one name meet: the socket at which one of them serves. The others listen beside it. */
export interface MeetingPlace {
  readonly path: string;
  readonly address: Address;
}

/** A name that is its own folder. Others, also those that differ from another one in case alone, become a hash. */
const plainName = /^[a-z0-9][a-z0-9._-]{0,31}$/;

/**
 * The meeting place of a name, for this user and this host; a network namespace is a host of its own. It is in the folder for
 * temporary files, and not in `XDG_RUNTIME_DIR`: services have no such variable, and that folder goes with the user's last login.
 *
 * @throws {FullmeshError} `BAD_OPTION`, `UNSAFE_FOLDER`, `NO_LOCAL_SOCKETS`
 */
export function meetingPlaceOf(name: unknown): MeetingPlace {
  if (typeof name !== "string" || !isName(name))
    return badOption("application", "a name of 1 to 64 bytes without control characters", name);
  if (process.platform === "win32")
    throw new FullmeshError("NO_LOCAL_SOCKETS", "Windows has no sockets that belong to one user");
  const base = tmpdir();
  if (!isPath(base)) badOption("TMPDIR", "an absolute path of letters, digits and ._@:+=~%-", base);
  const top = `${base}/fullmesh-${process.geteuid?.() ?? 0}`;
  const path = `${top}/${hostName()}/${folderNameOf(name)}/server.sock`;
  requireSafeFolder(`${top}/any`);
  return { path, address: formatAddress({ path }) };
}

function folderNameOf(name: string): string {
  return plainName.test(name) ? name : `~${digestOf(name).slice(0, 32)}`;
}

/** What tells this host from others that see the same folder: containers, and machines that share a disk. */
function hostName(): string {
  try {
    const [, namespace] = /^net:\[(\d+)\]$/.exec(readlinkSync("/proc/self/ns/net")) ?? [];
    return namespace ?? "host";
  } catch {
    // Only Linux has them.
    return "host";
  }
}
