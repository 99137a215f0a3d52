import type { ConnectionId } from "../src/core/connections.js";
import type { CheckedSimulation } from "./checked-simulation.js";
import type { ConnectionEnd } from "./connection-end.js";
import { controlOf, controlTypeOf, describeBytes } from "./message-text.js";
import type { NativeRun } from "./simulation-context.js";

/** The beginning of a classic hello. */
const letterH = "H".charCodeAt(0);

/** Reads what one run of a member sends, for the checkers. */
export class FrameTap {
  /** How many hellos this run has sent. */
  dials = 0;
  /** Its end of the connection on which it registered or resumed last. */
  session: ConnectionEnd | undefined;
  /** When it first reported its links on that connection; undefined before. */
  reportsSince: number | undefined;
  /** Its newest registration says that it was looking for the server. */
  hasLooked = false;
  readonly #context: CheckedSimulation;
  readonly #memberRun: NativeRun;

  constructor(context: CheckedSimulation, memberRun: NativeRun) {
    this.#context = context;
    this.#memberRun = memberRun;
  }

  sent(connection: ConnectionId, bytes: Uint8Array): void {
    const { linkChecker, network, scenario, invariantChecker, trace } = this.#context;
    const memberRun = this.#memberRun;
    const type = controlTypeOf(bytes);
    if (type === "hello" || type === "links" || type === "grant") {
      const control = controlOf(bytes);
      if (control?.type === "hello") {
        this.dials += 1;
        linkChecker.hello(memberRun, connection, control);
      } else if (control?.type === "grant") linkChecker.grant(memberRun, control);
      else if (control?.type === "links") this.#reported(control.full === true);
    } else if (type === "answer") linkChecker.answer(memberRun, connection);
    else if (type === "goodbye") linkChecker.goodbye(memberRun, connection);
    else if (type === "register" || type === "resume") this.#introduced(connection, bytes);
    else if (type === "refuse" && scenario.isCalm) {
      invariantChecker.violate("D1", `${memberRun.address} refused: ${describeBytes(bytes)}`);
    } else if (bytes[0] === letterH) this.dials += 1;
    trace(() => {
      const to = memberRun.machine.nameOf(connection) ?? "?";
      return { at: network.engine.now, from: memberRun.address, to, text: describeBytes(bytes) };
    });
  }

  #introduced(connection: ConnectionId, bytes: Uint8Array): void {
    const control = controlOf(bytes);
    const isResuming = control?.type === "resume";
    this.hasLooked = control?.type === "register" && control.looked === true;
    this.session = this.#context.network.endOf(this.#memberRun.process, connection);
    this.reportsSince = undefined;
    if (this.session !== undefined) this.session.isResuming = isResuming;
  }

  #reported(isFull: boolean): void {
    this.reportsSince ??= this.#context.network.engine.now;
    if (isFull) this.#context.count("session resumed");
  }
}
