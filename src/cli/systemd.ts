import { execFile } from "node:child_process";
import type { Output } from "./output.js";

/**
 * Says to systemd that the server is ready, where systemd waits for it (`Type=notify`). Node has no sockets of that kind, so
 * `systemd-notify` says it, for which the unit needs `NotifyAccess=all`.
 */
export function notifySystemd(output: Output): void {
  if (!process.env.NOTIFY_SOCKET) return;
  execFile("systemd-notify", ["--ready"], { timeout: 10_000 }, (error) => {
    if (error !== null) output.info(`systemd has not been told that the server is ready: ${error.message}`);
  });
}
