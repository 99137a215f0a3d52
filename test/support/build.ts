import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";

/** Builds once before all tests, so that a test that starts processes never runs yesterday's code. */
export default function setup(): void {
  const compiler = createRequire(import.meta.url).resolve("typescript/bin/tsc");
  execFileSync(process.execPath, [compiler, "--build"], { stdio: "inherit" });
}
