import { describe, expect, test } from "vitest";
import type { ConnectionId, Endpoint } from "../../src/core/connections.js";
import { defaultLimits } from "../../src/core/limits.js";
import { Queue } from "../../src/core/queue.js";
import { Timers } from "../../src/core/timers.js";
import { MemberMachine } from "../../src/mesh/member-machine.js";
import type { MemberInput, MemberOutput } from "../../src/mesh/types.js";
import { RendezvousMachine } from "../../src/rendezvous/rendezvous-machine.js";
import type { RendezvousOutput } from "../../src/rendezvous/types.js";
import { RecordingHandlers } from "../mesh/native/recording-handler.js";
import { text } from "./fixtures.js";

/**
 * What no socket does on demand, given to the machines by hand: a dial that meets its own outgoing port, hosts other than
 * loopback, moments to the millisecond.
 */

const host = "127.0.0.1";
const at = (port: number): Endpoint => ({ host, port });

function drain<Output>(machine: { poll(): Output | undefined }): Output[] {
  const outputs: Output[] = [];
  for (let output = machine.poll(); output !== undefined; output = machine.poll()) outputs.push(output);
  return outputs;
}

class DrivenMember {
  readonly member = new MemberMachine<never>(
    {
      dialect: "classic",
      mesh: "default",
      isKeyed: false,
      draw: () => "0".repeat(32),
      allocate: (bytes) => new Uint8Array(bytes),
      serverLostMs: Number.POSITIVE_INFINITY,
      seed: 1,
      limits: defaultLimits,
    },
    new Queue(),
    new Timers(),
    // The links of a classic member have no handlers.
    new RecordingHandlers(),
  );
  now = 0;

  handle(input: MemberInput): MemberOutput[] {
    this.member.handle(input, this.now);
    return drain(this.member);
  }

  /** Connected, listening on 14000, registered, and listed before a peer on 14001, whom it dials. */
  dialing(): ConnectionId {
    this.handle({ type: "connectToServer", servers: [at(4000)] });
    this.handle({ type: "listening", on: at(14_000) });
    this.handle({ type: "connected", connection: "out:1", local: at(50_000), remote: at(4000) });
    this.handle({ type: "register" });
    const outputs = this.handle({
      type: "bytes",
      connection: "out:1",
      bytes: text("list:\n127.0.0.1:14000\n127.0.0.1:14001"),
    });
    return dialsOf(outputs)[0] ?? "out:0";
  }

  /** Moves time to the machine's next deadline. */
  fireTimeout(): MemberOutput[] {
    this.now = this.member.nextTimeout() ?? this.now;
    return this.handle({ type: "timeout" });
  }
}

function dialsOf(outputs: readonly MemberOutput[]): ConnectionId[] {
  return outputs.flatMap((output) => (output.type === "dial" ? [output.connection] : []));
}

function codesOf(outputs: readonly (MemberOutput | RendezvousOutput)[]): string[] {
  return outputs.flatMap((output) => (output.type === "note" ? [output.note.code] : []));
}

describe("a dial that meets its own outgoing port", () => {
  test("is aborted with SELF_CONNECT, is no link, and is made again after a pause", () => {
    const held = new DrivenMember();
    const connection = held.dialing();
    const outputs = held.handle({ type: "connected", connection, local: at(14_001), remote: at(14_001) });
    expect(outputs).toEqual([
      { type: "abort", connection },
      {
        type: "note",
        note: {
          code: "SELF_CONNECT",
          message: "cannot reach 127.0.0.1:14001 (attempt 1): the dial met its own outgoing port",
          remote: "127.0.0.1:14001",
        },
      },
    ]);
    expect([...held.member.classicLinks]).toEqual([]);
    // Bytes that still arrive on it, such as its own hello, are ignored.
    expect(held.handle({ type: "bytes", connection, bytes: text("Hello from:127.0.0.1:14000") })).toEqual([]);
    expect(held.handle({ type: "closed", connection })).toEqual([]);
    let again: ConnectionId[] = [];
    while (again.length === 0 && held.member.nextTimeout() !== undefined) again = dialsOf(held.fireTimeout());
    expect(again).toEqual(["out:3"]);
    expect(held.now).toBeGreaterThanOrEqual(defaultLimits.redialMinMs / 2);
    expect(held.now).toBeLessThanOrEqual(defaultLimits.redialMinMs);
  });

  test("does not take itself for the server: SERVER_UNREACHABLE", () => {
    const held = new DrivenMember();
    held.handle({ type: "connectToServer", servers: [at(40_000)] });
    const outputs = held.handle({ type: "connected", connection: "out:1", local: at(40_000), remote: at(40_000) });
    expect(outputs).toEqual([
      { type: "abort", connection: "out:1" },
      {
        type: "event",
        event: {
          type: "unreachable",
          message: "127.0.0.1:40000: nobody listens there",
          failure: "SERVER_UNREACHABLE",
        },
      },
    ]);
  });
});

describe("a peer that takes a link and closes it at once", () => {
  test("is dialed again after pauses that grow, each at least half of twice the one before, to the longest", () => {
    const held = new DrivenMember();
    let connection = held.dialing();
    const pauses: number[] = [];
    for (let round = 0; round < 16; round += 1) {
      held.handle({ type: "connected", connection, local: at(50_001), remote: at(14_001) });
      const closedAt = held.now;
      held.handle({ type: "ended", connection });
      held.handle({ type: "closed", connection });
      let dials: ConnectionId[] = [];
      while (dials.length === 0) dials = dialsOf(held.fireTimeout());
      pauses.push(held.now - closedAt);
      connection = dials[0] ?? connection;
    }
    for (const [index, pause] of pauses.entries()) {
      const whole = Math.min(defaultLimits.redialMaxMs, defaultLimits.redialMinMs * 2 ** index);
      expect(pause).toBeGreaterThanOrEqual(Math.max(defaultLimits.relinkMs, whole / 2));
      expect(pause).toBeLessThanOrEqual(Math.max(defaultLimits.relinkMs, whole));
    }
  });
});

describe("a registration at the wrong moment", () => {
  test("waits for the connection when the dial to the server is still under way", () => {
    const held = new DrivenMember();
    held.handle({ type: "connectToServer", servers: [at(4000)] });
    held.handle({ type: "listening", on: at(14_000) });
    held.handle({ type: "register" });
    const outputs = held.handle({ type: "connected", connection: "out:1", local: at(50_000), remote: at(4000) });
    expect(outputs).toContainEqual({ type: "send", connection: "out:1", bytes: text("127.0.0.1:14000") });
  });

  test("is made on a new connection when the server has refused the idle one with HANDSHAKE_TIMEOUT", () => {
    const held = new DrivenMember();
    held.handle({ type: "connectToServer", servers: [at(4000)] });
    held.handle({ type: "listening", on: at(14_000) });
    held.handle({ type: "connected", connection: "out:1", local: at(50_000), remote: at(4000) });
    held.handle({
      type: "bytes",
      connection: "out:1",
      bytes: text("refused HANDSHAKE_TIMEOUT: no registration came in time"),
    });
    const outputs = [...held.handle({ type: "register" }), ...held.handle({ type: "ended", connection: "out:1" })];
    expect(dialsOf(outputs)).toEqual(["out:2"]);
    expect(outputs).not.toContainEqual(expect.objectContaining({ event: expect.objectContaining({ type: "ended" }) }));
  });
});

describe("what follows a hello that no list names yet", () => {
  /** A member that lists nobody else, and a caller whose hello waits. */
  function parked(): DrivenMember {
    const held = new DrivenMember();
    held.dialing();
    held.handle({ type: "accepted", connection: "in:1", local: at(14_000), remote: at(60_000) });
    held.handle({ type: "bytes", connection: "in:1", bytes: text("Hello from:127.0.0.1:14002") });
    return held;
  }

  test("is kept together, however small the pieces are in which it comes", () => {
    const held = parked();
    for (let count = 0; count < 100_000; count += 1) {
      held.handle({ type: "bytes", connection: "in:1", bytes: Uint8Array.of(count & 0x7f) });
    }
    const lists = "list:\n127.0.0.1:14002\n127.0.0.1:14000\n127.0.0.1:14001";
    const outputs = held.handle({ type: "bytes", connection: "out:1", bytes: text(lists) });
    const reported = outputs.flatMap((output) =>
      output.type === "event" && output.event.type === "bytes" ? [output.event] : [],
    );
    expect(reported.reduce((sum, { bytes }) => sum + bytes.length, 0)).toBe(100_000);
    expect(reported.length).toBeLessThan(20);
  });

  test("is bounded by the memory that it takes", () => {
    const held = parked();
    const piece = new Uint8Array(1_000);
    let came = 0;
    const most = defaultLimits.parkedBytes;
    for (let codes: string[] = []; codes.length === 0 && came < 2 * most; came += piece.length) {
      codes = codesOf(held.handle({ type: "bytes", connection: "in:1", bytes: piece }));
      if (codes.length > 0) expect(codes).toEqual(["PARKING_FULL"]);
    }
    expect(came).toBeLessThanOrEqual(most + piece.length);
  });
});

describe("a host that is not loopback", () => {
  test("is refused with BUSY beyond the pending handshakes that one host may have, and no other host is", () => {
    const limits = { ...defaultLimits, handshakesPendingPerHost: 2 };
    const server = new RendezvousMachine({
      capacity: Number.POSITIVE_INFINITY,
      onFull: "teardown",
      mayAdvertise: () => false,
      dialect: "any",
      isKeyed: false,
      isShared: false,
      newId: () => "0".repeat(32),
      wallTime: () => 0,
      firstRevision: 0,
      startedAtMs: 0,
      version: "0.0.0",
      limits,
    });
    const accept = (n: number, from: string): RendezvousOutput[] => {
      const local = { host: "10.0.0.1", port: 4000 };
      server.handle({ type: "accepted", connection: `in:${n}`, local, remote: { host: from, port: 50_000 + n } }, 0);
      return drain(server);
    };
    expect([...accept(1, "10.0.0.9"), ...accept(2, "10.0.0.9")]).toEqual([]);
    expect(accept(3, "10.0.0.9")).toEqual([]);
    server.handle({ type: "bytes", connection: "in:3", bytes: text("1") }, 0);
    expect(codesOf(drain(server))).toEqual(["BUSY"]);
    expect(accept(4, "10.0.0.8")).toEqual([]);
    expect([...accept(5, host), ...accept(6, host), ...accept(7, host)]).toEqual([]);
  });
});
