import { styleText } from "node:util";
import type { LinkStage } from "../protocol/missing-pair.js";
import { durationText, linkReader, type MeshStatus } from "../protocol/status.js";
import { drawMatrix, type LinkMatrix, legend } from "./link-matrix.js";
import { type MeshStory, pairKey } from "./mesh-story.js";
import { headline, statusMatrix } from "./status-text.js";

/** A pair that has a new connection is marked for so long. */
const newMs = 1_500;
/** Pairs that are not linked, of which so many are named. */
const mostMissing = 5;
/** Events under the picture, where there is room. */
const mostEvents = 10;
/** What is drawn beside the rows of the matrix, the events and the keys: the mesh in a line, numbers, legend, empty lines. */
const headRows = 7;
/** A new link is reported within a moment; until then there is nothing to say. */
const unreportedMs = 1_000;
const fewestEvents = 3;

const signs = "> the row dialed   < the column dialed   x not linked   * linked just now";
const slowSigns = `${signs}   o this step`;

/** How far a link has come that is not up. */
const stageTexts: Readonly<Record<LinkStage, string>> = {
  waiting: "not dialed yet",
  dialing: "no connection",
  hello: "connected, no answer",
  refused: "refused",
  broken: "its connection is gone",
  unreported: "not reported to the server yet",
  classic: "no link",
};

/** What is drawn of a mesh besides its status. */
export interface PictureNotes {
  readonly story: MeshStory;
  /** When the link of a pair has come up last, by `pairKey`, in milliseconds since the epoch. */
  readonly linkedAt: ReadonlyMap<string, number>;
  /** The pair that is taking a step, by `pairKey`. */
  readonly steppingPair: string | undefined;
  /** What is said above the matrix, such as that the server is away. */
  readonly notes: readonly string[];
  /** What has happened, the newest last. */
  readonly events: readonly string[];
  /** The keys, and what has been typed. */
  readonly footer: readonly string[];
}

/** A mesh as it is now, in so many columns and rows: the matrix, who dials whom, what has happened, and the keys. */
export function drawPicture(
  status: MeshStatus,
  server: string,
  { story, linkedAt, steppingPair, notes, events, footer }: PictureNotes,
  columns: number,
  rows: number,
): string {
  const now = Date.now();
  const matrix = withNumbers(status, story, linkedAt, steppingPair, now);
  const isHighEnough = matrix.labels.length + headRows + footer.length + fewestEvents <= rows;
  const width = isHighEnough ? columns : 0;
  const drawn =
    matrix.labels.length === 0
      ? []
      : [
          ...drawMatrix(matrix, width).map(coloured),
          cut(legend(matrix, steppingPair === undefined ? signs : slowSigns, width), columns),
        ];
  const faults = [...suspectLines(status, story, now), ...missingLines(status, story, now)];
  const head = [headline(status, server), ...notes, ...drawn, ...faults.flatMap((line) => wrapped(line, columns))];
  const below = footer.length === 0 ? [] : ["", ...footer.flatMap((line) => wrapped(line, columns))];
  const room = Math.max(fewestEvents, Math.min(mostEvents, rows - 2 - head.length - below.length));
  const newest = newestLines(events, columns, room);
  // What does not fit goes at the top.
  return [...head, "", ...newest, ...below].slice(-Math.max(1, rows - 1)).join("\n");
}

function withNumbers(
  status: MeshStatus,
  story: MeshStory,
  linkedAt: ReadonlyMap<string, number>,
  steppingPair: string | undefined,
  now: number,
): LinkMatrix {
  const listed = status.members.filter(({ rank }) => rank !== null);
  const matrix = statusMatrix(status);
  const isLinked = linkReader(status);
  return {
    ...matrix,
    labels: listed.map(({ address, state }) => (state === "suspect" ? `${address} ?` : address)),
    numbers: listed.map(({ address }, rank) => story.numberOf(address) ?? rank),
    sign: (row, column) => {
      const pair = pairKey(listed[row]?.address ?? "", listed[column]?.address ?? "");
      if (pair === steppingPair) return "o";
      const at = linkedAt.get(pair) ?? 0;
      return isLinked(row, column) && now - at < newMs ? "*" : matrix.sign(row, column);
    },
  };
}

/** Members that the server does not hear. */
function suspectLines({ members }: MeshStatus, story: MeshStory, now: number): string[] {
  return members
    .filter(({ state }) => state === "suspect")
    .slice(0, mostMissing)
    .map(({ address, since, reason }) => {
      const why = reason === undefined ? "" : `: ${story.withNames(reason)}`;
      return `${story.nameOf(address)} ?: the server has not heard it for ${durationText(now - since)}${why}`;
    });
}

/** Which pairs are not linked, who is to dial and why that one, and why it has come to nothing so far. */
function missingLines({ missing }: MeshStatus, story: MeshStory, now: number): string[] {
  const told = missing.filter(({ stage, since }) => stage !== "unreported" || now - since > unreportedMs);
  const lines = told.slice(0, mostMissing).map(({ a, b, owner, stage, attempt, reason, since }) => {
    const [first, second] = owner === a ? [a, b] : [b, a];
    const who = `${story.nameOf(first)} is to dial ${story.nameOf(second)}, because it joined first`;
    const tries = attempt === 0 ? "" : `, attempt ${attempt}`;
    return `${who}: ${stageTexts[stage]}${tries}, for ${durationText(now - since)}: ${story.withNames(reason)}`;
  });
  const rest = told.length - lines.length;
  return rest > 0 ? [...lines, `and ${rest} more pairs are not linked`] : lines;
}

/** The newest events, as many as so many rows have room for. */
function newestLines(events: readonly string[], columns: number, rows: number): string[] {
  let lines: string[] = [];
  for (const event of [...events].reverse()) {
    const more = [...wrapped(event, columns), ...lines];
    if (more.length > rows) break;
    lines = more;
  }
  return lines;
}

/** A sentence in lines of so many columns; all but the first are indented. */
function wrapped(event: string, columns: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of event.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = `    ${word}`;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line];
}

/** Cuts a line that the terminal would wrap. */
function cut(line: string, columns: number): string {
  // Lines with colours are those of the matrix, which fits.
  return line.includes("\u001b") || line.length <= columns ? line : `${line.slice(0, columns - 3)}...`;
}

/** Signs in colour, where the terminal and NO_COLOR allow it: `styleText` asks them. */
function coloured(line: string): string {
  return line
    .replace(/[<>\u2801-\u28ff]+/g, (linked) => styleText("green", linked))
    .replace(/(?<= )x(?= |$)/g, (broken) => styleText("red", broken))
    .replace(/(?<= )[*o](?= |$)/g, (turned) => styleText("cyan", turned));
}
