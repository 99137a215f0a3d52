import type { ConnectionId, Endpoint } from "../core/connections.js";
import type { ErrorCode } from "../core/errors.js";
import type { OutputSink } from "../core/machine.js";
import { type Address, formatAddress } from "../protocol/address.js";
import type { Entry, Id, Member } from "../protocol/directory.js";
import type { ControlOf } from "../protocol/native/control.js";
import type { MemberEvent, MemberOutput } from "./types.js";

/** What the rest of the member must know of its conversation with the server. */
export type SessionEvent =
  /** A classic list has come, or more of one. */
  | { readonly type: "list"; readonly members: readonly Address[]; readonly isSettled: boolean }
  /** The server has let this incarnation in, or in again. */
  | { readonly type: "admitted"; readonly log: Id; readonly order: number; readonly isAgain: boolean }
  /** The whole directory. */
  | { readonly type: "directory"; readonly members: readonly Member[]; readonly revision: number }
  /** What has happened since. */
  | { readonly type: "entries"; readonly entries: readonly Entry[] }
  /** How whole the mesh is, as the server sees it. */
  | ControlOf<"complete">
  | ControlOf<"degraded">
  /** The server does not take this member back, for now. */
  | { readonly type: "refused" }
  /** This incarnation has been removed from the mesh. */
  | { readonly type: "fenced"; readonly reason: string }
  /** The server has ended the mesh for this node, or is gone. */
  | { readonly type: "over"; readonly reason: string; readonly failure?: ErrorCode };

/** The conversation with the rendezvous server, in either dialect. */
export interface ServerSession {
  /** The present connection, if there is one. */
  readonly connection: ConnectionId | undefined;
  /** Our end of the newest connection, which tells by which address this machine reaches the server. */
  readonly local: Endpoint | undefined;
  connect(to: Endpoint, now: number): void;
  /** Registers on the present connection, or on a new one if the server has closed an idle one. */
  register(own: Address, now: number): void;
  /** The end has come, from whichever side; with a reason it is this node that leaves. */
  end(now: number, leaving?: string): void;
  nextTimeout(): number | undefined;
  handleTimeout(now: number): void;
  poll(): SessionEvent | undefined;
}

/** What a session says: news to the rest of its member, events to the member's owner, notes to the log. */
export class SessionOutput {
  /** The server that it speaks of, once it is known. */
  server: Endpoint | undefined;
  readonly #outputs: OutputSink<MemberOutput>;
  #news: SessionEvent[] = [];

  constructor(outputs: OutputSink<MemberOutput>) {
    this.#outputs = outputs;
  }

  /** The server as people are told of it. */
  get serverName(): string {
    return this.server === undefined ? "the server" : formatAddress(this.server);
  }

  /** The oldest news that the rest of the member has not heard. */
  poll(): SessionEvent | undefined {
    return this.#news.shift();
  }

  bring(news: SessionEvent): void {
    this.#news.push(news);
  }

  over(reason: string, failure?: ErrorCode): void {
    this.bring({ type: "over", reason, ...(failure && { failure }) });
  }

  /** What has not been heard was meant for an incarnation that is no more, but for the end of the mesh. */
  forget(): void {
    this.#news = this.#news.filter(({ type }) => type === "over");
  }

  tell(event: MemberEvent): void {
    this.#outputs.push({ type: "event", event });
  }

  note(code: ErrorCode, message: string): void {
    const remote = this.server === undefined ? {} : { remote: formatAddress(this.server) };
    this.#outputs.push({ type: "note", note: { code, message, ...remote } });
  }
}
