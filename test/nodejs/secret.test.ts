import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import type { Role } from "../../src/core/connections.js";
import { FullmeshError } from "../../src/core/errors.js";
import { formatIdentity, makeSecret, parseIdentity, Secret } from "../../src/nodejs/secret.js";
import vectors from "../vectors/secret.json" with { type: "json" };
import { keyOf } from "./client-hello.js";

/** OpenSSL 1.1 takes identities of 128 bytes, later ones of 256. */
const longestIdentity = 128;

describe("a secret", () => {
  test.each(vectors.secrets)("is read: $text", ({ text, bytes }) => {
    expect(Buffer.from(text, "base64url").toString("hex")).toBe(bytes);
    expect(() => new Secret(text)).not.toThrow();
  });

  test.each(vectors.refusedSecrets)("is refused, without showing it, if it is $name", ({ text }) => {
    let refusal: unknown;
    try {
      new Secret(text);
    } catch (error) {
      refusal = error;
    }
    expect(refusal).toBeInstanceOf(FullmeshError);
    expect(refusal).toMatchObject({ code: "BAD_SECRET" });
    const told = inspect(refusal, { depth: 9, showHidden: true }).replaceAll(/\n\s+at .*/g, "");
    if (text.length > 8) expect(told).not.toContain(text.slice(0, 8));
    if (text.length > 8) expect(told).not.toContain(text.slice(-8));
  });

  test("is a new one each time that one is made", () => {
    const made = Array.from({ length: 100 }, makeSecret);
    for (const text of made) {
      expect(text).toMatch(/^[A-Za-z0-9_-]{43}$/);
      expect(() => new Secret(text)).not.toThrow();
    }
    expect(new Set(made).size).toBe(100);
  });

  test("does not appear in a log, JSON or a message", () => {
    const text = makeSecret();
    const hex = Buffer.from(text, "base64url").toString("hex");
    const secret = new Secret(text);
    const shown = [inspect(secret, { depth: 9, showHidden: true }), JSON.stringify({ secret }), String(secret)].join();
    expect(shown).not.toContain(text.slice(0, 8));
    expect(shown.replaceAll(" ", "")).not.toContain(hex.slice(0, 8));
  });
});

describe("a key", () => {
  test.each(vectors.keys)("of $identity is the one in the vectors", (vector) => {
    const { secret, mesh, identity, identityBytes, key } = vector;
    const role = vector.role as Role;
    expect(Buffer.from(new Secret(secret).keyOf({ mesh, role })).toString("hex")).toBe(key);
    expect(formatIdentity({ mesh, role })).toBe(identity);
    expect(Buffer.byteLength(identity)).toBe(identityBytes);
    expect(identityBytes).toBeLessThanOrEqual(longestIdentity);
    expect(Buffer.from(keyOf(secret, identity)).toString("hex")).toBe(key);
  });

  test("differs for each secret, mesh and role", () => {
    expect(new Set(vectors.keys.map(({ key }) => key)).size).toBe(vectors.keys.length);
  });
});

describe("an identity", () => {
  test.each(vectors.identities)("in the text $text is $identity", ({ text, identity }) => {
    expect(parseIdentity(text) ?? null).toEqual(identity);
  });

  test("is formatted as it was parsed", () => {
    for (const { text } of vectors.identities) {
      const identity = parseIdentity(text);
      if (identity !== undefined) expect(formatIdentity(identity)).toBe(text);
    }
  });
});
