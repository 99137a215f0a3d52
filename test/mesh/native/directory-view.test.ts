import { expect, test } from "vitest";
import { defaultLimits } from "../../../src/core/limits.js";
import { DirectoryView } from "../../../src/mesh/native/directory-view.js";
import { idOf, joined, listed } from "./names.js";
import { World } from "./world.js";

test("a removed id never comes back, and is remembered for as long as there is room", () => {
  const roster = new DirectoryView(idOf(1), { ...defaultLimits, tombstones: 2 });
  roster.restore(
    [1, 2, 3, 4].map((number) => listed(number)),
    4,
  );
  for (const number of [2, 3]) roster.apply({ type: "lost", revision: number + 3, id: idOf(number), reason: "silent" });
  expect([2, 3, 4, 5].map((number) => roster.senderOf(idOf(number)))).toEqual([
    "removed",
    "removed",
    "later",
    "unknown",
  ]);
  roster.apply({ type: "left", revision: 7, id: idOf(4), reason: "left" });
  expect([2, 3, 4].map((number) => roster.senderOf(idOf(number)))).toEqual(["unknown", "removed", "removed"]);
});

test("an entry that comes again changes nothing", () => {
  const { owner, later, wire } = new World().pair();
  owner.entries(joined(listed(2)), joined(listed(1)));
  expect([owner.isUp(later), wire.isOpen, owner.dials(later).length]).toEqual([true, true, 1]);
  owner.send(later, "a");
  wire.flow();
  expect(later.messages).toEqual(["a"]);
});
