import { setTimeout as sleep } from "node:timers/promises";
import type { WaitOptions } from "../api/waiting.js";
import { FullmeshError } from "../core/errors.js";
import { releasePath, removeDead, reservePath } from "../nodejs/local-socket.js";
import { listenError } from "../nodejs/transport.js";
import { endpointOf } from "../protocol/address.js";
import type { ServerOptions } from "../server/options.js";
import { type ListeningServer, serve } from "../server/rendezvous-server.js";
import type { MeetingPlace } from "./meeting-place.js";
import { describeHolder } from "./socket-holder.js";

/** How soon to look again at a place that somebody has taken and does not listen at yet. */
const lockedPauseMs = 10;

/**
 * The server of siblings as one of them sees it: this process serves if nobody else does. Who may serve is decided by the lock of
 * the socket, and the server's code is loaded only by who has got that.
 */
export class SiblingServer {
  readonly #place: MeetingPlace;
  readonly #options: ServerOptions;
  #server: ListeningServer | undefined;
  #attempt: Promise<boolean> | undefined;
  #hasEnded = false;

  constructor(place: MeetingPlace, options: ServerOptions) {
    this.#place = place;
    this.#options = options;
  }

  /** True if this process serves. */
  get isServing(): boolean {
    return this.#server !== undefined;
  }

  /**
   * Resolves when somebody serves, which may be this process.
   *
   * @throws {FullmeshError} `SIBLINGS_BLOCKED`, `ABORTED`, and those of `serve` at a local socket
   */
  async ensure({ timeoutMs = Number.POSITIVE_INFINITY, signal }: WaitOptions): Promise<void> {
    const startedAt = performance.now();
    while (!this.#hasEnded) {
      this.#attempt ??= this.#tryToServe().finally(() => {
        this.#attempt = undefined;
      });
      if (await this.#attempt) return;
      if (performance.now() - startedAt >= timeoutMs) {
        const message = `nobody has come to serve within ${timeoutMs} ms: it is held by ${describeHolder(this.#place.path)}`;
        throw new FullmeshError("SIBLINGS_BLOCKED", message);
      }
      await sleep(lockedPauseMs, undefined, { signal }).catch(() => {
        throw new FullmeshError("ABORTED", `gave up waiting for a server at ${this.#place.address}`);
      });
    }
  }

  /** Ends the server if this process has it. Nobody serves here any more. */
  async close(): Promise<void> {
    this.#hasEnded = true;
    await this.#attempt?.catch(() => {});
    await this.#server?.close();
    this.#server = undefined;
  }

  /** Returns whether somebody serves now. */
  async #tryToServe(): Promise<boolean> {
    if (this.#server !== undefined) return true;
    const { path } = this.#place;
    try {
      const reservation = await reservePath(path);
      return reservation === "reserved" ? await this.#serve() : reservation === "inUse";
    } catch (error) {
      if (!(error instanceof FullmeshError)) throw listenError(error as NodeJS.ErrnoException, { path });
      throw error;
    }
  }

  /** The path is reserved. */
  async #serve(): Promise<boolean> {
    const { path, address } = this.#place;
    try {
      if (this.#hasEnded) return false;
      const server = await serve({ ...this.#options, listen: address });
      this.#server = server;
      server.on("lost", (lost) => void removeDead(endpointOf(lost.address).path ?? path));
      return true;
    } catch (error) {
      // Where there are no locks, another process may have been faster.
      if (error instanceof FullmeshError && error.code === "PATH_IN_USE") return false;
      throw error;
    } finally {
      releasePath(path);
    }
  }
}
