import type { LinkTally } from "./link-tally.js";

/** Up to this many members each pair has a cell; beyond, a Braille character shows two columns and four rows. */
export const maxCellMembers = 18;

/**
 * Draws which pairs are linked, members in join order. In cells: `>` the member of the row dialed that of the column, `<` the
 * other way, `-` only one end has reported the link, `.` no link, `\` the diagonal.
 */
export function drawMatrix(tally: LinkTally): string[] {
  return tally.size <= maxCellMembers ? drawCells(tally) : drawBraille(tally);
}

/** The meaning of the signs. */
export function legend(tally: LinkTally): string {
  if (tally.size > maxCellMembers) return "     a dot for each linked pair, 4 rows and 2 columns to a character";
  return "     > dialed   < accepted   - reported by one end only   . no link";
}

function drawCells(tally: LinkTally): string[] {
  const members = padded(tally);
  const widest = members.reduce((most, member) => Math.max(most, (member ?? "").length), 0);
  return members.map((row, rank) => {
    const cells = members.map((column, other) => (rank === other ? "\\" : cell(tally, row, column)));
    return `${String(rank).padStart(3)}  ${(row ?? "").padEnd(widest)}  ${cells.join(" ")}`;
  });
}

function cell(tally: LinkTally, row: string | undefined, column: string | undefined): string {
  if (row === undefined || column === undefined) return " ";
  const direction = tally.report(row, column);
  if (direction === undefined) return tally.report(column, row) === undefined ? "." : "-";
  if (tally.report(column, row) === undefined) return "-";
  return direction === "dialed" ? ">" : "<";
}

/** The members in join order, then undefined for each that has not joined. */
function padded(tally: LinkTally): (string | undefined)[] {
  return Array.from({ length: tally.size }, (_, rank) => tally.order[rank]);
}

/** The dots of a Braille character by row and column, as bits above U+2800 (Unicode, Braille Patterns). */
const dots = [
  [0x01, 0x08],
  [0x02, 0x10],
  [0x04, 0x20],
  [0x40, 0x80],
] as const;

function drawBraille(tally: LinkTally): string[] {
  const members = padded(tally);
  const rows: string[] = [];
  for (let top = 0; top < tally.size; top += 4) {
    let row = "";
    for (let left = 0; left < tally.size; left += 2) row += brailleAt(tally, members, top, left);
    rows.push(`${String(top).padStart(3)}  ${row}`);
  }
  return rows;
}

/** Four rows and two columns from here. The diagonal is filled, so that a complete mesh is a full square. */
function brailleAt(tally: LinkTally, members: readonly (string | undefined)[], top: number, left: number): string {
  let bits = 0;
  for (const [down, columns] of dots.entries()) {
    for (const [right, bit] of columns.entries()) {
      const a = members[top + down];
      const b = members[left + right];
      if (a !== undefined && b !== undefined && (a === b || tally.isLinked(a, b))) bits |= bit;
    }
  }
  return String.fromCodePoint(0x2800 + bits);
}
