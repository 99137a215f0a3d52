#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { runProgram } from "./command.js";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

/** Only the called command is loaded, because `up` starts many processes. */
const commands: Readonly<Record<string, () => Promise<(program: Command) => void>>> = {
  serve: async () => (await import("./serve.js")).addServe,
  join: async () => (await import("./join.js")).addJoin,
  up: async () => (await import("./up.js")).addUp,
  run: async () => (await import("./run.js")).addRun,
  siblings: async () => (await import("./siblings.js")).addSiblings,
  status: async () => (await import("./status.js")).addStatus,
  doctor: async () => (await import("./doctor.js")).addDoctor,
  secret: async () => (await import("./secret.js")).addSecret,
};

const program = new Command("fullmesh")
  .description("Introduces processes to one another and gives them exactly one connection between every pair.")
  .version(version)
  .configureHelp({ showGlobalOptions: true })
  .showHelpAfterError("(fullmesh --help lists the commands)");

// Without a known command in the first place, all are loaded for the help.
const called = process.argv[2] ?? "";
for (const name of Object.hasOwn(commands, called) ? [called] : Object.keys(commands)) {
  const add = await commands[name]?.();
  add?.(program);
}
program.addHelpText(
  "after",
  "\nEach command has --help.\n\nTry it:     fullmesh up 8\n" +
    "By hand:    fullmesh serve --capacity 3        in one terminal, then, in three others,\n" +
    "            fullmesh join 127.0.0.1:4000\n" +
    "A gang:     fullmesh run -n 4 -- node worker.mjs\n" +
    "Look:       fullmesh status 127.0.0.1:4000\n" +
    "In trouble: fullmesh doctor 127.0.0.1:4000\n" +
    "\nExit codes: 0 the mesh ended as it should, 1 failure, 2 usage, 3 a wait ran out or the\n" +
    "            mesh ended without being whole, 4 refused by the server, 128+n after signal n.",
);
await runProgram(program);
