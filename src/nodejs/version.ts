import { createRequire } from "node:module";

/** The version of this package; "unknown" where it was bundled into a program, and has no package.json of its own. */
export function packageVersion(): string {
  try {
    const { version } = createRequire(import.meta.url)("fullmesh/package.json") as { readonly version?: unknown };
    return typeof version === "string" ? version : "unknown";
  } catch {
    return "unknown";
  }
}
