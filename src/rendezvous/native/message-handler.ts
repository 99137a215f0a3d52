import { printable } from "../../core/escaping.js";
import type { IdleMonitor } from "../../core/idle-monitor.js";
import type { PendingConnections } from "../../core/pending-connections.js";
import { isOfOneKind } from "../../protocol/address.js";
import { type Candidate, compareMembers, type Id } from "../../protocol/directory.js";
import { type Control, type ControlOf, encodeControl } from "../../protocol/native/control.js";
import { pong } from "../../protocol/native/frames.js";
import type { AddressVerifier, VerificationResult } from "../address-verifier.js";
import type { AdmissionRefusal } from "../admission.js";
import type { DialectReaderEvent } from "../dialect-reader.js";
import type { MemberRecord } from "../member-record.js";
import type { MemberSession, MemberSessionState } from "../member-session.js";
import { applicantOf, type RefusedSession } from "../membership.js";
import type { Mesh } from "../mesh.js";
import type { Meshes } from "../meshes.js";
import type { SessionCloser } from "../session-closer.js";
import type { SharingServers } from "../sharing-servers.js";
import type { LogFact, RendezvousRules } from "../types.js";
import type { Measurements } from "./measurements.js";
import type { Observers } from "./observers.js";

/** The session states in which each message is allowed; all others are refused. */
const allowedStates = {
  register: ["reading"],
  observe: ["reading"],
  probe: ["reading"],
  resume: ["reading"],
  // A server that has the member in its log needs none of it; behind a proof that was not due it comes too early.
  known: ["proving", "recovering", "joining", "member"],
  // The proof for an older session may arrive after the member was admitted, and is ignored then.
  proof: ["proving", "waiting", "joining", "member"],
  links: ["member"],
  measured: ["member"],
  grant: ["member"],
  watch: ["member"],
  renew: ["member"],
  claim: ["member"],
  unclaim: ["member"],
  held: ["member"],
  leave: ["proving", "waiting", "recovering", "joining", "member"],
} as const;

const removalUnanswered = "the membership log has not answered yet whether this member is removed";

type Refusal = Pick<RefusedSession, "code" | "message">;

type Asking = ControlOf<"register"> | ControlOf<"resume">;

/** Handles the messages of native members, from `register` to those about claims; and `observe` and `probe`. */
export class NativeMessageHandler {
  readonly #rules: RendezvousRules;
  readonly #servers: SharingServers;
  readonly #meshes: Meshes;
  readonly #sessionCloser: SessionCloser;
  readonly #pendingConnections: PendingConnections;
  readonly #addressVerifier: AddressVerifier;
  readonly #idleMonitor: IdleMonitor<MemberSession>;
  readonly #observers: Observers;
  readonly #measurements: Measurements;

  constructor(
    rules: RendezvousRules,
    servers: SharingServers,
    meshes: Meshes,
    sessionCloser: SessionCloser,
    pendingConnections: PendingConnections,
    addressVerifier: AddressVerifier,
    idleMonitor: IdleMonitor<MemberSession>,
    observers: Observers,
    measurements: Measurements,
  ) {
    this.#observers = observers;
    this.#measurements = measurements;
    this.#rules = rules;
    this.#servers = servers;
    this.#meshes = meshes;
    this.#sessionCloser = sessionCloser;
    this.#pendingConnections = pendingConnections;
    this.#addressVerifier = addressVerifier;
    this.#idleMonitor = idleMonitor;
  }

  handle(session: MemberSession, event: Exclude<DialectReaderEvent, { type: "registration" }>, now: number): void {
    const sessionCloser = this.#sessionCloser;
    if (event.type === "ping") {
      session.nativeWriter.owe("pong", pong);
    } else if (event.type === "control") {
      this.#handleControl(session, event.control, now);
    } else if (event.type === "otherVersion") {
      sessionCloser.note(session, "VERSION_MISMATCH", `it speaks the versions ${event.versions}`);
      session.nativeWriter.sendVersions();
      sessionCloser.close(session, { type: "broken", reason: "speaks another version" }, now);
    } else if (event.code === "BAD_PREFACE") {
      sessionCloser.note(session, event.code, event.detail);
      sessionCloser.close(session, { type: "broken", reason: "speaks another protocol" }, now);
    } else {
      sessionCloser.refuse(session, event.code, event.detail, now);
    }
  }

  /** Lets a session prove its address: dials it there, with a nonce that has to come back on the session. */
  challenge(session: MemberSession, now: number): void {
    const { candidate, mesh } = session;
    if (candidate === undefined || mesh === undefined) return;
    session.step("challenged");
    const { id, address } = candidate;
    session.proof = { mesh, id, address, challenge: { session, nonce: this.#rules.newId() } };
    this.#addressVerifier.begin(session.proof, now);
  }

  /** The dial to a registrant's address has failed. */
  unproved(session: MemberSession, { task, found, detail }: VerificationResult, now: number): void {
    const sessionCloser = this.#sessionCloser;
    if (session.proof !== task) return;
    const isOwn = session.resumes !== undefined;
    session.proof = undefined;
    if (found === "unclear" && this.#meshes.find(session.mesh)?.membership.missCall(session, now) === true) return;
    if (found === "undialed") {
      sessionCloser.refuse(session, "NO_DESCRIPTORS", `this server cannot dial ${task.address} now: ${detail}`, now);
      return;
    }
    const holder = this.#meshes.addresses.of(task.address);
    if (holder?.standing === "member" && !isOwn) {
      sessionCloser.refuse(session, "ADDRESS_IN_USE", `${task.address} belongs to a live member`, now);
    } else {
      sessionCloser.refuse(session, "ADDRESS_UNPROVED", `${task.address}: ${detail}`, now);
    }
  }

  #handleControl(session: MemberSession, control: Control, now: number): void {
    const states: readonly MemberSessionState[] = allowedStates[control.type as keyof typeof allowedStates] ?? [];
    // A peer that refuses also closes, and that ends the session.
    if (control.type === "refuse") return;
    if (!states.includes(session.state)) this.#unexpected(session, control, now);
    else if (control.type === "leave") this.#leave(session, control.reason, now);
    else if (control.type === "proof") this.#proved(session, control.nonce, now);
    else if (control.type === "links") this.#meshes.find(session.mesh)?.report(session, control, now);
    else if (control.type === "measured") this.#measured(session, control, now);
    else if (control.type === "grant") this.#grant(session, control, now);
    else if (control.type === "watch") this.#meshes.find(session.mesh)?.logBroadcaster.watch(session, control.size);
    else if (control.type === "renew") this.#renew(session, control.number, now);
    else if (control.type === "claim" || control.type === "unclaim" || control.type === "held")
      this.#claim(session, control, now);
    else if (control.type === "known") this.#known(session, control, now);
    else this.#begin(session, control, now);
  }

  /** The first message of a connection. */
  #begin(session: MemberSession, control: Control, now: number): void {
    if (control.type === "register") this.#register(session, control, now);
    else if (control.type === "resume") this.#resume(session, control, now);
    else if (control.type === "observe") this.#observe(session, control, now);
    else if (control.type === "probe") this.#probe(session, control, now);
  }

  #measured(session: MemberSession, control: ControlOf<"measured">, now: number): void {
    const mesh = this.#meshes.peek(session.mesh);
    if (mesh !== undefined) this.#measurements.take(session, control, mesh.members, now);
  }

  /**
   * The owner of a link asks the later end to dial, or the later end says that this has failed. It is passed on to the other
   * one while both are present. Nothing is kept, and nobody is told of a grant that is dropped: it runs out at its owner, which
   * tries something else.
   */
  #grant(session: MemberSession, control: ControlOf<"grant">, now: number): void {
    const { grantsPerSecond, grantsRelayedPerSecond } = this.#rules.limits;
    const mesh = this.#meshes.find(session.mesh);
    const members = mesh?.members;
    const [owner, later] = [members?.get(control.owner), members?.get(control.later)];
    const [sender, receiver] = control.failed === undefined ? [owner, later] : [later, owner];
    const isPair = owner?.isPresent === true && later?.isPresent === true && ownsLink(owner, later);
    if (!isPair || sender?.session !== session || receiver === undefined) return;
    const target = receiver.session;
    if (target !== undefined && target.logProgress?.isAdmitted !== true) return;
    const most = target === undefined ? grantsRelayedPerSecond : grantsPerSecond;
    const count = session.countGrant(target === undefined, now);
    if (count > most) {
      const where = target === undefined ? " to members at other servers" : "";
      if (count === most + 1)
        this.#sessionCloser.note(session, "GRANT_DROPPED", `more than ${most} grants${where} in a second`);
    } else if (target !== undefined) this.#passOn(control, sender, target);
    else mesh?.attachments.publish({ type: "relayed", to: receiver.id, control });
  }

  /** A grant comes from another server. */
  relayed(mesh: Mesh, { to, control }: Extract<LogFact, { type: "relayed" }>): void {
    const [owner, later] = [mesh.members.get(control.owner), mesh.members.get(control.later)];
    const [sender, receiver] = control.failed === undefined ? [owner, later] : [later, owner];
    const isPair = owner?.isPresent === true && later?.isPresent === true && ownsLink(owner, later);
    if (!isPair || sender === undefined || receiver?.id !== to || receiver.session === undefined) return;
    this.#passOn(control, sender, receiver.session);
  }

  #passOn(control: ControlOf<"grant">, sender: MemberRecord, receiver: MemberSession): void {
    const { grantsWaiting } = this.#rules.limits;
    const writer = receiver.nativeWriter;
    if (receiver.logProgress?.isAdmitted !== true) return;
    if (writer.owed < grantsWaiting) {
      writer.owe(`grant ${sender.id}`, encodeControl(control));
      return;
    }
    const message = `${grantsWaiting} messages wait already for ${receiver.address}, which is slow to read`;
    const from = sender.session ?? receiver;
    this.#sessionCloser.note(from, "GRANT_DROPPED", message);
  }

  /** While the store is away others may judge whoever is here: it is not told that it holds what it holds. */
  #renew(session: MemberSession, number: number, now: number): void {
    const { isShared, isStoreThere, self } = this.#servers;
    const mesh = this.#meshes.find(session.mesh);
    const record = mesh?.members.of(session);
    // Before the log says so another server may judge it, and free its keys. It asks again soon.
    const isLogged = !isShared || (record?.server === self && record?.isDetached === false);
    if (!isStoreThere || !isLogged) return;
    mesh?.claims.heard(session.candidate?.id ?? "", now);
    session.nativeWriter.owe("renewed", encodeControl({ type: "renewed", number }));
  }

  #claim(
    session: MemberSession,
    control: ControlOf<"claim"> | ControlOf<"unclaim"> | ControlOf<"held">,
    now: number,
  ): void {
    const claims = this.#meshes.find(session.mesh)?.claims;
    const id = session.candidate?.id;
    if (claims === undefined || id === undefined) return;
    if (control.type === "held") {
      for (const refused of claims.present(id, control.claims, now)) this.#refuseClaim(session, refused, now);
    } else if (control.type === "unclaim") {
      claims.unclaim(id, control.key, control.token, now);
    } else {
      const refused = claims.claim(id, control.key, control.wait === true, now);
      if (refused !== undefined) this.#refuseClaim(session, refused, now);
    }
  }

  /** A member that reads has no more answers waiting than it may have claims. */
  #refuseClaim(session: MemberSession, refused: ControlOf<"unclaimable">, now: number): void {
    session.nativeWriter.owe(`unclaimable ${refused.key}`, encodeControl(refused));
    if (session.nativeWriter.owed <= 2 * this.#rules.limits.claimsPerMember || session.state === "closing") return;
    this.#sessionCloser.refuse(session, "TOO_MANY_CLAIMS", "it does not read the answers to its claims", now);
  }

  #leave(session: MemberSession, reason: string, now: number): void {
    this.#sessionCloser.close(session, { type: "left", reason: printable(reason, 160) }, now);
  }

  #unexpected(session: MemberSession, { type }: Control, now: number): void {
    const sessionCloser = this.#sessionCloser;
    if (type === "hello")
      sessionCloser.refuse(session, "HELLO_AT_SERVER", "this is the rendezvous server; greet members", now);
    else
      sessionCloser.refuse(
        session,
        "UNEXPECTED_MESSAGE",
        `no "${type}" is expected here in state ${session.state}`,
        now,
      );
  }

  #register(session: MemberSession, control: ControlOf<"register">, now: number): void {
    if (!this.#isIdentified(session, control, now) || !this.#isOpen(session, control.mesh, now)) return;
    const sessionCloser = this.#sessionCloser;
    const { mesh: name } = control;
    const candidate = candidateOf(control);
    if (!this.#meshes.hasRoomFor(name)) {
      this.#refuseMesh(session, now);
      return;
    }
    const mesh = this.#meshes.orNew(name);
    const verdict = mesh.membership.judge(session, candidate);
    if (verdict.type === "refuse") {
      sessionCloser.refuse(session, verdict.code, verdict.message, now);
      return;
    }
    session.mesh = name;
    session.candidate = candidate;
    session.mustWait = control.waited === true && mesh.recovery.comesFirst(now);
    session.hasLooked = control.looked === true;
    this.challenge(session, now);
  }

  #resume(session: MemberSession, control: ControlOf<"resume">, now: number): void {
    if (!this.#isIdentified(session, control, now) || !this.#isOpen(session, control.mesh, now)) return;
    const sessionCloser = this.#sessionCloser;
    const { mesh: name, id, address, log, revision, order, highest } = control;
    const candidate = candidateOf(control);
    const mesh = this.#meshes.orNew(name);
    const record = mesh.members.get(id);
    const end = this.#meshes.endOf(control);
    if (end !== undefined) {
      sessionCloser.dismiss(session, end, now);
      return;
    }
    const isListed = record?.member !== undefined && record.address === address && record.dialect === "native";
    const isOfThisLog = log === mesh.logBroadcaster.log;
    const held = this.#servers.isShared && isOfThisLog ? revision : undefined;
    const refused =
      aheadRefusal(mesh, id, held, now) ??
      (isListed ? resumeRefusal(mesh, record, candidate) : recoveryRefusal(mesh, record, candidate, held, now)) ??
      mesh.membership.admission.judgeHost(applicantOf(session, candidate));
    if (refused !== undefined) {
      sessionCloser.refuse(session, refused.code, refused.message, now);
      return;
    }
    session.mesh = name;
    session.candidate = candidate;
    if (isListed) mesh.proving(session, record, isOfThisLog ? revision : undefined);
    else session.recovery = { log, order, highest, rows: 0, ownRows: 0, known: [], gone: [] };
    this.challenge(session, now);
  }

  #observe(session: MemberSession, control: ControlOf<"observe">, now: number): void {
    if (!this.#isIdentified(session, control, now)) return;
    if (this.#observers.isFull) {
      const message = `${this.#rules.limits.observers} look at meshes of this server already`;
      this.#sessionCloser.refuse(session, "BUSY", message, now);
      return;
    }
    session.step("observing");
    this.#pendingConnections.end(session.connection);
    this.#idleMonitor.watch(session, now);
    this.#observers.begin(session, control.mesh, now);
  }

  /**
   * Says whether others would reach an address, and what a registration of it would be told. It takes no place. A host that a
   * registration might not name is not dialed for this either.
   */
  #probe(session: MemberSession, control: ControlOf<"probe">, now: number): void {
    if (!this.#isIdentified(session, control, now)) return;
    const { mesh, id, address } = control;
    session.step("asking");
    const candidate: Candidate = { id, address, dialect: "native" };
    const foreign = this.#meshes.orNew(mesh).membership.admission.judgeHost(applicantOf(session, candidate));
    const task = { mesh, id, address, asker: session };
    session.proof = task;
    if (foreign === undefined) this.#addressVerifier.begin(task, now);
    else this.probed(session, { task, found: "undialed", detail: `not dialed: ${foreign.message}` }, now);
  }

  /** The dial for somebody who asked is over. */
  probed(session: MemberSession, { task, found, detail }: VerificationResult, now: number): void {
    if (session.proof !== task) return;
    session.proof = undefined;
    const { mesh: name, id, address } = task;
    const mesh = this.#meshes.orNew(name);
    const roomless = this.#meshes.hasRoomFor(name) ? undefined : this.#tooManyMeshes;
    const verdict =
      this.#servers.refusalOf(name) ?? roomless ?? mesh.membership.judge(session, { id, address, dialect: "native" });
    const answer: ControlOf<"probed"> = {
      type: "probed",
      reached: found === "here",
      reason: detail,
      observed: session.observedAddress(address),
      at: Math.max(0, Math.round(this.#rules.wallTime())),
      members: mesh.members.directory.members.length,
      ...(verdict.type === "wait" ? { waits: true as const } : {}),
      ...(verdict.type === "refuse" ? { code: verdict.code, message: verdict.message } : {}),
    };
    this.#sessionCloser.close(session, { type: "left", reason: "answered" }, now, encodeControl(answer));
  }

  #refuseMesh(session: MemberSession, now: number): void {
    const { code, message } = this.#tooManyMeshes;
    this.#sessionCloser.refuse(session, code, message, now);
  }

  get #tooManyMeshes(): AdmissionRefusal {
    const message = `there are ${this.#rules.limits.meshes} meshes on this server`;
    return { type: "refuse", code: "TOO_MANY_MESHES", message };
  }

  /** Whether members of this mesh can be let in, or go on, now. */
  #isOpen(session: MemberSession, mesh: string, now: number): boolean {
    const refused = this.#servers.refusalOf(mesh);
    if (refused !== undefined) this.#sessionCloser.refuse(session, refused.code, refused.message, now);
    return refused === undefined;
  }

  /** Whether it has proved the secret for this mesh. */
  #isIdentified(
    session: MemberSession,
    { mesh }: Asking | ControlOf<"observe"> | ControlOf<"probe">,
    now: number,
  ): boolean {
    const sessionCloser = this.#sessionCloser;
    const { identity } = session;
    if (!this.#rules.isKeyed) return true;
    if (identity?.role !== "rendezvous") {
      sessionCloser.refuse(session, "WRONG_ROLE", "this key is for speaking with members, not with the server", now);
    } else if (identity.mesh !== mesh) {
      const asked = `it asks for "${printable(mesh)}" with a key of "${printable(identity.mesh)}"`;
      sessionCloser.refuse(session, "WRONG_MESH", asked, now);
    } else {
      return true;
    }
    return false;
  }

  #proved(session: MemberSession, nonce: string, now: number): void {
    if (session.state !== "proving") return;
    const { proof } = session;
    // Another server may have challenged this member, whose answer then comes here: an unknown nonce is ignored.
    if (proof?.challenge?.nonce !== nonce) return;
    session.proof = undefined;
    session.missedCalls = 0;
    this.#addressVerifier.end(proof, now);
    this.#pendingConnections.end(session.connection);
    session.reader.trust();
    this.#idleMonitor.watch(session, now);
    if (!this.#isOpen(session, proof.mesh, now)) return;
    if (session.recovery !== undefined) this.#beginRecovery(session, now);
    else if (session.resumes === undefined) this.admit(session, now);
    else this.#resumeMember(session, now);
  }

  /** A newcomer has proved its address. What was free when the dial began may be taken by now, so it is judged again. */
  admit(session: MemberSession, now: number): void {
    const sessionCloser = this.#sessionCloser;
    const { mesh: name = "", candidate } = session;
    const mesh = this.#meshes.open(name, now);
    if (mesh === undefined || candidate === undefined) {
      this.#refuseMesh(session, now);
      return;
    }
    if (session.hasLooked && mesh.hold(session, now)) return;
    const verdict = mesh.register(session, candidate, now);
    if (verdict.type === "refuse") sessionCloser.refuse(session, verdict.code, verdict.message, now);
    else if (verdict.evicts !== undefined) this.#meshes.find(verdict.evicts.mesh)?.evict(verdict.evicts.id, name, now);
  }

  /** A member has proved its resume, and goes on unless it was removed meanwhile. */
  #resumeMember(session: MemberSession, now: number): void {
    const sessionCloser = this.#sessionCloser;
    const mesh = this.#meshes.find(session.mesh);
    const member = mesh?.members.get(session.candidate?.id ?? "");
    if (mesh === undefined || mesh.hasEnded || member?.member === undefined) {
      sessionCloser.refuse(session, "FENCED", "the member has been removed; join anew", now);
      return;
    }
    if (!member.isStanding) {
      sessionCloser.refuse(session, "STORE_UNAVAILABLE", removalUnanswered, now);
      return;
    }
    const older = mesh.resume(session, member, now);
    if (older !== undefined) sessionCloser.close(older, { type: "broken", reason: "the member has come back" }, now);
  }

  /** A member of an earlier log has proved its address: it says whom it knows before it counts. */
  #beginRecovery(session: MemberSession, now: number): void {
    const { mesh: name = "", candidate } = session;
    const mesh = this.#meshes.open(name, now);
    if (mesh === undefined) {
      this.#refuseMesh(session, now);
    } else if (mesh.hasEnded || candidate === undefined || !mesh.recovery.isWelcome(candidate.id, now)) {
      this.#sessionCloser.refuse(session, "FENCED", fenced(name, candidate?.id), now);
    } else mesh.beginRecovery(session, now);
  }

  #known(session: MemberSession, control: ControlOf<"known">, now: number): void {
    const { recovery, mesh: name = "" } = session;
    const mesh = this.#meshes.find(name);
    if (session.state !== "recovering" || recovery === undefined || mesh === undefined) return;
    const other = control.members.find(({ address }) => !isOfOneKind(address, session.remote));
    if (other !== undefined) {
      const message = `it names ${other.address}, and this mesh is ${session.remote.path === undefined ? "not " : ""}on local sockets`;
      this.#sessionCloser.refuse(session, "LOCAL_MIX", message, now);
      return;
    }
    const part = mesh.recovery.read(recovery, control);
    if (part === "more") return;
    if (part === "full") {
      // Others say too much, which passes: whoever is told this comes again.
      this.#sessionCloser.refuse(session, "BUSY", "too much is being read of what members know", now);
      return;
    }
    if (part === "tooMany") {
      const message = `it names more than ${this.#rules.limits.directoryMembers} members`;
      this.#sessionCloser.refuse(session, "BAD_FRAME", message, now);
      return;
    }
    const verdict = mesh.recover(session, recovery, now);
    if (verdict?.type === "refuse") this.#sessionCloser.refuse(session, verdict.code, verdict.message, now);
    else if (verdict?.evicts !== undefined) this.#meshes.find(verdict.evicts.mesh)?.evict(verdict.evicts.id, name, now);
  }
}

/** What a member publishes of itself when it asks to be let in. */
function candidateOf({ id, address, name, meta }: Asking): Candidate {
  const more = { ...(name === undefined ? {} : { name }), ...(meta === undefined ? {} : { meta }) };
  return { id, address, dialect: "native", ...more };
}

/** Why somebody cannot go on who holds a revision that this log has not come to. */
function aheadRefusal(mesh: Mesh, id: Id, revision: number | undefined, now: number): Refusal | undefined {
  const judged = revision === undefined ? undefined : mesh.judgeRevision(id, revision, now);
  if (judged === undefined) return undefined;
  const has = `the log of "${printable(mesh.name)}" is at revision ${mesh.members.directory.revision}`;
  const message = `${has}, and this member has read ${revision}`;
  return { code: judged === "behind" ? "STORE_UNAVAILABLE" : "STORE_ROLLED_BACK", message };
}

/** Why a member of this log cannot go on. */
function resumeRefusal(mesh: Mesh, { isStanding }: MemberRecord, { id }: Candidate): Refusal | undefined {
  if (mesh.hasEnded) return { code: "FENCED", message: fenced(mesh.name, id) };
  return isStanding ? undefined : { code: "STORE_UNAVAILABLE", message: removalUnanswered };
}

/**
 * Why somebody cannot come back as a member of an earlier log. The id of a member of this one is not to be had; and whoever was in
 * this very log, where that outlives its servers, up to the revision `held`, has been removed from it.
 */
function recoveryRefusal(
  mesh: Mesh,
  record: MemberRecord | undefined,
  { id, address }: Candidate,
  held: number | undefined,
  now: number,
): Refusal | undefined {
  const isForeign = record !== undefined && record.expectation === undefined && record.address !== address;
  if (mesh.hasEnded || held !== undefined || isForeign || !mesh.recovery.isWelcome(id, now)) {
    return { code: "FENCED", message: fenced(mesh.name, id) };
  }
  return record?.standing === "unanswered" ? { code: "STORE_UNAVAILABLE", message: removalUnanswered } : undefined;
}

function fenced(mesh: string, id: Id | undefined): string {
  return `no member of "${printable(mesh)}" goes on as ${id}; join anew`;
}

/** True if the first of two native members dials the second one. */
function ownsLink({ member }: MemberRecord, later: MemberRecord): boolean {
  if (member === undefined || later.member === undefined || later.dialect !== "native") return false;
  return compareMembers(member, later.member) < 0;
}
