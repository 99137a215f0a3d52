import { EventEmitter } from "node:events";
import { callListeners } from "../api/application-calls.js";
import { tracedFrom } from "../api/call-stack.js";
import { listen } from "../api/listen.js";
import {
  badOption,
  listenArguments,
  listenOption,
  listenStepOption,
  requireOptions,
  requireSecure,
} from "../api/options.js";
import type { WaitOptions } from "../api/waiting.js";
import type { Endpoint } from "../core/connections.js";
import { FullmeshError } from "../core/errors.js";
import { removeDeadBeside } from "../nodejs/local-socket.js";
import { type Address, formatAddress } from "../protocol/address.js";
import { isUnspecified } from "../protocol/ip.js";
import type { MeshStatus, PairStatus } from "../protocol/status.js";
import type { ServerEvents } from "./events.js";
import { type ServeOptions, type ServerConfig, type ServerOptions, serverConfig } from "./options.js";
import type { ServerRuntime } from "./server-runtime.js";

/**
 * The rendezvous server: introduces the members of a mesh to one another. It carries none of their data.
 *
 * Its steps can be taken one by one, with any pause between: `initSocket`, `sockListen`, `start`. `serve` takes them in a
 * row.
 */
export class RendezvousServer extends EventEmitter<ServerEvents> {
  readonly #config: ServerConfig;
  readonly #insecure: boolean | undefined;
  #loading: Promise<ServerRuntime> | undefined;
  #runtime: ServerRuntime | undefined;
  #on: Endpoint | undefined;
  #address: Address | undefined;
  /** True from the call of `sockListen`; false again if that fails. */
  #isListening = false;

  /** Throws `BAD_OPTION` for an option with a value that it cannot take. */
  constructor(options: ServerOptions = {}) {
    super();
    this.#config = serverConfig(options);
    this.#insecure = options.insecure;
  }

  /** Where the server listens; undefined before it does. */
  get address(): Address | undefined {
    return this.#address;
  }

  /** Where the mesh is shown over HTTP; undefined without the option `http`, and before the server listens. */
  get httpAddress(): Address | undefined {
    return this.#runtime?.httpAddress;
  }

  /** The addresses of all members, mesh by mesh, and those of each mesh in join order. */
  get members(): readonly Address[] {
    return this.#runtime?.machine.members ?? [];
  }

  /** The addresses of the members of one mesh in join order; none if there is no such mesh. */
  membersOf(mesh: string): readonly Address[] {
    return this.#runtime?.machine.membersOf(mesh) ?? [];
  }

  /** The addresses of those members of one mesh that have a live session, in join order. */
  presentIn(mesh: string): readonly Address[] {
    return this.#runtime?.machine.presentIn(mesh) ?? [];
  }

  /** The highest revision that any mesh has come to: that of the newest change of membership where there is one mesh. */
  get revision(): number {
    return this.#runtime?.machine.revision ?? this.#config.rules.firstRevision;
  }

  /**
   * What is known of one mesh: its members, missing pairs, claims and the waiting line. Of a mesh that is not there it says so,
   * with no members. Times are milliseconds since the epoch.
   *
   * @throws {FullmeshError} `WRONG_STEP` before `sockListen`
   */
  status(mesh = "default"): MeshStatus {
    if (this.#runtime === undefined) throw new FullmeshError("WRONG_STEP", "there is no status before sockListen");
    return this.#runtime.status(mesh);
  }

  /**
   * What each end of a pair has said last of their link; undefined unless both addresses are listed and differ. Asked again
   * within 5 s, it has also what the ends measure: round trip and queued bytes, at most a second old. They stop when nobody
   * asks any more.
   *
   * @throws {FullmeshError} `WRONG_STEP` before `sockListen`
   */
  pair(a: Address, b: Address, mesh = "default"): PairStatus | undefined {
    if (this.#runtime === undefined) throw new FullmeshError("WRONG_STEP", "there are no pairs before sockListen");
    return this.#runtime.pair(mesh, a, b);
  }

  /** Bytes sent so far, before any encryption. */
  get sentBytes(): number {
    return this.#runtime?.driver.sentBytes ?? 0;
  }

  /** The first step: checks and keeps the address: an IP and a port, or a local socket such as `unix:/run/app/mesh.sock`. Node cannot bind without listening, so a port in use shows later. */
  async initSocket(at: string, port = 0): Promise<void> {
    const on = listenStepOption(at, port);
    requireSecure(on, this.#insecure, this.#config.rules.isKeyed);
    const { store } = this.#config;
    if (store !== undefined && on.path !== undefined) {
      badOption(
        "listen",
        "an IP address and a port with `store`, by which other servers' members come",
        formatAddress(on),
      );
    }
    if (store !== undefined && store.advertise === undefined && isUnspecified(on.host ?? "")) {
      badOption("advertise", `given together with \`store\` on ${on.host}, which nobody can dial`, undefined);
    }
    this.#requireSilent();
    this.#on = on;
  }

  /**
   * The second step: listens, and resolves with the address, in which port 0 has become a real one. With a store it resolves
   * when that has been read; before, everybody is told to come again. `wait` bounds that, and a failure is the end of this server.
   */
  async sockListen(wait: WaitOptions = {}): Promise<Address> {
    this.#requireSilent();
    if (this.#on === undefined) throw new FullmeshError("WRONG_STEP", "sockListen comes after initSocket");
    const on = this.#on;
    this.#isListening = true;
    try {
      const runtime = this.#runtime ?? (await this.#load());
      await runtime.show();
      const address = formatAddress(await listen(runtime.driver, on));
      if (on.path !== undefined) await removeDeadBeside(on.path);
      await runtime.openLog(address, wait);
      this.#address = address;
      callListeners(runtime.log, this, "listening", this.#address);
    } catch (error) {
      this.#isListening = false;
      await this.#runtime?.hide();
      throw error;
    }
    return this.#address;
  }

  /**
   * The last step: resolves with the reason when the mesh has ended and every connection is closed.
   *
   * @throws {FullmeshError} `INCOMPLETE` if it has ended because it did not become whole in time; names who is missing
   */
  async start(): Promise<string> {
    if (this.#address === undefined) throw new FullmeshError("WRONG_STEP", "start comes after sockListen");
    const { closed } = await this.#load();
    const { reason, failure } = await closed;
    if (failure !== undefined) throw failure;
    return reason;
  }

  /** Ends the mesh: sends the end to every node, closes, and resolves when all connections are closed. */
  async teardown(reason = "teardown"): Promise<void> {
    const { driver, closed } = this.#runtime ?? (await this.#load());
    driver.input({ type: "teardown", reason });
    await closed;
  }

  /**
   * Leaves the mesh to its members and goes: they keep their links, messages and requests, and look for no server any more;
   * nobody joins. A member that has no session at this moment is not told, and goes on looking. Resolves when all
   * connections are closed.
   *
   * @throws {FullmeshError} `CLASSIC_MEMBERS` while there are classic members, which end with their server
   */
  async release(reason = "released"): Promise<void> {
    const { driver, machine, closed } = this.#runtime ?? (await this.#load());
    const { classics } = machine;
    if (classics.length > 0) throw new FullmeshError("CLASSIC_MEMBERS", `cannot release ${classics.join(", ")}`);
    driver.input({ type: "release", reason });
    await closed;
  }

  /** Stops the server without ending the mesh. Classic members take the closing as the end. */
  async close(): Promise<void> {
    const { driver, closed } = this.#runtime ?? (await this.#load());
    driver.input({ type: "close" });
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #requireSilent(): void {
    if (this.#isListening) throw new FullmeshError("WRONG_STEP", "the server listens already");
  }

  /**
   * The server's machine is loaded when it is first needed, so that a process that only joins a mesh does not wait for it.
   */
  #load(): Promise<ServerRuntime> {
    this.#loading ??= this.#createRuntime();
    return this.#loading;
  }

  async #createRuntime(): Promise<ServerRuntime> {
    try {
      const { ServerRuntime } = await import("./server-runtime.js");
      this.#runtime = new ServerRuntime(this, this.#config);
      return this.#runtime;
    } catch (error) {
      // No file could be opened, say: the next call may try again.
      this.#loading = undefined;
      throw error;
    }
  }
}

/** A server that listens, and so has an address. */
export type ListeningServer = RendezvousServer & { readonly address: Address };

/**
 * Starts a rendezvous server.
 *
 * @throws {FullmeshError} `BAD_OPTION`, `PORT_IN_USE`, `NOT_OUR_ADDRESS`, `LISTEN_FAILED`, `INSECURE_LISTEN`; with a store
 *   `TIMED_OUT`, `ABORTED`, `STORE_REFUSED`, `STORE_TOO_OLD`, `STORE_MISMATCH`, `STORE_CORRUPT`, `STORE_ROLLED_BACK`; later, as the event `error`, `STORE_ADDRESS_IN_USE` too
 */
export async function serve(options: ServeOptions = {}): Promise<ListeningServer> {
  return await tracedFrom(serve, async () => {
    requireOptions(options);
    const on = listenOption("listen", options.listen ?? "127.0.0.1:4000");
    const server = new RendezvousServer(options);
    const [at, port] = listenArguments(on);
    await server.initSocket(at, port);
    await server.sockListen(options);
    return server as ListeningServer;
  });
}
