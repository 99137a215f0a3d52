import { expect, test } from "vitest";
import { isLoopback, networkOf } from "../../src/core/connections.js";

test.each(["127.0.0.1", "127.255.0.9", "::1"])("%s is loopback", (host) => {
  expect(isLoopback(host)).toBe(true);
});

test.each(["128.0.0.1", "10.127.0.1", "12.7.0.1", "::", "::2", "127::1", "fe80::1"])("%s is not loopback", (host) => {
  expect(isLoopback(host)).toBe(false);
});

test.each([
  ["10.0.0.1", "10.0.0.1"],
  ["2001:db8::1", "2001:db8:0:0::/64"],
  ["2001:db8::2:0:0:1", "2001:db8:0:0::/64"],
  ["2001:db8:0:1::1", "2001:db8:0:1::/64"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["fe80::1:2:3:4", "fe80:0:0:0::/64"],
  ["1:2:3:4:5:6:7::", "1:2:3:4::/64"],
  ["::2", "0:0:0:0::/64"],
  ["::1", "::1"],
])("%s is counted as %s", (host, network) => {
  expect(networkOf({ host, port: 1 })).toBe(network);
});
