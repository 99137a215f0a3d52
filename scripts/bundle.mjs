// Puts the compiled library and command into few files in dist/bundle/, which is what package.json points to: a process
// that joins a mesh loads two files instead of ninety. npm run build does it behind the compiler.
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = fileURLToPath(new URL("..", import.meta.url));
const library = `${root}dist/src/index.js`;
const folder = `${root}dist/bundle`;

/**
 * A stack trace can still be read: lines stay lines, and functions and classes keep their names. Names that only one
 * function or one class knows are short, because V8 reads all of them before anything runs. Comments are for those who
 * read src/.
 */
const minify = { compress: false, mangle: { toplevel: false, keepNames: true }, codegen: { removeWhitespace: false } };
/** `up` starts its members by a program of their own, which loads the command. */
const commands = { main: `${root}dist/src/cli/main.js`, "up-member": `${root}dist/src/cli/up-member.js` };
const output = { dir: folder, format: "esm", comments: false, minify, chunkFileNames: "[name].js" };

/** What a server is made of is a file of its own, which is loaded by whoever starts one; what it needs for a store, or to be looked at, is another. */
const serverMachine = /\/dist\/src\/(?:rendezvous\/|server\/server-runtime|runtime\/memory-log)/;
const statusPages = /\/dist\/src\/server\/http\//;
const sharedLog = /\/dist\/src\/(?:server\/shared-log|runtime\/replicated\/|etcd\/(?!store-url))/;
const libraryOutput = {
  ...output,
  chunkFileNames: "library/[name].js",
  codeSplitting: {
    groups: [
      {
        name: "node",
        test: (path) => !serverMachine.test(path) && !statusPages.test(path) && !sharedLog.test(path),
      },
    ],
  },
};

/** What several commands share goes into two files, of which a member needs one. */
const serverParts = /\/dist\/src\/(?:rendezvous\/|server\/(?!shared-log|http\/)|cli\/server-reporter|cli\/trace-file)/;
const commandOutput = {
  ...output,
  codeSplitting: {
    groups: [
      {
        name: "common",
        minShareCount: 2,
        priority: 2,
        test: (path) => !serverParts.test(path) && !sharedLog.test(path),
      },
      { name: "server", priority: 1, test: serverParts },
    ],
  },
};

/** A single letter beyond Latin-1 makes V8 keep a whole file in two bytes a letter, and so take longer to read it. */
const asciiOnly = {
  name: "ascii-only",
  generateBundle: (_, files) => {
    for (const file of Object.values(files)) file.code = file.code.replace(/[^\0-\x7f]/g, escaped);
  },
};

/**
 * When one of Node's own modules is imported, Node reads every export that it has, and some of them load more. So they are
 * asked for by a call instead.
 */
const builtinsByCall = {
  name: "builtins-by-call",
  generateBundle: (_, files) => {
    for (const file of Object.values(files)) {
      file.code = file.code.replace(/^import \{(.*)\} from ("node:.*");$/gm, (line, names, id) => {
        if (/\bdefault as\b/.test(names)) throw new Error(`a module of Node's has no default by a call: ${line}`);
        return `const {${names.replaceAll(" as ", ": ")}} = process.getBuiltinModule(${id});`;
      });
    }
  },
};

rmSync(folder, { recursive: true, force: true });
const modules = new Set([
  ...(await bundle({ input: { index: library }, plugins: [builtinsByCall] }, libraryOutput)),
  ...(await bundle({ input: commands, plugins: [builtinsByCall] }, commandOutput)),
]);
await bundle(
  { input: { page: `${root}dist/src/page/page.js` }, platform: "browser" },
  { dir: `${folder}/page`, format: "esm", comments: false, minify: true },
);
for (const file of ["index.html", "page.css"]) cpSync(`${root}src/page/${file}`, `${folder}/page/${file}`);
writeFileSync(`${folder}/licenses.txt`, licensesOf(modules));

/** Bundles, and returns the paths of all that went in. */
async function bundle(options, into) {
  const { plugins = [], ...rest } = options;
  const build = await rolldown({ cwd: root, platform: "node", ...rest, plugins: [...plugins, asciiOnly] });
  const { output: files } = await build.write(into);
  await build.close();
  return files.flatMap((file) => (file.type === "chunk" ? file.moduleIds : []));
}

function escaped(letter) {
  return `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`;
}

/** The licenses of the packages whose modules these are: they ask to be kept with every copy. */
function licensesOf(paths) {
  const packages = new Set();
  for (const path of paths) {
    const [inside] = /^.*node_modules\/(?:@[^/]+\/)?[^/]+\//.exec(path) ?? [];
    if (inside !== undefined) packages.add(inside);
  }
  const texts = [...packages].sort().map((path) => {
    const { name, version } = JSON.parse(readFileSync(`${path}package.json`, "utf8"));
    const file = readdirSync(path).find((entry) => /^licen[cs]e/i.test(entry));
    if (file === undefined) throw new Error(`${name} comes without its license`);
    return `${name} ${version}\n\n${readFileSync(path + file, "utf8").trim()}\n`;
  });
  return texts.join(`\n${"-".repeat(72)}\n\n`);
}
