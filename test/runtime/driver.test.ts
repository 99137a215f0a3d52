import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import type { Identity } from "../../src/core/connections.js";
import { FullmeshError } from "../../src/core/errors.js";
import { Driver } from "../../src/runtime/driver.js";
import {
  HandClock,
  HandConnection,
  HandTransport,
  type ScriptInput,
  ScriptMachine,
  type ScriptOutput,
} from "./ports.js";

const here = { host: "127.0.0.1", port: 4000 };
const there = { host: "127.0.0.1", port: 5000 };
const identity: Identity = { mesh: "mesh", role: "member" };

function wish(name: string): ScriptInput {
  return { type: "wish", name };
}

function start(): {
  clock: HandClock;
  transport: HandTransport;
  machine: ScriptMachine;
  told: string[];
  driver: Driver<ScriptInput, ScriptOutput>;
} {
  const clock = new HandClock();
  const transport = new HandTransport();
  const machine = new ScriptMachine();
  const told: string[] = [];
  const perform = ({ text }: ScriptOutput): void => void told.push(text);
  return { clock, transport, machine, told, driver: new Driver({ machine, transport, clock, perform }) };
}

/** A driver whose machine wants a timeout at each of these moments, in this order. */
function startWithDeadlines(...deadlines: number[]): ReturnType<typeof start> {
  const parts = start();
  const { machine } = parts;
  machine.timeoutAt = deadlines[0];
  machine.onInput = (input, now) => {
    while (input.type === "timeout" && deadlines[0] !== undefined && deadlines[0] <= now) deadlines.shift();
    machine.timeoutAt = deadlines[0];
  };
  parts.driver.input(wish("begin"));
  return parts;
}

describe("a deadline", () => {
  test("reaches the machine only after bytes that have already arrived", () => {
    const { clock, machine, driver } = startWithDeadlines(100);
    clock.fireAt(100);
    expect(machine.story).toEqual(["begin"]);
    driver.input(wish("what had arrived"));
    clock.poll();
    expect(machine.story).toEqual(["begin", "what had arrived", "timeout"]);
  });

  test("that arrived bytes have moved does not reach the machine", () => {
    const { clock, machine, driver } = startWithDeadlines(100);
    clock.fireAt(100);
    machine.onInput = (input) => {
      machine.timeoutAt = input.type === "timeout" ? undefined : 500;
    };
    driver.input(wish("an answer in time"));
    clock.poll();
    expect(machine.story).toEqual(["begin", "an answer in time"]);
    clock.runTo(500);
    expect(machine.story).toEqual(["begin", "an answer in time", "timeout"]);
  });

  test("that is cancelled has no timer", () => {
    const { clock, machine, driver } = startWithDeadlines(100);
    machine.timeoutAt = undefined;
    machine.onInput = () => {};
    driver.input(wish("never mind"));
    clock.poll();
    expect(clock.timers.size).toBe(0);
  });

  test("reaches the machine once", () => {
    const { clock, machine } = startWithDeadlines(100);
    clock.runTo(10_000);
    expect(machine.story).toEqual(["begin", "timeout"]);
    expect(clock.timers.size).toBe(0);
  });

  test("has one timer, which moves only when it would fire too late", () => {
    const { clock, machine, driver } = startWithDeadlines(100);
    machine.onInput = () => {};
    for (const [at, timerAt] of [
      [100, 100],
      [50, 50],
      [200, 50],
      [50, 50],
      [150, 50],
      [40, 40],
    ] as const) {
      machine.timeoutAt = at;
      driver.input(wish("move"));
      clock.poll();
      expect([...clock.timers].map((timer) => timer.at)).toEqual([timerAt]);
    }
  });

  test("that moves forward again and again in one poll of the event loop sets one timer behind it", () => {
    const { clock, machine, driver } = startWithDeadlines(100);
    machine.onInput = () => {};
    const set = vi.spyOn(clock, "setTimer");
    for (let count = 1; count <= 10; count += 1) {
      machine.timeoutAt = 100 - count;
      driver.input(wish("move"));
    }
    expect(set).not.toHaveBeenCalled();
    clock.poll();
    expect(set).toHaveBeenCalledTimes(1);
    expect([...clock.timers].map((timer) => timer.at)).toEqual([90]);
  });

  test("that stays, or moves back, costs nothing but the look at it", () => {
    const { clock, machine, driver } = startWithDeadlines(100);
    machine.onInput = () => {};
    const afterPoll = vi.spyOn(clock, "afterPoll");
    for (const at of [100, 250]) {
      machine.timeoutAt = at;
      driver.input(wish("move"));
    }
    expect(afterPoll).not.toHaveBeenCalled();
    expect([...clock.timers].map((timer) => timer.at)).toEqual([100]);
  });

  test.each([true, false])("flushed bytes reach a machine that awaits them or does not say: %s", (awaits) => {
    const { machine, driver } = startWithDeadlines(100);
    const heard = vi.spyOn(machine, "handle");
    driver.flushed("out:1");
    expect(heard).toHaveBeenCalledTimes(1);
    Object.assign(machine, { awaitsFlush: () => awaits });
    driver.flushed("out:1");
    expect(heard).toHaveBeenCalledTimes(awaits ? 2 : 1);
  });

  test("that was moved is not due when its timer fires, which is set again", () => {
    const { clock, machine, driver } = startWithDeadlines(100);
    machine.onInput = (input) => {
      if (input.type === "timeout") machine.timeoutAt = undefined;
    };
    for (const at of [250, 400]) {
      machine.timeoutAt = at;
      driver.input(wish("put off"));
    }
    clock.runTo(399);
    expect(machine.story).toEqual(["begin", "put off", "put off"]);
    expect([...clock.timers].map((timer) => timer.at)).toEqual([400]);
    clock.runTo(400);
    expect(machine.heard.at(-1)).toEqual({ input: { type: "timeout" }, now: 400 });
    expect(clock.timers.size).toBe(0);
  });

  test("that is cancelled between its timer and the next poll does not reach the machine", () => {
    const { clock, machine, driver } = startWithDeadlines(100);
    clock.fireAt(100);
    machine.onInput = () => {};
    machine.timeoutAt = undefined;
    driver.input(wish("never mind"));
    clock.poll();
    expect(machine.story).toEqual(["begin", "never mind"]);
    expect(clock.timers.size).toBe(0);
  });

  test("that is set between a timer and the next poll is kept", () => {
    for (const next of [90, 100, 300]) {
      const { clock, machine, driver } = startWithDeadlines(100);
      clock.fireAt(100);
      machine.onInput = (input) => {
        machine.timeoutAt = input.type === "timeout" ? undefined : next;
      };
      driver.input(wish("another one"));
      clock.poll();
      // No timer is left behind by one that was called off.
      expect(clock.timers.size).toBe(machine.story.includes("timeout") ? 0 : 1);
      clock.runTo(300);
      clock.poll();
      expect(machine.story).toEqual(["begin", "another one", "timeout"]);
      expect(clock.timers.size).toBe(0);
    }
  });

  test("comes in order among others", () => {
    const { clock, machine } = startWithDeadlines(100, 130, 200);
    clock.runTo(1_000);
    expect(machine.heard.map(({ now }) => now)).toEqual([0, 100, 130, 200]);
  });
});

describe("a stall of this process", () => {
  test("makes nobody else late", () => {
    const { clock, machine } = startWithDeadlines(100, 400);
    clock.fireAt(600);
    clock.poll();
    expect(machine.heard.at(-1)).toEqual({ input: { type: "timeout" }, now: 100 });
    clock.runTo(899);
    expect(machine.heard).toHaveLength(2);
    clock.runTo(900);
    expect(machine.heard.at(-1)).toEqual({ input: { type: "timeout" }, now: 400 });
  });

  test("stops the machine's time, and not the clocks that the machine is given beside it", () => {
    const { clock, machine } = startWithDeadlines(100, 400);
    clock.wallOffsetMs = 1_000_000;
    clock.fireAt(600);
    clock.poll();
    expect(machine.heard.at(-1)?.now).toBe(100);
    expect(machine.clocks).toEqual({ monotonicMs: 600, wallMs: 1_000_600 });
  });

  test("is noticed also by bytes that arrive before the timer fires", () => {
    const { clock, machine, driver } = startWithDeadlines(100, 400);
    clock.time = 600;
    driver.input(wish("arrived while we were held up"));
    expect(machine.heard.at(-1)?.now).toBe(100);
    clock.fireAt(600);
    clock.poll();
    clock.runTo(899);
    expect(machine.story).toEqual(["begin", "arrived while we were held up", "timeout"]);
  });

  test("is counted once, and so is a second one", () => {
    const { clock, machine, driver } = startWithDeadlines(100, 400);
    clock.fireAt(600);
    clock.poll();
    clock.time = 700;
    driver.input(wish("later"));
    expect(machine.heard.at(-1)?.now).toBe(200);
    clock.fireAt(1_900);
    clock.poll();
    expect(machine.heard.at(-1)).toEqual({ input: { type: "timeout" }, now: 400 });
  });

  test("lets a later deadline be due when its timer fires, however both are rounded", () => {
    const moment = fc.double({ min: 101, max: 1e6, noNaN: true });
    fc.assert(
      fc.property(moment, moment, (lateMs, deadline) => {
        const { clock, machine } = startWithDeadlines(100, deadline);
        clock.fireAt(100 + lateMs);
        clock.poll();
        const stalledMs = clock.time - 100;
        clock.fireAt(Math.max(clock.time, deadline + stalledMs));
        clock.poll();
        expect(machine.heard.at(-1)?.now).toBeGreaterThanOrEqual(deadline);
      }),
    );
  });

  test("is not the few milliseconds of a coarse timer", () => {
    const { clock, machine } = startWithDeadlines(100, 115);
    clock.fireAt(115);
    clock.poll();
    expect(machine.heard.at(-1)?.now).toBe(115);
  });

  test("is not the age of a deadline that was in the past", () => {
    const { clock, machine, driver } = start();
    clock.time = 60_000;
    machine.timeoutAt = 5_000;
    machine.onInput = (input) => {
      if (input.type === "timeout") machine.timeoutAt = undefined;
    };
    driver.input(wish("an old deadline has become due"));
    clock.runTo(60_000);
    expect(machine.heard.at(-1)).toEqual({ input: { type: "timeout" }, now: 60_000 });
    clock.time = 61_000;
    driver.input(wish("a second later"));
    expect(machine.heard.at(-1)?.now).toBe(61_000);
  });
});

test("the machine's time never goes back, in any order of stalls, deadlines and inputs", () => {
  const step = fc.record({
    wait: fc.oneof(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 0, max: 1_000 })),
    /** The next deadline, from the machine's present on; it may have passed. */
    deadline: fc.option(fc.integer({ min: -500, max: 500 }), { nil: undefined }),
    fires: fc.boolean(),
    polls: fc.boolean(),
    hears: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (script) => {
      const { clock, machine, driver } = start();
      for (const { wait, deadline, fires, polls, hears } of script) {
        machine.onInput = (_input, now) => {
          machine.timeoutAt = deadline === undefined ? undefined : now + deadline;
        };
        clock.time += wait;
        if (hears) driver.input(wish("input"));
        if (fires) clock.fireAt(clock.time);
        if (polls) clock.poll();
      }
      const times = machine.heard.map(({ now }) => now);
      expect(times).toEqual(times.toSorted((a, b) => a - b));
      expect(times.at(-1) ?? 0).toBeLessThanOrEqual(clock.time);
    }),
  );
});

describe("an input that arrives while the machine is being polled", () => {
  test("waits until all outputs are performed", () => {
    const { machine, told } = start();
    const driver: Driver<ScriptInput, ScriptOutput> = new Driver({
      machine,
      transport: new HandTransport(),
      clock: new HandClock(),
      perform: ({ text }) => {
        told.push(`${text} begins`);
        if (text === "one") driver.input(wish("brought about"));
        told.push(`${text} is done`);
      },
    });
    machine.onInput = (input) => {
      if (input.type !== "wish" || input.name !== "begin") return;
      machine.outputs.push({ type: "told", text: "one" }, { type: "told", text: "two" });
      machine.onInput = () => machine.outputs.push({ type: "told", text: "three" });
    };
    driver.input(wish("begin"));
    expect(told).toEqual(["one", "two", "three"].flatMap((text) => [`${text} begins`, `${text} is done`]));
    expect(machine.story).toEqual(["begin", "brought about"]);
  });
});

describe("a wake", () => {
  function startAwake(): ReturnType<typeof start> & { flush: ScriptInput } {
    const parts = start();
    const { machine, transport, clock } = parts;
    const flush = wish("flush");
    const driver = new Driver<ScriptInput, ScriptOutput>({
      machine,
      transport,
      clock,
      perform: ({ text }) => void parts.told.push(text),
      onWake: flush,
    });
    return { ...parts, driver, flush };
  }

  test("reaches the machine once, at the end of the turn", () => {
    const { driver, machine, clock } = startAwake();
    for (let count = 0; count < 100; count += 1) driver.wake();
    expect(machine.story).toEqual([]);
    expect(clock.endTurn()).toBe(1);
    expect(machine.story).toEqual(["flush"]);
    expect(clock.endTurn()).toBe(0);
    driver.wake();
    clock.endTurn();
    expect(machine.story).toEqual(["flush", "flush"]);
  });

  test("comes after inputs of the same turn", () => {
    const { driver, machine, clock } = startAwake();
    driver.wake();
    driver.input(wish("arrives"));
    clock.endTurn();
    expect(machine.story).toEqual(["arrives", "flush"]);
  });

  test("reaches the machine also while it is being polled, and its outputs are performed", () => {
    const { driver, machine, clock, told } = startAwake();
    machine.onInput = (input) => {
      if (input.type !== "wish") return;
      if (input.name === "begin") driver.wake();
      else machine.outputs.push({ type: "told", text: input.name });
    };
    driver.input(wish("begin"));
    expect([machine.story, told]).toEqual([["begin"], []]);
    clock.endTurn();
    expect([machine.story, told]).toEqual([["begin", "flush"], ["flush"]]);
  });

  test("sets the timer for the next deadline", () => {
    const { driver, machine, clock } = startAwake();
    machine.onInput = () => {
      machine.timeoutAt = 50;
    };
    driver.wake();
    expect(clock.timers.size).toBe(0);
    clock.endTurn();
    expect([...clock.timers].map(({ at }) => at)).toEqual([50]);
  });

  test("that is pushed reaches the machine at once, and all that it sends goes out; the rest waits, in order", () => {
    const { driver, machine, clock, told, transport } = startAwake();
    machine.outputs.push({ type: "dial", connection: "out:1", to: there, identity });
    driver.input(wish("dial"));
    const send = (text: string) => ({
      type: "send" as const,
      connection: "out:1" as const,
      bytes: new TextEncoder().encode(text),
    });
    machine.onInput = (input) => {
      if (input.type !== "wish") return;
      machine.outputs.push(send(`${input.name} a`), { type: "told", text: input.name }, send(`${input.name} b`));
    };
    driver.push();
    const done = transport.dials[0]?.connection.done;
    expect([machine.story, told, done]).toEqual([["dial", "flush"], [], ["send flush a"]]);
    // What has been left comes before all that follows.
    driver.push();
    expect([machine.story.length, told, done?.length]).toEqual([2, [], 1]);
    driver.input(wish("arrives"));
    expect(told).toEqual(["flush", "arrives"]);
    expect(done).toEqual(["send flush a", "send flush b", "send arrives a", "send arrives b"]);
    clock.endTurn();
    expect(machine.story).toEqual(["dial", "flush", "arrives", "flush"]);
  });

  test("that is pushed while the machine is being polled waits for the end of the turn", () => {
    const { driver, machine, clock } = startAwake();
    machine.onInput = (input) => {
      if (input.type === "wish" && input.name === "begin") driver.push();
    };
    driver.input(wish("begin"));
    expect(machine.story).toEqual(["begin"]);
    clock.endTurn();
    expect(machine.story).toEqual(["begin", "flush"]);
  });

  test("is ignored by a driver without `onWake`", () => {
    const { driver, machine, clock } = start();
    driver.wake();
    clock.endTurn();
    expect(machine.story).toEqual([]);
  });
});

describe("connections", () => {
  test("are dialed, written to, half-closed and aborted as the machine wants", () => {
    const { transport, machine, driver } = start();
    machine.outputs.push({ type: "dial", connection: "out:1", to: there, identity });
    driver.input(wish("dial"));
    const [dial] = transport.dials;
    expect(dial).toMatchObject({ to: there, identity });
    dial?.events.connected(here, there);
    expect(machine.heard.at(-1)?.input).toEqual({ type: "connected", connection: "out:1", local: here, remote: there });
    machine.outputs.push(
      { type: "send", connection: "out:1", bytes: new TextEncoder().encode("hi") },
      { type: "halfClose", connection: "out:1" },
      { type: "abort", connection: "out:1" },
    );
    expect(driver.sentBytes).toBe(0);
    driver.input(wish("do"));
    expect(dial?.connection.done).toEqual(["send hi", "halfClose", "abort"]);
    expect(driver.sentBytes).toBe(2);
  });

  test("report their events, each with its own id", () => {
    const { transport, machine, driver } = start();
    machine.outputs.push(
      { type: "dial", connection: "out:1", to: there, identity },
      { type: "dial", connection: "out:2", to: there, identity },
    );
    driver.input(wish("dial"));
    const bytes = Uint8Array.of(1);
    transport.dials[1]?.events.bytes(bytes);
    transport.dials[0]?.events.flushed();
    transport.dials[1]?.events.ended();
    transport.dials[0]?.events.closed("ECONNREFUSED");
    transport.dials[1]?.events.closed(undefined);
    expect(machine.heard.slice(1).map(({ input }) => input)).toEqual([
      { type: "bytes", connection: "out:2", bytes },
      { type: "flushed", connection: "out:1" },
      { type: "ended", connection: "out:2" },
      { type: "closed", connection: "out:1", failure: "ECONNREFUSED" },
      { type: "closed", connection: "out:2" },
    ]);
  });

  test("report proofs of the secret and their failures", () => {
    const { transport, machine, driver } = start();
    driver.listen(here, () => {});
    transport.listening();
    const events = transport.accept?.(new HandConnection(), here, there);
    events?.secured(identity, "cipher");
    machine.outputs.push({ type: "dial", connection: "out:1", to: there, identity });
    driver.input(wish("dial"));
    transport.dials[0]?.events.connected(here, there, "cipher");
    transport.dials[0]?.events.unproved("SECRET_MISMATCH", "another secret");
    expect(machine.heard.slice(1).map(({ input }) => input)).toEqual([
      { type: "secured", connection: "in:1", identity, cipher: "cipher" },
      { type: "wish", name: "dial" },
      { type: "connected", connection: "out:1", local: here, remote: there, cipher: "cipher" },
      { type: "unproved", connection: "out:1", code: "SECRET_MISMATCH", message: "another secret" },
    ]);
  });

  test("that are closed ignore further outputs", () => {
    const { transport, machine, driver } = start();
    machine.outputs.push({ type: "dial", connection: "out:1", to: there, identity });
    driver.input(wish("dial"));
    transport.dials[0]?.events.closed(undefined);
    machine.outputs.push({ type: "send", connection: "out:1", bytes: Uint8Array.of(1) });
    machine.outputs.push({ type: "abort", connection: "out:1" }, { type: "halfClose", connection: "out:9" });
    driver.input(wish("too late"));
    expect(transport.dials[0]?.connection.done).toEqual([]);
  });

  test("that are accepted are numbered, and can be aborted at once", () => {
    const { transport, machine, driver } = start();
    driver.listen(here, () => {});
    transport.listening();
    machine.onInput = (input) => {
      if (input.type === "accepted") machine.outputs.push({ type: "abort", connection: input.connection });
    };
    const first = new HandConnection();
    const second = new HandConnection();
    transport.accept?.(first, here, there);
    const events = transport.accept?.(second, here, there);
    events?.closed(undefined);
    expect(machine.heard.map(({ input }) => input)).toEqual([
      { type: "accepted", connection: "in:1", local: here, remote: there },
      { type: "accepted", connection: "in:2", local: here, remote: there },
      { type: "closed", connection: "in:2" },
    ]);
    expect(first.done).toEqual(["abort"]);
  });

  test("are accepted until the machine stops listening", () => {
    const { transport, machine, driver } = start();
    driver.listen(here, () => {});
    transport.listening();
    machine.outputs.push({ type: "stopListening" }, { type: "stopListening" });
    driver.input(wish("stop"));
    expect(transport.isListening).toBe(false);
  });

  test("have a number of queued bytes, 0 if they are closed", () => {
    const { transport, machine, driver } = start();
    machine.outputs.push({ type: "dial", connection: "out:1", to: there, identity });
    driver.input(wish("dial"));
    const [dial] = transport.dials;
    if (dial !== undefined) dial.connection.queuedBytes = 17;
    expect(driver.queuedBytes("out:1")).toBe(17);
    expect(driver.queuedBytes("out:2")).toBe(0);
  });
});

describe("listening", () => {
  test("gives the address with its actual port", () => {
    const { transport, driver } = start();
    const outcomes: unknown[] = [];
    driver.listen({ host: "127.0.0.1", port: 0 }, (outcome) => outcomes.push(outcome));
    expect(outcomes).toEqual([]);
    transport.listening();
    expect(outcomes).toEqual([{ host: "127.0.0.1", port: 40_000 }]);
  });

  test("gives the error if it fails", () => {
    const { transport, driver } = start();
    const outcomes: unknown[] = [];
    driver.listen(here, (outcome) => outcomes.push(outcome));
    const failure = new FullmeshError("PORT_IN_USE", "127.0.0.1:4000 is taken");
    transport.listening(failure);
    expect(outcomes).toEqual([failure]);
  });

  test("at another address ends the listener before, once it listens", () => {
    const { transport, driver } = start();
    driver.listen(here, () => {});
    transport.listening();
    driver.listen(there, () => {});
    transport.listening(new FullmeshError("NOT_OUR_ADDRESS", "not here"));
    expect(transport.closed).toEqual([]);
    driver.listen(there, () => {});
    transport.listening();
    expect(transport.closed).toEqual([here]);
  });

  test("ends at once if the machine ended before it began", () => {
    const { transport, machine, driver } = start();
    driver.listen(here, () => {});
    machine.outputs.push({ type: "stopListening" });
    driver.input(wish("stop"));
    transport.listening();
    expect(transport.isListening).toBe(false);
  });
});

test("everything that is sent is passed to the trace callback before", () => {
  const machine = new ScriptMachine();
  const transport = new HandTransport();
  const seen: unknown[] = [];
  const driver = new Driver<ScriptInput, ScriptOutput>({
    machine,
    transport,
    clock: new HandClock(),
    perform: () => {},
    onSend: (connection, bytes) => seen.push([connection, bytes, transport.dials[0]?.connection.done.length]),
  });
  const bytes = Uint8Array.of(65);
  machine.outputs.push(
    { type: "dial", connection: "out:1", to: there, identity },
    { type: "send", connection: "out:1", bytes },
  );
  driver.input(wish("send"));
  expect(seen).toEqual([["out:1", bytes, 0]]);
});
