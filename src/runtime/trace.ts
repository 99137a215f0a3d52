/** One message, as its sender or its reader saw it. */
export interface TraceRecord {
  /** Milliseconds since the epoch, with fractions where the clock has them. */
  readonly at: number;
  /** `server`, or an address. */
  readonly from: string;
  readonly to: string;
  readonly text: string;
}

/** Addresses in a list that are spelled out; a longer list is told by its length. */
const longestSpelledList = 6;

/**
 * Draws who sent which message to whom, in order, as a Mermaid sequence diagram. Members are numbered in the order in
 * which they first appear, and their addresses stand in the diagram's head.
 */
export function toSequenceDiagram(records: Iterable<TraceRecord>): string {
  const sorted = [...records].sort((a, b) => a.at - b.at);
  const names = new Map<string, string>([["server", "server"]]);
  const nameOf = (address: string): string => {
    const name = names.get(address) ?? `n${names.size}`;
    names.set(address, name);
    return name;
  };
  const arrows = sorted.map(({ from, to, text }) => {
    const sender = nameOf(from);
    return `    ${sender}->>${nameOf(to)}: ${label(text, names)}`;
  });
  const participants = Array.from(names, ([address, name]) => `    participant ${name} as ${address}`);
  return ["sequenceDiagram", ...participants, ...arrows, ""].join("\n");
}

/** A message as a label: lists by their members' names, and nothing that Mermaid would read as its own. */
function label(text: string, names: ReadonlyMap<string, string>): string {
  if (!text.startsWith("list:\n")) return plain(text);
  const members = text.split("\n").slice(1);
  if (members.length > longestSpelledList) return `list of ${members.length}`;
  return `list: ${members.map((address) => names.get(address) ?? plain(address)).join(" ")}`;
}

function plain(text: string): string {
  return text.replace(/[\p{Cc}#;<>]/gu, (character) => `#${character.codePointAt(0)};`);
}
