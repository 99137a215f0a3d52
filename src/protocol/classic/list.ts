import { printable } from "../../core/escaping.js";
import { Queue } from "../../core/queue.js";
import type { Address } from "../address.js";
import { ascii } from "../text.js";
import { AddressScanner, isDigit, spaces } from "./scanner.js";

/** Server to every registered node, at each registration: all members in the order they joined. */
export function encodeList(members: readonly Address[]): Uint8Array {
  return ascii(`${header}${members.join("\n")}`);
}

/** Server to every node, at the end: one word. This server says `teardown`; a node takes any other for the end as well. */
export function encodeEnd(word: string): Uint8Array {
  return ascii(word);
}

/**
 * Server to a program that it does not take in: the code and a sentence. To a simple reader this is the end, because it is
 * no list; ours shows it to the person who waits.
 */
export function encodeRefusal(code: string, sentence: string): Uint8Array {
  return ascii(`${refusalWord} ${code}: ${sentence}`);
}

/** What a server's last words mean: a refusal with its code, or just the end. */
export function readEnd(text: string): { readonly refusal?: string } {
  return text.startsWith(`${refusalWord} `) ? { refusal: text.slice(refusalWord.length + 1) } : {};
}

/** The last word that is recognised without waiting for the stream to end. */
export const teardownWord = "teardown";
const refusalWord = "refused";
const header = "list:\n";

/** What a node has understood of its server. */
export type ServerEvent =
  /**
   * The members named so far, in order. `isSettled`: the list has ended, or nothing more of it came for the quiet period.
   * Until then more may follow, and the last one read is left out while its port could still grow.
   */
  | { readonly type: "list"; readonly members: readonly Address[]; readonly isSettled: boolean }
  /** More digits of the last port came after the quiet period; a corrected list follows. */
  | { readonly type: "revised" }
  /** Something in a list is no address; it was skipped. */
  | { readonly type: "badEntry"; readonly text: string }
  /** More has come than a list may have; `isList` is false if no list had begun. What follows is not read any more. */
  | { readonly type: "tooLong"; readonly isList: boolean }
  | { readonly type: "end"; readonly text: string };

const newline = 0x0a;
const letterL = 0x6c;

/** True for A to Z and a to z: in this stream a letter outside brackets begins a new message. */
function isLetter(byte: number): boolean {
  return (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
}

/**
 * Reads what a server says to a node, in any pieces: lists, and at the end a word that is no list.
 *
 * Whether a list is finished cannot be known from its bytes, since every beginning of a list is a list. That does little
 * harm, because lists are in join order: a shorter one is an earlier state of the mesh. So each piece is acted upon as it
 * comes (`isSettled: false`), and what is missing from a list counts as missing only once it is settled.
 */
export class ServerReader {
  #state: "between" | "header" | "entry" | "skipping" | "end" | "done" = "between";
  #word = "";
  /** False before the first list: what comes then is no entry. */
  #hasHeader = false;
  #members: Address[] = [];
  #bytes = 0;
  #scanner = new AddressScanner();
  /** The last address, taken by the quiet period though its port could grow. */
  #provisional: Address | undefined;
  #told: "nothing" | "unsettled" | "settled" = "settled";
  /** How many members the present list had when it was last told; -1 before that. */
  #toldCount = -1;
  #toldNewest: Address | undefined;
  readonly #longestList: number;
  readonly #longestEnd: number;
  // Thousands may come of one read.
  readonly #events = new Queue<ServerEvent>();

  constructor(limits: { readonly listBytes: number; readonly endTextBytes: number }) {
    this.#longestList = limits.listBytes;
    this.#longestEnd = limits.endTextBytes;
  }

  /** True while a quiet period would decide something. */
  get awaitsQuiet(): boolean {
    return this.#told !== "settled" || this.#state === "end";
  }

  push(bytes: Uint8Array): void {
    for (const byte of bytes) {
      if (this.#state === "done") return;
      this.#take(byte);
    }
    if (this.#told === "nothing") this.#tell(false);
    if (this.#state === "end" && this.#word === teardownWord) this.#end();
  }

  poll(): ServerEvent | undefined {
    return this.#events.poll();
  }

  /** Nothing has come for the quiet period: what looks complete is complete. */
  quiet(): void {
    if (this.#state === "entry" && this.#scanner.state === "provisional") this.#provisional = this.#scanner.address;
    if (this.#told !== "settled") this.#tell(true);
    if (this.#state === "end") this.#end();
  }

  /** The server sends nothing more. */
  finish(): void {
    if (this.#state === "header") this.#state = "end";
    this.quiet();
    this.#state = "done";
  }

  /** The connection broke: a word that has begun is the end, but nothing else is complete for that. */
  break(): void {
    if (this.#state === "end") this.#end();
    this.#state = "done";
    this.#told = "settled";
  }

  #take(byte: number): void {
    if (this.#state === "end") this.#takeWord(byte);
    else if (this.#state === "header") this.#takeHeader(byte);
    else if (this.#state === "between" || !isLetter(byte) || this.#isHexInBrackets(byte)) this.#takeEntry(byte);
    else this.#begin(byte);
  }

  #isHexInBrackets(byte: number): boolean {
    return this.#scanner.isInBrackets && /[a-fA-F]/.test(String.fromCharCode(byte));
  }

  /** A letter outside brackets: the list before it, if any, is over, and a list or a word begins. */
  #begin(byte: number): void {
    if (this.#state === "entry") this.#closeEntry();
    if (this.#told !== "settled") this.#tell(true);
    this.#word = String.fromCharCode(byte);
    this.#state = byte === letterL ? "header" : "end";
  }

  #takeHeader(byte: number): void {
    this.#word += String.fromCharCode(byte);
    if (!header.startsWith(this.#word)) {
      this.#state = "end";
    } else if (this.#word === header) {
      this.#state = "entry";
      this.#word = "";
      this.#members = [];
      this.#bytes = header.length;
      this.#provisional = undefined;
      this.#scanner = new AddressScanner();
      this.#told = "nothing";
      this.#toldCount = -1;
      this.#hasHeader = true;
    }
  }

  /** A word that is as long as an end may be is one, whatever follows. */
  #takeWord(byte: number): void {
    this.#word += String.fromCharCode(byte);
    if (this.#word.length >= this.#longestEnd) this.#end();
  }

  #takeEntry(byte: number): void {
    this.#bytes += 1;
    if (this.#bytes > this.#longestList) {
      this.#state = "done";
      this.#told = "settled";
      this.#events.push({ type: "tooLong", isList: this.#hasHeader });
    } else if (this.#state === "between") {
      if (isLetter(byte)) this.#begin(byte);
      else if (!spaces.has(byte)) this.#skip(byte);
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
    this.#told = "nothing";
    const state = this.#scanner.take(byte);
    if (state === "ended" && spaces.has(byte)) {
      this.#closeEntry();
      this.#state = "skipping";
    } else if (state === "ended" || state === "bad") {
      // Digits or anything else behind a complete port: the whole entry is none.
      this.#skip(byte);
    }
  }

  #skip(byte: number): void {
    const text = this.#scanner.text;
    this.#events.push({ type: "badEntry", text: printable(text === "" ? String.fromCharCode(byte) : text) });
    this.#scanner = new AddressScanner();
    this.#state = "skipping";
  }

  /** The entry under the scanner is over: keep it if it is an address. */
  #closeEntry(): void {
    const { address, isFresh, text } = this.#scanner;
    if (address !== undefined) {
      this.#members.push(address);
      if (this.#provisional === undefined && this.#told !== "settled") this.#told = "nothing";
    } else if (!isFresh) this.#events.push({ type: "badEntry", text: printable(text) });
    this.#provisional = undefined;
    this.#scanner = new AddressScanner();
  }

  /** Tells the list as far as it goes; a piece that has completed no address tells nothing new. */
  #tell(isSettled: boolean): void {
    const last = this.#scanner.state === "exact" ? this.#scanner.address : this.#provisional;
    const count = this.#members.length + (last === undefined ? 0 : 1);
    const newest = last ?? this.#members.at(-1);
    if (isSettled || count !== this.#toldCount || newest !== this.#toldNewest) {
      const members = last === undefined ? [...this.#members] : [...this.#members, last];
      this.#events.push({ type: "list", members, isSettled });
    }
    this.#toldCount = count;
    this.#toldNewest = newest;
    this.#told = isSettled ? "settled" : "unsettled";
  }

  #end(): void {
    this.#events.push({ type: "end", text: printable(this.#word, this.#longestEnd) });
    this.#state = "done";
  }
}
