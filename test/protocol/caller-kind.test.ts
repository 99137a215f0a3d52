import { describe, expect, test } from "vitest";
import { callerKindOf, httpRefusal } from "../../src/protocol/caller-kind.js";
import { ascii } from "../../src/protocol/text.js";

function caller(text: string): string | undefined {
  const [first = 0, second] = ascii(text);
  return callerKindOf(first, second);
}

describe("sniff", () => {
  test.each([
    ["1", "registration"],
    ["9.9.9.9:1", "registration"],
    ["[::1]:80", "registration"],
    ["Hello from:", "hello"],
    ["\x16\x03", "tls"],
    ["GET / HTTP/1.1", "http"],
    ["POST /", "http"],
    ["PUT /", "http"],
    ["HEAD /", "http"],
    ["localhost:80", "stranger"],
    ["Hi", "stranger"],
    ["hello from:", "stranger"],
    ["SSH-2.0", "stranger"],
    ["\0", "stranger"],
    [" 1.2.3.4:80", "stranger"],
  ])("takes %j for a %s", (text, expected) => {
    expect(caller(text)).toBe(expected);
  });

  test("needs a second byte only after an H", () => {
    const undecided = Array.from({ length: 256 }, (_, byte) => byte).filter(
      (byte) => callerKindOf(byte, undefined) === undefined,
    );
    expect(undecided).toEqual([0x48]);
  });

  test("decides every pair of bytes", () => {
    for (let first = 0; first < 256; first += 1) {
      for (let second = 0; second < 256; second += 1) {
        if (callerKindOf(first, second) === undefined) throw new Error(`undecided: ${first} ${second}`);
      }
    }
  });
});

test("an HTTP request is refused with a complete response that fits every method, HEAD too", () => {
  const response = new TextDecoder().decode(httpRefusal());
  expect(response).toMatch(/^HTTP\/1\.1 400 [^\r]*does not speak http\r\n/i);
  expect(response).toContain("\r\nContent-Length: 0\r\n");
  expect(response).toContain("\r\nConnection: close\r\n");
  expect(response.endsWith("\r\n\r\n")).toBe(true);
});
