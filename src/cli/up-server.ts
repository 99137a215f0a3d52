import type { MeshStatus } from "../protocol/status.js";
import type { ServeOptions } from "../server/options.js";
import { type ListeningServer, serve } from "../server/rendezvous-server.js";
import type { ControlledServer } from "./mesh-controls.js";

/** The server of `up`, which can be stopped and started again at its port, where it knows nobody then. */
export class UpServer implements ControlledServer {
  readonly #options: ServeOptions;
  readonly #onStarted: (server: ListeningServer) => void;
  #server: ListeningServer | undefined;
  #isRunning = false;
  #address = "127.0.0.1:0";
  #status: MeshStatus | undefined;

  /** `onStarted` gets each server before anybody can join it. */
  constructor(options: ServeOptions, onStarted: (server: ListeningServer) => void) {
    this.#options = options;
    this.#onStarted = onStarted;
  }

  get address(): string {
    return this.#address;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  get httpAddress(): string | undefined {
    return this.#server?.httpAddress;
  }

  get revision(): number | undefined {
    return this.#server?.revision;
  }

  get sentBytes(): number | undefined {
    return this.#server?.sentBytes;
  }

  /** What the server says of the mesh; while it is away, what it has said last. */
  get status(): MeshStatus | undefined {
    if (this.#isRunning) this.#status = this.#server?.status();
    return this.#status;
  }

  async start(): Promise<void> {
    const http = this.httpAddress ?? this.#options.http;
    this.#server = await serve({ ...this.#options, listen: this.#address, ...(http === undefined ? {} : { http }) });
    this.#address = this.#server.address;
    this.#isRunning = true;
    this.#onStarted(this.#server);
  }

  async stop(): Promise<void> {
    this.#isRunning = false;
    await this.#server?.close();
  }

  async teardown(reason: string): Promise<void> {
    if (this.#isRunning) await this.#server?.teardown(reason);
  }
}
