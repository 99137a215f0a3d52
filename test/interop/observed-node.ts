import diagnostics from "node:diagnostics_channel";
import { expect, onTestFinished } from "vitest";
import { type Dialect, type Limits, MeshNode } from "../../src/index.js";
import { joinWith } from "../../src/node/join.js";
import { loggerTo } from "../support/logs.js";
import { Condition } from "../support/processes.js";

/**
 * Between two messages to one simple reader, wherever our programs and simple ones meet here. The default of 50 ms is right
 * for networks, but on a busy machine a process may wait longer than that for the processor, and then reads two
 * messages as one.
 */
export const longMessageGap: Partial<Limits> = { messageGapMs: 300 };

/** What one node has seen of its mesh, whatever language it is written in. */
export interface ObservedNode {
  /** Empty before it listens. */
  readonly address: string;
  /** Each list that it has understood. */
  readonly lists: readonly (readonly string[])[];
  /** The peers that it has sent its hello. */
  readonly dialed: readonly string[];
  /** The peers whose hello it has taken. */
  readonly accepted: readonly string[];
  /** The peers whose link has ended while the mesh had not. */
  readonly unlinked: readonly string[];
  /** What was not as expected. */
  readonly problems: readonly string[];
  /** Resolves when a list names it. */
  joined(): Promise<void>;
  until(condition: () => boolean, missing: string): Promise<void>;
  /** Resolves with the text with which the mesh has ended, and rejects if the node has failed. */
  end(): Promise<string>;
}

/** One of our nodes, classic by default, observed through its events from the first one on. */
export class OwnNode implements ObservedNode {
  readonly node: MeshNode;
  readonly lists: string[][] = [];
  readonly dialed: string[] = [];
  readonly accepted: string[] = [];
  readonly unlinked: string[] = [];
  readonly problems: string[] = [];
  /** What has come from each peer, in one piece. */
  readonly received = new Map<string, string>();
  readonly #changed = new Condition();
  readonly #joined: Promise<void>;

  /** Joins the mesh of this server. */
  constructor(server: string, dialect: Dialect = "classic") {
    const record = (change: () => void): void => {
      change();
      this.#changed.notify();
    };
    const logger = loggerTo(({ code, message }) => record(() => this.problems.push(`${code} ${message}`)));
    this.node = new MeshNode({ dialect, limits: longMessageGap, logger });
    this.node
      .on("directory", ({ members }) => record(() => this.lists.push(members.map(({ address }) => address))))
      .on("peer:up", ({ peer: { address, direction } }) => record(() => this[direction].push(address)))
      .on("peer:down", ({ peer }) => record(() => this.unlinked.push(peer.address)))
      .on("bytes", ({ peer, bytes }) => record(() => this.#keep(peer.address, bytes)))
      .on("message", ({ peer, payload }) => record(() => this.#keep(peer.address, payload as Uint8Array)));
    this.#joined = joinWith(this.node, server, { timeoutMs: 30_000 });
    // A failure reaches the test through `joined`; a test that has failed already needs no second one.
    this.#joined.catch(() => {});
  }

  get address(): string {
    return this.node.address ?? "";
  }

  #keep(peer: string, bytes: Uint8Array): void {
    this.received.set(peer, (this.received.get(peer) ?? "") + Buffer.from(bytes).toString("latin1"));
  }

  joined(): Promise<void> {
    return this.#joined;
  }

  async until(condition: () => boolean, missing: string): Promise<void> {
    const explain = (): string => `${this.address} ${missing}; its lists: ${JSON.stringify(this.lists)}`;
    await this.#changed.until(() => condition() || undefined, explain);
  }

  end(): Promise<string> {
    return this.node.start();
  }
}

/** The host, without brackets, and the port of an address, as command lines and sockets take them. */
export function endpointOf(address: string): { readonly host: string; readonly port: string } {
  const colon = address.lastIndexOf(":");
  return { host: address.slice(0, colon).replace(/[[\]]/g, ""), port: address.slice(colon + 1) };
}

/** Counts the sockets that this process opens and accepts from now on. */
export function countSockets(): { opened: number; accepted: number } {
  const count = { opened: 0, accepted: 0 };
  const onOpened = (): void => {
    count.opened += 1;
  };
  const onAccepted = (): void => {
    count.accepted += 1;
  };
  diagnostics.subscribe("net.client.socket", onOpened);
  diagnostics.subscribe("net.server.socket", onAccepted);
  onTestFinished(() => {
    diagnostics.unsubscribe("net.client.socket", onOpened);
    diagnostics.unsubscribe("net.server.socket", onAccepted);
  });
  return count;
}

/** Every pair has one link, made by one dial and one hello from whoever joined earlier to whoever joined later. */
export function expectFullMesh(witnesses: readonly ObservedNode[], joinOrder: readonly string[]): void {
  expect(witnesses.map((witness) => witness.address).sort()).toEqual([...joinOrder].sort());
  for (const [rank, address] of joinOrder.entries()) {
    const witness = witnesses.find((candidate) => candidate.address === address);
    expect(witness?.problems, `problems of number ${rank}`).toEqual([]);
    expect(witness?.dialed.toSorted(), `whom number ${rank} dialed`).toEqual(joinOrder.slice(rank + 1).sort());
    expect(witness?.accepted.toSorted(), `who greeted number ${rank}`).toEqual(joinOrder.slice(0, rank).sort());
  }
  const pairs = (joinOrder.length * (joinOrder.length - 1)) / 2;
  expect(witnesses.reduce((sum, witness) => sum + witness.dialed.length, 0)).toBe(pairs);
  expect(witnesses.reduce((sum, witness) => sum + witness.accepted.length, 0)).toBe(pairs);
}

/** Where nobody leaves, each list is a beginning of the join order, names its reader, and is longer than the last one. */
export function expectGrowingLists({ address, lists }: ObservedNode, joinOrder: readonly string[]): void {
  let shortest = joinOrder.indexOf(address) + 1;
  for (const list of lists) {
    expect(list).toEqual(joinOrder.slice(0, list.length));
    expect(list.length, `a list of ${address}`).toBeGreaterThanOrEqual(shortest);
    shortest = list.length + 1;
  }
  expect(lists.at(-1)).toEqual(joinOrder);
}
