import { statSync } from "node:fs";
import type { Command } from "commander";
import { FullmeshError } from "../core/errors.js";
import { type MeetingPlace, meetingPlaceOf } from "../siblings/meeting-place.js";
import { type CommandContext, runCommand } from "./command.js";
import { withCommonFlags } from "./flags.js";
import { answerHelp, showStatus, type ViewFlags, watchFlag } from "./status.js";

/** Adds `fullmesh siblings`. */
export function addSiblings(program: Command): void {
  const command = program
    .command("siblings")
    .argument("<name>", "the name with which the processes call siblings()")
    .summary("show the mesh of the siblings of a name on this host")
    .description(
      "Prints the state of the mesh of all processes of this user on this host that call siblings() with this name, as " +
        "`fullmesh status` does. It does not join, and it never serves.",
    )
    .addOption(watchFlag());
  withCommonFlags(command, answerHelp);
  command.action((name: string) =>
    runCommand(command.opts<ViewFlags>(), (context) => runSiblings(name, command.opts<ViewFlags>(), context)),
  );
}

async function runSiblings(name: string, flags: ViewFlags, context: CommandContext): Promise<void> {
  const place = meetingPlaceOf(name);
  try {
    requireSocket(place);
    await showStatus([{ path: place.path }], place.address, name, undefined, flags, context);
  } catch (error) {
    if (!(error instanceof FullmeshError) || error.code !== "SERVER_UNREACHABLE") throw error;
    throw new FullmeshError("NO_SIBLINGS", `nobody serves siblings of this name at ${place.path}`, { cause: error });
  }
}

/** Without one there is nothing to dial again and again. */
function requireSocket({ path }: MeetingPlace): void {
  if (statSync(path, { throwIfNoEntry: false }) === undefined) throw new FullmeshError("SERVER_UNREACHABLE", path);
}
