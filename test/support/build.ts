import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

/** Builds once before all tests, so that a test that starts processes never runs stale code. */
export default function setup(): void {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  execFileSync("npm", ["run", "--silent", "build"], { cwd: root, stdio: "inherit" });
}
