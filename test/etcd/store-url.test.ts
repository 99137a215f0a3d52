import { describe, expect, it } from "vitest";
import { storeUrl } from "../../src/etcd/store-url.js";

describe("the URL of a store", () => {
  it("names several endpoints, a user and a prefix", () => {
    expect(storeUrl("etcd+https://me:p%40ss%2Fw%3Ard@a.example:1,10.0.0.2:2,[::1]:3/prod/mesh")).toEqual({
      endpoints: [
        { host: "a.example", port: 1 },
        { host: "10.0.0.2", port: 2 },
        { host: "::1", port: 3 },
      ],
      isSecure: true,
      credentials: { user: "me", password: "p@ss/w:rd" },
      prefix: "/prod/mesh",
    });
  });

  it.each(["etcd://store", "etcd://store/", "etcd://store:2379/fullmesh/"])(
    "has a usual port and prefix: %s",
    (text) => {
      const endpoints = [{ host: "store", port: 2379 }];
      expect(storeUrl(text)).toEqual({ endpoints, isSecure: false, credentials: undefined, prefix: "/fullmesh" });
    },
  );

  it.each([
    ["http://a:1", "it does not begin with etcd://"],
    ["a:2379", "it does not begin with etcd://"],
    ["etcd://", '"" is not <host>:<port>'],
    ["etcd://a:1,", '"" is not <host>:<port>'],
    ["etcd://a:0", '"a:0" has no port from 1 to 65535'],
    ["etcd://a:65536", '"a:65536" has no port from 1 to 65535'],
    ["etcd://a:b", '"a:b" is not <host>:<port>'],
    ["etcd://::1:2379", '"::1:2379" is not <host>:<port>'],
    ["etcd://user@a", "what is before the @ is not <user>:<password>"],
    ["etcd://a/with space", 'the prefix "/with space" has other characters'],
    ["etcd://a//b", 'the prefix "//b" has other characters'],
    ["etcd://a/b?c=d", 'the prefix "/b?c=d" has other characters'],
  ])("is refused, with what is wrong: %s", (text, reason) => {
    expect(() => storeUrl(text)).toThrowError(
      expect.objectContaining({ code: "BAD_OPTION", message: expect.stringContaining(reason) }),
    );
  });

  it.each([
    "etcd://user:top%secret@a",
    "etcd://user:top-secret@a:b",
    "etcd://user:top-secret@",
    "http://user:top-secret@a",
    "etcd://user:top/secret@a",
    "etcd://user:secret/top@a",
    "etcd://user:1234/secret@a:1/prefix",
  ])("is refused without its password: %s", (text) => {
    expect(() => storeUrl(text)).toThrowError(
      expect.not.objectContaining({ message: expect.stringContaining("secret") }),
    );
  });
});
