import { describe, expect, test } from "vitest";
import { httpRefusal, sniff } from "../../src/protocol/sniff.js";
import { ascii } from "../../src/protocol/text.js";

function caller(text: string): string | undefined {
  const [first = 0, second] = ascii(text);
  return sniff(first, second);
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
      (byte) => sniff(byte, undefined) === undefined,
    );
    expect(undecided).toEqual([0x48]);
  });

  test("decides every pair of bytes", () => {
    for (let first = 0; first < 256; first += 1) {
      for (let second = 0; second < 256; second += 1) {
        if (sniff(first, second) === undefined) throw new Error(`undecided: ${first} ${second}`);
      }
    }
  });
});

test("an HTTP request is refused with a complete response that says how long it is", () => {
  const response = new TextDecoder().decode(httpRefusal());
  const [head = "", body = ""] = response.split("\r\n\r\n");
  expect(head).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/);
  expect(head).toContain(`Content-Length: ${new TextEncoder().encode(body).length}`);
  expect(head).toContain("Connection: close");
  expect(body).toContain("does not speak HTTP");
});
