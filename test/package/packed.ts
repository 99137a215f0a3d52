import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../../", import.meta.url));

/** Packs the package as `npm publish` would, and unpacks it where programs in this folder find it. Returns the packed paths. */
export function installPackage(folder: string): string[] {
  const args = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
  const report = execFileSync("npm", args, { cwd: root, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
  const [packed] = JSON.parse(report) as { filename: string; files: { readonly path: string }[] }[];
  if (packed === undefined) throw new Error("npm pack has made nothing");
  const installed = join(folder, "node_modules/fullmesh");
  mkdirSync(installed, { recursive: true });
  execFileSync("tar", ["-xzf", join(folder, packed.filename), "-C", installed, "--strip-components", "1"]);
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  mkdirSync(join(folder, "node_modules/@msgpack"));
  // Its one dependency, and the types of Node; nothing else is there.
  for (const dependency of ["@msgpack/msgpack", "@types"]) {
    symlinkSync(join(root, "node_modules", dependency), join(folder, "node_modules", dependency));
  }
  return packed.files.map(({ path }) => path);
}
