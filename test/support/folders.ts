import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** A new folder of the mode 0700, which is removed after the test. */
export function privateFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "fm-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
