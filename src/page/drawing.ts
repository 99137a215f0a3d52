import type { MissingPair } from "../protocol/missing-pair.js";
import { linkReader, type MemberStatus, type MeshStatus } from "../protocol/status.js";
import { listedIn, shown } from "./words.js";

/** What is under the pointer, or chosen by the keyboard. */
export type Target =
  | { readonly type: "member"; readonly address: string }
  | { readonly type: "pair"; readonly a: string; readonly b: string };

/** The colours of the page, as its style sheet has them. */
interface Colours {
  readonly back: string;
  readonly edge: string;
  readonly text: string;
  readonly faint: string;
  readonly up: string;
  readonly missing: string;
  readonly suspect: string;
  readonly other: string;
  readonly select: string;
}

interface Point {
  readonly x: number;
  readonly y: number;
}

/** Where things are, in CSS pixels. */
interface Layout {
  readonly width: number;
  readonly height: number;
  readonly centre: Point;
  readonly radius: number;
  /** The side of the matrix, and its corner. */
  readonly side: number;
  readonly corner: Point;
}

/** Something that has just happened, and is shown for a moment. */
interface Flash {
  readonly target: Target;
  readonly colour: keyof Colours;
  readonly from: number;
}

const flashMs = 900;
/** Up to so many members have their names beside them. */
const mostLabels = 48;
/** Up to so many members have each of their links drawn anew at a change. */
const mostDrawnOneByOne = 60;
/** Up to so many missing pairs stand out in a large mesh. */
const fewMissing = 200;
const labelRoom = 118;
const margin = 14;

/**
 * Draws a mesh on one canvas: members in join order around a circle with their links, and the same links as a matrix. What
 * stays is drawn once into a picture of its own, so that a moment of animation costs no more than copying that.
 */
export class Drawing {
  readonly #canvas: HTMLCanvasElement;
  readonly #context: CanvasRenderingContext2D;
  readonly #still = document.createElement("canvas");
  readonly #allPairs = document.createElement("canvas");
  /** What the picture of all pairs was drawn for. */
  #allPairsOf = "";
  readonly #cells = document.createElement("canvas");
  #colours: Colours;
  #status: MeshStatus | undefined;
  #members: readonly MemberStatus[] = [];
  #others: readonly MemberStatus[] = [];
  #rankOf = new Map<string, number>();
  /** The missing pairs by both ranks, the earlier first. */
  #missing = new Map<number, MissingPair>();
  #isUp: (row: number, column: number) => boolean = () => false;
  #flashes: Flash[] = [];
  #selected: Target | undefined;
  #pointed: Target | undefined;
  #isStale = true;
  #frame: number | undefined;

  constructor(canvas: HTMLCanvasElement) {
    this.#canvas = canvas;
    this.#context = contextOf(canvas);
    this.#colours = readColours();
    new ResizeObserver(() => this.#outdated()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#colours = readColours();
      this.#outdated();
    });
  }

  /** Shows this status. */
  show(status: MeshStatus): void {
    this.#status = status;
    this.#members = listedIn(status);
    this.#others = status.members.filter(({ rank }) => rank === null);
    this.#rankOf = new Map(this.#members.map(({ address }, rank) => [address, rank]));
    this.#missing = new Map();
    for (const pair of status.missing) {
      const [a, b] = [this.#rankOf.get(pair.a), this.#rankOf.get(pair.b)];
      if (a !== undefined && b !== undefined) this.#missing.set(this.#pairAt(a, b), pair);
    }
    this.#isUp = linkReader(status);
    this.#outdated();
  }

  /** Lets something light up for a moment. */
  flash(target: Target, colour: keyof Colours): void {
    this.#flashes.push({ target, colour, from: performance.now() });
    this.#redraw();
  }

  set selected(target: Target | undefined) {
    this.#selected = target;
    this.#redraw();
  }

  set pointed(target: Target | undefined) {
    this.#pointed = target;
    this.#redraw();
  }

  /** What is at this place of the canvas, in CSS pixels. */
  at(x: number, y: number): Target | undefined {
    const layout = this.#layout();
    return this.#memberAt(layout, x, y) ?? this.#cellAt(layout, x, y) ?? this.#lineAt(layout, x, y);
  }

  #pairAt(row: number, column: number): number {
    return Math.min(row, column) * this.#members.length + Math.max(row, column);
  }

  #memberAt(layout: Layout, x: number, y: number): Target | undefined {
    const reach = Math.max(8, this.#dot * 1.6);
    const near = (point: Point): boolean => Math.hypot(point.x - x, point.y - y) <= reach;
    const rank = this.#members.findIndex((_, index) => near(this.#placeOf(layout, index)));
    const other = this.#others.findIndex((_, index) => near(this.#placeOfOther(layout, index)));
    const found = this.#members[rank] ?? this.#others[other];
    return found === undefined ? undefined : { type: "member", address: found.address };
  }

  #cellAt({ corner, side }: Layout, x: number, y: number): Target | undefined {
    const count = this.#members.length;
    const [row, column] = [Math.floor(((y - corner.y) / side) * count), Math.floor(((x - corner.x) / side) * count)];
    const [first, second] = [this.#members[Math.min(row, column)], this.#members[Math.max(row, column)]];
    if (first === undefined || second === undefined) return undefined;
    if (first === second) return { type: "member", address: first.address };
    return { type: "pair", a: first.address, b: second.address };
  }

  /** Only lines of missing pairs: there are few, and they are what is looked for. */
  #lineAt(layout: Layout, x: number, y: number): Target | undefined {
    for (const { a, b } of this.#missing.values()) {
      const from = this.#placeOf(layout, this.#rankOf.get(a) ?? 0);
      const to = this.#placeOf(layout, this.#rankOf.get(b) ?? 0);
      if (distance({ x, y }, from, to) < 5) return { type: "pair", a, b };
    }
    return undefined;
  }

  // Where things are.

  #layout(): Layout {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const isWide = width > height * 1.25;
    const room = this.#members.length <= mostLabels ? labelRoom : 24;
    const [first, second] = isWide ? [width * 0.62, width * 0.38] : [height * 0.6, height * 0.4];
    const circleWidth = isWide ? first : width;
    const circleHeight = isWide ? height : first;
    const radius = Math.max(20, Math.min(circleWidth / 2 - room, circleHeight / 2 - 34));
    const side = Math.max(
      40,
      Math.min((isWide ? second : width) - 2 * margin, (isWide ? height : second) - 2 * margin),
    );
    const corner = isWide
      ? { x: first + (second - side) / 2, y: (height - side) / 2 }
      : { x: (width - side) / 2, y: first + (second - side) / 2 };
    return { width, height, centre: { x: circleWidth / 2, y: circleHeight / 2 }, radius, side, corner };
  }

  #placeOf({ centre, radius }: Layout, rank: number): Point {
    const angle = (2 * Math.PI * rank) / Math.max(1, this.#members.length) - Math.PI / 2;
    const reach = this.#members.length === 1 ? 0 : radius;
    return { x: centre.x + reach * Math.cos(angle), y: centre.y + reach * Math.sin(angle) };
  }

  /** Those that are not in the mesh stand below it. */
  #placeOfOther({ centre, radius }: Layout, index: number): Point {
    const count = this.#others.length;
    return { x: centre.x + (index - (count - 1) / 2) * Math.min(22, (2 * radius) / count), y: centre.y + radius + 26 };
  }

  get #dot(): number {
    return Math.max(2.5, Math.min(8, 220 / Math.max(1, this.#members.length)));
  }

  // Drawing.

  #outdated(): void {
    this.#isStale = true;
    this.#redraw();
  }

  #redraw(): void {
    this.#frame ??= requestAnimationFrame((now) => {
      this.#frame = undefined;
      this.#draw(now);
    });
  }

  #draw(now: number): void {
    const { width, height } = this.#canvas;
    if (this.#isStale) this.#drawStill();
    const scale = devicePixelRatio;
    const context = this.#context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    context.drawImage(this.#still, 0, 0);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const layout = this.#layout();
    this.#flashes = this.#flashes.filter(({ from }) => now - from < flashMs);
    for (const { target, colour, from } of this.#flashes) {
      this.#mark(layout, target, this.#colours[colour], 1 - (now - from) / flashMs);
    }
    for (const target of [this.#selected, this.#pointed]) {
      if (target !== undefined) this.#mark(layout, target, this.#colours.select, 1);
    }
    if (this.#flashes.length > 0) this.#redraw();
  }

  /** Draws all that stays into its own picture. */
  #drawStill(): void {
    this.#isStale = false;
    const scale = devicePixelRatio;
    const layout = this.#layout();
    for (const canvas of [this.#canvas, this.#still]) {
      canvas.width = Math.round(layout.width * scale);
      canvas.height = Math.round(layout.height * scale);
    }
    if (this.#status === undefined) return;
    const context = contextOf(this.#still);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    this.#drawLinks(context, layout);
    this.#drawMembers(context, layout);
    this.#drawMatrix(context, layout);
  }

  /**
   * Where pairs are many, the kind that most of them are of is a picture of all pairs, which stays until the members or the size
   * change; only the others are drawn one by one.
   */
  #drawLinks(context: CanvasRenderingContext2D, layout: Layout): void {
    const count = this.#members.length;
    const up = new Path2D();
    const missing = new Path2D();
    let upCount = 0;
    for (const [row, column, from, to] of this.#lines(layout)) {
      const isUp = this.#isUp(row, column);
      if (isUp) upCount += 1;
      const path = isUp ? up : missing;
      path.moveTo(from.x, from.y);
      path.lineTo(to.x, to.y);
    }
    if (count <= mostDrawnOneByOne) {
      this.#strokeLinks(context, up, "up");
      this.#strokeLinks(context, missing, "missing");
      return;
    }
    const most = upCount >= (count * (count - 1)) / 4 ? "up" : "missing";
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(this.#pictureOfAllPairs(layout, most), 0, 0);
    context.restore();
    if (most === "up") this.#strokeLinks(context, missing, "missing");
    else this.#strokeLinks(context, up, "up");
  }

  /** Each pair: both ranks, and where its line goes. */
  *#lines(layout: Layout): Iterable<readonly [row: number, column: number, from: Point, to: Point]> {
    const places = this.#members.map((_, rank) => this.#placeOf(layout, rank));
    for (const [row, from] of places.entries()) {
      for (let column = row + 1; column < places.length; column += 1) {
        const to = places[column];
        if (to !== undefined) yield [row, column, from, to];
      }
    }
  }

  #pictureOfAllPairs(layout: Layout, kind: "up" | "missing"): HTMLCanvasElement {
    const { width, height } = this.#still;
    const wanted = [kind, this.#members.length, width, height, devicePixelRatio, this.#colours[kind]].join(" ");
    if (this.#allPairsOf === wanted) return this.#allPairs;
    this.#allPairsOf = wanted;
    this.#allPairs.width = width;
    this.#allPairs.height = height;
    const context = contextOf(this.#allPairs);
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    const all = new Path2D();
    for (const [, , from, to] of this.#lines(layout)) {
      all.moveTo(from.x, from.y);
      all.lineTo(to.x, to.y);
    }
    this.#strokeLinks(context, all, kind, paleness(this.#members.length));
    return this.#allPairs;
  }

  #strokeLinks(context: CanvasRenderingContext2D, lines: Path2D, kind: "up" | "missing", alpha?: number): void {
    const count = this.#members.length;
    const isMissing = kind === "missing";
    const areFew = count <= mostDrawnOneByOne || this.#missing.size <= fewMissing;
    context.strokeStyle = this.#colours[kind];
    context.lineWidth = (count <= mostDrawnOneByOne ? 1.1 : isMissing && areFew ? 1.1 : 0.6) * (isMissing ? 1.5 : 1);
    context.globalAlpha = alpha ?? (isMissing ? (areFew ? 0.9 : 0.5) : paleness(count));
    context.setLineDash(isMissing && alpha === undefined ? [5, 4] : []);
    context.stroke(lines);
    context.setLineDash([]);
    context.globalAlpha = 1;
  }

  #drawMembers(context: CanvasRenderingContext2D, layout: Layout): void {
    const { text, suspect, other, up, back } = this.#colours;
    const dot = this.#dot;
    context.font = "12px system-ui, 'DejaVu Sans', sans-serif";
    context.textBaseline = "middle";
    for (const [rank, member] of this.#members.entries()) {
      const place = this.#placeOf(layout, rank);
      disc(context, place, dot, member.state === "suspect" ? suspect : up, back);
      if (this.#members.length > mostLabels) continue;
      this.#label(context, layout, place, shown(member), text);
    }
    for (const index of this.#others.keys()) disc(context, this.#placeOfOther(layout, index), 5, back, other);
  }

  #label(context: CanvasRenderingContext2D, { centre }: Layout, place: Point, name: string, colour: string): void {
    const [x, y] = [place.x - centre.x, place.y - centre.y];
    const reach = Math.hypot(x, y) || 1;
    context.fillStyle = colour;
    context.textAlign = Math.abs(x) < reach * 0.15 ? "center" : x < 0 ? "right" : "left";
    const out = this.#dot + 7;
    const from = { x: place.x + (x / reach) * out, y: place.y + ((y || 1) / reach) * (out + 3) };
    context.fillText(shortened(name), from.x, from.y, labelRoom - out);
  }

  #drawMatrix(context: CanvasRenderingContext2D, { corner, side }: Layout): void {
    const count = this.#members.length;
    if (count < 2) return;
    const cell = side / count;
    const gap = cell > 7 ? 1 : 0;
    context.fillStyle = this.#colours.edge;
    context.fillRect(corner.x - 1, corner.y - 1, side + 2, side + 2);
    if (gap === 0) {
      context.imageSmoothingEnabled = false;
      context.drawImage(this.#pictureOfCells(), corner.x, corner.y, side, side);
      if (this.#missing.size <= fewMissing) this.#drawFewMissing(context, corner, cell);
      return;
    }
    for (let row = 0; row < count; row += 1) {
      for (let column = 0; column < count; column += 1) {
        context.fillStyle = this.#cellColour(row, column);
        context.fillRect(corner.x + column * cell, corner.y + row * cell, cell - gap, cell - gap);
      }
    }
  }

  /** A few red cells of a pixel each would be looked for in vain. */
  #drawFewMissing(context: CanvasRenderingContext2D, corner: Point, cell: number): void {
    const size = Math.max(4, cell);
    for (const pair of this.#missing.keys()) {
      const [row, column] = [Math.floor(pair / this.#members.length), pair % this.#members.length];
      context.fillStyle = this.#cellColour(row, column);
      for (const [down, across] of [
        [row, column],
        [column, row],
      ] as const) {
        const middle = { x: corner.x + (across + 0.5) * cell, y: corner.y + (down + 0.5) * cell };
        context.fillRect(middle.x - size / 2, middle.y - size / 2, size, size);
      }
    }
  }

  /** The matrix with one pixel a cell: cells that touch are made larger all at once. */
  #pictureOfCells(): HTMLCanvasElement {
    const count = this.#members.length;
    const cells = this.#cells;
    cells.width = count;
    cells.height = count;
    const context = contextOf(cells);
    context.fillStyle = this.#colours.up;
    context.fillRect(0, 0, count, count);
    for (let row = 0; row < count; row += 1) {
      for (let column = 0; column < count; column += 1) {
        if (row !== column && this.#isUp(row, column)) continue;
        context.fillStyle = this.#cellColour(row, column);
        context.fillRect(column, row, 1, 1);
      }
    }
    return cells;
  }

  #cellColour(row: number, column: number): string {
    const { edge, up, missing, suspect, faint } = this.#colours;
    if (row === column) return faint;
    if (this.#isUp(row, column)) return up;
    const stage = this.#missing.get(this.#pairAt(row, column))?.stage;
    return stage === "classic" ? edge : stage === "unreported" ? suspect : missing;
  }

  #mark(layout: Layout, target: Target, colour: string, strength: number): void {
    if (target.type === "member") this.#markMember(layout, target.address, colour, strength);
    else this.#markPair(layout, target.a, target.b, colour, strength);
  }

  #markMember(layout: Layout, address: string, colour: string, strength: number): void {
    const context = this.#context;
    const rank = this.#rankOf.get(address);
    const other = this.#others.findIndex((member) => member.address === address);
    if (rank === undefined && other < 0) return;
    const place = rank === undefined ? this.#placeOfOther(layout, other) : this.#placeOf(layout, rank);
    context.globalAlpha = strength;
    context.strokeStyle = colour;
    context.lineWidth = 2.5;
    context.beginPath();
    context.arc(place.x, place.y, this.#dot + 3 + 10 * (1 - strength), 0, 2 * Math.PI);
    context.stroke();
    const member = rank === undefined ? this.#others[other] : this.#members[rank];
    if (member !== undefined && this.#members.length > mostLabels && strength === 1) {
      context.font = "600 12px system-ui, 'DejaVu Sans', sans-serif";
      context.textBaseline = "middle";
      this.#label(context, layout, place, shown(member), this.#colours.text);
    }
    if (rank !== undefined) {
      const cell = layout.side / this.#members.length;
      context.globalAlpha = strength * 0.35;
      context.fillStyle = colour;
      context.fillRect(layout.corner.x, layout.corner.y + rank * cell, layout.side, Math.max(1, cell));
      context.fillRect(layout.corner.x + rank * cell, layout.corner.y, Math.max(1, cell), layout.side);
    }
    context.globalAlpha = 1;
  }

  #markPair(layout: Layout, a: string, b: string, colour: string, strength: number): void {
    const [row, column] = [this.#rankOf.get(a), this.#rankOf.get(b)];
    if (row === undefined || column === undefined) return;
    const context = this.#context;
    const [from, to] = [this.#placeOf(layout, row), this.#placeOf(layout, column)];
    context.globalAlpha = strength;
    context.strokeStyle = colour;
    context.lineWidth = 2.5;
    context.beginPath();
    context.moveTo(from.x, from.y);
    context.lineTo(to.x, to.y);
    context.stroke();
    const cell = layout.side / this.#members.length;
    const size = Math.max(3, cell);
    for (const [down, across] of [
      [row, column],
      [column, row],
    ] as const) {
      context.strokeRect(layout.corner.x + across * cell, layout.corner.y + down * cell, size, size);
    }
    context.globalAlpha = 1;
  }
}

/** How strongly the line of a link is drawn: many pale ones make a surface. */
function paleness(count: number): number {
  return Math.max(0.07, Math.min(0.85, 7 / count));
}

function contextOf(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("this browser does not draw on a canvas");
  return context;
}

function disc(context: CanvasRenderingContext2D, { x, y }: Point, radius: number, fill: string, line: string): void {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = fill;
  context.fill();
  context.strokeStyle = line;
  context.lineWidth = 1.5;
  context.stroke();
}

/** The distance of a point from a line between two others. */
function distance(point: Point, from: Point, to: Point): number {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = dx * dx + dy * dy || 1;
  const along = Math.max(0, Math.min(1, ((point.x - from.x) * dx + (point.y - from.y) * dy) / length));
  return Math.hypot(point.x - from.x - along * dx, point.y - from.y - along * dy);
}

function shortened(name: string): string {
  const letters = [...name];
  return letters.length <= 22 ? name : `${letters.slice(0, 21).join("")}\u2026`;
}

function readColours(): Colours {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  return {
    back: colour("back"),
    edge: colour("edge"),
    text: colour("text"),
    faint: colour("faint"),
    up: colour("up"),
    missing: colour("missing"),
    suspect: colour("suspect"),
    other: colour("other"),
    select: colour("select"),
  };
}
