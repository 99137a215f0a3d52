import { spawn } from "node:child_process";
import { onTestFinished } from "vitest";
import { Condition } from "../support/processes.js";
import { main, plainEnvironment } from "./command-line.js";

/** A command on a terminal of its own. What is drawn there is kept, with ESC for the escape character (ECMA-48). */
export class Terminal {
  #drawn = "";
  readonly #changed = new Condition();
  readonly #child;
  readonly exited: Promise<number | null>;

  /** `args`: of fullmesh. `around` makes the line of the shell from the command. */
  constructor(
    script: string,
    args: readonly string[],
    extra: Readonly<Record<string, string>> = {},
    around: (command: string) => string = (command) => command,
  ) {
    const command = [process.execPath, main, ...args].map((word) => `'${word}'`).join(" ");
    this.#child = spawn(script, ["-qec", around(command), "/dev/null"], {
      env: plainEnvironment({ TERM: "xterm", ...extra }),
    });
    this.#child.stdout.setEncoding("utf8").on("data", (text: string) => {
      this.#drawn += text.replaceAll("\u001b", "ESC");
      this.#changed.notify();
    });
    this.exited = new Promise((resolve) => void this.#child.once("close", resolve));
    onTestFinished(() => {
      this.#child.kill("SIGKILL");
    });
  }

  get drawn(): string {
    return this.#drawn;
  }

  /** The process id of `script`, whose child the shell is. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  type(text: string): void {
    this.#child.stdin.write(text);
  }

  /** Types this, and resolves with what is drawn after it, once it has this in it. */
  async answer(typed: string, text: string | RegExp): Promise<string> {
    const from = this.#drawn.length;
    this.type(typed);
    return await this.#has(text, from);
  }

  /** Resolves with all that was drawn, once this is in it. */
  async has(text: string | RegExp): Promise<string> {
    return await this.#has(text, 0);
  }

  async #has(text: string | RegExp, from: number): Promise<string> {
    const isIn = (drawn: string): boolean => (typeof text === "string" ? drawn.includes(text) : text.test(drawn));
    return await this.#changed.until(
      () => (isIn(this.#drawn.slice(from)) ? this.#drawn.slice(from) : undefined),
      () => `the terminal has not shown ${String(text)}, but ${JSON.stringify(this.#drawn.slice(from))}`,
    );
  }
}
