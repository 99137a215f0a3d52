#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { FullmeshError } from "../core/errors.js";
import { exitCodeOf, exitCodes } from "./exit.js";
import { addJoin } from "./join.js";
import { addSecret } from "./secret.js";
import { addServe } from "./serve.js";
import { addUp } from "./up.js";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const program = new Command("fullmesh")
  .description("Introduces processes to one another and gives them exactly one connection between every pair.")
  .version(version)
  .configureHelp({ showGlobalOptions: true })
  .showHelpAfterError("(fullmesh --help shows what there is)")
  .exitOverride();

addServe(program);
addJoin(program);
addUp(program);
addSecret(program);
program.addHelpText(
  "after",
  "\nEach command has --help.\n\nTry it:     fullmesh up 8\n" +
    "By hand:    fullmesh serve --capacity 3        in one terminal, then, in three others,\n" +
    "            fullmesh join 127.0.0.1:4000\n" +
    "\nExit codes: 0 the mesh ended as it should, 1 failure, 2 usage, 3 a wait ran out,\n" +
    "            4 refused by the server, 128+n after signal n.",
);
for (const command of program.commands) command.exitOverride();

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = usageCode(error);
}

/** Commander has said what is wrong, or has shown the help that was asked for. */
function usageCode(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ended : exitCodes.usage;
  if (!(error instanceof FullmeshError)) throw error;
  process.stderr.write(`fullmesh: ${error.code}: ${error.message}\n  try: ${error.remedy}\n`);
  return exitCodeOf(error);
}
