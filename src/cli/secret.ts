import type { Command } from "commander";
import { makeSecret } from "../nodejs/secret.js";
import { type CommandContext, runCommand } from "./command.js";
import { type CommonFlags, flag } from "./flags.js";
import { wallClock } from "./output.js";

/** Adds `fullmesh secret`. */
export function addSecret(program: Command): void {
  const command = program
    .command("secret")
    .summary("make a secret for a mesh")
    .description(
      "Prints a new secret: 32 random bytes in base64url. Programs that have it, and no others, can join a mesh " +
        "that has it, and everything between them is encrypted.",
    )
    .addOption(flag("--json", "one JSON object on stdout"))
    .addHelpText(
      "after",
      "\nKeep it where only you can read it:\n" +
        "  (umask 077; fullmesh secret > mesh.secret)\n" +
        "  fullmesh serve --secret-file mesh.secret",
    );
  command.action(() =>
    runCommand(command.opts<CommonFlags>(), (context) => printSecret(command.opts<CommonFlags>(), context)),
  );
}

async function printSecret(flags: CommonFlags, { output }: CommandContext): Promise<void> {
  const secret = makeSecret();
  const line = { event: "secret", at: wallClock(), node: null, mesh: null, secret };
  output.result(flags.json === true ? JSON.stringify(line) : secret);
}
