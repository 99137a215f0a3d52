/** Keys of one letter, each with the numbers that were typed before it, such as `3k` or `2 5c`. */
export class KeyInput {
  readonly #onKey: (key: string, numbers: readonly number[]) => void;
  readonly #onTyped: () => void;
  #typed = "";
  #isClosed = false;

  /** Reads keys until `close`. `onTyped`: a digit has come, or `typed` has changed in another way. */
  constructor(onKey: (key: string, numbers: readonly number[]) => void, onTyped: () => void) {
    this.#onKey = onKey;
    this.#onTyped = onTyped;
    process.stdin.setRawMode(true);
    process.stdin.setEncoding("utf8").on("data", this.#read);
    // On every way out, also that of an error that nobody has caught.
    process.once("exit", this.close);
  }

  /** The digits that have been typed so far. */
  get typed(): string {
    return this.#typed;
  }

  /** Gives the terminal back as it was. */
  readonly close = (): void => {
    if (this.#isClosed) return;
    this.#isClosed = true;
    process.off("exit", this.close);
    process.stdin.off("data", this.#read).pause();
    process.stdin.setRawMode(false);
  };

  readonly #read = (text: string): void => {
    // An arrow, say: one sequence of characters that means none of the keys (ECMA-48).
    if (text.startsWith("\u001b")) this.#typed = "";
    else for (const key of text) this.#take(key);
    if (!this.#isClosed) this.#onTyped();
  };

  #take(key: string): void {
    // In raw mode the terminal sends no signal.
    if (key === "\u0003") process.kill(process.pid, "SIGINT");
    else if (/[\d,-]/.test(key) || (key === " " && this.#typed !== ""))
      this.#typed = `${this.#typed}${key}`.slice(-longestTyped);
    else if (key === "\u007f" || key === "\b") this.#typed = this.#typed.slice(0, -1);
    else {
      const numbers = Array.from(this.#typed.matchAll(/\d+/g), ([digits]) => Number(digits));
      this.#typed = "";
      this.#onKey(key.toLowerCase(), numbers);
    }
  }
}

/** Two numbers and a space need less. */
const longestTyped = 12;
