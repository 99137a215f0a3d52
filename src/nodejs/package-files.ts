/** Loaded only where it is needed, because it takes time. */
const require = (): NodeJS.Require => process.getBuiltinModule("node:module").createRequire(import.meta.url);
const manifest = "fullmesh/package.json";

/** The version of this package; "unknown" where it was bundled into a program, and has no package.json of its own. */
export function packageVersion(): string {
  try {
    const { version } = require()(manifest) as { readonly version?: unknown };
    return typeof version === "string" ? version : "unknown";
  } catch {
    return "unknown";
  }
}

/** The folder with the files of the page; undefined where this package was bundled into a program. */
export function pageFolder(): URL | undefined {
  try {
    return new URL(
      "dist/bundle/page/",
      process.getBuiltinModule("node:url").pathToFileURL(require().resolve(manifest)),
    );
  } catch {
    return undefined;
  }
}
