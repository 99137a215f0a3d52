import { styleText } from "node:util";
import { type Drawing, openDrawing } from "./drawing.js";
import { drawMatrix, legend, tallyMatrix, tallySigns } from "./link-matrix.js";
import type { LinkTally } from "./link-tally.js";
import type { Output } from "./output.js";

/** The least time between two drawings; more of them would flicker. */
const redrawMs = 50;
/** Off a terminal, a line is printed each time another tenth of the pairs is linked. */
const plainSteps = 10;

/** Shows a mesh as it forms. */
export interface View {
  /** Shows a change. */
  update(tally: LinkTally): void;
  /** Shows the final state. */
  finish(tally: LinkTally): void;
}

/** True where something can be drawn in place. Some recorders make a terminal without a size, in which nothing can. */
export function canDraw(output: Output): boolean {
  return process.stdout.isTTY === true && process.stdout.columns > 0 && !output.options.json;
}

/** A view for this stdout: drawn in place on a terminal, plain lines elsewhere, nothing with --json. */
export async function openView(output: Output): Promise<View> {
  if (output.options.json) return { update: () => {}, finish: () => {} };
  if (!canDraw(output)) return new PlainView(output);
  return new LiveView(await openDrawing());
}

function summary(tally: LinkTally): string {
  return `${tally.order.length} of ${tally.size} members, ${tally.pairs} of ${tally.expectedPairs} links`;
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
      this.#output.result(`joined ${tally.order[this.#members]} as rank ${this.#members}`);
    }
    const step = Math.floor((plainSteps * tally.pairs) / Math.max(1, tally.expectedPairs));
    if (step > this.#step) this.#output.result(summary(tally));
    this.#step = Math.max(this.#step, step);
  }

  finish(tally: LinkTally): void {
    const matrix = tallyMatrix(tally);
    for (const line of drawMatrix(matrix)) this.#output.result(line);
    this.#output.result(legend(matrix, tallySigns));
  }
}

class LiveView implements View {
  readonly #drawing: Drawing;
  #timer: NodeJS.Timeout | undefined;

  constructor(drawing: Drawing) {
    this.#drawing = drawing;
  }

  update(tally: LinkTally): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#redraw(tally);
    }, redrawMs);
  }

  finish(tally: LinkTally): void {
    clearTimeout(this.#timer);
    this.#redraw(tally);
    this.#drawing.done();
  }

  #redraw(tally: LinkTally): void {
    const matrix = tallyMatrix(tally);
    const { columns } = process.stdout;
    const lines = drawMatrix(matrix, columns).map(colour);
    this.#drawing.draw([...lines, legend(matrix, tallySigns, columns), summary(tally)].join("\n"));
  }
}

/** Half-reported links in yellow, linked ones in green, where the terminal and NO_COLOR allow it: `styleText` asks them. */
function colour(line: string): string {
  return line
    .replace(/[<>\u2801-\u28ff]+/g, (linked) => styleText("green", linked))
    .replace(/ - /g, (half) => styleText("yellow", half));
}
