import type { Cluster } from "node:cluster";
import { setTimeout as sleep } from "node:timers/promises";
import { tracedFrom } from "../api/call-stack.js";
import { Log, loggerOption } from "../api/log.js";
import { refuseUnknown, signalOption, waitOption } from "../api/options.js";
import { type ErrorCode, FullmeshError } from "../core/errors.js";
import type { Contract } from "../node/contract.js";
import { type JoinOptions, joinTimeoutMs, joinWith } from "../node/join.js";
import { lifecycleOf, MeshNode } from "../node/mesh-node.js";
import { type MeetingPlace, meetingPlaceOf } from "./meeting-place.js";
import { SiblingServer } from "./sibling-server.js";
import { describeHolder } from "./socket-holder.js";

/** Options of `siblings`, each as for `join`. */
export type SiblingsOptions<C extends Contract = Contract> = Pick<
  JoinOptions<C>,
  "name" | "meta" | "setup" | "contract" | "signal" | "timeoutMs" | "logger" | "limits"
>;

const optionNames: readonly (keyof SiblingsOptions)[] = [
  ...(["name", "meta", "setup", "contract", "signal", "timeoutMs", "logger", "limits"] as const),
];

/** While this node has no session, it looks so often whether anybody serves. */
const lookMs = 250;

/** For how long a place may be held by somebody who does not listen there before that is logged. */
const blockedMs = 10_000;

/** What shows that somebody listens at the meeting place who is no server of siblings, or does not answer. */
const blockedCodes: ReadonlySet<string> = new Set<ErrorCode>([
  ...(["TIMED_OUT", "BAD_PREFACE", "VERSION_MISMATCH", "SECRET_MISMATCH", "SECRET_UNPROVED"] as const),
]);

/**
 * Joins the mesh of all processes on this host that call it with the same name as the same user, and starts it: one of them
 * serves, at a socket that only this user can reach, and when that one ends another one serves. The links stay. `leave` ends
 * the serving, too. Containers with networks of their own are hosts of their own.
 *
 * A worker of `node:cluster` or PM2 is named by its number, unless the option `name` says otherwise.
 *
 * @throws {FullmeshError} `SIBLINGS_BLOCKED`, which names the process that is in the way; `BAD_OPTION`, `UNSAFE_FOLDER`,
 *   `PATH_TOO_LONG`, `PATH_IN_USE`, `NO_LOCAL_SOCKETS`, `REFUSED`, `ABORTED`
 */
export async function siblings<C extends Contract = Contract>(
  application: string,
  options: SiblingsOptions<C> = {},
): Promise<MeshNode<C>> {
  return await tracedFrom(siblings, async () => {
    refuseUnknown(options, optionNames);
    const signal = signalOption("signal", options.signal);
    const timeoutMs = waitOption("timeoutMs", options.timeoutMs ?? joinTimeoutMs);
    const place = meetingPlaceOf(application);
    const name = options.name ?? workerName();
    const node = new SiblingNode<C>(place, { ...options, mesh: application, ...(name === undefined ? {} : { name }) });
    await node.enter({ ...options, signal, timeoutMs });
    return node;
  });
}

/** A member that serves when nobody else does. */
class SiblingNode<C extends Contract> extends MeshNode<C> {
  readonly #place: MeetingPlace;
  readonly #server: SiblingServer;
  readonly #log: Log;

  constructor(place: MeetingPlace, options: JoinOptions<C>) {
    super(options);
    const { limits, logger } = options;
    this.#place = place;
    this.#log = new Log(loggerOption(logger));
    this.#server = new SiblingServer(place, {
      dialect: "native",
      ...(limits === undefined ? {} : { limits }),
      ...(logger === undefined ? {} : { logger }),
    });
  }

  /** Serves or finds who does, and joins. */
  async enter(options: SiblingsOptions<C> & { readonly timeoutMs: number }): Promise<void> {
    const { timeoutMs, signal } = options;
    const startedAt = performance.now();
    try {
      await this.#server.ensure({ timeoutMs, signal });
      void this.#keepServed();
      const leftMs = Math.max(0, timeoutMs - (performance.now() - startedAt));
      await joinWith(this, this.#place.address, { ...options, timeoutMs: leftMs });
    } catch (error) {
      const isBlocked = error instanceof FullmeshError && blockedCodes.has(error.code) && !this.#server.isServing;
      // Before it leaves: then nobody may hold the socket any more.
      const holder = isBlocked ? describeHolder(this.#place.path) : undefined;
      await this.leave();
      if (holder === undefined) throw error;
      const message = `no server of siblings answers at ${this.#place.address}, which is held by ${holder}`;
      throw new FullmeshError("SIBLINGS_BLOCKED", message, { cause: error });
    }
  }

  override async leave(): Promise<void> {
    await super.leave();
    await this.#server.close();
  }

  /** While this node has no session, it sees to it that somebody serves. */
  async #keepServed(): Promise<void> {
    const steps = lifecycleOf(this);
    while (!steps.hasEnded) {
      await sleep(lookMs, undefined, { ref: false });
      await steps.unserved();
      if (!steps.hasEnded) await this.#serve();
    }
    await this.#server.close();
    this.#log.close();
  }

  async #serve(): Promise<void> {
    try {
      await this.#server.ensure({ timeoutMs: blockedMs });
    } catch (error) {
      if (!(error instanceof FullmeshError)) throw error;
      this.#log.write({ code: error.code as ErrorCode, message: error.message });
    }
  }
}

/** The number of a worker, as PM2 or node:cluster has given it. Those of PM2 stay the same when a worker is started again. */
function workerName(): string | undefined {
  const { NODE_APP_INSTANCE, pm_id } = process.env;
  const { worker } = process.getBuiltinModule("node:cluster") as unknown as Cluster;
  const id = NODE_APP_INSTANCE || pm_id || worker?.id;
  return id === undefined ? undefined : String(id);
}
