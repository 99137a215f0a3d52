import { TimerTable } from "../../core/timer-table.js";
import { httpRefusal, tlsRefusal } from "../../protocol/caller-kind.js";
import type { RegistrationEvent } from "../../protocol/classic/registration.js";
import type { AdmissionVerdict } from "../admission.js";
import type { MemberSession } from "../member-session.js";
import type { Mesh } from "../mesh.js";
import type { SessionCloser } from "../session-closer.js";
import type { RendezvousRules } from "../types.js";

/** The mesh of all classic members, which name none. */
export const classicMesh = "default";

/** What the classic handler needs. */
export interface ClassicHandlerOptions {
  readonly rules: RendezvousRules;
  readonly sessionCloser: SessionCloser;
  readonly mesh: () => Mesh;
  /** The session has registered: it is no pending connection any more. */
  readonly known: (session: MemberSession) => void;
}

/** Handles what classic members send: registrations, corrections of these, and everything that is neither. */
export class ClassicHandler {
  readonly #options: ClassicHandlerOptions;
  readonly #quiet = new TimerTable<MemberSession>();

  constructor(options: ClassicHandlerOptions) {
    this.#options = options;
  }

  /** Bytes have come. The quiet period begins anew, if it decides anything. */
  listen(session: MemberSession, now: number): void {
    if (session.reader.awaitsQuiet && session.state !== "closing") {
      this.#quiet.set(session, now + this.#options.rules.limits.quietMs);
    } else {
      this.#quiet.clear(session);
    }
  }

  handle(session: MemberSession, event: RegistrationEvent, now: number): void {
    const { sessionCloser, rules, known, mesh } = this.#options;
    switch (event.type) {
      case "registered": {
        known(session);
        if (rules.dialect === "native" || rules.isKeyed) {
          sessionCloser.refuse(session, "WRONG_DIALECT", "only native members may join here", now);
          break;
        }
        session.mesh = classicMesh;
        const candidate = { id: rules.newId(), address: event.address, dialect: "classic" } as const;
        this.#applyVerdict(session, mesh().register(session, candidate, now), now);
        break;
      }
      case "revised":
        sessionCloser.note(session, "REGISTRATION_REVISED", `${session.address} was corrected to ${event.address}`);
        session.correction = event.address;
        // An append under way must be answered before its member can be removed.
        if (session.state !== "joining") this.correct(session, now);
        break;
      case "bad":
        sessionCloser.refuse(session, "BAD_ADDRESS", `expected <ip>:<port>, got "${event.text}"`, now);
        break;
      case "extra":
        sessionCloser.note(session, event.isAddress ? "SECOND_REGISTRATION" : "EXTRA_BYTES", `ignored "${event.text}"`);
        break;
      case "wrongCaller":
        this.refuseOtherProtocol(session, event.caller, now);
        break;
    }
  }

  /** Replaces the address of a session by its correction, if it has one. Returns whether it had. */
  correct(session: MemberSession, now: number): boolean {
    const { correction } = session;
    session.correction = undefined;
    if (correction !== undefined)
      this.#applyVerdict(session, this.#options.mesh().correct(session, correction, now), now);
    return correction !== undefined;
  }

  refuseOtherProtocol(session: MemberSession, caller: string, now: number): void {
    const { sessionCloser } = this.#options;
    const closeReason = { type: "broken", reason: "speaks another protocol" } as const;
    if (caller === "hello") {
      sessionCloser.refuse(session, "HELLO_AT_SERVER", "this is the rendezvous server; greet members", now);
    } else if (caller === "http") {
      sessionCloser.note(session, "HTTP_REQUEST", "answered with 400");
      sessionCloser.close(session, closeReason, now, httpRefusal());
    } else {
      sessionCloser.note(session, "TLS_HELLO", "this server uses no secret");
      sessionCloser.close(session, closeReason, now, tlsRefusal());
    }
  }

  /** The session is over. */
  forget(session: MemberSession): void {
    this.#quiet.clear(session);
  }

  nextTimeout(): number | undefined {
    return this.#quiet.next();
  }

  /** A session on which nothing has come for the quiet period; undefined when there is none left. */
  takeDue(now: number): MemberSession | undefined {
    return this.#quiet.takeDue(now);
  }

  #applyVerdict(session: MemberSession, verdict: AdmissionVerdict, now: number): void {
    if (verdict.type === "refuse") this.#options.sessionCloser.refuse(session, verdict.code, verdict.message, now);
  }
}
