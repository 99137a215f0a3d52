import { execFileSync } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** Builds once before all tests, so that a test that starts processes never runs yesterday's code. */
export default function setup(): void {
  const compiler = createRequire(import.meta.url).resolve("typescript/bin/tsc");
  const bundler = fileURLToPath(new URL("../../scripts/bundle.mjs", import.meta.url));
  execFileSync(process.execPath, [compiler, "--build"], { stdio: "inherit" });
  execFileSync(process.execPath, [bundler], { stdio: "inherit" });
}
