import { expect, test } from "vitest";
import { nextState, type Transitions } from "../../src/core/transitions.js";

const door: Transitions<"open" | "closed", "push" | "pull"> = { open: { push: "closed" }, closed: { pull: "open" } };

test("an event leads where the table says", () => {
  expect(nextState(door, "open", "push", "the door")).toBe("closed");
  expect(nextState(door, "closed", "pull", "the door")).toBe("open");
});

test("an event that the table does not allow is said at once, with whose it is", () => {
  expect(() => nextState(door, "open", "pull", "the door")).toThrow("the door: no pull in state open");
});
