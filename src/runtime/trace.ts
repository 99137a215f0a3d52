import { diagramText } from "../core/escaping.js";
import { decodeFrame } from "../protocol/native/content.js";
import { frameHeaderBytes } from "../protocol/native/frames.js";
import { isNumbered, nameOfKind } from "../protocol/native/numbered.js";
import { firstNativeByte } from "../protocol/native/preface.js";

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
  const participants = Array.from(names, ([address, name]) => `    participant ${name} as ${diagramText(address)}`);
  return ["sequenceDiagram", ...participants, ...arrows, ""].join("\n");
}

/** A message as a label: lists by their members' names, and nothing that Mermaid would read as its own. */
function label(text: string, names: ReadonlyMap<string, string>): string {
  if (!text.startsWith("list:\n")) return diagramText(text);
  const members = text.split("\n").slice(1);
  if (members.length > longestSpelledList) return `list of ${members.length}`;
  return `list: ${members.map((address) => names.get(address) ?? diagramText(address)).join(" ")}`;
}

/** The longest text of a message but a list. */
const longestText = 160;

/**
 * What was sent in one piece, as text: the words of the classic dialect, or a frame of the native one. It is short,
 * whatever was sent, and keeps nothing of it in memory: a trace has many.
 */
export function wireText(bytes: Uint8Array): string {
  const [first = 0] = bytes;
  if (first === firstNativeByte) return "preface";
  // No text begins with a control character, and every frame does: its length has four bytes.
  if (first >= 0x20) return classicText(bytes);
  const kind = bytes[frameHeaderBytes - 1] ?? 0;
  if (isNumbered(kind)) return nameOfKind(kind);
  const content = decodeFrame(kind, bytes.subarray(frameHeaderBytes));
  if (content === undefined) return "frame";
  if (content.type === "directory") return `directory of ${content.members.length}`;
  const { type, ...fields } = content;
  const text = Object.keys(fields).length === 0 ? type : `${type} ${JSON.stringify(fields)}`;
  if (text.length <= longestText) return text;
  // Written anew, because a piece of a text keeps all of it in memory.
  return new TextDecoder().decode(new TextEncoder().encode(`${text.slice(0, longestText)}...`));
}

const listHead = "list:\n";
const newline = 0x0a;

function classicText(bytes: Uint8Array): string {
  const decoder = new TextDecoder();
  if (decoder.decode(bytes.subarray(0, listHead.length)) === listHead) {
    const members = bytes.reduce((lines, byte) => lines + (byte === newline ? 1 : 0), 0);
    return members > longestSpelledList ? `list of ${members}` : decoder.decode(bytes);
  }
  const text = decoder.decode(bytes.subarray(0, longestText));
  return bytes.length > longestText ? `${text}...` : text;
}
