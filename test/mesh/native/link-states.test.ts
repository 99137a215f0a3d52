import { describe, expect, test } from "vitest";
import { defaultLimits } from "../../../src/core/limits.js";
import { PagePool } from "../../../src/core/page-pool.js";
import { Timers } from "../../../src/core/timers.js";
import type { NativeConnection } from "../../../src/mesh/native/connection.js";
import { Link, type LinkContext } from "../../../src/mesh/native/link.js";
import {
  acceptorTransitions,
  type LinkState,
  type LinkTrigger,
  ownerTransitions,
} from "../../../src/mesh/native/link-states.js";
import { listed } from "./names.js";
import { RecordingHandlers } from "./recording-handler.js";

const events: readonly LinkTrigger[] = [
  "dial",
  "grant",
  "granted",
  "answered",
  "failed",
  "rejected",
  "relisted",
  "accepted",
  "broken",
  "removed",
  "left",
];

/** How a link gets into each state. */
const ways: Record<"owner" | "acceptor", Partial<Record<LinkState, readonly LinkTrigger[]>>> = {
  owner: {
    idle: [],
    dialing: ["dial"],
    granted: ["grant"],
    suspended: ["dial", "rejected"],
    up: ["dial", "answered"],
    draining: ["dial", "answered", "left"],
    ended: ["removed"],
  },
  acceptor: {
    waiting: [],
    dialing: ["granted"],
    up: ["accepted"],
    draining: ["accepted", "left"],
    ended: ["removed"],
  },
};

/** What LINK-RULES and DESIGN.md section 6 allow, written down once more: everything else is a fault. */
const allowed: Record<"owner" | "acceptor", readonly string[]> = {
  owner: [
    "idle dial dialing",
    "idle grant granted",
    "granted accepted up",
    "granted failed idle",
    "granted removed ended",
    "granted left ended",
    "idle removed ended",
    "idle left ended",
    "dialing answered up",
    "dialing failed idle",
    "dialing rejected suspended",
    "dialing removed ended",
    "dialing left ended",
    "suspended relisted idle",
    "suspended removed ended",
    "suspended left ended",
    "up broken idle",
    "up removed ended",
    "up left draining",
    "draining broken ended",
    "draining removed ended",
    "draining left draining",
  ],
  acceptor: [
    "waiting accepted up",
    "waiting granted dialing",
    "dialing accepted up",
    "dialing answered up",
    "dialing granted dialing",
    "dialing failed waiting",
    "dialing removed ended",
    "dialing left ended",
    "waiting removed ended",
    "waiting left ended",
    "up accepted up",
    "up broken waiting",
    "up removed ended",
    "up left draining",
    "draining broken ended",
    "draining removed ended",
    "draining left draining",
  ],
};

const timers = new Timers();
const context: LinkContext = {
  limits: defaultLimits,
  pages: new PagePool((bytes) => new Uint8Array(bytes)),
  handlers: new RecordingHandlers(),
  scheduled: [],
  acknowledgements: timers.keyed(() => {}),
  drains: timers.keyed(() => {}),
  note: () => {},
  events: { answered: () => {}, failed: () => {}, leaving: () => {}, broken: () => {}, lost: () => {} },
};

function linkIn(role: "owner" | "acceptor", state: LinkState): Link {
  const link = new Link(listed(2), role === "owner", context, 0);
  for (const event of ways[role][state] ?? []) link.step(event);
  expect(link.state).toBe(state);
  return link;
}

describe.each([
  ["owner", ownerTransitions],
  ["acceptor", acceptorTransitions],
] as const)("the table of the %s", (role, table) => {
  const steps = (Object.keys(table) as LinkState[]).flatMap((state) => events.map((event) => [state, event] as const));

  test.each(steps)("in state %s takes %s only where it belongs", (state, event) => {
    const link = linkIn(role, state);
    const next = allowed[role].find((step) => step.startsWith(`${state} ${event} `))?.split(" ")[2];
    if (next === undefined) {
      expect(() => link.step(event)).toThrow(`link with 10.0.0.2:7000: no ${event} in state ${state}`);
      expect(link.state).toBe(state);
    } else {
      link.step(event);
      expect(link.state).toBe(next);
    }
  });

  test("leads to a way for each of its states", () => {
    expect(Object.keys(ways[role]).sort()).toEqual(Object.keys(table).sort());
  });
});

test("a link carries messages while it is up and while it drains", () => {
  const states = ["idle", "dialing", "suspended", "up", "draining", "ended"] as const;
  expect(states.filter((state) => linkIn("owner", state).isCarried)).toEqual(["up", "draining"]);
});

test("a link takes what the application sends from before it is up until one of the two ends leaves", () => {
  const states = ["idle", "dialing", "suspended", "up", "draining", "ended"] as const;
  expect(states.filter((state) => linkIn("owner", state).isOpen)).toEqual(["idle", "dialing", "suspended", "up"]);
  const link = linkIn("acceptor", "up");
  link.connection = {} as NativeConnection;
  link.sayGoodbye("left", 0);
  expect(link.isOpen).toBe(false);
});
