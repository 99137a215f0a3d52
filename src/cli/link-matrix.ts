import type { LinkTally } from "./link-tally.js";

/** The links of a mesh as a square: members in join order down and across. */
export interface LinkMatrix {
  /** What each row begins with, member by member; undefined for one that has not joined. */
  readonly labels: readonly (string | undefined)[];
  /** What members are called, in front of each row and above each column. Without it a row begins with its place from 0. */
  readonly numbers?: readonly number[];
  /** One character for the pair of these two members. */
  sign(row: number, column: number): string;
  isLinked(row: number, column: number): boolean;
}

/** Off a terminal, lines have at most so many columns: cells for 18 members with an address each. */
const plainColumns = 60;

/** The rank in front of each row, with its spaces. */
const rankColumns = 5;

/**
 * Draws which pairs are linked: with a cell for each pair where a line has room for it, otherwise in Braille characters, which show
 * two columns and four rows each. `\` is the diagonal.
 */
export function drawMatrix(matrix: LinkMatrix, columns = plainColumns): string[] {
  return fits(matrix, columns) ? drawCells(matrix) : drawBraille(matrix);
}

/** What the signs of a drawing mean. */
export function legend(matrix: LinkMatrix, signs: string, columns = plainColumns): string {
  const text = fits(matrix, columns) ? signs : "a dot for each linked pair, 4 rows and 2 columns to a character";
  return `${" ".repeat(rankColumns)}${text}`;
}

/** What is known of the links of a group of processes. `>` the row dialed the column, `<` the other way, `-` half reported, `.` none. */
export function tallyMatrix(tally: LinkTally): LinkMatrix {
  const labels = Array.from({ length: tally.size }, (_, rank) => tally.order[rank]);
  return {
    labels,
    sign: (row, column) => {
      const [a, b] = [labels[row], labels[column]];
      if (a === undefined || b === undefined) return " ";
      const direction = tally.report(a, b);
      if (direction === undefined) return tally.report(b, a) === undefined ? "." : "-";
      if (tally.report(b, a) === undefined) return "-";
      return direction === "dialed" ? ">" : "<";
    },
    isLinked: (row, column) => {
      const [a, b] = [labels[row], labels[column]];
      return a !== undefined && b !== undefined && tally.isLinked(a, b);
    },
  };
}

export const tallySigns = "> dialed   < accepted   - reported by one end only   . no link";

function fits({ labels }: LinkMatrix, columns: number): boolean {
  return rankColumns + widestOf(labels) + 2 + 2 * labels.length - 1 <= columns;
}

function widestOf(labels: LinkMatrix["labels"]): number {
  return labels.reduce((most, label) => Math.max(most, (label ?? "").length), 0);
}

function drawCells(matrix: LinkMatrix): string[] {
  const { labels, numbers } = matrix;
  const widest = widestOf(labels);
  const rows = labels.map((label, row) => {
    const cells = labels.map((_, column) => (row === column ? "\\" : matrix.sign(row, column)));
    return `${headOf(matrix, row)}  ${(label ?? "").padEnd(widest)}  ${cells.join(" ")}`;
  });
  return numbers === undefined ? rows : [...columnHeads(numbers, rankColumns + widest + 2), ...rows];
}

function headOf({ numbers }: LinkMatrix, row: number): string {
  return String(numbers?.[row] ?? row).padStart(3);
}

/** The numbers above the columns, with their digits below one another. */
function columnHeads(numbers: readonly number[], indent: number): string[] {
  const digits = String(numbers.reduce((most, number) => Math.max(most, number), 1)).length;
  const heads = numbers.map((number) => String(number).padStart(digits));
  return Array.from({ length: digits }, (_, at) => {
    const line = heads.map((head) => head[at] ?? " ").join(" ");
    return `${" ".repeat(indent)}${line}`.trimEnd();
  });
}

/** The dots of a Braille character by row and column, as bits above U+2800 (Unicode, Braille Patterns). */
const dots = [
  [0x01, 0x08],
  [0x02, 0x10],
  [0x04, 0x20],
  [0x40, 0x80],
] as const;

function drawBraille(matrix: LinkMatrix): string[] {
  const { length } = matrix.labels;
  const rows: string[] = [];
  for (let top = 0; top < length; top += 4) {
    let row = "";
    for (let left = 0; left < length; left += 2) row += brailleAt(matrix, top, left);
    rows.push(`${headOf(matrix, top)}  ${row}`);
  }
  return rows;
}

/** Four rows and two columns from here. The diagonal is filled, so that a complete mesh is a full square. */
function brailleAt(matrix: LinkMatrix, top: number, left: number): string {
  const { labels } = matrix;
  let bits = 0;
  for (const [down, columns] of dots.entries()) {
    for (const [right, bit] of columns.entries()) {
      const [row, column] = [top + down, left + right];
      if (labels[row] === undefined || labels[column] === undefined) continue;
      if (row === column || matrix.isLinked(row, column)) bits |= bit;
    }
  }
  return String.fromCodePoint(0x2800 + bits);
}
