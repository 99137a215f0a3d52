import { TimerTable } from "../../core/timer-table.js";
import { httpRefusal } from "../../protocol/caller-kind.js";
import type { RegistrationEvent } from "../../protocol/classic/registration.js";
import type { AdmissionVerdict } from "../admission.js";
import type { MemberSession } from "../member-session.js";
import type { Mesh } from "../mesh.js";
import type { SessionCloser } from "../session-closer.js";
import type { RendezvousRules } from "../types.js";

/** The mesh that all classic members are in, for they name none. */
export const classicMesh = "default";

/** What the classic desk is made with. */
export interface ClassicHandlerOptions {
  readonly rules: RendezvousRules;
  readonly partings: SessionCloser;
  readonly mesh: () => Mesh;
  /** It is known now who this is; its handshake is over. */
  readonly known: (session: MemberSession) => void;
}

/** Hears what classic callers say: their registrations, the corrections of these, and what is none. */
export class ClassicHandler {
  readonly #options: ClassicHandlerOptions;
  readonly #quiet = new TimerTable<MemberSession>();

  constructor(options: ClassicHandlerOptions) {
    this.#options = options;
  }

  /** Something has come. The door's quiet period begins anew, if one would decide anything. */
  listen(session: MemberSession, now: number): void {
    if (session.door.awaitsQuiet && session.state !== "closing") {
      this.#quiet.set(session, now + this.#options.rules.limits.quietMs);
    } else {
      this.#quiet.clear(session);
    }
  }

  hear(session: MemberSession, event: RegistrationEvent, now: number): void {
    const { partings, rules, known, mesh } = this.#options;
    switch (event.type) {
      case "registered": {
        known(session);
        if (rules.dialect === "native" || rules.isKeyed) {
          partings.refuse(session, "WRONG_DIALECT", "only native members may join here", now);
          break;
        }
        session.mesh = classicMesh;
        const candidate = { id: rules.draw(), address: event.address, dialect: "classic" } as const;
        this.#heed(session, mesh().register(session, candidate, now), now);
        break;
      }
      case "revised":
        partings.note(session, "REGISTRATION_REVISED", `${session.address} was corrected to ${event.address}`);
        session.correction = event.address;
        // What is being appended must be in the log before it can be taken out again.
        if (session.state !== "joining") this.correct(session, now);
        break;
      case "bad":
        partings.refuse(session, "BAD_ADDRESS", `expected <ip>:<port>, got "${event.text}"`, now);
        break;
      case "extra":
        partings.note(session, event.isAddress ? "SECOND_REGISTRATION" : "EXTRA_BYTES", `ignored "${event.text}"`);
        break;
      case "wrongCaller":
        this.turnAway(session, event.caller, now);
        break;
    }
  }

  /** Replaces the address of a session by its correction, if it has one. Returns whether it had. */
  correct(session: MemberSession, now: number): boolean {
    const { correction } = session;
    session.correction = undefined;
    if (correction !== undefined) this.#heed(session, this.#options.mesh().correct(session, correction, now), now);
    return correction !== undefined;
  }

  turnAway(session: MemberSession, caller: string, now: number): void {
    const { partings } = this.#options;
    const departure = { type: "broken", reason: "speaks another protocol" } as const;
    if (caller === "hello") {
      partings.refuse(session, "HELLO_AT_SERVER", "this is the rendezvous server; greet members", now);
    } else if (caller === "http") {
      partings.note(session, "HTTP_REQUEST", "answered with 400");
      partings.close(session, departure, now, httpRefusal());
    } else {
      partings.note(session, "TLS_HELLO", "closed without an answer");
      partings.close(session, departure, now);
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

  #heed(session: MemberSession, verdict: AdmissionVerdict, now: number): void {
    if (verdict.type === "refuse") this.#options.partings.refuse(session, verdict.code, verdict.message, now);
  }
}
