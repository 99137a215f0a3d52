import type { Sink } from "../core/machine.js";
import type { Address } from "../protocol/address.js";
import { Admission, type AdmissionRules, type Verdict } from "./admission.js";
import { type Change, type Dialect, Directory, type LogEntry } from "./log.js";
import type { Session } from "./session.js";
import type { RendezvousEvent, RendezvousOutput } from "./vocabulary.js";

/** How many of those in line are told that they have moved up. */
const toldPlaces = 10;

/**
 * Who is in the mesh, who is on the way in, and who waits: the way of a registration through admission and the log.
 *
 * A membership is true only when its entry has come back from the log. A session that goes while its append is under way
 * is therefore taken out again by a second entry, never by wishing the first away.
 */
export class Roll {
  readonly directory = new Directory();
  readonly admission: Admission;
  readonly #outputs: Sink<RendezvousOutput>;
  /** Sessions whose append is under way, by the address that will come back; undefined: nobody wants it any more. */
  readonly #joining = new Map<Address, Session | undefined>();

  constructor(rules: AdmissionRules, outputs: Sink<RendezvousOutput>) {
    this.admission = new Admission(rules, this.directory);
    this.#outputs = outputs;
  }

  /** Takes the correction of an address: the old one leaves, and the session registers anew, in its old slot if it has one. */
  correct(session: Session, address: Address): Verdict {
    const hasSlot = session.state === "member";
    this.depart(session, "left", `corrected to ${address}`);
    session.step("withdrawn");
    return this.register(session, address, hasSlot);
  }

  /** Takes a registration: the session is then joining or waiting, unless the verdict is a refusal. */
  register(session: Session, address: Address, hasSlot = false): Verdict {
    const verdict = this.admission.judge(address, session.remote.host, hasSlot);
    if (verdict.type === "refuse") return verdict;
    session.address = address;
    if (verdict.type === "admit") {
      this.#admit(session, address);
    } else {
      session.step("queued");
      this.admission.wait(session, address);
      this.#tellPlaces(session);
    }
    return verdict;
  }

  /** An entry has come back. Returns the session that is a member by it, if it is that kind of entry. */
  appended(entry: LogEntry): Session | undefined {
    // A log may tell an entry twice; it happens once.
    if (entry.revision <= this.directory.revision) return undefined;
    const leaver = entry.type === "joined" ? undefined : this.directory.member(entry.order);
    this.directory.apply(entry);
    if (entry.type === "joined") return this.#joined(entry.address, entry.revision, entry.dialect);
    if (leaver !== undefined) {
      this.#tell({ type: entry.type, ...leaver, reason: entry.reason });
      this.#admitNext();
    }
    return undefined;
  }

  /** Takes a session out of the mesh, wherever on its way in it is. */
  depart(session: Session, type: "left" | "lost", reason: string): void {
    if (session.state === "waiting") {
      this.admission.leaveLine(session);
      this.#tellPlaces();
    } else if (session.state === "joining" && session.address !== undefined) {
      this.#joining.set(session.address, undefined);
    } else if (session.state === "member" && session.order !== undefined) {
      this.#append({ type, order: session.order, reason });
      session.order = undefined;
    }
  }

  #admit(session: Session, address: Address): void {
    session.step("admitted");
    this.admission.appending(address);
    this.#joining.set(address, session);
    this.#append({ type: "joined", address, dialect: "classic" });
  }

  #joined(address: Address, order: number, dialect: Dialect): Session | undefined {
    const session = this.#joining.get(address);
    this.#joining.delete(address);
    this.admission.appended(address);
    this.#tell({ type: "joined", address, order, dialect });
    if (session?.state !== "joining") {
      this.#append({ type: "left", order, reason: "closed its connection" });
      return undefined;
    }
    session.order = order;
    session.step("listed");
    return session;
  }

  #admitNext(): void {
    const [first] = this.admission.line;
    if (first === undefined || !this.admission.hasFreeSlot) return;
    const [session, address] = first;
    this.admission.leaveLine(session);
    this.#admit(session, address);
    this.#tellPlaces();
  }

  /** Tells of the first in line, or of the one session named: telling all at each step would cost the square of the line. */
  #tellPlaces(only?: Session): void {
    let place = 0;
    for (const [session, address] of this.admission.line) {
      place += 1;
      if (only === undefined && place > toldPlaces) return;
      if (only === undefined || only === session) this.#tell({ type: "waiting", address, dialect: "classic", place });
    }
  }

  #append(change: Change): void {
    this.#outputs.push({ type: "append", change });
  }

  #tell(event: RendezvousEvent): void {
    this.#outputs.push({ type: "event", event });
  }
}
