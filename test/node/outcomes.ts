import { onTestFinished } from "vitest";
import type { MeshNode } from "../../src/index.js";
import { StartedProcess } from "../support/processes.js";

/** What a call comes to: what it returns, or the code of what it throws. */
export function outcomeOf(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return codeOf(error);
  }
}

/** The code of an error. */
export function codeOf(error: unknown): unknown {
  return (error as { readonly code?: unknown }).code;
}

/** The code of the error that a promise comes to. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => "no failure",
    (error: unknown) => codeOf(error),
  );
}

/** The address of a node that has one. */
export function addressOf(node: MeshNode): string {
  if (node.address === undefined) throw new Error("the node has no address");
  return node.address;
}

/** A member in a process of its own, made by the build: it never answers `forever`, and never reads `deaf` streams. */
export function unansweringMember(server: string): StartedProcess {
  const library = new URL("../../dist/src/index.js", import.meta.url).href;
  const program = [
    `import { join } from "${library}";`,
    `const node = await join("${server}");`,
    'node.onRequest("forever", () => new Promise(() => {}));',
    'node.onStream("deaf", () => {});',
    "await node.complete({ size: 2 });",
    "console.log(node.address);",
  ].join("\n");
  const started = new StartedProcess(process.execPath, ["--input-type=module", "-e", program]);
  onTestFinished(() => started.stop());
  return started;
}
