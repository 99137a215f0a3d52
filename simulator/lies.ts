import type { ConnectionOutput } from "../src/core/connections.js";
import type { Address } from "../src/protocol/address.js";
import { greatestClaim, type Id, type Member } from "../src/protocol/directory.js";
import { type Control, type ControlOf, encodeControl } from "../src/protocol/native/control.js";
import type { CheckedSimulation } from "./checked-simulation.js";
import { controlOf, controlTypeOf } from "./message-text.js";
import type { Lie } from "./scenario.js";
import type { NativeRun } from "./simulation-context.js";

type Sent = Extract<ConnectionOutput, { readonly type: "send" }>;

/** An attempt that no pair makes in a play: nobody at the other end of a link that does not exist reports it too. */
const falseAttempt = 1_000;

/** Falsifies what one member says to the server. */
export class Lies {
  readonly #context: CheckedSimulation;
  readonly #memberRun: NativeRun;
  readonly #lie: Lie;
  /** Members that do not exist. */
  readonly #madeUp: Member[];

  constructor(context: CheckedSimulation, memberRun: NativeRun, lie: Lie) {
    this.#context = context;
    this.#memberRun = memberRun;
    this.#lie = lie;
    const { engine } = context.network;
    // At the addresses of others, and at one that nobody has.
    const addresses = context.scenario.scripts.slice(0, 2).map(({ address }) => address);
    const nobodys = context.scenario.isLocal === true ? "unix:/run/mesh/nobody.sock" : "10.9.9.9:22";
    this.#madeUp = [...addresses, nobodys as Address].map((address, index): Member => {
      return { id: engine.draw(), address, order: index === 0 ? 1 : greatestClaim - index, dialect: "native" };
    });
  }

  /** What is sent instead of this. */
  told(sent: Sent): Sent {
    const type = controlTypeOf(sent.bytes);
    if (type !== "links" && type !== "known" && type !== "resume") return sent;
    const control = controlOf(sent.bytes);
    if (control === undefined) return sent;
    const falsified = this.#falsified(control);
    if (falsified === control) return sent;
    // A preface that is sent together with the message stays in front of it.
    const trueBytes = encodeControl(control).length;
    const preface = sent.bytes.subarray(0, sent.bytes.length - trueBytes);
    const message = encodeControl(falsified);
    const bytes = new Uint8Array(preface.length + message.length);
    bytes.set(preface);
    bytes.set(message, preface.length);
    return { ...sent, bytes };
  }

  #falsified(control: Control): Control {
    if (control.type === "links" && this.#lie.links) return this.#links(control);
    if (control.type === "known") return this.#known(control);
    if (control.type === "resume") return this.#resume(control);
    return control;
  }

  /** It reports links with members that do not exist, and with those that it has none with. */
  #links(links: ControlOf<"links">): Control {
    const { logChecker } = this.#context;
    this.#mark("links");
    const reported = new Set([...links.up, ...links.down].map(([id]) => id));
    const { id: own, machine } = this.#memberRun;
    const linked = new Set(machine.nativeLinks.map(({ peer }) => peer.id));
    const others = [...logChecker.members.map(({ id }) => id), ...this.#noteMadeUp().slice(0, 1)];
    const up = others.filter((id) => id !== own && !reported.has(id) && !linked.has(id));
    return { ...links, up: [...links.up, ...up.map((id): [Id, number] => [id, falseAttempt])] };
  }

  /** It names members that do not exist, and says of those that live that they have ended. */
  #known(known: ControlOf<"known">): Control {
    let { members, gone } = known;
    if (this.#lie.members) {
      this.#mark("members");
      this.#noteMadeUp();
      members = [...members, ...this.#madeUp];
    }
    if (this.#lie.gone) {
      this.#mark("gone");
      const living = members.filter(({ id }) => this.#context.memberRuns.get(id)?.id === id);
      gone = [...gone, ...living.map(({ id }) => id)];
    }
    return { ...known, members, gone };
  }

  #resume(resume: ControlOf<"resume">): Control {
    const { order = resume.order, highest = resume.highest } = this.#lie;
    if (order === resume.order && highest === resume.highest) return resume;
    this.#mark("numbers");
    if (highest !== resume.highest) this.#context.invariantChecker.hasFalseRevision = true;
    return { ...resume, order, highest };
  }

  #noteMadeUp(): Id[] {
    const ids = this.#madeUp.map(({ id }) => id);
    for (const id of ids) this.#context.logChecker.madeUp.add(id);
    return ids;
  }

  #mark(what: string): void {
    this.#context.count(`wrong witness: ${what}`);
    this.#context.invariantChecker.liars.add(this.#memberRun.id);
  }
}
