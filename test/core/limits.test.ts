import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { defaultLimits } from "../../src/core/limits.js";
import { type Address, longestNetworkAddress } from "../../src/protocol/address.js";
import { encodeList } from "../../src/protocol/classic/list.js";
import { encodeControl } from "../../src/protocol/native/control.js";
import { longestMeta, longestName } from "../../src/protocol/native/fields.js";

const source = readFileSync(new URL("../../src/core/limits.ts", import.meta.url), "utf8");
const limits = Object.entries(defaultLimits);

/** What a classic list of so many of the longest IPv4 addresses takes. */
function listBytes(members: number): number {
  return encodeList(new Array(members).fill("255.255.255.255:65535")).length;
}

describe("each limit", () => {
  test.each(limits)("%s is above 0, and whole unless it is a time", (name, value) => {
    expect(Number.isSafeInteger(value) || name.endsWith("Ms")).toBe(true);
    expect(value).toBeGreaterThan(0);
  });

  test.each(limits)("%s has a reason beside it", (name) => {
    expect(source).toMatch(new RegExp(`\\*/\\n {2}${name}: `));
  });

  test.each(limits)("%s says its unit, unless it is a count", (name, value) => {
    const counts = [
      "handshakesPending",
      "handshakesPendingPerHost",
      "handshakesCrowded",
      "refusalsPending",
      "parked",
      "dialsInFlight",
      "dialsWidened",
      "dialsSlow",
      "dialBacks",
      "dialBacksSlow",
      "logEntries",
      "snapshotEntries",
      "tombstones",
      "directoryMembers",
      "membersPerMesh",
      "members",
      "namedPairs",
      "meshes",
      "claimsPerMember",
      "claimsPerMesh",
      "claimPlacesPerMesh",
      "claims",
      "eventsUnread",
      "connections",
      "streamsOpen",
      "requestsInFlight",
      "requestsServed",
      "sharedAddressTimes",
      "grantsPerSecond",
      "grantsRelayedPerSecond",
      "grantsWaiting",
      "observers",
      "measuring",
      "statusPairs",
      "statusDepartures",
    ];
    expect(name.endsWith("Ms") || name.endsWith("Bytes") || (counts.includes(name) && value < 20_000)).toBe(true);
  });
});

describe("the limits among themselves", () => {
  const { ...all } = defaultLimits;

  test("a writer with an ambiguous port pauses longer than its reader waits for another digit", () => {
    expect(all.payloadPauseMs).toBeGreaterThan(all.quietMs);
  });

  test("a handshake has time for a quiet period", () => {
    expect(all.handshakeMs).toBeGreaterThan(2 * all.quietMs);
    expect(all.firstByteCrowdedMs).toBeLessThan(all.firstByteMs);
  });

  test("one host cannot take all places, nor make the house crowded alone", () => {
    expect(all.handshakesPendingPerHost * 4).toBeLessThan(all.handshakesPending);
    expect(all.handshakesPending).toBeLessThan(all.connections);
  });

  test("a parked hello outlives several lists and their quiet period", () => {
    expect(all.parkedMs).toBeGreaterThan(4 * (all.messageGapMs + all.quietMs));
  });

  test("a full mesh waits longer for its links than a list needs to settle", () => {
    expect(all.settleMs).toBeGreaterThan(all.quietMs + all.messageGapMs);
  });

  test("pauses and queues grow from their lower bound to their upper one", () => {
    expect(all.redialMinMs).toBeLessThan(all.redialMaxMs);
    expect(all.relinkMs).toBeLessThan(all.redialMaxMs);
    expect(all.queueSoftBytes).toBeLessThan(all.queueHardBytes);
    expect(all.listWarnBytes).toBeLessThan(all.listBytes);
  });

  test("a connection is probed at least twice before it is given up, and a lease outlives that", () => {
    expect(2 * all.probeMs).toBeLessThan(all.silentMs);
    expect(all.silentMs).toBeLessThan(all.leaseMs);
  });

  test("a first frame holds the longest registration, written without escapes", () => {
    const id = "0".repeat(32);
    const name = "n".repeat(longestName);
    const meta = { m: "x".repeat(longestMeta - 8) };
    const address = `[${"1".repeat(longestNetworkAddress - 8)}]:65535` as Address;
    const frame = encodeControl({ type: "register", mesh: name, id, address, name, meta });
    expect(frame.length).toBeLessThan(all.firstFrameBytes);
    expect(all.firstFrameBytes).toBeLessThan(all.controlBytes);
    expect(all.controlBytes).toBeLessThan(all.messageBytes);
  });

  test("a message fits the queue to one peer, and is acknowledged long before that is full", () => {
    expect(all.messageBytes).toBeLessThan((all.queueSoftBytes * 3) / 4);
    expect(all.acknowledgeBytes).toBeLessThan(all.queueSoftBytes);
    expect(all.batchBytes).toBeLessThan(all.messageBytes);
  });

  test("streams leave messages and one another their share", () => {
    expect(all.streamWindowBytes).toBeLessThan(all.streamWindowMaxBytes);
    expect(all.streamGrowthBytes).toBeLessThanOrEqual(all.queueHardBytes);
    expect(all.streamFrameBytes).toBeLessThanOrEqual(all.streamBacklogBytes);
    expect(all.streamFrameBytes).toBeLessThan(all.messageBytes);
    expect(all.streamBacklogBytes).toBeLessThan(all.queueHardBytes / 2);
    expect(all.queueSoftBytes).toBeLessThan(all.queueHardBytes / 2);
  });

  test("a peer may be asked more than it answers at once, so that it is the peer that decides", () => {
    expect(all.requestsServed).toBeLessThan(all.requestsInFlight);
    expect(all.requestsServedBytes).toBeLessThanOrEqual(all.queueHardBytes);
    expect(all.requestsServedBytes).toBeGreaterThan(4 * all.messageBytes);
  });

  test("45 members with the longest IPv4 addresses raise no warning, 46 do, and 2,900 fit a list", () => {
    expect(listBytes(45)).toBeLessThanOrEqual(all.listWarnBytes);
    expect(listBytes(46)).toBeGreaterThan(all.listWarnBytes);
    expect(listBytes(2_900)).toBeLessThanOrEqual(all.listBytes);
  });
});
