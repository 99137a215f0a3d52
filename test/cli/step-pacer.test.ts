import { describe, expect, it, onTestFinished, vi } from "vitest";
import { type Step, StepPacer } from "../../src/cli/step-pacer.js";
import type { StepKind, WireStep } from "../../src/cli/wire-step.js";

function step(kind: StepKind, remote = "127.0.0.1:1", isDialed = true): WireStep {
  return { kind, remote, isDialed, detail: "" };
}

/** A pacer with 100 ms from step to step, on a clock of the test's. */
function pacer() {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const steps: Step[] = [];
  let idle = 0;
  const made = new StepPacer(
    100,
    (taken) => steps.push(taken),
    () => {
      idle += 1;
    },
  );
  onTestFinished(() => made.close());
  return { pacer: made, steps, idle: () => idle };
}

describe("StepPacer", () => {
  it("lets one step at a time happen, and what has begun before what is new", () => {
    const { pacer: paced, steps, idle } = pacer();
    const gone: string[] = [];
    for (const kind of ["entries", "dial", "hello", "answer"] as const) {
      paced.hold("127.0.0.1:9", step(kind), () => gone.push(kind));
    }
    expect(gone).toEqual([]);
    vi.advanceTimersByTime(100);
    expect(gone).toEqual(["answer"]);
    vi.advanceTimersByTime(300);
    expect(gone).toEqual(["answer", "hello", "dial", "entries"]);
    expect(steps.map(({ number, kind }) => [number, kind])).toEqual([
      [1, "answer"],
      [2, "hello"],
      [3, "dial"],
      [4, "entries"],
    ]);
    expect(idle()).toBe(0);
    vi.advanceTimersByTime(100);
    expect(idle()).toBe(1);
  });

  it("names the process at the other end of an accepted connection, as soon as it has an address", () => {
    const { pacer: paced, steps } = pacer();
    const dialer: { address: string | undefined } = { address: undefined };
    paced.connected("127.0.0.1:50000", dialer);
    dialer.address = "127.0.0.1:4001";
    paced.hold("server", step("directory", "127.0.0.1:50000", false), () => {});
    vi.advanceTimersByTime(100);
    expect(steps).toMatchObject([{ from: "server", to: "127.0.0.1:4001" }]);
  });

  it("stands still while it is paused, and holds nothing back once it is closed", () => {
    const { pacer: paced, steps } = pacer();
    let gone = 0;
    paced.pauseOrGoOn();
    paced.hold("127.0.0.1:9", step("hello"), () => {
      gone += 1;
    });
    vi.advanceTimersByTime(1_000);
    expect(gone).toBe(0);
    paced.pauseOrGoOn();
    vi.advanceTimersByTime(100);
    expect([gone, steps.length]).toEqual([1, 1]);
    paced.hold("127.0.0.1:9", step("answer"), () => {
      gone += 1;
    });
    paced.close();
    expect(gone).toBe(2);
  });
});
