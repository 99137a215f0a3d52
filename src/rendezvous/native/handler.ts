import { printable } from "../../core/escaping.js";
import type { IdleMonitor } from "../../core/idle-monitor.js";
import type { Candidate } from "../../protocol/directory.js";
import type { Control, ControlOf } from "../../protocol/native/control.js";
import { pong } from "../../protocol/native/frames.js";
import type { AddressVerifier, Verification, VerificationResult } from "../address-verifier.js";
import type { DialectReaderEvent } from "../dialect-reader.js";
import type { MemberSession, MemberSessionState } from "../member-session.js";
import { applicantOf } from "../membership.js";
import type { Meshes } from "../meshes.js";
import type { SessionCloser } from "../session-closer.js";
import type { RendezvousRules } from "../types.js";

/** What the native desk is made with. */
export interface NativeHandlerOptions {
  readonly rules: RendezvousRules;
  readonly meshes: Meshes;
  readonly partings: SessionCloser;
  readonly dialBacks: AddressVerifier;
  readonly pulse: IdleMonitor<MemberSession>;
  /** It is known now who this is; its handshake is over. */
  readonly known: (session: MemberSession) => void;
}

/** Which messages are heard, and in which states of a session; all others are refused. */
const heardIn = {
  register: ["reading"],
  resume: ["reading"],
  // Once it is let in, the answer to a dial-back of an older session may still come, and counts for nothing.
  proof: ["proving", "waiting", "joining", "member"],
  links: ["member"],
  watch: ["member"],
  leave: ["proving", "waiting", "joining", "member"],
} as const;

type Asking = ControlOf<"register"> | ControlOf<"resume">;

/** Hears what native callers say: who they want to be, the proof of their addresses, their links, their leave. */
export class NativeHandler {
  readonly #options: NativeHandlerOptions;
  /** Who asked for which challenge. */
  readonly #asking = new Map<Verification, MemberSession>();

  constructor(options: NativeHandlerOptions) {
    this.#options = options;
  }

  hear(session: MemberSession, heard: Exclude<DialectReaderEvent, { type: "registration" }>, now: number): void {
    const { partings } = this.#options;
    if (heard.type === "ping") {
      session.line.owe("pong", pong);
    } else if (heard.type === "control") {
      this.#understand(session, heard.control, now);
    } else if (heard.type === "otherVersion") {
      partings.note(session, "VERSION_MISMATCH", `it speaks the versions ${heard.versions}`);
      session.line.sendVersions();
      partings.close(session, { type: "broken", reason: "speaks another version" }, now);
    } else if (heard.code === "BAD_PREFACE") {
      partings.note(session, heard.code, heard.detail);
      partings.close(session, { type: "broken", reason: "speaks another protocol" }, now);
    } else {
      partings.refuse(session, heard.code, heard.detail, now);
    }
  }

  /** Lets a session prove that it is reached where it says: dials it there, with a nonce that is to come back here. */
  challenge(session: MemberSession, resumesFrom: number | undefined, now: number): void {
    const { rules, dialBacks } = this.#options;
    const { candidate, mesh } = session;
    if (candidate === undefined || mesh === undefined) return;
    session.step("challenged");
    const task = { mesh, id: candidate.id, address: candidate.address, nonce: rules.draw() };
    session.proof = resumesFrom === undefined ? { task } : { task, resumesFrom };
    this.#asking.set(task, session);
    dialBacks.begin(task, now);
  }

  /** The dial to a newcomer has failed. */
  unproved({ task, found, detail }: VerificationResult, now: number): void {
    const { meshes, partings } = this.#options;
    const session = this.#asking.get(task);
    this.#asking.delete(task);
    if (session === undefined) return;
    const isOwn = session.proof?.resumesFrom !== undefined;
    session.proof = undefined;
    if (found === "undialed") {
      partings.refuse(session, "NO_DESCRIPTORS", `this server cannot dial ${task.address} now: ${detail}`, now);
      return;
    }
    const holder = meshes.addresses.of(task.address);
    if (holder?.standing === "member" && !isOwn) {
      partings.refuse(session, "ADDRESS_IN_USE", `${task.address} belongs to a live member`, now);
    } else {
      partings.refuse(session, "ADDRESS_UNPROVED", `${task.address}: ${detail}`, now);
    }
  }

  /** The session is over. */
  forget(session: MemberSession, now: number): void {
    const { proof } = session;
    session.proof = undefined;
    if (proof === undefined) return;
    this.#asking.delete(proof.task);
    this.#options.dialBacks.end(proof.task, now);
  }

  #understand(session: MemberSession, control: Control, now: number): void {
    const states: readonly MemberSessionState[] = heardIn[control.type as keyof typeof heardIn] ?? [];
    // Whoever refuses closes, too; that is what counts.
    if (control.type === "refuse") return;
    if (!states.includes(session.state)) this.#unexpected(session, control, now);
    else if (control.type === "leave") this.#leave(session, control.reason, now);
    else if (control.type === "proof") this.#proved(session, control.nonce, now);
    else if (control.type === "links") this.#report(session, control, now);
    else if (control.type === "watch") this.#watch(session, control.size);
    else if (control.type === "register") this.#register(session, control, now);
    else if (control.type === "resume") this.#resume(session, control, now);
  }

  #unexpected(session: MemberSession, { type }: Control, now: number): void {
    const { partings } = this.#options;
    if (type === "hello")
      partings.refuse(session, "HELLO_AT_SERVER", "this is the rendezvous server; greet members", now);
    else partings.refuse(session, "UNEXPECTED_MESSAGE", `no "${type}" is expected here in state ${session.state}`, now);
  }

  #register(session: MemberSession, control: ControlOf<"register">, now: number): void {
    if (!this.#isIdentified(session, control, now)) return;
    const { meshes, partings, rules } = this.#options;
    const { mesh: name, id, address, name: ownName, meta } = control;
    const candidate: Candidate = {
      id,
      address,
      dialect: "native",
      ...(ownName === undefined ? {} : { name: ownName }),
      ...(meta === undefined ? {} : { meta }),
    };
    if (!meshes.hasRoomFor(name)) {
      partings.refuse(session, "TOO_MANY_MESHES", `there are ${rules.limits.meshes} meshes on this server`, now);
      return;
    }
    const verdict = meshes.orNew(name).roll.judge(session, candidate);
    if (verdict.type === "refuse") {
      partings.refuse(session, verdict.code, verdict.message, now);
      return;
    }
    session.mesh = name;
    session.candidate = candidate;
    this.challenge(session, undefined, now);
  }

  #resume(session: MemberSession, control: ControlOf<"resume">, now: number): void {
    if (!this.#isIdentified(session, control, now)) return;
    const { meshes, partings } = this.#options;
    const { mesh: name, id, address, log, revision } = control;
    const candidate: Candidate = { id, address, dialect: "native" };
    const mesh = meshes.find(name);
    if (mesh?.hasEnded === true && mesh.roll.directory.member(id)?.address === address) {
      partings.dismiss(session, mesh.ending ?? { reason: "the mesh has ended" }, now);
      return;
    }
    const member = mesh?.returning(candidate, log);
    if (mesh === undefined || member === undefined) {
      partings.refuse(session, "FENCED", `no member of "${printable(name)}" goes on as ${id}; join anew`, now);
      return;
    }
    const refusal = mesh.roll.admission.judgeHost(applicantOf(session, candidate));
    if (refusal !== undefined) {
      partings.refuse(session, refusal.code, refusal.message, now);
      return;
    }
    session.mesh = name;
    session.candidate = candidate;
    mesh.proving(session, member);
    this.challenge(session, revision, now);
  }

  /** Whether it asks for what it has proved the secret for. */
  #isIdentified(session: MemberSession, { mesh }: Asking, now: number): boolean {
    const { partings, rules } = this.#options;
    const { identity } = session;
    if (!rules.isKeyed) return true;
    if (identity?.role !== "rendezvous") {
      partings.refuse(session, "WRONG_ROLE", "this key is for speaking with members, not with the server", now);
    } else if (identity.mesh !== mesh) {
      const asked = `it asks for "${printable(mesh)}" with a key of "${printable(identity.mesh)}"`;
      partings.refuse(session, "WRONG_MESH", asked, now);
    } else {
      return true;
    }
    return false;
  }

  #proved(session: MemberSession, nonce: string, now: number): void {
    if (session.state !== "proving") return;
    const { known, pulse } = this.#options;
    const { proof } = session;
    // A stranger may dial back too, and whoever answers it sends us its nonce: that proves nothing, and spoils nothing.
    if (proof?.task.nonce !== nonce) return;
    this.forget(session, now);
    known(session);
    session.door.trust();
    pulse.watch(session, now);
    if (proof.resumesFrom === undefined) this.#admit(session, now);
    else this.#goOn(session, proof.resumesFrom, now);
  }

  /** Judged again: what was free when the dial-back began may be taken by now. */
  #admit(session: MemberSession, now: number): void {
    const { meshes, partings, rules } = this.#options;
    const { mesh: name = "", candidate } = session;
    const mesh = meshes.open(name);
    if (mesh === undefined || candidate === undefined) {
      partings.refuse(session, "TOO_MANY_MESHES", `there are ${rules.limits.meshes} meshes on this server`, now);
      return;
    }
    const verdict = mesh.register(session, candidate, now);
    if (verdict.type === "refuse") partings.refuse(session, verdict.code, verdict.message, now);
    else if (verdict.evicts !== undefined) meshes.find(verdict.evicts.mesh)?.evict(verdict.evicts.id, name);
  }

  /** A member has come back, unless it has been removed while it proved who it is. */
  #goOn(session: MemberSession, revision: number, now: number): void {
    const { meshes, partings } = this.#options;
    const mesh = meshes.find(session.mesh ?? "");
    const member = mesh?.roll.standing(session.candidate?.id ?? "");
    if (mesh === undefined || member === undefined || mesh.hasEnded) {
      partings.refuse(session, "FENCED", "the member has been removed; join anew", now);
      return;
    }
    const older = mesh.resume(session, member, revision, now);
    if (older !== undefined) partings.close(older, { type: "broken", reason: "the member has come back" }, now);
  }

  #report(session: MemberSession, control: ControlOf<"links">, now: number): void {
    this.#options.meshes.find(session.mesh ?? "")?.report(session, control, now);
  }

  #watch(session: MemberSession, size: number): void {
    this.#options.meshes.find(session.mesh ?? "")?.updates.watch(session, size);
  }

  #leave(session: MemberSession, reason: string, now: number): void {
    this.#options.partings.close(session, { type: "left", reason: printable(reason, 160) }, now);
  }
}
