import { describe, expect, it } from "vitest";
import { Engine, SimulatedProcess } from "../../simulator/engine.js";

describe("the engine of the simulator", () => {
  it("ends a run in which the clock stands still, and says when and who is scheduled", () => {
    const engine = new Engine(1);
    const busy = new SimulatedProcess(engine, "10.0.0.1:8080", "10.0.0.1");
    const again = (): void => engine.after(1e-7, again, busy);
    engine.at(1_500, again, busy);
    engine.after(1, () => {});
    expect(() => engine.run(60_000)).toThrow(/^the clock stands still at 1500\.\d* ms, .* 10\.0\.0\.1:8080 1001$/);
  });

  it("goes on for as long as the clock does, however many events there are", () => {
    const engine = new Engine(1);
    const again = (): void => engine.after(0.001, again);
    again();
    engine.run(1_000);
    expect(engine.steps).toBeGreaterThan(900_000);
  });
});
