import { join } from "node:path";
import { MeshNode } from "../../src/index.js";
import { joinWith } from "../../src/node/join.js";
import { loggerTo } from "../support/logs.js";
import { Condition, StartedProcess } from "../support/processes.js";

/** What one native member has seen of its mesh, whatever language it is written in. */
export abstract class NativeMember {
  /** The peers with which a link has come up, each with who dials. */
  readonly links = new Map<string, string>();
  /** The peers whose link has got a new connection, once for each. */
  readonly relinks: string[] = [];
  /** The peers whose link has ended. */
  readonly unlinks: string[] = [];
  /** Messages of its own of which it did not learn by the end of their link that they have been delivered. */
  unacknowledged = 0;
  /** `topic text` of the messages from each peer, in the order in which they came. */
  readonly received = new Map<string, string[]>();
  /** Members and links, each time that the server reported the mesh complete. */
  readonly completions: string[] = [];
  /** What was not as expected. */
  readonly problems: string[] = [];
  protected readonly changed = new Condition();

  /** Empty before it listens. */
  abstract readonly address: string;
  /** Its order in the mesh. */
  abstract readonly order: number;
  /** Resolves when the server has admitted it. */
  abstract joined(): Promise<unknown>;
  /** Sends a message to all its peers. */
  abstract send(topic: string, text: string): void;
  abstract leave(): void;
  /** Resolves with the reason for which the mesh has ended for it, and rejects if it has failed. */
  abstract end(): Promise<string>;

  async until(condition: () => boolean, missing: string): Promise<void> {
    const seen = (): string => JSON.stringify([...this.links, ...this.relinks, ...this.unlinks, ...this.completions]);
    await this.changed.until(
      () => condition() || undefined,
      () => `${this.address} ${missing}; ${seen()}; ${this.problems.join("; ")}`,
    );
  }

  /** Resolves when so many messages have come from this peer. */
  async receivedFrom(peer: NativeMember, count: number): Promise<void> {
    const soFar = (): number => this.received.get(peer.address)?.length ?? 0;
    await this.until(() => soFar() >= count, `has not got ${count} messages from ${peer.address}`);
  }

  protected unlinked(peer: string, unacknowledged: number): void {
    this.unlinks.push(peer);
    this.unacknowledged += unacknowledged;
  }

  protected record(peer: string, topic: string, text: string): void {
    const messages = this.received.get(peer) ?? [];
    messages.push(`${topic} ${text}`);
    this.received.set(peer, messages);
  }
}

/** The member in Python. */
export class PythonMember extends NativeMember {
  readonly process: StartedProcess;
  address = "";
  order = 0;
  /** The results of its requests: the peer, and the reply or the code of the failure. */
  readonly outcomes: string[] = [];
  /** How many times it has gone on with another log. */
  logs = 0;
  #reason = "no end";

  constructor(python: string, server: string) {
    super();
    const program = join(import.meta.dirname, "native", "member.py");
    this.process = new StartedProcess(python, ["-B", program, server], {
      hasStdin: true,
      onLine: (line) => {
        this.#read(JSON.parse(line) as Record<string, unknown>);
        this.changed.notify();
      },
    });
  }

  joined(): Promise<unknown> {
    return this.process.line((line) => line.includes('"registered"'), "that it has registered");
  }

  send(topic: string, text: string): void {
    this.process.writeLine(`send ${topic} ${text}`);
  }

  /** Sends a request to all its peers. */
  ask(topic: string, text: string): void {
    this.process.writeLine(`ask ${topic} ${text}`);
  }

  /** Breaks all its connections under links, with a reset. */
  cut(): void {
    this.process.writeLine("cut");
  }

  leave(): void {
    this.process.writeLine("leave");
  }

  async end(): Promise<string> {
    const exit = await this.process.exited();
    if (exit.code !== 0 || this.process.errors !== "")
      throw new Error(`${JSON.stringify(exit)} ${this.process.errors}`);
    return this.#reason;
  }

  #read(line: Record<string, unknown>): void {
    const { event } = line;
    const peer = String(line.peer);
    if (event === "listening") this.address = String(line.address);
    else if (event === "registered") this.order = Number(line.order);
    else if (event === "link") this.links.set(peer, String(line.direction));
    else if (event === "relink") this.relinks.push(peer);
    else if (event === "unlink") this.unlinked(peer, Number(line.unacknowledged));
    else if (event === "message") this.record(peer, String(line.topic), String(line.text));
    else if (event === "reply") this.outcomes.push(`${peer} ${line.text}`);
    else if (event === "failure") this.outcomes.push(`${peer} ${line.code}`);
    else if (event === "complete") this.completions.push(`${line.members} members, ${line.links} links`);
    else if (event === "log") this.logs += 1;
    else if (event === "teardown") this.#reason = String(line.reason);
    else if (event !== "closed" && event !== "leader") this.problems.push(JSON.stringify(line));
  }
}

/** One of ours. */
export class OwnMember extends NativeMember {
  readonly node: MeshNode;
  readonly #joined: Promise<void>;

  constructor(server: string) {
    super();
    const record = (change: () => void): void => {
      change();
      this.changed.notify();
    };
    const logger = loggerTo(({ code, message }) => record(() => this.problems.push(`${code} ${message}`)));
    this.node = new MeshNode({ logger });
    this.node
      .on("peer:up", ({ peer: { address, direction } }) => record(() => this.links.set(address, direction)))
      .on("peer:back", ({ peer: { address } }) => record(() => this.relinks.push(address)))
      .on("peer:down", ({ peer: { address }, unacknowledged }) => record(() => this.unlinked(address, unacknowledged)))
      .on("message", ({ peer, topic, payload }) =>
        record(() => this.record(peer.address, topic, Buffer.from(payload as Uint8Array).toString())),
      )
      .on("complete", ({ scope, members, links }) =>
        record(() => {
          if (scope === "mesh") this.completions.push(`${members} members, ${links} links`);
        }),
      );
    this.#joined = joinWith(this.node, server, { timeoutMs: 30_000 });
    // A failure reaches the test through `joined`; a test that has failed already needs no second one.
    this.#joined.catch(() => {});
  }

  get address(): string {
    return this.node.address ?? "";
  }

  get order(): number {
    return this.node.order ?? 0;
  }

  joined(): Promise<void> {
    return this.#joined;
  }

  send(topic: string, text: string): void {
    this.node.broadcast(topic, Buffer.from(text));
  }

  leave(): void {
    void this.node.leave();
  }

  end(): Promise<string> {
    return this.node.start();
  }
}
