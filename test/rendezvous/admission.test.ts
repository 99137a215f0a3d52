import { describe, expect, test } from "vitest";
import { defaultLimits } from "../../src/core/limits.js";
import type { Address } from "../../src/protocol/address.js";
import type { Candidate, Dialect, Id, MemberEntry } from "../../src/protocol/directory.js";
import { longestMeta } from "../../src/protocol/native/fields.js";
import { AddressRegistry } from "../../src/rendezvous/address-registry.js";
import { Admission, type Applicant } from "../../src/rendezvous/admission.js";
import type { MemberRecord } from "../../src/rendezvous/member-record.js";
import { MemberSession } from "../../src/rendezvous/member-session.js";
import { Members } from "../../src/rendezvous/members.js";
import { storedMembersBytes } from "../../src/rendezvous/stored-members.js";
import type { AdmissionRules } from "../../src/rendezvous/types.js";

const host = "10.0.0.1";

interface House {
  readonly admission: Admission;
  readonly members: Members;
  readonly addresses: AddressRegistry;
  /** Brings the address into the directory, as the log does. */
  readonly join: (address: Address, dialect?: Dialect) => MemberRecord;
  /** The append of this registration is under way. */
  readonly begin: (candidate: Candidate, replaces?: MemberRecord) => MemberRecord;
  readonly leave: (address: Address) => void;
  /** A session waits in line with this address. */
  readonly wait: (address: Address) => MemberSession;
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
  const members = new Members("default", 0, defaultLimits.tombstones);
  const { directory } = members;
  const addresses = new AddressRegistry();
  const defaults: AdmissionRules = {
    capacity: 3,
    onFull: "teardown",
    isShared: false,
    mayAdvertise: () => false,
    limits: defaultLimits,
  };
  const admission = new Admission({ ...defaults, ...rules }, members, addresses);
  const apply = (entry: MemberEntry): void => {
    const { removed, entered } = members.apply(entry) ?? {};
    if (removed !== undefined) addresses.free(removed.address, removed.id);
    if (entered !== undefined) addresses.take(entered.address, entered);
  };
  let sessions = 0;
  return {
    admission,
    members,
    addresses,
    join: (address, dialect = "classic") => {
      const revision = directory.revision + 1;
      apply({ type: "joined", ...candidate(address, dialect), order: revision, revision });
      const record = members.get(idOf(address));
      if (record === undefined) throw new Error("it is not listed");
      sessions += 1;
      record.session = newSession(sessions);
      return record;
    },
    begin: (asked, replaces) => {
      const record = members.begin(asked, replaces, false);
      addresses.take(asked.address, record);
      sessions += 1;
      record.session = newSession(sessions);
      return record;
    },
    leave: (address) => {
      apply({ type: "left", id: idOf(address), reason: "closed", revision: directory.revision + 1 });
    },
    wait: (address) => {
      sessions += 1;
      const session = newSession(sessions);
      session.candidate = candidate(address);
      admission.line.add(session, session.candidate);
      return session;
    },
    judge: (address, from = host, more = {}) => {
      const id = `another ${idOf(address)}`;
      const asked = {
        id,
        address,
        dialect: "classic",
        remote: { host: from, port: 50_000 },
        isTrusted: false,
        ...more,
      } as const;
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
  test("refuses whom a store would not take, and only where the log is shared", () => {
    const meta = { text: "x".repeat(longestMeta - 20) };
    const [shared, own] = [true, false].map((isShared) => {
      const house = open({ isShared, capacity: 2_000, limits: { ...defaultLimits, listBytes: 1_000_000 } });
      for (let port = 1; port <= 1_000; port += 1) {
        const address: Address = `${host}:${port}`;
        if (house.judge(address, host, { dialect: "native", meta }) !== "admit") return port - 1;
        house.begin({ id: idOf(address), address, dialect: "native", meta });
      }
      return 1_000;
    });
    expect(own).toBe(1_000);
    // Each of them takes some 1,270 bytes.
    expect(shared).toBeGreaterThan(storedMembersBytes / 1_400);
    expect(shared).toBeLessThan(storedMembersBytes / 1_200);
  });

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
    const { begin, judge, join, leave } = open();
    begin(candidate("10.0.0.1:1"));
    expect(judge("10.0.0.1:1")).toBe("ADDRESS_IN_USE");
    join("10.0.0.1:1");
    expect(judge("10.0.0.1:1")).toBe("ADDRESS_IN_USE");
    leave("10.0.0.1:1");
    expect(judge("10.0.0.1:1")).toBe("admit");
  });

  test("is nobody for the moment while the log has not answered the registration of somebody who has gone", () => {
    const { begin, judge } = open();
    const { id } = Object.assign(begin(candidate("10.0.0.1:1")), { session: undefined });
    expect(judge("10.0.0.1:1")).toBe("STORE_UNAVAILABLE");
    expect(judge("10.0.0.1:2", host, { id })).toBe("STORE_UNAVAILABLE");
  });

  test("is nobody while somebody waits in line with the address", () => {
    const { admission, begin, judge, wait } = open({ capacity: 1, onFull: "hold" });
    begin(candidate("10.0.0.1:1"));
    const session = wait("10.0.0.1:2");
    expect(judge("10.0.0.1:2")).toBe("ADDRESS_IN_USE");
    admission.line.remove(session);
    expect(judge("10.0.0.1:2")).toBe("wait");
  });

  test("is free again when the member has left", () => {
    const { judge, join, leave } = open();
    join("10.0.0.1:1");
    leave("10.0.0.1:1");
    expect(judge("10.0.0.1:1")).toBe("admit");
  });
});

describe("capacity", () => {
  test("counts appends under way as members, so that no slot is given away twice", () => {
    const { admission, begin, members, judge, join } = open({ capacity: 2 });
    join("10.0.0.1:1");
    expect(admission.freeSlots).toBeGreaterThan(0);
    begin(candidate("10.0.0.1:2"));
    expect(members.slots).toBe(2);
    expect(admission.freeSlots).toBe(0);
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
    const { admission, judge, join, leave } = open({ capacity: 1 });
    join("10.0.0.1:1");
    admission.seal();
    leave("10.0.0.1:1");
    expect(admission.freeSlots).toBe(0);
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
    const { admission, judge, wait } = open({ capacity: 1, onFull: "hold" });
    wait("10.0.0.1:1");
    expect(admission.freeSlots).toBeGreaterThan(0);
    expect(judge("10.0.0.1:2")).toBe("wait");
  });

  test("has the first who came first, and closes up when one leaves", () => {
    const { admission, wait } = open({ onFull: "hold" });
    const sessions = [wait("10.0.0.1:1"), wait("10.0.0.1:2"), wait("10.0.0.1:3")] as const;
    expect(admission.line.remove(sessions[1])).toBe(true);
    expect(admission.line.remove(sessions[1])).toBe(false);
    expect([...admission.line]).toEqual([sessions[0], sessions[2]]);
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
    const { begin, judge, join } = open({ limits: { ...defaultLimits, listBytes } });
    join("10.0.0.1:1");
    expect(judge("10.0.0.1:2")).toBe("admit");
    expect(judge("10.0.0.1:22")).toBe("LIST_FULL");
    begin(candidate("10.0.0.1:2"));
    expect(judge("10.0.0.1:3")).toBe("LIST_FULL");
  });
});

describe("the most members", () => {
  const limits = { ...defaultLimits, membersPerMesh: 2, members: 4 };

  test("of a mesh without a capacity are bounded, those with appends under way included, until one goes", () => {
    const { begin, judge, join, leave } = open({ capacity: Number.POSITIVE_INFINITY, limits });
    join("10.0.0.1:1", "native");
    begin(candidate("10.0.0.1:2"));
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
    const { admission, judge, join, wait } = open({ capacity: 1, onFull: "hold" });
    const replaced = join("10.0.0.1:1", "native");
    wait("10.0.0.1:2");
    const verdict = admission.judge({
      ...candidate("10.0.0.1:1", "native"),
      id: "its next id",
      remote: { host, port: 50_000 },
      isTrusted: false,
    });
    expect(verdict).toEqual({ type: "admit", replaces: replaced.id });
    expect(judge("10.0.0.1:1")).toBe("ADDRESS_IN_USE");
  });

  test("takes no slot while it replaces, and one once the replaced member is gone without it", () => {
    const { admission, begin, members, join, leave } = open({ capacity: 2, onFull: "hold" });
    const replaced = join("10.0.0.1:1", "native");
    begin({ ...candidate("10.0.0.1:1", "native"), id: "its next id" }, replaced);
    expect(members.slots).toBe(1);
    leave("10.0.0.1:1");
    expect(members.slots).toBe(1);
    expect(admission.freeSlots).toBeGreaterThan(0);
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
    const asked = { ...candidate("10.0.0.1:2", "native"), remote: { host, port: 50_000 }, isTrusted: false };
    expect(admission.judge(asked)).toEqual({ type: "admit", evicts: absent });
  });

  test("may advertise any host once it has proved the secret", () => {
    const { judge } = open();
    expect(judge("10.9.9.9:1", host, native)).toBe("FOREIGN_HOST");
    expect(judge("10.9.9.9:1", host, { ...native, isTrusted: true })).toBe("admit");
  });

  test("is refused with LOOPBACK_MIX where the first member is of the other kind, while that one lives", () => {
    const { judge, join, leave } = open();
    join("10.0.0.1:1", "native");
    expect(judge("127.0.0.1:1", "127.0.0.1", native)).toBe("LOOPBACK_MIX");
    leave("10.0.0.1:1");
    expect(judge("127.0.0.1:1", "127.0.0.1", native)).toBe("admit");
    const member = join("127.0.0.1:1", "native");
    expect(judge("10.0.0.1:1", host, native)).toBe("LOOPBACK_MIX");
    const { session } = member;
    member.session = undefined;
    expect(judge("10.0.0.1:1", host, native)).toBe("admit");
    member.session = session;
    expect(judge("10.0.0.1:1", host, native)).toBe("LOOPBACK_MIX");
  });

  test("is refused with ID_IN_USE when a member or an append under way has its id", () => {
    const { begin, judge, join } = open();
    const { id } = join("10.0.0.1:1", "native");
    expect(judge("10.0.0.1:2", host, { ...native, id })).toBe("ID_IN_USE");
    begin({ id: "under way", address: "10.0.0.1:3", dialect: "native" });
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
    return admission.judge({
      id: "an id",
      address,
      dialect: "classic",
      remote: { host, port: 50_000 },
      isTrusted: false,
    });
  };
  expect(judge("10.0.0.2:1")).toMatchObject({ message: "10.0.0.2:1 was registered from 10.0.0.1" });
  expect(judge("10.0.0.1:1")).toMatchObject({ message: expect.stringContaining("10.0.0.1:1") });
  expect(judge("10.0.0.1:2")).toMatchObject({ message: expect.stringContaining("capacity of 1") });
});
