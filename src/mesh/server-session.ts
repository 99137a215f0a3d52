import type { ConnectionId, Endpoint } from "../core/connections.js";
import type { ErrorCode, LogEvent } from "../core/errors.js";
import type { OutputSink } from "../core/machine.js";
import type { Timers } from "../core/timers.js";
import { nextState, type Transitions } from "../core/transitions.js";
import type { Address } from "../protocol/address.js";
import { ServerRedial } from "./server-redial.js";
import type { MemberEvent, MemberOutput, MemberRules, SessionEvent } from "./types.js";

/** The session with the rendezvous server, as far as it is the same in both dialects. */
export abstract class ServerSession<State extends string = string, Trigger extends string = string> {
  /** Our end of the newest connection, which shows by which address this machine reaches the server. */
  local: Endpoint | undefined;
  protected readonly rules: MemberRules;
  protected readonly emit: (event: SessionEvent, now: number) => void;
  protected readonly serverRedial: ServerRedial;
  /** The address to register, from the moment it is to be registered. */
  protected own: Address | undefined;
  protected state: State;
  readonly #transitions: Partial<Transitions<State, Trigger>>;
  readonly #outputs: OutputSink<MemberOutput>;

  /** `emit` takes what the rest of the member must know, at once; the session is done with the message by then. */
  constructor(
    transitions: Partial<Transitions<State, Trigger>>,
    initial: State,
    rules: MemberRules,
    timers: Timers,
    outputs: OutputSink<MemberOutput>,
    emit: (event: SessionEvent, now: number) => void,
  ) {
    this.#transitions = transitions;
    this.state = initial;
    this.rules = rules;
    this.#outputs = outputs;
    this.emit = emit;
    this.serverRedial = new ServerRedial(
      rules.limits,
      rules.seed,
      timers,
      (now) => this.dial(now),
      (now) => this.givenUp(now),
    );
  }

  /** The present connection, if there is one. */
  abstract get connectionId(): ConnectionId | undefined;

  /** The server, as messages name it. */
  get serverName(): string {
    return this.serverRedial.serverName;
  }

  /** Connects; see the input `connectToServer` for `lookMs`. */
  connect(servers: readonly Endpoint[], now: number, lookMs?: number): void {
    this.serverRedial.begin(servers, lookMs, now);
    this.dial(now);
  }

  /** Registers on the present connection, or on a new one if the server has closed an idle one. */
  abstract register(own: Address, now: number): void;

  /** The end has come, from whichever side; with a reason it is this node that leaves. */
  abstract end(now: number, leaving?: string): void;

  /** Dials the server that is next. */
  protected abstract dial(now: number): void;

  /** The server has been looked for long enough. */
  protected givenUp(now: number): void {
    this.emit(this.serverRedial.timedOut(this.own), now);
  }

  protected over(reason: string, failure: ErrorCode | undefined, now: number): void {
    this.emit({ type: "over", reason, ...(failure && { failure }) }, now);
  }

  protected report(event: MemberEvent): void {
    this.#outputs.push({ type: "event", event });
  }

  protected note(code: ErrorCode, message: string): void {
    this.#outputs.push({ type: "note", note: { code, message, remote: this.serverName } });
  }

  /** The server is not there yet, or cannot take this member in; logged once for each server. */
  protected noteAwaited(failure: LogEvent): void {
    const awaited = failure.code === "BUSY" ? undefined : this.serverRedial.awaited(failure);
    if (awaited !== undefined) this.note("SERVER_AWAITED", awaited);
  }

  protected step(trigger: Trigger): void {
    this.state = nextState(this.#transitions, this.state, trigger, "session with the server");
  }
}
