import { describe, expect, test } from "vitest";
import { defaultLimits } from "../../src/core/limits.js";
import type { Address } from "../../src/protocol/address.js";
import { type Candidate, type Dialect, Directory, type Id, type MemberEntry } from "../../src/protocol/directory.js";
import { AddressRegistry } from "../../src/rendezvous/address-registry.js";
import { Admission, type Applicant } from "../../src/rendezvous/admission.js";
import { MemberSession } from "../../src/rendezvous/member-session.js";
import type { AdmissionRules } from "../../src/rendezvous/types.js";

const host = "10.0.0.1";

interface House {
  readonly admission: Admission;
  readonly directory: Directory;
  readonly addresses: AddressRegistry;
  /** Brings the address into the directory, as the log does. */
  readonly join: (address: Address, dialect?: Dialect) => Id;
  readonly leave: (address: Address) => void;
  readonly judge: (address: Address, from?: string, more?: Partial<Applicant>) => string;
}

/** An id that goes with an address. */
function idOf(address: Address): Id {
  return `id of ${address}`;
}

function candidate(address: Address, dialect: Dialect = "classic"): Candidate {
  return { id: idOf(address), address, dialect };
}

function open(rules: Partial<AdmissionRules> = {}): House {
  const directory = new Directory();
  const addresses = new AddressRegistry();
  const defaults: AdmissionRules = {
    capacity: 3,
    onFull: "teardown",
    mayAdvertise: () => false,
    limits: defaultLimits,
  };
  const admission = new Admission("default", { ...defaults, ...rules }, directory, addresses);
  const apply = (entry: MemberEntry): void => {
    const removed = entry.type === "joined" ? undefined : directory.member(entry.id);
    directory.apply(entry);
    admission.applied(entry, removed);
  };
  return {
    admission,
    directory,
    addresses,
    join: (address, dialect = "classic") => {
      const revision = directory.revision + 1;
      apply({ type: "joined", ...candidate(address, dialect), order: revision, revision });
      return idOf(address);
    },
    leave: (address) => {
      apply({ type: "left", id: idOf(address), reason: "closed", revision: directory.revision + 1 });
    },
    judge: (address, from = host, more = {}) => {
      const id = `another ${idOf(address)}`;
      const asked = { id, address, dialect: "classic", observedHost: from, isTrusted: false, ...more } as const;
      const verdict = admission.judge(asked);
      return verdict.type === "refuse" ? verdict.code : verdict.type;
    },
  };
}

function newSession(number: number): MemberSession {
  const remote = { host, port: 50_000 + number };
  return new MemberSession(`in:${number}`, remote, defaultLimits, { push: () => {} });
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
    const { admission, judge, join, leave } = open();
    admission.appending(candidate("10.0.0.1:1"));
    expect(judge("10.0.0.1:1")).toBe("ADDRESS_IN_USE");
    join("10.0.0.1:1");
    expect(judge("10.0.0.1:1")).toBe("ADDRESS_IN_USE");
    leave("10.0.0.1:1");
    expect(judge("10.0.0.1:1")).toBe("admit");
  });

  test("is nobody while somebody waits in line with the address", () => {
    const { admission, judge } = open({ capacity: 1, onFull: "hold" });
    admission.appending(candidate("10.0.0.1:1"));
    const session = newSession(1);
    admission.wait(session, candidate("10.0.0.1:2"));
    expect(judge("10.0.0.1:2")).toBe("ADDRESS_IN_USE");
    admission.leaveLine(session);
    expect(judge("10.0.0.1:2")).toBe("wait");
  });

  test("is free again when the member has left", () => {
    const { leave, judge, join } = open();
    join("10.0.0.1:1");
    leave("10.0.0.1:1");
    expect(judge("10.0.0.1:1")).toBe("admit");
  });
});

describe("capacity", () => {
  test("counts appends under way as members, so that no slot is given away twice", () => {
    const { admission, judge, join } = open({ capacity: 2 });
    join("10.0.0.1:1");
    expect(admission.hasFreeSlot).toBe(true);
    admission.appending(candidate("10.0.0.1:2"));
    expect(admission.used).toBe(2);
    expect(admission.hasFreeSlot).toBe(false);
    expect(judge("10.0.0.1:3")).toBe("MESH_SEALED");
  });

  test("may be one", () => {
    const { judge, join } = open({ capacity: 1 });
    expect(judge("10.0.0.1:1")).toBe("admit");
    join("10.0.0.1:1");
    expect(judge("10.0.0.1:2")).toBe("MESH_SEALED");
  });

  test("without a bound is never reached", () => {
    const { judge, join } = open({ capacity: Number.POSITIVE_INFINITY });
    for (let port = 1; port <= 100; port += 1) join(`10.0.0.1:${port}`);
    expect(judge("10.0.0.1:101")).toBe("admit");
  });

  test("takes another one when a member has gone, also in a mesh that ends at it", () => {
    const { judge, join, leave } = open({ capacity: 2 });
    join("10.0.0.1:1");
    join("10.0.0.1:2");
    expect(judge("10.0.0.1:3")).toBe("MESH_SEALED");
    leave("10.0.0.1:1");
    expect(judge("10.0.0.1:3")).toBe("admit");
  });
});

describe("a mesh that has ended", () => {
  test("takes nobody in any more, not even when a member leaves", () => {
    const { admission, leave, judge, join } = open({ capacity: 1 });
    join("10.0.0.1:1");
    admission.seal();
    leave("10.0.0.1:1");
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
    admission.wait(newSession(1), candidate("10.0.0.1:1"));
    expect(admission.hasFreeSlot).toBe(true);
    expect(judge("10.0.0.1:2")).toBe("wait");
  });

  test("has the first who came first, and closes up when one leaves", () => {
    const { admission } = open({ onFull: "hold" });
    const sessions = [newSession(1), newSession(2), newSession(3)] as const;
    for (const [index, session] of sessions.entries()) admission.wait(session, candidate(`10.0.0.1:${index + 1}`));
    expect(admission.leaveLine(sessions[1])).toBe(true);
    expect(admission.leaveLine(sessions[1])).toBe(false);
    expect([...admission.line]).toEqual([
      [sessions[0], candidate("10.0.0.1:1")],
      [sessions[2], candidate("10.0.0.1:3")],
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
    const { admission, judge, join } = open({ limits: { ...defaultLimits, listBytes } });
    join("10.0.0.1:1");
    expect(judge("10.0.0.1:2")).toBe("admit");
    expect(judge("10.0.0.1:22")).toBe("LIST_FULL");
    admission.appending(candidate("10.0.0.1:2"));
    expect(judge("10.0.0.1:3")).toBe("LIST_FULL");
  });
});

describe("the most members", () => {
  const limits = { ...defaultLimits, membersPerMesh: 2, members: 4 };

  test("of a mesh without a capacity are bounded, those with appends under way included, until one goes", () => {
    const { admission, judge, join, leave } = open({ capacity: Number.POSITIVE_INFINITY, limits });
    join("10.0.0.1:1", "native");
    admission.appending(candidate("10.0.0.1:2"));
    expect(judge("10.0.0.1:3")).toBe("TOO_MANY_MEMBERS");
    expect(judge("10.0.0.1:1", host, { dialect: "native" })).toBe("admit");
    leave("10.0.0.1:1");
    expect(judge("10.0.0.1:3")).toBe("admit");
  });

  test("of a mesh with a capacity are so many as that says", () => {
    const { judge, join } = open({ capacity: 3, onFull: "hold", limits });
    for (const port of [1, 2]) join(`10.0.0.1:${port}`);
    expect(judge("10.0.0.1:3")).toBe("admit");
    join("10.0.0.1:3");
    expect(judge("10.0.0.1:4")).toBe("wait");
  });

  test("of a server are bounded, all meshes and lines together, but not below a capacity", () => {
    const { addresses, judge } = open({ capacity: 3, limits });
    const take = (port: number): void =>
      addresses.take(`10.0.0.2:${port}`, { mesh: "cache", id: `${port}`, dialect: "native", standing: "absent" });
    for (const port of [1, 2, 3]) take(port);
    expect(judge("10.0.0.1:1")).toBe("admit");
    take(4);
    expect(judge("10.0.0.1:1")).toBe("TOO_MANY_MEMBERS");
    // The address of one who is gone is not one more.
    expect(judge("10.0.0.2:4", "10.0.0.2", { dialect: "native" })).toBe("admit");
    const larger = open({ capacity: 5, limits });
    for (const port of [1, 2, 3, 4]) larger.join(`10.0.0.1:${port}`);
    expect(larger.judge("10.0.0.1:5")).toBe("admit");
  });
});

describe("a native applicant", () => {
  const native = { dialect: "native" } as const;

  test("takes the place of a native member at its address, in a full mesh too and past the line", () => {
    const { admission, judge, join } = open({ capacity: 1, onFull: "hold" });
    const id = join("10.0.0.1:1", "native");
    admission.wait(newSession(1), candidate("10.0.0.1:2"));
    const verdict = admission.judge({
      ...candidate("10.0.0.1:1", "native"),
      id: "its next id",
      observedHost: host,
      isTrusted: false,
    });
    expect(verdict).toEqual({ type: "admit", replaces: id });
    expect(judge("10.0.0.1:1")).toBe("ADDRESS_IN_USE");
  });

  test("takes no slot while it replaces, and one once the replaced member is gone without it", () => {
    const { admission, join, leave } = open({ capacity: 2, onFull: "hold" });
    const id = join("10.0.0.1:1", "native");
    admission.appending({ ...candidate("10.0.0.1:1", "native"), id: "its next id" }, id);
    expect(admission.used).toBe(1);
    leave("10.0.0.1:1");
    expect(admission.used).toBe(1);
    expect(admission.hasFreeSlot).toBe(true);
  });

  test("never takes the place of a classic member, nor of one in another mesh", () => {
    const { addresses, judge, join } = open();
    join("10.0.0.1:1", "classic");
    expect(judge("10.0.0.1:1", host, native)).toBe("ADDRESS_IN_USE");
    addresses.take("10.0.0.1:2", { mesh: "cache", id: "an id", dialect: "native", standing: "member" });
    expect(judge("10.0.0.1:2", host, native)).toBe("ADDRESS_IN_USE");
  });

  test("takes the address of a native member of another mesh that has no session, and a classic one does not", () => {
    const { admission, addresses, judge } = open();
    const absent = { mesh: "cache", id: "an id", dialect: "native", standing: "absent" } as const;
    addresses.take("10.0.0.1:2", absent);
    expect(judge("10.0.0.1:2", host)).toBe("ADDRESS_IN_USE");
    const asked = { ...candidate("10.0.0.1:2", "native"), observedHost: host, isTrusted: false };
    expect(admission.judge(asked)).toEqual({ type: "admit", evicts: absent });
  });

  test("may advertise any host once it has proved the secret", () => {
    const { judge } = open();
    expect(judge("10.9.9.9:1", host, native)).toBe("FOREIGN_HOST");
    expect(judge("10.9.9.9:1", host, { ...native, isTrusted: true })).toBe("admit");
  });

  test("is refused with LOOPBACK_MIX where the first member is of the other kind, while that one lives", () => {
    const { admission, directory, judge, join, leave } = open();
    join("10.0.0.1:1", "native");
    expect(judge("127.0.0.1:1", "127.0.0.1", native)).toBe("LOOPBACK_MIX");
    leave("10.0.0.1:1");
    expect(judge("127.0.0.1:1", "127.0.0.1", native)).toBe("admit");
    join("127.0.0.1:1", "native");
    expect(judge("10.0.0.1:1", host, native)).toBe("LOOPBACK_MIX");
    const [member] = directory.members;
    if (member !== undefined) admission.setAbsent(member, true);
    expect(judge("10.0.0.1:1", host, native)).toBe("admit");
    if (member !== undefined) admission.setAbsent(member, false);
    expect(judge("10.0.0.1:1", host, native)).toBe("LOOPBACK_MIX");
  });

  test("is refused with ID_IN_USE when a member or an append under way has its id", () => {
    const { admission, judge, join } = open();
    const id = join("10.0.0.1:1", "native");
    expect(judge("10.0.0.1:2", host, { ...native, id })).toBe("ID_IN_USE");
    admission.appending({ id: "under way", address: "10.0.0.1:3", dialect: "native" });
    expect(judge("10.0.0.1:4", host, { ...native, id: "under way" })).toBe("ID_IN_USE");
  });

  test("is not bound by the length of a list that nobody reads", () => {
    const listBytes = "list:\n10.0.0.1:1".length;
    const { judge, join } = open({ limits: { ...defaultLimits, listBytes } });
    join("10.0.0.1:1", "native");
    expect(judge("10.0.0.1:2", host, native)).toBe("admit");
    expect(judge("10.0.0.1:2", host)).toBe("LIST_FULL");
  });
});

test("each refusal names what it is about", () => {
  const { admission, join } = open({ capacity: 1 });
  join("10.0.0.1:1");
  const judge = (address: Address) => {
    return admission.judge({ id: "an id", address, dialect: "classic", observedHost: host, isTrusted: false });
  };
  expect(judge("10.0.0.2:1")).toMatchObject({ message: "10.0.0.2:1 was registered from 10.0.0.1" });
  expect(judge("10.0.0.1:1")).toMatchObject({ message: expect.stringContaining("10.0.0.1:1") });
  expect(judge("10.0.0.1:2")).toMatchObject({ message: expect.stringContaining("capacity of 1") });
});
