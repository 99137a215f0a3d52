import { describe, expect, it } from "vitest";
import { requirePreSharedKeys } from "../../src/nodejs/keyring.js";

describe("a secret", () => {
  it.each([
    ["bun 1.4.5", { bun: "1.4.5" }, {}],
    ["deno 2.9.6", { deno: "2.9.6" }, {}],
    ["this runtime", {}, { openssl_is_boringssl: true }],
  ])("is refused at once on %s, which has no pre-shared keys in TLS", (name, versions, features) => {
    const message = `${name} has no pre-shared keys in TLS, so it cannot use a secret`;
    expect(() => requirePreSharedKeys({ versions, features })).toThrow(
      expect.objectContaining({ code: "SECRET_UNSUPPORTED", message }),
    );
  });

  it("can be used on Node.js", () => {
    expect(() => requirePreSharedKeys(process)).not.toThrow();
  });
});
