import { expect, test } from "vitest";
import { Keyring } from "../../src/nodejs/keyring.js";
import type { Lookup } from "../../src/nodejs/name-dial.js";
import { Secret } from "../../src/nodejs/secret.js";
import { nodeTransport } from "../../src/nodejs/transport.js";
import type { TransportPort } from "../../src/runtime/ports.js";
import { unacceptingListener } from "../bad-input/unaccepting.js";
import { freePort, rawClient, rawListener } from "../support/sockets.js";
import { dialTo, listenAt, otherSecret, secret } from "./connection-ends.js";

/** A resolver that knows one name. */
function lookupOf(...addresses: readonly string[]): Lookup {
  const found = addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
  return (_host, done) => process.nextTick(done, null, found);
}

function transportOf(text: string | undefined, lookup: Lookup): TransportPort {
  return nodeTransport(5_000, text === undefined ? undefined : new Keyring(new Secret(text), () => true), lookup);
}

/** An address of this machine at which every packet is swallowed. */
async function swallow(host: string, port: number): Promise<void> {
  const { address } = await unacceptingListener(host, port);
  await rawClient(address);
  await rawClient(address);
}

test.each([
  ["in the open", undefined],
  ["with a secret", secret],
])("a name whose first addresses swallow every packet is connected where somebody answers, %s", async (_, text) => {
  const transport = transportOf(text, lookupOf("127.0.0.2", "127.0.0.3", "127.0.0.1"));
  const venue = await listenAt(transport);
  await swallow("127.0.0.2", venue.endpoint.port);
  await swallow("127.0.0.3", venue.endpoint.port);
  const dialer = dialTo(transport, { host: "mesh.test", port: venue.endpoint.port });
  expect((await dialer.first("connected")).remote).toEqual(venue.endpoint);
  const acceptor = await venue.accepted(1);
  dialer.send("hello");
  await acceptor.received(5);
  acceptor.send("welcome");
  await dialer.received(7);
  acceptor.port.halfClose();
  await dialer.first("ended");
  dialer.port.halfClose();
  await dialer.first("closed");
  expect(dialer.eventTypes).toEqual(["connected", "bytes", "ended", "closed"]);
});

test("a name whose first address accepts and stays silent is connected where the secret is proved", async () => {
  const transport = transportOf(secret, lookupOf("127.0.0.2", "127.0.0.1"));
  const venue = await listenAt(transport);
  const tarpit = await rawListener({ host: "127.0.0.2", port: venue.endpoint.port });
  const dialer = dialTo(transport, { host: "mesh.test", port: venue.endpoint.port });
  expect((await dialer.first("connected")).remote).toEqual(venue.endpoint);
  // The other attempt is given up.
  await (await tarpit.accepted(1)).ended;
});

test("the failure of a name is one if all addresses fail alike, and else that of each address", async () => {
  const port = await freePort();
  const refused = dialTo(transportOf(undefined, lookupOf("127.0.0.1", "127.0.0.2")), { host: "mesh.test", port });
  expect(await refused.first("closed")).toEqual({ type: "closed", failure: "ECONNREFUSED" });
  const mixed = dialTo(transportOf(undefined, lookupOf("127.0.0.1", "255.255.255.255")), { host: "mesh.test", port });
  expect((await mixed.first("closed")).failure).toMatch(/^127\.0\.0\.1 ECONNREFUSED, 255\.255\.255\.255 E[A-Z]+$/);
});

test("a name with an address that has another secret reports that, besides the failures of the others", async () => {
  const venue = await listenAt(transportOf(otherSecret, lookupOf()));
  const transport = transportOf(secret, lookupOf("127.0.0.2", "127.0.0.1"));
  const dialer = dialTo(transport, { host: "mesh.test", port: venue.endpoint.port });
  await dialer.first("closed");
  expect(dialer.reasons).toEqual(["SECRET_MISMATCH"]);
  expect(dialer.eventTypes).toEqual(["unproved", "closed"]);
});

test("a name with an address that drops every packet and one that has another secret reports the secret", async () => {
  const venue = await listenAt(transportOf(otherSecret, lookupOf()));
  await swallow("127.0.0.2", venue.endpoint.port);
  const transport = transportOf(secret, lookupOf("127.0.0.2", "127.0.0.1"));
  const dialer = dialTo(transport, { host: "mesh.test", port: venue.endpoint.port });
  await dialer.first("closed");
  expect(dialer.reasons).toEqual(["SECRET_MISMATCH"]);
});

test("a name that is not found, or whose dial is aborted, is closed once", async () => {
  const lookup: Lookup = (_host, done) => process.nextTick(done, Object.assign(new Error(), { code: "ENOTFOUND" }), []);
  const unknown = dialTo(transportOf(undefined, lookup), { host: "mesh.test", port: 4000 });
  expect(await unknown.first("closed")).toEqual({ type: "closed", failure: "ENOTFOUND" });
  const silent: Lookup = () => {};
  const given = dialTo(transportOf(undefined, silent), { host: "mesh.test", port: 4000 });
  given.port.abort();
  expect(given.eventTypes).toEqual([]);
  given.port.abort();
  expect(await given.first("closed")).toEqual({ type: "closed", failure: undefined });
  expect(given.eventTypes).toEqual(["closed"]);
});

test("the address families of a name take turns", async () => {
  const port = await freePort();
  const lookup = lookupOf("127.0.0.1", "255.255.255.255", "127.0.0.2", "::1");
  const transport = transportOf(undefined, lookup);
  const dialer = dialTo(transport, { host: "mesh.test", port });
  const { failure = "" } = await dialer.first("closed");
  // They are named in the order in which they have failed, each at once.
  expect(failure.split(", ").map((each) => each.split(" ")[0])).toEqual([
    "127.0.0.1",
    "::1",
    "255.255.255.255",
    "127.0.0.2",
  ]);
});
