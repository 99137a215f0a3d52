import { printable } from "../../core/escaping.js";
import { Queue } from "../../core/queue.js";
import type { Address } from "../address.js";
import { ascii } from "../text.js";
import { AddressScanner, isDigit, padding } from "./scanner.js";

/** Server to every registered node, after each registration: all members in join order. */
export function encodeList(members: readonly Address[]): Uint8Array {
  return ascii(`${header}${members.join("\n")}`);
}

/** Server to every node, at the end. This server sends `teardown`; a node reads any other text as the end as well. */
export function encodeEnd(text: string): Uint8Array {
  return ascii(text);
}

/**
 * Server to a program that it refuses: the code and a sentence. A simple reader reads it as the end, because it is no list;
 * ours shows it to the user.
 */
export function encodeRefusal(code: string, sentence: string): Uint8Array {
  return ascii(`${refusalStart} ${code}: ${sentence}`);
}

/** Whether the last text of a server is a refusal, without its first word, or just the end. */
export function readEndText(text: string): { readonly refusal?: string } {
  return text.startsWith(`${refusalStart} `) ? { refusal: text.slice(refusalStart.length + 1) } : {};
}

/** The one end that is recognised without waiting for the end of the stream. */
export const teardownText = "teardown";
const refusalStart = "refused";
const header = "list:\n";

/** What a node has read from its server. */
export type ServerStreamEvent =
  /**
   * The members so far, in order. `isSettled`: the list has ended, or nothing more of it came for the quiet period. Until
   * then more may follow, and the last one is left out while its port could still grow.
   */
  | { readonly type: "list"; readonly members: readonly Address[]; readonly isSettled: boolean }
  /** More digits of the last port came after the quiet period; a corrected list follows. */
  | { readonly type: "revised" }
  /** An entry of a list is no address, and was skipped. */
  | { readonly type: "badEntry"; readonly text: string }
  /** More has come than a list may have; `isList` is false if no list had begun. Nothing more is read. */
  | { readonly type: "tooLong"; readonly isList: boolean }
  | { readonly type: "end"; readonly text: string };

const newline = 0x0a;
const letterL = 0x6c;

/** True for A to Z and a to z: in this stream a letter outside brackets begins a new message. */
function isLetter(byte: number): boolean {
  return (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
}

/**
 * Reads what a server sends to a node, in any pieces: lists, and at the end a text that is no list.
 *
 * A list never shows that it is finished, because every beginning of a list is a list. That does little harm: lists are in
 * join order, so a shorter one is an earlier state of the mesh. So a list is reported as each piece comes
 * (`isSettled: false`), and an address counts as missing only when the list is settled.
 */
export class ServerStreamReader {
  #state: "between" | "header" | "entry" | "skipping" | "end" | "done" = "between";
  #endText = "";
  /** False before the first list. */
  #hasHeader = false;
  #members: Address[] = [];
  #bytes = 0;
  #scanner = new AddressScanner();
  /** The last address, settled by the quiet period though its port could grow. */
  #provisional: Address | undefined;
  #reported: "nothing" | "unsettled" | "settled" = "settled";
  /** How many members the present list had when it was last reported; -1 before that. */
  #reportedCount = -1;
  #reportedNewest: Address | undefined;
  readonly #longestList: number;
  readonly #longestEnd: number;
  // One read may cause thousands.
  readonly #events = new Queue<ServerStreamEvent>();

  constructor(limits: { readonly listBytes: number; readonly endTextBytes: number }) {
    this.#longestList = limits.listBytes;
    this.#longestEnd = limits.endTextBytes;
  }

  /** True while a quiet period would settle something. */
  get awaitsQuiet(): boolean {
    return this.#reported !== "settled" || this.#state === "end";
  }

  push(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (this.#state === "done") return;
      this.#take(byte);
    }
    if (this.#reported === "nothing") this.#report(false);
    if (this.#state === "end" && this.#endText === teardownText) this.#end();
  }

  poll(): ServerStreamEvent | undefined {
    return this.#events.poll();
  }

  /** Nothing has come for the quiet period: what looks complete is complete. */
  quiet(): void {
    if (this.#state === "entry" && this.#scanner.state === "provisional") this.#provisional = this.#scanner.address;
    if (this.#reported !== "settled") this.#report(true);
    if (this.#state === "end") this.#end();
  }

  /** The server sends nothing more. */
  finish(): void {
    if (this.#state === "header") this.#state = "end";
    this.quiet();
    this.#state = "done";
  }

  /** The connection broke: an end that has begun counts, and nothing else that is unfinished. */
  break(): void {
    if (this.#state === "end") this.#end();
    this.#state = "done";
    this.#reported = "settled";
  }

  #take(byte: number): void {
    if (this.#state === "end") this.#takeEndText(byte);
    else if (this.#state === "header") this.#takeHeader(byte);
    else if (this.#state === "between" || !isLetter(byte) || this.#isHexInBrackets(byte)) this.#takeEntry(byte);
    else this.#begin(byte);
  }

  #isHexInBrackets(byte: number): boolean {
    return this.#scanner.isInBrackets && /[a-fA-F]/.test(String.fromCharCode(byte));
  }

  /** A letter outside brackets: the list before it, if any, is over, and a list or an end begins. */
  #begin(byte: number): void {
    if (this.#state === "entry") this.#closeEntry();
    if (this.#reported !== "settled") this.#report(true);
    this.#endText = String.fromCharCode(byte);
    this.#state = byte === letterL ? "header" : "end";
  }

  #takeHeader(byte: number): void {
    this.#endText += String.fromCharCode(byte);
    if (!header.startsWith(this.#endText)) {
      this.#state = "end";
    } else if (this.#endText === header) {
      this.#state = "entry";
      this.#endText = "";
      this.#members = [];
      this.#bytes = header.length;
      this.#provisional = undefined;
      this.#scanner = new AddressScanner();
      this.#reported = "nothing";
      this.#reportedCount = -1;
      this.#hasHeader = true;
    }
  }

  /** A text that is as long as an end may be is one, whatever follows. */
  #takeEndText(byte: number): void {
    this.#endText += String.fromCharCode(byte);
    if (this.#endText.length >= this.#longestEnd) this.#end();
  }

  #takeEntry(byte: number): void {
    this.#bytes += 1;
    if (this.#bytes > this.#longestList) {
      this.#state = "done";
      this.#reported = "settled";
      this.#events.push({ type: "tooLong", isList: this.#hasHeader });
    } else if (this.#state === "between") {
      if (isLetter(byte)) this.#begin(byte);
      else if (!padding.has(byte)) this.#skip(byte);
    } else if (byte === newline) {
      this.#closeEntry();
      this.#state = this.#hasHeader ? "entry" : "between";
    } else if (this.#state === "entry") {
      this.#scan(byte);
    }
  }

  #scan(byte: number): void {
    if (this.#provisional !== undefined && isDigit(byte)) {
      this.#provisional = undefined;
      this.#events.push({ type: "revised" });
    }
    this.#reported = "nothing";
    const state = this.#scanner.take(byte);
    if (state === "ended" && padding.has(byte)) {
      this.#closeEntry();
      this.#state = "skipping";
    } else if (state === "ended" || state === "bad") {
      // Digits or anything else behind a complete port: the entry is no address.
      this.#skip(byte);
    }
  }

  #skip(byte: number): void {
    const text = this.#scanner.text;
    this.#events.push({ type: "badEntry", text: printable(text === "" ? String.fromCharCode(byte) : text) });
    this.#scanner = new AddressScanner();
    this.#state = "skipping";
  }

  /** The entry is over: keep it if it is an address. */
  #closeEntry(): void {
    const { address, isFresh, text } = this.#scanner;
    if (address !== undefined) {
      this.#members.push(address);
      if (this.#provisional === undefined && this.#reported !== "settled") this.#reported = "nothing";
    } else if (!isFresh) this.#events.push({ type: "badEntry", text: printable(text) });
    this.#provisional = undefined;
    this.#scanner = new AddressScanner();
  }

  /** Reports the list so far, unless the last piece has completed no address. */
  #report(isSettled: boolean): void {
    const last = this.#scanner.state === "exact" ? this.#scanner.address : this.#provisional;
    const count = this.#members.length + (last === undefined ? 0 : 1);
    const newest = last ?? this.#members.at(-1);
    if (isSettled || count !== this.#reportedCount || newest !== this.#reportedNewest) {
      const members = last === undefined ? [...this.#members] : [...this.#members, last];
      this.#events.push({ type: "list", members, isSettled });
    }
    this.#reportedCount = count;
    this.#reportedNewest = newest;
    this.#reported = isSettled ? "settled" : "unsettled";
  }

  #end(): void {
    this.#events.push({ type: "end", text: printable(this.#endText, this.#longestEnd) });
    this.#state = "done";
  }
}
