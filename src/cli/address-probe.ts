import { Deferred } from "../api/deferred.js";
import { listen } from "../api/listen.js";
import { transportOption } from "../api/options.js";
import type { ConnectionOutput, Endpoint } from "../core/connections.js";
import { defaultLimits } from "../core/limits.js";
import { Prober, type ProberInput, type ProberOutput } from "../mesh/native/prober.js";
import { nodeClock } from "../nodejs/clock.js";
import { newId } from "../nodejs/random.js";
import type { Address } from "../protocol/address.js";
import type { ControlOf } from "../protocol/native/control.js";
import { Driver } from "../runtime/driver.js";

type Report = Exclude<ProberOutput, ConnectionOutput>;

/** The connection with the server. */
export type ProbeConnection = Extract<ProberOutput, { type: "connected" }>;

/** Why there is no connection, or no answer. */
export type ProbeFailure = Extract<ProberOutput, { type: "failed" }>;

/** One connection to a server, for the question whether others reach an address, and the listener at that address. */
export class AddressProbe {
  readonly #driver: Driver<ProberInput, ProberOutput>;
  readonly #connected = new Deferred<ProbeConnection | ProbeFailure>();
  readonly #answered = new Deferred<ControlOf<"probed"> | ProbeFailure>();
  #dials = 0;

  /** `timeoutMs`: how long the connection may take. */
  constructor(mesh: string, secret: string | undefined, timeoutMs: number) {
    const { transport, isKeyed } = transportOption(
      secret,
      (identity) => identity.mesh === mesh,
      defaultLimits.keepAliveMs,
    );
    this.#driver = new Driver<ProberInput, ProberOutput>({
      machine: new Prober(mesh, newId(), isKeyed, { ...defaultLimits, dialMs: timeoutMs }),
      transport,
      clock: nodeClock,
      perform: (output) => this.#perform(output),
    });
  }

  /** How many connections have come to the address. */
  get dials(): number {
    return this.#dials;
  }

  async connect(server: Endpoint): Promise<ProbeConnection | ProbeFailure> {
    this.#driver.input({ type: "connect", server });
    return await this.#connected.promise;
  }

  /** Throws `PORT_IN_USE`, `NOT_OUR_ADDRESS` or `LISTEN_FAILED`. */
  async listen(on: Endpoint): Promise<Endpoint> {
    return await listen(this.#driver, on);
  }

  async ask(address: Address): Promise<ControlOf<"probed"> | ProbeFailure> {
    this.#driver.input({ type: "probe", address });
    return await this.#answered.promise;
  }

  close(): void {
    this.#driver.input({ type: "close" });
  }

  #perform(output: Report): void {
    if (output.type === "connected") this.#connected.resolve(output);
    else if (output.type === "answered") this.#answered.resolve(output.answer);
    else if (output.type === "dialed") this.#dials += 1;
    else if (output.type === "failed") {
      this.#connected.resolve(output);
      this.#answered.resolve(output);
    }
  }
}
