/** Draws series on logarithmic axes, where a power of x is a straight line, as SVG. */

/** One line of a plot. */
export interface Series {
  readonly name: string;
  readonly colour: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

/** The lines, and the text around them. */
export interface Plot {
  readonly title: string;
  /** A description for screen readers. */
  readonly label: string;
  readonly xAxis: string;
  /** A value of the y axis as text, such as `10 ms`. */
  readonly unit: (value: number) => string;
  readonly series: readonly Series[];
}

const [width, height] = [640, 420];
const [left, top, right, bottom] = [76, 40, 150, 48];
const lineHeight = 14;

/** Where a value lies on an axis. */
type Scale = (value: number) => number;

/** The plot as an SVG document. */
export function draw({ title, label, xAxis, unit, series }: Plot): string {
  const points = series.flatMap((line) => line.points);
  const ticks = [...new Set(points.map((point) => point.x))].sort((a, b) => a - b);
  const [lowest, highest] = [Math.min(...points.map(({ y }) => y)), Math.max(...points.map(({ y }) => y))];
  const spanX = [Math.log10(Math.min(...ticks)), Math.log10(Math.max(...ticks))] as const;
  const spanY = [Math.floor(Math.log10(lowest)), Math.ceil(Math.log10(highest))] as const;
  const xOf: Scale = (value) => left + share(value, spanX) * (width - left - right);
  const yOf: Scale = (value) => height - bottom - share(value, spanY) * (height - top - bottom);
  const parts = [
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="${left}" y="22" font-size="15">${title}</text>`,
  ];
  for (let power = spanY[0]; power <= spanY[1]; power += 1) {
    const at = yOf(10 ** power).toFixed(1);
    parts.push(`<line x1="${left}" y1="${at}" x2="${width - right}" y2="${at}" stroke="#ddd"/>`);
    parts.push(`<text x="${left - 8}" y="${Number(at) + 4}" text-anchor="end">${unit(10 ** power)}</text>`);
  }
  for (const tick of ticks)
    parts.push(`<text x="${xOf(tick).toFixed(1)}" y="${height - bottom + 18}" text-anchor="middle">${tick}</text>`);
  const middle = (left + width - right) / 2;
  parts.push(`<text x="${middle}" y="${height - 10}" text-anchor="middle">${xAxis}</text>`);
  for (const line of series) parts.push(...drawLine(line, xOf, yOf));
  parts.push(...drawNames(series, xOf, yOf, unit));
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif"`;
  return `${head} font-size="12" role="img" aria-label="${label}">\n${parts.join("\n")}\n</svg>\n`;
}

function drawLine({ colour, points }: Series, xOf: Scale, yOf: Scale): string[] {
  const at = points.map(({ x, y }) => [xOf(x).toFixed(1), yOf(y).toFixed(1)] as const);
  const path = at.map((point) => point.join(",")).join(" ");
  return [
    `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
    ...at.map(([x, y]) => `<circle cx="${x}" cy="${y}" r="3" fill="${colour}"/>`),
  ];
}

/** The name of each series, at its last point, moved down if another name is there. */
function drawNames(series: readonly Series[], xOf: Scale, yOf: Scale, unit: Plot["unit"]): string[] {
  const names = series.flatMap(({ name, colour, points }) => {
    const last = points.at(-1);
    return last === undefined ? [] : [{ text: `${name}: ${unit(last.y)}`, colour, x: xOf(last.x), y: yOf(last.y) }];
  });
  let free = 0;
  return names
    .sort((one, other) => one.y - other.y)
    .map(({ text, colour, x, y }) => {
      const at = Math.max(y + 4, free);
      free = at + lineHeight;
      return `<text x="${(x + 8).toFixed(1)}" y="${at.toFixed(1)}" fill="${colour}">${text}</text>`;
    });
}

/** How far along a logarithmic axis a value lies; 0 on an axis without extent. */
function share(value: number, [from, to]: readonly [number, number]): number {
  return to === from ? 0 : (Math.log10(value) - from) / (to - from);
}
