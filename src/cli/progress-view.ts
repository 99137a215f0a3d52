import { styleText } from "node:util";
import { drawMatrix, legend } from "./link-matrix.js";
import type { LinkTally } from "./link-tally.js";
import type { Output } from "./output.js";

/** At most so many pictures a second; more would only flicker. */
const pictureMs = 50;
/** Off a terminal, a line each time another tenth of the pairs is linked. */
const plainSteps = 10;

/** Shows a mesh as it forms. */
export interface View {
  /** Something has changed. */
  update(tally: LinkTally): void;
  /** It is over: the last picture stays. */
  finish(tally: LinkTally): void;
}

/** The view that fits where stdout goes: drawn in place on a terminal, plain lines elsewhere, nothing as JSON. */
export async function openView(output: Output): Promise<View> {
  if (output.options.json) return { update: () => {}, finish: () => {} };
  // A terminal without a size, as some recorders make it, has no place to draw in.
  const hasPlace = process.stdout.isTTY === true && process.stdout.columns > 0;
  if (!hasPlace) return new PlainView(output);
  const { createLogUpdate } = await import("log-update");
  return new LiveView(createLogUpdate(process.stdout));
}

function summary(tally: LinkTally): string {
  return `${tally.order.length} of ${tally.size} members, ${tally.pairs} of ${tally.wanted} links`;
}

class PlainView implements View {
  readonly #output: Output;
  #members = 0;
  #step = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  update(tally: LinkTally): void {
    for (; this.#members < tally.order.length; this.#members += 1) {
      this.#output.data(`joined ${tally.order[this.#members]} as rank ${this.#members}`);
    }
    const step = Math.floor((plainSteps * tally.pairs) / Math.max(1, tally.wanted));
    if (step > this.#step) this.#output.data(summary(tally));
    this.#step = Math.max(this.#step, step);
  }

  finish(tally: LinkTally): void {
    for (const line of drawMatrix(tally)) this.#output.data(line);
    this.#output.data(legend(tally));
  }
}

type Draw = ((...text: string[]) => void) & { done(): void };

class LiveView implements View {
  readonly #draw: Draw;
  #timer: NodeJS.Timeout | undefined;

  constructor(draw: Draw) {
    this.#draw = draw;
  }

  update(tally: LinkTally): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#picture(tally);
    }, pictureMs);
  }

  finish(tally: LinkTally): void {
    clearTimeout(this.#timer);
    this.#picture(tally);
    this.#draw.done();
  }

  #picture(tally: LinkTally): void {
    const matrix = drawMatrix(tally).map(colour);
    this.#draw([...matrix, legend(tally), summary(tally)].join("\n"));
  }
}

/** Half-reported links in yellow, linked ones in green, where the terminal and NO_COLOR allow it: `styleText` asks them. */
function colour(line: string): string {
  return line
    .replace(/[<>\u2801-\u28ff]+/g, (linked) => styleText("green", linked))
    .replace(/ - /g, (half) => styleText("yellow", half));
}
