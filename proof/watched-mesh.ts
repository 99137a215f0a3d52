import { randomBytes } from "node:crypto";
import { Hosts } from "../test/support/namespaces.js";
import type { StartedProcess } from "../test/support/processes.js";
import { main, plainEnvironment, programPath } from "./loaded-mesh.js";

const program = programPath("watching-member.mjs");

/** Longer than anything takes that is waited for, with the default limits. */
const waitLimitMs = 180_000;

/** What has happened to one process, with the time in milliseconds since the epoch. */
export interface Happening {
  readonly at: number;
  readonly [field: string]: unknown;
}

/** The server or a member, which prints what happens to it. */
export class Watched {
  readonly name: string;
  readonly host: string;
  readonly process: StartedProcess;
  readonly #typeField: string;

  constructor(name: string, host: string, process: StartedProcess, typeField: string) {
    this.name = name;
    this.host = host;
    this.process = process;
    this.#typeField = typeField;
  }

  /** What has happened of one type since a time, in order. */
  seen(type: string, since = 0): Happening[] {
    return this.process.lines
      .filter((line) => line.includes(`"${type}"`))
      .map((line) => JSON.parse(line) as Happening)
      .filter((happening) => happening[this.#typeField] === type && happening.at >= since);
  }

  /** The first happening of a type since a time that `isWanted`, past or to come; it is waited for. */
  async next(type: string, since = 0, isWanted = (_: Happening): boolean => true): Promise<Happening> {
    const find = (): Happening | undefined => this.seen(type, since).find(isWanted);
    await this.process.line(() => find() !== undefined, `"${type}"`, waitLimitMs);
    return find() as Happening;
  }
}

/**
 * A server and members, each a process, on hosts of their own, with the default limits. The members have joined in the order
 * of their names. Everything is ended and removed by `remove`.
 */
export class WatchedMesh {
  static readonly #all = new Set<WatchedMesh>();
  static #isOver = false;
  readonly hosts: Hosts;
  readonly members: Watched[] = [];
  readonly #secret = randomBytes(32).toString("base64url");
  server: Watched;

  /** `hosts`: a host for each member; one that is named twice has two. */
  constructor(hosts: readonly string[]) {
    if (WatchedMesh.#isOver) throw new Error("no mesh is made any more");
    this.hosts = new Hosts("server", ...new Set(hosts));
    WatchedMesh.#all.add(this);
    this.server = this.#serve();
  }

  /** Removes all that there are; no further one can be made. */
  static async removeAll(): Promise<void> {
    WatchedMesh.#isOver = true;
    await Promise.all(Array.from(WatchedMesh.#all, (mesh) => mesh.remove()));
  }

  static async start(hosts: readonly string[]): Promise<WatchedMesh> {
    const mesh = new WatchedMesh(hosts);
    try {
      await mesh.server.next("listening");
      for (const [index, host] of hosts.entries()) {
        const options = { secret: mesh.#secret, name: `m${index}` };
        const process = mesh.hosts.run(host, [program, mesh.#address, JSON.stringify(options)], { hasStdin: true });
        const member = new Watched(`m${index}`, host, process, "type");
        mesh.members.push(member);
        await member.next("registered");
      }
      await mesh.whole(mesh.members);
      return mesh;
    } catch (error) {
      await mesh.remove();
      throw error;
    }
  }

  /** The member with this number. */
  member(index: number): Watched {
    const member = this.members[index];
    if (member === undefined) throw new Error(`there is no member ${index}`);
    return member;
  }

  others(...without: readonly Watched[]): Watched[] {
    return this.members.filter((member) => !without.includes(member));
  }

  /** Resolves when each of these has been told since now that the mesh is whole with them; returns when the last one was. */
  async whole(members: readonly Watched[]): Promise<number> {
    const since = Date.now();
    for (const { process } of members) process.writeLine(`complete ${members.length}`);
    const told = await Promise.all(members.map((member) => member.next("complete", since)));
    return Math.max(...told.map(({ at }) => at));
  }

  /** A server that knows nothing, where the last one was; returns when it listens. */
  async startServer(): Promise<number> {
    this.server = this.#serve();
    return (await this.server.next("listening")).at;
  }

  async remove(): Promise<void> {
    WatchedMesh.#all.delete(this);
    await this.hosts.remove();
  }

  get #address(): string {
    return `${this.hosts.address("server")}:4000`;
  }

  #serve(): Watched {
    const env = plainEnvironment({ FULLMESH_SECRET: this.#secret });
    const args = [main, "serve", "--json", "--listen", this.#address];
    return new Watched("server", "server", this.hosts.run("server", args, { env }), "event");
  }
}
