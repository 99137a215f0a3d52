import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { meetingPlaceOf } from "../../src/siblings/meeting-place.js";
import { holderOf } from "../../src/siblings/socket-holder.js";
import { StartedProcess } from "../support/processes.js";

const entry = new URL("../../dist/src/index.js", import.meta.url).href;
const program = new URL("../support/sibling.mjs", import.meta.url).pathname;

/** One thing that has happened to a sibling. */
export interface Happening {
  readonly type: string;
  readonly pid: number;
  readonly [field: string]: unknown;
}

/** The arguments of Node for a sibling; see `test/support/sibling.mjs`. */
export function siblingArgs(name: string, options: object = {}, extras: readonly string[] = []): string[] {
  return [program, entry, name, JSON.stringify(options), ...extras];
}

/** A process that is a sibling. */
export class Sibling {
  readonly process: StartedProcess;

  constructor(process: StartedProcess) {
    this.process = process;
  }

  /** Starts one, and stops it after the test. */
  static start(name: string, options: object = {}, ...extras: readonly string[]): Sibling {
    const process = new StartedProcess(globalThis.process.execPath, siblingArgs(name, options, extras), {
      hasStdin: true,
    });
    onTestFinished(() => process.stop());
    return new Sibling(process);
  }

  get happenings(): Happening[] {
    return this.process.lines.map((line) => JSON.parse(line) as Happening);
  }

  all(type: string): Happening[] {
    return this.happenings.filter((happening) => happening.type === type);
  }

  /** The `nth` happening of a type, past or to come. */
  async nth(type: string, nth = 1): Promise<Happening> {
    await this.process.line(() => this.all(type).length >= nth, `"${type}" for the ${nth}. time`);
    return this.all(type)[nth - 1] as Happening;
  }

  async complete(size: number): Promise<Happening> {
    const before = this.all("complete").length;
    this.process.writeLine(`complete ${size}`);
    return await this.nth("complete", before + 1);
  }

  async leave(): Promise<void> {
    this.process.writeLine("leave");
    this.process.endStdin();
    await this.process.exited();
  }
}

/** Siblings of this test meet in a folder of their own, which every user may write to. */
export function ownFolder(): string {
  const outer = process.env.TMPDIR;
  const folder = mkdtempSync(join(tmpdir(), "fm-"));
  chmodSync(folder, 0o1777);
  process.env.TMPDIR = folder;
  onTestFinished(() => {
    if (outer === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = outer;
    rmSync(folder, { recursive: true, force: true });
  });
  return folder;
}

/** The one of these that serves. */
export function servingOf(name: string, members: readonly Sibling[]): Sibling {
  const { pid } = holderOf(meetingPlaceOf(name).path);
  const serving = members.find(({ process }) => process.pid === pid);
  if (serving === undefined) throw new Error(`none of them serves, but process ${pid}`);
  return serving;
}
