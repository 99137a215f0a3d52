import type { PendingConnections } from "../../core/pending-connections.js";
import { httpRefusal, tlsRefusal } from "../../protocol/caller-kind.js";
import type { RegistrationEvent } from "../../protocol/classic/registration.js";
import type { AdmissionVerdict } from "../admission.js";
import type { MemberSession } from "../member-session.js";
import { classicMesh, type Meshes } from "../meshes.js";
import type { SessionCloser } from "../session-closer.js";
import type { SharingServers } from "../sharing-servers.js";
import type { RendezvousRules } from "../types.js";

/** Handles what classic members send: registrations, corrections of these, and everything that is neither. */
export class RegistrationHandler {
  readonly #rules: RendezvousRules;
  readonly #servers: SharingServers;
  readonly #meshes: Meshes;
  readonly #sessionCloser: SessionCloser;
  readonly #pendingConnections: PendingConnections;

  constructor(
    rules: RendezvousRules,
    servers: SharingServers,
    meshes: Meshes,
    sessionCloser: SessionCloser,
    pendingConnections: PendingConnections,
  ) {
    this.#rules = rules;
    this.#servers = servers;
    this.#meshes = meshes;
    this.#sessionCloser = sessionCloser;
    this.#pendingConnections = pendingConnections;
  }

  handle(session: MemberSession, event: RegistrationEvent, now: number): void {
    const sessionCloser = this.#sessionCloser;
    switch (event.type) {
      case "registered": {
        this.#pendingConnections.end(session.connection);
        if (this.#rules.dialect === "native" || this.#rules.isKeyed) {
          sessionCloser.refuse(session, "WRONG_DIALECT", "only native members may join here", now);
          break;
        }
        const refused = this.#servers.refusalOf(classicMesh);
        if (refused !== undefined) {
          sessionCloser.refuse(session, refused.code, refused.message, now);
          break;
        }
        session.mesh = classicMesh;
        const candidate = { id: this.#rules.newId(), address: event.address, dialect: "classic" } as const;
        this.#applyVerdict(session, this.#meshes.classic.register(session, candidate, now), now);
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
      this.#applyVerdict(session, this.#meshes.classic.correct(session, correction, now), now);
    return correction !== undefined;
  }

  refuseOtherProtocol(session: MemberSession, caller: string, now: number): void {
    const sessionCloser = this.#sessionCloser;
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

  #applyVerdict(session: MemberSession, verdict: AdmissionVerdict, now: number): void {
    if (verdict.type === "refuse") this.#sessionCloser.refuse(session, verdict.code, verdict.message, now);
  }
}
