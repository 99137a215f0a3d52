import type { PairStatus } from "../protocol/status.js";

/** The time between two questions. */
const askMs = 1_000;

/** Two members, by their addresses. */
interface Pair {
  readonly a: string;
  readonly b: string;
}

/**
 * What the server knows of one pair, asked for again and again while it is pointed at; nothing is asked while the page is
 * hidden.
 */
export class PairFeed {
  readonly #onChange: () => void;
  #followed: string | undefined;
  #pair: PairStatus | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #askedAt = Number.NEGATIVE_INFINITY;

  /** `onChange` is called when the answer is another one. */
  constructor(onChange: () => void) {
    this.#onChange = onChange;
    document.addEventListener("visibilitychange", () => this.#schedule());
  }

  /** The newest answer about the pair that is followed. */
  get pair(): PairStatus | undefined {
    return this.#pair;
  }

  /** Follows this pair, or none. */
  follow(pair: Pair | undefined, mesh: string): void {
    const query = pair && new URLSearchParams({ mesh, a: pair.a, b: pair.b }).toString();
    if (query === this.#followed) return;
    this.#followed = query;
    this.#pair = undefined;
    this.#schedule();
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#followed === undefined || document.hidden) return;
    this.#timer = setTimeout(() => void this.#ask(), Math.max(0, this.#askedAt + askMs - performance.now()));
  }

  async #ask(): Promise<void> {
    const followed = this.#followed;
    this.#askedAt = performance.now();
    const pair = await answerTo(followed ?? "");
    if (followed !== this.#followed) return;
    this.#pair = pair;
    this.#onChange();
    this.#schedule();
  }
}

/** undefined for a pair that is not listed any more, and while the server does not answer. */
async function answerTo(query: string): Promise<PairStatus | undefined> {
  try {
    const response = await fetch(`pair.json?${query}`);
    return response.ok ? ((await response.json()) as PairStatus) : undefined;
  } catch {
    return undefined;
  }
}
