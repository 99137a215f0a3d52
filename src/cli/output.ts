import sonicBoom, { type SonicBoom } from "sonic-boom";
import type { ErrorCode } from "../core/errors.js";
import { jsonLine, shownLine } from "../core/escaping.js";
import { defaultMesh } from "../node-options.js";
import type { LogRecord } from "../runtime/notes.js";

/** What a reader that has stopped reading may cost before the rest is left out. */
const longestBacklog = 16 * 1024 * 1024;
/** How long the last lines may take to leave this process. */
const flushMs = 1_000;

/** Fields of one NDJSON line besides `event`, `at`, `node` and `mesh`. */
export type Fields = Readonly<Record<string, unknown>>;

/** How a command speaks. */
export interface OutputOptions {
  /** One JSON object a line on stdout, and as log on stderr. */
  readonly json: boolean;
  /** No talk on stderr; errors are still said. */
  readonly quiet: boolean;
}

/** Milliseconds since the epoch, to the microsecond, so that lines of several processes can be put in order. */
export function wallClock(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000) / 1000;
}

/**
 * What a command writes: data on stdout, talk on stderr.
 *
 * Both go out asynchronously, because writing to a pipe that nobody reads would hold up the whole process, and with it
 * every link. A backlog has a bound; what is beyond it is left out, and counted at the end.
 */
export class Output {
  readonly options: OutputOptions;
  /** In whose name errors are told: a member's address, null for the server and before there is one. */
  speaker: string | null = null;
  readonly #stdout: SonicBoom;
  readonly #stderr: SonicBoom;
  /** Lines that were left out because nobody read. */
  #dropped = 0;

  constructor(options: OutputOptions) {
    this.options = options;
    const onDrop = (): void => {
      this.#dropped += 1;
    };
    this.#stdout = open(1, onDrop);
    this.#stderr = open(2, onDrop);
  }

  /** One event: as NDJSON, or as the sentence in its place. `node` is the emitter's address, null for the server. */
  event(event: string, node: string | null, fields: Fields, sentence?: string, mesh = defaultMesh): void {
    if (this.options.json) {
      this.#stdout.write(`${jsonLine({ event, at: wallClock(), node, mesh, ...fields })}\n`);
    } else if (sentence !== undefined) {
      this.talk(sentence);
    }
  }

  /** One line of data for people on stdout. */
  data(line: string): void {
    this.#stdout.write(`${shownLine(line)}\n`);
  }

  /** One line of talk on stderr. */
  talk(line: string): void {
    if (!this.options.quiet) this.#stderr.write(`${shownLine(line)}\n`);
  }

  /** A line for the log, on stderr: JSON beside JSON, a sentence beside sentences. */
  note(record: LogRecord): void {
    if (this.options.quiet && record.level !== "error") return;
    const { level, code, message, remote } = record;
    const from = remote === undefined ? "" : ` (${remote})`;
    const line = this.options.json ? jsonLine(record) : shownLine(`${level} ${code}: ${message}${from}`);
    this.#stderr.write(`${line}\n`);
  }

  /** What went wrong and what to try; said even when quiet. */
  error(code: ErrorCode | "ERROR", message: string, remedy?: string): void {
    if (this.options.json)
      this.event("error", this.speaker, { code, message, ...(remedy === undefined ? {} : { remedy }) });
    this.#stderr.write(`fullmesh: ${code}: ${shownLine(message)}\n`);
    if (remedy !== undefined) this.#stderr.write(`  try: ${remedy}\n`);
  }

  /** Resolves when all is written, or when nobody has read for a second. */
  async flush(): Promise<void> {
    if (this.#dropped > 0) this.#stderr.write(`fullmesh: left out ${this.#dropped} lines that nobody read in time\n`);
    const flushed = Promise.all([this.#stdout, this.#stderr].map(flush));
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise((resolve) => {
      timer = setTimeout(resolve, flushMs);
    });
    await Promise.race([flushed, patience]);
    clearTimeout(timer);
  }
}

function open(fd: 1 | 2, onDrop: () => void): SonicBoom {
  const stream = new sonicBoom.SonicBoom({ fd, sync: false, maxLength: longestBacklog });
  stream.on("drop", onDrop);
  // The reader has gone (EPIPE): there is nobody left to tell.
  stream.on("error", () => {});
  return stream;
}

function flush(stream: SonicBoom): Promise<void> {
  return new Promise((resolve) => {
    stream.once("error", () => resolve());
    stream.flush(() => resolve());
  });
}
