import { Deferred } from "../api/deferred.js";
import { listen } from "../api/listen.js";
import { badOption, listenStepOption, requireSecure, serversOption } from "../api/options.js";
import { type WaitOptions, waitWithin } from "../api/waiting.js";
import type { Endpoint } from "../core/connections.js";
import { FullmeshError } from "../core/errors.js";
import type { MemberMachine } from "../mesh/member-machine.js";
import type { MemberEvent, MemberInput, MemberOutput, MeshEnd } from "../mesh/types.js";
import type { MessagingEvent } from "../messaging/messaging-channel.js";
import { pathBeside } from "../nodejs/local-socket.js";
import { type Address, endpointOf, formatAddress, isLocal as isLocalAddress } from "../protocol/address.js";
import type { Driver } from "../runtime/driver.js";

/** Under which conditions a node may listen, and what it registers if that is not where it listens. */
interface Security {
  readonly advertise: Address | undefined;
  readonly insecure: boolean | undefined;
  readonly isKeyed: boolean;
}

/** The steps of a node from its beginning to its end, each once and in order. See `MeshNode` for what they do. */
export class Lifecycle {
  readonly #machine: MemberMachine<unknown>;
  readonly #driver: Driver<MemberInput, MemberOutput | MessagingEvent>;
  readonly #security: Security;
  readonly #registered = new Deferred<void>();
  readonly #closed = new Deferred<string>();
  #connecting: Deferred<Endpoint> | undefined;
  #server: string | undefined;
  #on: Endpoint | undefined;
  /** True if the server is at a local socket; undefined before one is known. */
  #isLocal: boolean | undefined;
  /** Where to listen if the caller does not say: where this machine has reached the server from, or beside its socket. */
  #default: Endpoint | undefined;
  /** True if the caller has not said where to listen. */
  #isDefault = false;
  #listening: Address | undefined;
  #hasRegistered = false;
  #end: { readonly reason: string; readonly error?: FullmeshError } | undefined;
  #isServed = false;
  #unserved: Deferred<void> | undefined;

  constructor(
    machine: MemberMachine<unknown>,
    driver: Driver<MemberInput, MemberOutput | MessagingEvent>,
    security: Security,
  ) {
    this.#machine = machine;
    this.#driver = driver;
    this.#security = security;
  }

  /** With `lookMs`, a server that is not there is looked for so long until it has taken this node in. */
  async connectToServer(server: string | readonly string[], wait: WaitOptions, lookMs?: number): Promise<Endpoint> {
    const servers = serversOption("server", server);
    this.#requireRunning();
    if (this.#server !== undefined) throw new FullmeshError("WRONG_STEP", "connectToServer has been called already");
    const isLocal = servers.some(({ path }) => path !== undefined);
    if (isLocal && !this.#machine.isNative) badOption("dialect", "native with a server on a local socket", "classic");
    this.#requireOneKind(isLocal, this.#on ?? (this.#listening && endpointOf(this.#listening)));
    const name = servers.map(formatAddress).join(" or ");
    this.#server = name;
    this.#isLocal = isLocal;
    this.#connecting = new Deferred();
    this.#driver.input({ type: "connectToServer", servers, ...(lookMs === undefined ? {} : { lookMs }) });
    return await waitWithin(this.#connecting.promise, wait, () => `no connection to ${name}`);
  }

  initListeningSocket(at: string | undefined, port: number): void {
    const on = at === undefined ? this.#default : listenStepOption(at, port);
    if (on === undefined) {
      throw new FullmeshError("WRONG_STEP", "initListeningSocket without an address comes after connectToServer");
    }
    this.#requireOneKind(this.#isLocal, on);
    requireSecure(on, this.#security.insecure, this.#security.isKeyed);
    if (this.#listening !== undefined) throw new FullmeshError("WRONG_STEP", "the node listens already");
    // Without a host, a port is that of the default one.
    this.#on = at === undefined && on.path === undefined ? { ...on, port } : on;
    this.#isDefault = at === undefined;
  }

  async sockListen(): Promise<Address> {
    if (this.#listening !== undefined) throw new FullmeshError("WRONG_STEP", "the node listens already");
    if (this.#on === undefined) throw new FullmeshError("WRONG_STEP", "sockListen comes after initListeningSocket");
    this.#requireRunning();
    const wanted = this.#on;
    // A second call at the same time finds nothing to listen on; after a failure there is something again.
    this.#on = undefined;
    try {
      return await this.#listen(wanted, this.#isDefault);
    } catch (error) {
      this.#on = wanted;
      throw error;
    }
  }

  /** Listens where this machine is reached by now, instead of where it was. */
  async moveTo(host: string): Promise<Address> {
    const on = { host, port: 0 };
    requireSecure(on, this.#security.insecure, this.#security.isKeyed);
    return await this.#listen(on, true);
  }

  async #listen(wanted: Endpoint, isDefault: boolean): Promise<Address> {
    const on = await listen(this.#driver, wanted);
    this.#listening = formatAddress(on);
    this.#driver.input({ type: "listening", on, isDefault });
    return this.#listening;
  }

  async registerWithServer(wait: WaitOptions): Promise<void> {
    if (this.#server === undefined || this.#listening === undefined) {
      throw new FullmeshError("WRONG_STEP", "registerWithServer comes after connectToServer and sockListen");
    }
    this.#requireRunning();
    if (!this.#hasRegistered) this.#driver.input({ type: "register" });
    this.#hasRegistered = true;
    await waitWithin(this.#registered.promise, wait, () => `no list of ${this.#server} names ${this.#machine.own}`);
  }

  /** Settles when the mesh has ended for this node and every connection is closed. */
  get closed(): Promise<string> {
    return this.#closed.promise;
  }

  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  /** It has a session with the server. */
  get isServed(): boolean {
    return this.#isServed;
  }

  /** Resolves when it has none, or has ended. */
  async unserved(): Promise<void> {
    if (!this.#isServed) return;
    this.#unserved ??= new Deferred();
    await this.#unserved.promise;
  }

  async start(): Promise<string> {
    const canEnd = this.#hasRegistered || this.#end !== undefined;
    if (!canEnd) throw new FullmeshError("WRONG_STEP", "start comes after registerWithServer");
    return await this.#closed.promise;
  }

  async leave(): Promise<void> {
    this.#driver.input({ type: "leave" });
    await this.#closed.promise.catch(() => {});
  }

  /** Takes every event of the machine. */
  handle(event: MemberEvent): void {
    switch (event.type) {
      case "connected":
        this.#default = beside(event.local, event.server);
        this.#connecting?.resolve(event.local);
        break;
      case "unreachable":
        this.#server = undefined;
        this.#connecting?.reject(new FullmeshError(event.failure, event.message));
        break;
      case "registered":
        this.#isServed = true;
        this.#registered.resolve();
        break;
      case "serverBack":
        this.#isServed = true;
        break;
      case "serverLost":
      case "released":
      case "fenced":
        this.#setUnserved();
        break;
      case "ended":
        this.#ended(event);
        break;
      case "closed":
        if (this.#end?.error === undefined) this.#closed.resolve(this.#end?.reason ?? "closed");
        else this.#closed.reject(this.#end.error);
        break;
      default:
        break;
    }
  }

  /** Where a node listens, what it registers and where its server is are on local sockets, or all over TCP. */
  #requireOneKind(isLocal: boolean | undefined, on: Endpoint | undefined): void {
    const { advertise } = this.#security;
    const own = [...(on === undefined ? [] : [formatAddress(on)]), ...(advertise === undefined ? [] : [advertise])];
    const other = own.find((address) => isLocal !== undefined && isLocalAddress(address) !== isLocal);
    if (other === undefined) return;
    const server = isLocal ? "on a local socket" : "reached over TCP";
    throw new FullmeshError("LOCAL_MIX", `the server is ${server}, and ${other} is not`);
  }

  #requireRunning(): void {
    if (this.#end !== undefined) throw new FullmeshError("ENDED", `this node has ended: ${this.#end.reason}`);
  }

  #setUnserved(): void {
    this.#isServed = false;
    this.#unserved?.resolve();
    this.#unserved = undefined;
  }

  #ended({ reason, failure, cause }: MeshEnd): void {
    const from = cause && new FullmeshError(cause.code, cause.message);
    const error = failure && new FullmeshError(failure, reason, { cause: from });
    this.#end = { reason, ...(error === undefined ? {} : { error }) };
    const rejection = error ?? new FullmeshError("ENDED", `this node has ended: ${reason}`);
    this.#connecting?.reject(rejection);
    this.#registered.reject(rejection);
    this.#setUnserved();
  }
}

/** Where a node listens by default: at its end of the connection with the server, or in the folder of the server's socket. */
function beside(local: Endpoint, server: Endpoint): Endpoint {
  if (server.path !== undefined) return { path: pathBeside(server.path) };
  return local.path === undefined ? { host: local.host, port: 0 } : local;
}
