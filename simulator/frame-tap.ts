import type { ConnectionId } from "../src/core/connections.js";
import type { ConnectionEnd } from "./connection-end.js";
import { controlOf, controlTypeOf, describeBytes } from "./message-text.js";
import type { NativeRun, SimulationContext } from "./simulation-context.js";

/** What a classic greeting begins with. */
const letterH = "H".charCodeAt(0);

/** Reads what one life of a member sends, and lets those who watch take note of it. */
export class FrameTap {
  /** How many hellos this life has said. */
  dials = 0;
  /** Its end of the connection on which it registered or came back last. */
  session: ConnectionEnd | undefined;
  /** When it first reported its links on that connection; undefined before. */
  reportsSince: number | undefined;
  readonly #stage: SimulationContext;
  readonly #life: NativeRun;

  constructor(stage: SimulationContext, life: NativeRun) {
    this.#stage = stage;
    this.#life = life;
  }

  said(connection: ConnectionId, bytes: Uint8Array): void {
    const { bonds, network, scenario, observer, trace } = this.#stage;
    const life = this.#life;
    const type = controlTypeOf(bytes);
    if (type === "hello" || type === "links") {
      const control = controlOf(bytes);
      if (control?.type === "hello") {
        this.dials += 1;
        bonds.hello(life, connection, control);
      } else if (control?.type === "links") this.#reported(control.full === true);
    } else if (type === "answer") bonds.answer(life, connection);
    else if (type === "goodbye") bonds.goodbye(life, connection);
    else if (type === "register" || type === "resume") this.#introduced(connection, type === "resume");
    else if (type === "refuse" && scenario.isCalm) {
      observer.violate("D1", `${life.address} refused: ${describeBytes(bytes)}`);
    } else if (bytes[0] === letterH) this.dials += 1;
    trace(() => {
      const to = life.machine.nameOf(connection) ?? "?";
      return { at: network.world.now, from: life.address, to, text: describeBytes(bytes) };
    });
  }

  #introduced(connection: ConnectionId, isResuming: boolean): void {
    this.session = this.#stage.network.endOf(this.#life.process, connection);
    this.reportsSince = undefined;
    if (this.session !== undefined) this.session.isResuming = isResuming;
  }

  #reported(isFull: boolean): void {
    this.reportsSince ??= this.#stage.network.world.now;
    if (isFull) this.#stage.hit("session resumed");
  }
}
