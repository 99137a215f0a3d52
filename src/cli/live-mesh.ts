import type { MeshStatus } from "../protocol/status.js";
import type { Drawing } from "./drawing.js";
import { KeyInput } from "./key-input.js";
import { keyHelp } from "./mesh-controls.js";
import { drawPicture } from "./mesh-picture.js";
import { type MeshStory, pairKey } from "./mesh-story.js";

/** The least time between two drawings; what happens more often is drawn together. */
const redrawMs = 50;
/** Ages grow also when nothing happens, and marks go away. */
const agesMs = 500;
/** Sentences that are kept: more than any terminal has rows for. */
const keptEvents = 50;

/** The mesh of `up --stay` on a terminal: its picture in place, what happens, and the keys. */
export class LiveMesh {
  readonly #drawing: Drawing;
  readonly #story: MeshStory;
  readonly #statusOf: () => MeshStatus | undefined;
  readonly #server: () => string;
  readonly #events: string[] = [];
  readonly #linkedAt = new Map<string, number>();
  readonly #ages: NodeJS.Timeout;
  #timer: NodeJS.Timeout | undefined;
  #keys: KeyInput | undefined;
  #note: string | undefined;
  #standing: () => readonly string[] = () => [];
  #step: { readonly arrow: string; readonly pair: string } | undefined;
  #isClosed = false;

  /** `statusOf`: the newest status, undefined before the first one. */
  constructor(drawing: Drawing, story: MeshStory, server: () => string, statusOf: () => MeshStatus | undefined) {
    this.#drawing = drawing;
    this.#story = story;
    this.#server = server;
    this.#statusOf = statusOf;
    this.#ages = setInterval(() => this.#redraw(), agesMs);
    process.stdout.on("resize", this.#resized);
  }

  /** Obeys keys from now on, where there is a keyboard. `standing`: what they have done, until it is undone. */
  takeKeys(press: (key: string, numbers: readonly number[]) => void, standing: () => readonly string[]): void {
    this.#standing = standing;
    if (process.stdin.isTTY === true) this.#keys = new KeyInput(press, () => this.changed());
  }

  tell(sentence: string): void {
    const time = new Date().toTimeString().slice(0, 8);
    this.#events.push(`${time} ${sentence}`);
    this.#events.splice(0, this.#events.length - keptEvents);
    this.changed();
  }

  /** What is said above the picture for as long as it is true. */
  note(text: string | undefined): void {
    this.#note = text;
    this.changed();
  }

  /** This step is being taken by these two. */
  step(arrow: string, from: string, to: string): void {
    this.#step = { arrow, pair: pairKey(from, to) };
    this.changed();
  }

  /** No step is being taken. */
  stepDone(): void {
    if (this.#step !== undefined) this.step("", "", "");
  }

  /** The link of this pair has a new connection. */
  linked(a: string, b: string): void {
    this.#linkedAt.set(pairKey(a, b), Date.now());
    this.changed();
  }

  changed(): void {
    if (this.#isClosed) return;
    this.#timer ??= setTimeout(() => this.#redraw(), redrawMs);
  }

  /** Draws for the last time, and gives the terminal back. */
  close(): void {
    this.#isClosed = true;
    process.stdout.off("resize", this.#resized);
    clearInterval(this.#ages);
    this.#keys?.close();
    this.#keys = undefined;
    this.#redraw();
    clearTimeout(this.#timer);
    this.#drawing.done();
  }

  readonly #resized = (): void => {
    // What was drawn may be wrapped in another way now.
    this.#drawing.clear();
    process.stdout.write("\u001b[2J\u001b[H");
    this.#redraw();
  };

  #redraw(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const status = this.#statusOf();
    if (status === undefined) return;
    const { columns, rows } = process.stdout;
    const notes = {
      story: this.#story,
      linkedAt: this.#linkedAt,
      steppingPair: this.#step?.pair,
      notes: [...(this.#note === undefined ? [] : [this.#note]), ...this.#standing()],
      events: this.#step === undefined ? this.#events : [...this.#events, "", this.#step.arrow],
      footer: this.#footer,
    };
    this.#drawing.draw(drawPicture(status, this.#server(), notes, columns, rows));
  }

  get #footer(): readonly string[] {
    if (this.#isClosed) return [];
    if (this.#keys === undefined) return ["Ctrl-C ends it"];
    const { typed } = this.#keys;
    const help = this.#step === undefined ? keyHelp : [...keyHelp, "space: pause / go on"];
    return typed === "" ? help : [...help, `for ${typed}: a key?`];
  }
}
