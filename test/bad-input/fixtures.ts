import { expect, onTestFinished } from "vitest";
import {
  type Address,
  type Dialect,
  type Logger,
  type LogRecord,
  MeshNode,
  type NodeOptions,
  type RendezvousServer,
  type ServerOptions,
  serve,
} from "../../src/index.js";
import { joinWith } from "../../src/node/join.js";
import { LogRecorder } from "../support/logs.js";
import { type RawConnection, Recorder, rawListener } from "../support/sockets.js";

/** What a server or a node logs, by code. */
export class Notes {
  readonly #records = new LogRecorder();

  get logger(): Logger {
    return this.#records.logger;
  }

  get codes(): string[] {
    return this.#records.codes;
  }

  /** The n-th record, past or future, whatever it is. */
  nth(n: number): Promise<LogRecord> {
    return this.#records.nth(n, () => true);
  }

  /** The n-th record with this code, past or future. */
  wait(code: LogRecord["code"], n = 1): Promise<LogRecord> {
    return this.#records.nth(n, (record) => record.code === code);
  }
}

/** A node, with all that it has logged and emitted. */
export class RecordedNode {
  readonly node: MeshNode;
  readonly notes = new Notes();
  readonly lists = new Recorder<readonly Address[]>();
  readonly ups = new Recorder<Address>();
  readonly downs = new Recorder<Address>();
  readonly #text = new Map<Address, string>();
  readonly #growth = new Recorder<Address>();

  constructor(options: NodeOptions = {}) {
    const node = new MeshNode({ logger: this.notes.logger, ...options });
    this.node = node;
    node.on("directory", ({ members }) => this.lists.add(members.map(({ address }) => address)));
    node.on("peer:up", ({ peer }) => this.ups.add(peer.address));
    node.on("peer:down", ({ peer }) => this.downs.add(peer.address));
    node.on("bytes", ({ peer, bytes }) => this.#record(peer.address, bytes));
    node.on("message", ({ peer, payload }) => this.#record(peer.address, payload as Uint8Array));
    onTestFinished(() => node.leave());
  }

  get address(): Address {
    const { address } = this.node;
    if (address === undefined) throw new Error("the node has not registered");
    return address;
  }

  /** All bytes from a peer, a character for each. */
  textOf(peer: Address): string {
    return this.#text.get(peer) ?? "";
  }

  /** Sends text to a peer, in the dialect that they share. */
  send(peer: Address, content: string): void {
    const isNative = this.node.peers.some(({ address, dialect }) => address === peer && dialect === "native");
    if (isNative) this.node.send(peer, "", text(content));
    else this.node.write(peer, text(content));
  }

  #record(peer: Address, bytes: Uint8Array): void {
    this.#text.set(peer, this.textOf(peer) + Buffer.from(bytes).toString("latin1"));
    this.#growth.add(peer);
  }

  /** Resolves when the bytes from this peer contain `wanted`. */
  async received(peer: Address, wanted: string): Promise<void> {
    await this.#growth.first((from) => from === peer && this.textOf(peer).includes(wanted));
  }
}

export const text = (content: string): Uint8Array => new TextEncoder().encode(content);

/** Bytes both ways over the link of two nodes. */
async function exchangeBytes(a: RecordedNode, b: RecordedNode): Promise<void> {
  const content = `<${a.textOf(b.address).length},${b.textOf(a.address).length}>`;
  a.send(b.address, content);
  b.send(a.address, content);
  await Promise.all([a.received(b.address, content), b.received(a.address, content)]);
}

interface AllowedChanges {
  /** Addresses that were members for a while, as they may. */
  readonly guests?: readonly string[];
  /** False if the server admits no more members. */
  readonly isOpen?: boolean;
}

/** A server with two healthy members, linked with each other, which no bad input may disturb. */
export interface HealthyMesh {
  readonly server: RendezvousServer;
  readonly address: Address;
  readonly notes: Notes;
  readonly members: readonly [RecordedNode, RecordedNode];
  /**
   * Expects that the two are still linked, that nobody else has been a member or in a list, that a new member joins and
   * links with both, and that the server closes although the client under test keeps its connection open.
   */
  undisturbed(allowed?: AllowedChanges): Promise<void>;
}

export async function healthyMesh(options: ServerOptions = {}, dialect: Dialect = "native"): Promise<HealthyMesh> {
  const limits = { lingerMs: 50, ...options.limits };
  const notes = new Notes();
  const server = await serve({ listen: "127.0.0.1:0", logger: notes.logger, ...options, limits });
  onTestFinished(() => server.close());
  const address = addressOf(server);
  const joined: Address[] = [];
  server.on("joined", (event) => joined.push(event.address));
  const first = new RecordedNode({ dialect });
  await joinWith(first.node, address, {});
  const second = new RecordedNode({ dialect });
  await joinWith(second.node, address, {});
  await Promise.all([first, second].map(({ node }) => node.complete({ size: 2 })));
  const undisturbed = async ({ guests = [], isOpen = true }: AllowedChanges = {}): Promise<void> => {
    const known = [first.address, second.address];
    if (isOpen) known.push(await newcomer(address, known));
    expect(server.members).toEqual(known);
    expect([...known, ...guests]).toEqual(expect.arrayContaining(joined));
    for (const { lists, downs } of [first, second]) {
      expect(downs.items.filter((peer) => known.includes(peer))).toEqual([]);
      expect([...known, ...guests]).toEqual(expect.arrayContaining(lists.items.flat()));
    }
    await exchangeBytes(first, second);
    await server.close();
  };
  return { server, address, notes, members: [first, second], undisturbed };
}

/** Joins, and is linked with exactly these. Returns the newcomer's address. */
async function newcomer(server: Address, others: readonly Address[]): Promise<Address> {
  const third = new RecordedNode();
  await joinWith(third.node, server, {});
  await third.node.complete({ size: others.length + 1 });
  expect(third.node.members.map(({ address }) => address)).toEqual([...others, third.address]);
  expect(third.ups.items.toSorted()).toEqual(others.toSorted());
  return third.address;
}

export function addressOf(server: RendezvousServer): Address {
  const { address } = server;
  if (address === undefined) throw new Error("the server does not listen");
  return address;
}

/** A classic node that has registered with a server that sends what the test wants. */
export interface NodeAtFakeServer extends RecordedNode {
  /** The fake server's end. */
  readonly server: RawConnection;
  /** The node's registration, which a list that names it resolves. */
  readonly registering: Promise<void>;
}

export async function nodeAtFakeServer(options: NodeOptions = {}): Promise<NodeAtFakeServer> {
  const limits = { quietMs: 50, lingerMs: 50, ...options.limits };
  const listener = await rawListener();
  const watched = new RecordedNode({ dialect: "classic", ...options, limits });
  const { node } = watched;
  await node.connectToServer(listener.address);
  await node.initListeningSocket("127.0.0.1", 0);
  const own = await node.sockListen();
  const server = await listener.accepted(1);
  const registering = node.registerWithServer();
  registering.catch(() => {});
  await server.received(own);
  return Object.assign(watched, { server, registering });
}

/** What a server sends. */
export function list(...addresses: readonly string[]): string {
  return `list:\n${addresses.join("\n")}`;
}
