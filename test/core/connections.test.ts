import { expect, test } from "vitest";
import { isLoopback } from "../../src/core/connections.js";

test.each(["127.0.0.1", "127.255.0.9", "::1"])("%s is loopback", (host) => {
  expect(isLoopback(host)).toBe(true);
});

test.each(["128.0.0.1", "10.127.0.1", "12.7.0.1", "::", "::2", "127::1", "fe80::1"])("%s is not loopback", (host) => {
  expect(isLoopback(host)).toBe(false);
});
