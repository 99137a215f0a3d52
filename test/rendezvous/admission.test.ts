import { describe, expect, test } from "vitest";
import type { Address } from "../../src/protocol/address.js";
import { Admission, type AdmissionRules } from "../../src/rendezvous/admission.js";
import { Directory } from "../../src/rendezvous/log.js";
import { Outbox } from "../../src/rendezvous/outbox.js";
import { Session } from "../../src/rendezvous/session.js";

const host = "10.0.0.1";

interface House {
  readonly admission: Admission;
  readonly directory: Directory;
  /** Brings the address into the directory, as the log does. */
  readonly join: (address: Address) => void;
  readonly judge: (address: Address, from?: string) => string;
}

function open(rules: Partial<AdmissionRules> = {}): House {
  const directory = new Directory();
  const defaults: AdmissionRules = {
    capacity: 3,
    onFull: "teardown",
    mayAdvertise: () => false,
    listBytes: 65_536,
  };
  const admission = new Admission({ ...defaults, ...rules }, directory);
  return {
    admission,
    directory,
    join: (address) => {
      directory.apply({ type: "joined", address, dialect: "classic", revision: directory.revision + 1 });
    },
    judge: (address, from = host) => {
      const verdict = admission.judge(address, from);
      return verdict.type === "refuse" ? verdict.code : verdict.type;
    },
  };
}

function newSession(number: number): Session {
  const remote = { host, port: 50_000 + number };
  return new Session(`in:${number}`, remote, new Outbox(`in:${number}`, { push: () => {} }, 50));
}

describe("who may claim which address", () => {
  test("is told by the host of the connection", () => {
    const { judge } = open();
    expect(judge("10.0.0.1:1")).toBe("admit");
    expect(judge("10.0.0.2:1")).toBe("FOREIGN_HOST");
    expect(judge("[::1]:1" as Address, "::1")).toBe("admit");
  });

  test("may be widened for hosts that may be advertised from elsewhere", () => {
    const { judge } = open({ mayAdvertise: (advertised) => advertised.startsWith("192.168.") });
    expect(judge("192.168.0.9:1")).toBe("admit");
    expect(judge("192.169.0.9:1")).toBe("FOREIGN_HOST");
  });

  test("is nobody while a member has the address", () => {
    const { judge, join } = open();
    join("10.0.0.1:1");
    expect(judge("10.0.0.1:1")).toBe("ADDRESS_IN_USE");
    expect(judge("10.0.0.1:2")).toBe("admit");
  });

  test("is nobody while an append of the address is under way", () => {
    const { admission, judge } = open();
    admission.appending("10.0.0.1:1");
    expect(judge("10.0.0.1:1")).toBe("ADDRESS_IN_USE");
    admission.appended("10.0.0.1:1");
    expect(judge("10.0.0.1:1")).toBe("admit");
  });

  test("is nobody while somebody waits in line with the address", () => {
    const { admission, judge } = open({ capacity: 1, onFull: "hold" });
    admission.appending("10.0.0.1:1");
    const session = newSession(1);
    admission.wait(session, "10.0.0.1:2");
    expect(judge("10.0.0.1:2")).toBe("ADDRESS_IN_USE");
    admission.leaveLine(session);
    expect(judge("10.0.0.1:2")).toBe("wait");
  });

  test("is free again when the member has left", () => {
    const { directory, judge, join } = open();
    join("10.0.0.1:1");
    directory.apply({ type: "left", order: 1, reason: "closed", revision: 2 });
    expect(judge("10.0.0.1:1")).toBe("admit");
  });
});

describe("capacity", () => {
  test("counts appends under way as members, so that no slot is given away twice", () => {
    const { admission, judge, join } = open({ capacity: 2 });
    join("10.0.0.1:1");
    expect(admission.hasFreeSlot).toBe(true);
    admission.appending("10.0.0.1:2");
    expect(admission.used).toBe(2);
    expect(admission.hasFreeSlot).toBe(false);
    expect(judge("10.0.0.1:3")).toBe("MESH_SEALED");
  });

  test("is reached by members, not by appends that may still be undone", () => {
    const { admission, join } = open({ capacity: 2 });
    join("10.0.0.1:1");
    admission.appending("10.0.0.1:2");
    expect(admission.hasReachedCapacity).toBe(false);
    join("10.0.0.1:2");
    admission.appended("10.0.0.1:2");
    expect(admission.used).toBe(2);
    expect(admission.hasReachedCapacity).toBe(true);
  });

  test("may be one", () => {
    const { admission, judge, join } = open({ capacity: 1 });
    expect(judge("10.0.0.1:1")).toBe("admit");
    join("10.0.0.1:1");
    expect(admission.hasReachedCapacity).toBe(true);
  });

  test("without a bound is never reached", () => {
    const { admission, judge, join } = open({ capacity: Number.POSITIVE_INFINITY });
    for (let port = 1; port <= 100; port += 1) join(`10.0.0.1:${port}`);
    expect(admission.hasReachedCapacity).toBe(false);
    expect(judge("10.0.0.1:101")).toBe("admit");
  });

  test("never ends a mesh that holds", () => {
    const { admission, join } = open({ capacity: 1, onFull: "hold" });
    join("10.0.0.1:1");
    expect(admission.hasReachedCapacity).toBe(false);
  });
});

describe("a sealed mesh", () => {
  test("takes nobody in any more, not even when a member leaves", () => {
    const { admission, directory, judge, join } = open({ capacity: 1 });
    join("10.0.0.1:1");
    admission.seal();
    directory.apply({ type: "left", order: 1, reason: "closed", revision: 2 });
    expect(admission.hasFreeSlot).toBe(false);
    expect(admission.hasFreeSlot).toBe(false);
    expect(judge("10.0.0.1:2")).toBe("MESH_SEALED");
  });

  test("lets nobody wait", () => {
    const { admission, judge } = open({ onFull: "hold" });
    admission.seal();
    expect(judge("10.0.0.1:1")).toBe("MESH_SEALED");
  });
});

describe("the line", () => {
  test("is for newcomers to a full mesh that holds", () => {
    const { judge, join } = open({ capacity: 1, onFull: "hold" });
    join("10.0.0.1:1");
    expect(judge("10.0.0.1:2")).toBe("wait");
  });

  test("is not jumped: while somebody waits, a newcomer waits too, even if a slot is free", () => {
    const { admission, judge } = open({ capacity: 1, onFull: "hold" });
    admission.wait(newSession(1), "10.0.0.1:1");
    expect(admission.hasFreeSlot).toBe(true);
    expect(judge("10.0.0.1:2")).toBe("wait");
  });

  test("has the first who came first, and closes up when one leaves", () => {
    const { admission } = open({ onFull: "hold" });
    const sessions = [newSession(1), newSession(2), newSession(3)] as const;
    for (const [index, session] of sessions.entries()) admission.wait(session, `10.0.0.1:${index + 1}`);
    expect(admission.leaveLine(sessions[1])).toBe(true);
    expect(admission.leaveLine(sessions[1])).toBe(false);
    expect([...admission.line]).toEqual([
      [sessions[0], "10.0.0.1:1"],
      [sessions[2], "10.0.0.1:3"],
    ]);
  });

  test("does not take those whose address nobody would admit", () => {
    const { judge, join } = open({ capacity: 1, onFull: "hold" });
    join("10.0.0.1:1");
    expect(judge("10.0.0.1:1")).toBe("ADDRESS_IN_USE");
    expect(judge("10.0.0.9:1")).toBe("FOREIGN_HOST");
  });
});

describe("the list's length", () => {
  const listBytes = "list:\n10.0.0.1:1\n10.0.0.1:2".length;

  test("bounds the members, those with appends under way included", () => {
    const { admission, judge, join } = open({ listBytes });
    join("10.0.0.1:1");
    expect(judge("10.0.0.1:2")).toBe("admit");
    expect(judge("10.0.0.1:22")).toBe("LIST_FULL");
    admission.appending("10.0.0.1:2");
    expect(judge("10.0.0.1:3")).toBe("LIST_FULL");
  });
});

test("each refusal names what it is about", () => {
  const { admission, join } = open({ capacity: 1 });
  join("10.0.0.1:1");
  expect(admission.judge("10.0.0.2:1", host)).toMatchObject({ message: "10.0.0.2:1 was registered from 10.0.0.1" });
  expect(admission.judge("10.0.0.1:1", host)).toMatchObject({ message: expect.stringContaining("10.0.0.1:1") });
  expect(admission.judge("10.0.0.1:2", host)).toMatchObject({ message: expect.stringContaining("capacity of 1") });
});
