import { Deferred } from "../api/deferred.js";
import type { Log } from "../api/log.js";
import { transportOption } from "../api/options.js";
import type { ConnectionOutput, Endpoint } from "../core/connections.js";
import { FullmeshError } from "../core/errors.js";
import { defaultLimits } from "../core/limits.js";
import { Observer, type ObserverInput, type ObserverOutput } from "../mesh/native/observer.js";
import { nodeClock } from "../nodejs/clock.js";
import { type MeshStatus, movedInTime } from "../protocol/status.js";
import { Driver } from "../runtime/driver.js";

type Report = Exclude<ObserverOutput, ConnectionOutput>;

/** The end of a look at a mesh. */
export interface ObservationEnd {
  readonly error: FullmeshError;
  /** The server would say the same again. */
  readonly isRefusal: boolean;
}

/** Looks at a mesh over one connection to a server. */
export class MeshObserver {
  readonly #driver: Driver<ObserverInput, ObserverOutput>;
  readonly #onStatus: (status: MeshStatus) => void;
  readonly #log: Log;
  readonly #ended = new Deferred<ObservationEnd>();

  /**
   * `onStatus` gets the status at once, and again after each change, with times in milliseconds since the epoch.
   */
  constructor(
    server: Endpoint,
    mesh: string,
    secret: string | undefined,
    onStatus: (status: MeshStatus) => void,
    log: Log,
  ) {
    const { transport } = transportOption(secret, () => false, defaultLimits.keepAliveMs);
    this.#onStatus = onStatus;
    this.#log = log;
    this.#driver = new Driver<ObserverInput, ObserverOutput>({
      machine: new Observer(mesh, defaultLimits),
      transport,
      clock: nodeClock,
      perform: (output) => this.#perform(output),
    });
    this.#driver.input({ type: "observe", server });
  }

  /** Resolves when nothing more comes. */
  get ended(): Promise<ObservationEnd> {
    return this.#ended.promise;
  }

  close(): void {
    this.#driver.input({ type: "close" });
  }

  #perform(output: Report): void {
    if (output.type === "status") this.#onStatus(movedInTime(output.status, nodeClock.wallTime()));
    else if (output.type === "note") this.#log.write(output.note);
    else {
      const error = new FullmeshError(output.code, output.message);
      this.#ended.resolve({ error, isRefusal: output.isRefusal });
    }
  }
}
