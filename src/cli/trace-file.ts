import { constants } from "node:fs";
import { writeFile } from "node:fs/promises";
import { FullmeshError } from "../core/errors.js";
import { type TraceRecord, toSequenceDiagram } from "../runtime/trace.js";
import type { Output } from "./output.js";

/** A longer diagram is unreadable, and a server that runs for months must not keep every message. */
const maxRecords = 100_000;

/** A pipe without a reader is an error; otherwise opening it would block, and keep the process from exiting. */
const flag = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NONBLOCK;

/** Errors that are not the fault of the path: the disk is full or broken, or this process has too many open files. */
const systemCodes: ReadonlySet<unknown> = new Set(["ENOSPC", "EDQUOT", "EFBIG", "EIO", "EMFILE", "ENFILE"]);

/**
 * Collects the messages of a run, and writes them at its end as a Mermaid sequence diagram. If the file cannot be written, that is
 * reported, and the run goes on without a trace.
 */
export class TraceFile {
  readonly #path: string;
  readonly #output: Output;
  #records: TraceRecord[] = [];
  #dropped = 0;
  #hasFailed = false;

  private constructor(path: string, output: Output) {
    this.#path = path;
    this.#output = output;
  }

  /**
   * Writes the file at once, so that a path that cannot be written fails before the run and not after it.
   *
   * @throws {FullmeshError} `BAD_OPTION`
   */
  static async open(path: string, output: Output): Promise<TraceFile> {
    const trace = new TraceFile(path, output);
    const error = await trace.#write();
    if (error === undefined) return trace;
    if (!systemCodes.has(error.code)) {
      const expected = "Expected `trace` to be a file that can be written";
      throw new FullmeshError("BAD_OPTION", `${expected}: ${error.message}`, { cause: error });
    }
    trace.#fail(error);
    return trace;
  }

  add(record: TraceRecord): void {
    if (this.#hasFailed) return;
    if (this.#records.length < maxRecords) this.#records.push(record);
    else this.#dropped += 1;
  }

  /** Writes the diagram of the messages so far. */
  async write(): Promise<void> {
    const error = this.#hasFailed ? undefined : await this.#write();
    if (error !== undefined) this.#fail(error);
  }

  async #write(): Promise<NodeJS.ErrnoException | undefined> {
    const rest = this.#dropped === 0 ? "" : `%% ${this.#dropped} later messages were dropped\n`;
    try {
      await writeFile(this.#path, toSequenceDiagram(this.#records) + rest, { flag });
      return undefined;
    } catch (error) {
      return error as NodeJS.ErrnoException;
    }
  }

  #fail(cause: NodeJS.ErrnoException): void {
    this.#hasFailed = true;
    this.#records = [];
    const { code, message, remedy } = new FullmeshError(
      "TRACE_FAILED",
      `the trace cannot be written: ${cause.message}; the run goes on without it`,
    );
    this.#output.error(code, message, remedy);
  }
}
