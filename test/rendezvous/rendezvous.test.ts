import { describe, expect, it } from "vitest";
import type { ConnectionId } from "../../src/core/connections.js";
import { defaultLimits } from "../../src/core/limits.js";
import type { LogEntry } from "../../src/rendezvous/log.js";
import { Rendezvous } from "../../src/rendezvous/rendezvous.js";
import type { RendezvousEvent, RendezvousOutput } from "../../src/rendezvous/vocabulary.js";

/** A server's machine held by the hand: its log answers when the test says so. */
class Held {
  readonly machine: Rendezvous;
  readonly events: RendezvousEvent[] = [];
  readonly appends: Extract<RendezvousOutput, { type: "append" }>["change"][] = [];
  #revision = 0;

  constructor(capacity: number, onFull: "teardown" | "hold") {
    this.machine = new Rendezvous({
      capacity,
      onFull,
      mayAdvertise: () => true,
      endWord: "teardown",
      limits: defaultLimits,
    });
  }

  /** A connection registers this address. */
  register(connection: ConnectionId, address: string): void {
    const remote = { host: "127.0.0.1", port: 50_000 };
    this.machine.handle({ type: "accepted", connection, local: { host: "127.0.0.1", port: 4000 }, remote }, 0);
    this.machine.handle({ type: "bytes", connection, bytes: new TextEncoder().encode(address) }, 0);
    this.drain();
  }

  /** The log answers the oldest append. */
  answer(): LogEntry {
    const change = this.appends.shift();
    if (change === undefined) throw new Error("nothing has been appended");
    this.#revision += 1;
    const entry: LogEntry = { ...change, revision: this.#revision };
    this.tell(entry);
    return entry;
  }

  tell(entry: LogEntry): void {
    this.machine.handle({ type: "appended", entry }, 0);
    this.drain();
  }

  drain(): void {
    for (let output = this.machine.poll(); output !== undefined; output = this.machine.poll()) {
      if (output.type === "event") this.events.push(output.event);
      if (output.type === "append") this.appends.push(output.change);
    }
  }
}

describe("a rendezvous", () => {
  it("believes a membership when its entry has come back, and not before", () => {
    const held = new Held(3, "teardown");
    held.register("in:1", "127.0.0.1:14001");
    expect(held.machine.members).toEqual([]);
    held.answer();
    expect(held.machine.members).toEqual(["127.0.0.1:14001"]);
  });

  it("counts an append under way against the capacity", () => {
    const held = new Held(1, "hold");
    held.register("in:1", "127.0.0.1:14001");
    held.register("in:2", "127.0.0.1:14002");
    expect(held.appends).toHaveLength(1);
    expect(held.events).toMatchObject([{ type: "waiting", address: "127.0.0.1:14002", place: 1 }]);
  });

  it("takes an entry that the log tells twice for one", () => {
    const held = new Held(3, "teardown");
    held.register("in:1", "127.0.0.1:14001");
    held.tell(held.answer());
    expect(held.machine.members).toEqual(["127.0.0.1:14001"]);
    expect(held.appends).toEqual([]);
    expect(held.events).toHaveLength(1);
  });

  it("tells the first ten in line that they have moved up, and not the whole line at every step", () => {
    const held = new Held(1, "hold");
    held.register("in:1", "127.0.0.1:14001");
    held.answer();
    for (let index = 2; index <= 102; index += 1) held.register(`in:${index}`, `127.0.0.1:${14_000 + index}`);
    held.events.length = 0;
    held.machine.handle({ type: "closed", connection: "in:2" }, 0);
    held.drain();
    const places = held.events.filter(({ type }) => type === "waiting");
    expect(places).toHaveLength(10);
    expect(places[0]).toMatchObject({ address: "127.0.0.1:14003", place: 1 });
  });
});
