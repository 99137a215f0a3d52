import { posix } from "node:path";
import ts from "typescript";

/** One source file: its path in the repository, and its text. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** The floors, lowest first. A folder imports from lower floors only; folders of one floor do not import one another. */
const floors: readonly (readonly string[])[] = [
  ["src/core"],
  ["src/protocol"],
  ["src/rendezvous", "src/mesh", "src/messaging", "src/page"],
  ["src/runtime"],
  ["src/nodejs", "src/etcd"],
  ["src/api"],
  ["src/node", "src/server"],
  ["src/siblings"],
  ["src"],
  ["src/cli"],
  ["simulator"],
  ["bench", "proof"],
];

/** Floors on which there is no clock, dice, socket or logger. */
const pureFolders: ReadonlySet<string> = new Set([
  "src/core",
  "src/protocol",
  "src/rendezvous",
  "src/mesh",
  "src/messaging",
  "src/runtime",
  "simulator",
]);

/** What the compiler lets through on a pure floor, and why it may not be there. */
const impurities: readonly (readonly [pattern: RegExp, reason: string])[] = [
  [/\bDate\.now\b|\bnew Date\b/, "reads a clock"],
  [/\bMath\.random\b/, "throws dice"],
  [/\bWeakRef\b|\bFinalizationRegistry\b/, "sees the garbage collector"],
  [/\bperformance\b/, "reads a clock"],
  [/from "node:/, "imports from Node"],
  [/\bconsole\./, "logs"],
];

/** The folder that a file belongs to: below `src/` the next one, otherwise the topmost. */
function folderOf(path: string): string {
  const [top = "", next] = posix.dirname(path).split("/");
  return top === "src" && next !== undefined ? `${top}/${next}` : top;
}

function floorOf(folder: string): number {
  return floors.findIndex((folders) => folders.includes(folder));
}

function parse({ path, text }: SourceFile): ts.SourceFile {
  return ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
}

/** The files of the repository that a file imports, types included. */
function importsOf(file: SourceFile): string[] {
  return ts
    .preProcessFile(file.text)
    .importedFiles.map(({ fileName }) => fileName)
    .filter((name) => name.startsWith("."))
    .map((name) => posix.join(posix.dirname(file.path), name).replace(/\.js$/, ".ts"));
}

/** Imports that go up, or to the side. */
export function importFaults(file: SourceFile): string[] {
  const folder = folderOf(file.path);
  return importsOf(file)
    .map(folderOf)
    .filter((target) => target !== folder && floorOf(target) >= floorOf(folder))
    .map((target) => `${file.path} imports from ${target}/, which is not below it`);
}

/** The files that lie on a circle of imports, types included, or on a path from one circle to another. */
export function importCircles(files: readonly SourceFile[]): string[] {
  const imports = new Map(files.map((file) => [file.path, importsOf(file)]));
  // Whoever imports nothing that is left, and whoever nothing left imports, is on no circle.
  for (let size = -1; size !== imports.size; ) {
    size = imports.size;
    const imported = new Set([...imports.values()].flat());
    for (const [path, targets] of imports) {
      if (!imported.has(path) || !targets.some((target) => imports.has(target))) imports.delete(path);
    }
  }
  return [...imports.keys()].sort();
}

/** Clocks, dice and the like on a pure floor. */
export function impurityFaults(file: SourceFile): string[] {
  if (!pureFolders.has(folderOf(file.path))) return [];
  const code = withoutComments(file);
  return impurities.filter(([pattern]) => pattern.test(code)).map(([, reason]) => `${file.path} ${reason}`);
}

/** The code without its comments, which may speak of clocks. */
function withoutComments(file: SourceFile): string {
  const printer = ts.createPrinter({ removeComments: true });
  return printer.printFile(parse(file));
}
