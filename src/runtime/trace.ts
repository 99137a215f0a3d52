import { diagramText } from "../core/escaping.js";
import { decodeFrame } from "../protocol/native/content.js";
import { frameHeaderBytes } from "../protocol/native/frames.js";
import { isNumbered, nameOfKind } from "../protocol/native/numbered-frames.js";
import { firstNativeByte } from "../protocol/native/preface.js";

/** One message of a trace. */
export interface TraceRecord {
  /** Milliseconds since the epoch, with fractions where the clock has them. */
  readonly at: number;
  /** `server`, or an address. */
  readonly from: string;
  readonly to: string;
  readonly text: string;
}

/** The most addresses of a list in a label; a longer list is shown by its length. */
const maxListedAddresses = 6;

/**
 * The messages in order as a Mermaid sequence diagram. Members are numbered in the order in which they first appear; the head of
 * the diagram has their addresses.
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

/** A message as a label, escaped for Mermaid; a list with the names of its members. */
function label(text: string, names: ReadonlyMap<string, string>): string {
  if (!text.startsWith("list:\n")) return diagramText(text);
  const members = text.split("\n").slice(1);
  if (members.length > maxListedAddresses) return `list of ${members.length}`;
  return `list: ${members.map((address) => names.get(address) ?? diagramText(address)).join(" ")}`;
}

/** The most characters of a message other than a list. */
const maxTextLength = 160;

/**
 * The text of what was sent in one piece: a classic message, or a native frame. It is short and does not keep the bytes in
 * memory, because a trace has many.
 */
export function wireText(bytes: Uint8Array): string {
  const [first = 0] = bytes;
  if (first === firstNativeByte) return "preface";
  // A frame begins with a control character, because its length has four bytes; a classic message never does.
  if (first >= 0x20) return classicText(bytes);
  const kind = bytes[frameHeaderBytes - 1] ?? 0;
  if (isNumbered(kind)) return nameOfKind(kind);
  const content = decodeFrame(kind, bytes.subarray(frameHeaderBytes));
  if (content === undefined) return "frame";
  if (content.type === "directory") return `directory of ${content.members.length}`;
  const { type, ...fields } = content;
  const text = Object.keys(fields).length === 0 ? type : `${type} ${JSON.stringify(fields)}`;
  if (text.length <= maxTextLength) return text;
  // Copied, because a substring keeps the whole string in memory.
  return new TextDecoder().decode(new TextEncoder().encode(`${text.slice(0, maxTextLength)}...`));
}

const listHead = "list:\n";
const newline = 0x0a;

function classicText(bytes: Uint8Array): string {
  const decoder = new TextDecoder();
  if (decoder.decode(bytes.subarray(0, listHead.length)) === listHead) {
    const members = bytes.reduce((lines, byte) => lines + (byte === newline ? 1 : 0), 0);
    return members > maxListedAddresses ? `list of ${members}` : decoder.decode(bytes);
  }
  const text = decoder.decode(bytes.subarray(0, maxTextLength));
  return bytes.length > maxTextLength ? `${text}...` : text;
}
