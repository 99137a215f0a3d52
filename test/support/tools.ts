import { accessSync, constants } from "node:fs";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";
import type { TestContext } from "vitest";

/** The path of a program; undefined if it is not on the PATH. */
export function findTool(name: string): string | undefined {
  const folders = (process.env.PATH ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/**
 * The path of a program that a test needs. Where it is missing the test is skipped, never passed, and the
 * report names the program.
 */
export function requireTool(context: TestContext, name: string): string {
  return findTool(name) ?? context.skip(`skipped for lack of a tool: ${name} is not on the PATH`);
}

/** Skips the test, naming what is missing, where no `Hosts` can be made. */
export function requireHosts(context: TestContext): void {
  requireTool(context, "ip");
  if (process.getuid?.() !== 0) context.skip("skipped for lack of a privilege: only root makes network namespaces");
}

/** Skips the test, naming what is missing, if this machine lacks an address that the test needs. */
export async function requireAddress(context: TestContext, host: string, meaning: string): Promise<void> {
  if (!(await canListen(host))) context.skip(`skipped for lack of ${meaning}: this machine has no ${host}`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function canListen(host: string): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once("error", () => resolve(false));
    server.listen({ host, port: 0 }, () => server.close(() => resolve(true)));
  });
}
