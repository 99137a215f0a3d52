import { writeFile } from "node:fs/promises";
import { FullmeshError } from "../core/errors.js";
import { type TraceRecord, toSequenceDiagram } from "../runtime/trace.js";

/** A diagram of more messages than this helps nobody, and a server that runs for months must not keep them all. */
const mostRecords = 100_000;

/** Keeps the messages of a run, and writes them at its end as a Mermaid sequence diagram. */
export class TraceFile {
  readonly #path: string;
  readonly #records: TraceRecord[] = [];
  #left = 0;

  private constructor(path: string) {
    this.#path = path;
  }

  /** Opens the file at once, so that a path that cannot be written fails before the run and not after it. */
  static async open(path: string): Promise<TraceFile> {
    const trace = new TraceFile(path);
    await trace.write();
    return trace;
  }

  add(record: TraceRecord): void {
    if (this.#records.length < mostRecords) this.#records.push(record);
    else this.#left += 1;
  }

  /** Writes the diagram of what has happened so far. */
  async write(): Promise<void> {
    const rest = this.#left === 0 ? "" : `%% ${this.#left} later messages were left out\n`;
    try {
      await writeFile(this.#path, toSequenceDiagram(this.#records) + rest);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new FullmeshError("BAD_OPTION", `Expected \`trace\` to be a file that can be written: ${reason}`, {
        cause: error,
      });
    }
  }
}
