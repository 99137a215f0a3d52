import { posix } from "node:path";
import ts from "typescript";

/** One source file: its path below `src/`, and its text. */
export interface SourceFile {
  readonly path: string;
  readonly text: string;
}

/** The floors, lowest first. A folder may import from lower floors only; folders of one floor are strangers. */
const floors: readonly (readonly string[])[] = [
  ["core"],
  ["protocol"],
  ["rendezvous", "mesh", "messaging"],
  ["runtime"],
  ["nodejs", "simulator"],
  ["."],
  ["cli"],
];

/** Floors on which there is no clock, dice, socket or logger. */
const pureFolders: ReadonlySet<string> = new Set([
  "core",
  "protocol",
  "rendezvous",
  "mesh",
  "messaging",
  "runtime",
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

function folderOf(path: string): string {
  return path.includes("/") ? (posix.dirname(path).split("/")[0] ?? ".") : ".";
}

function floorOf(folder: string): number {
  return floors.findIndex((folders) => folders.includes(folder));
}

function parse({ path, text }: SourceFile): ts.SourceFile {
  return ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
}

/** Imports that go up, or to the side. */
export function importFaults(file: SourceFile): string[] {
  const folder = folderOf(file.path);
  return ts
    .preProcessFile(file.text)
    .importedFiles.map(({ fileName }) => fileName)
    .filter((name) => name.startsWith("."))
    .map((name) => folderOf(posix.join(posix.dirname(file.path), name)))
    .filter((target) => target !== folder && floorOf(target) >= floorOf(folder))
    .map((target) => `${file.path} imports from ${target}/, which is not below it`);
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
