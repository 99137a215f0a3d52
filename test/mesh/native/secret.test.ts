import { describe, expect, test } from "vitest";
import { hello, idOf, joined, listed } from "./names.js";
import type { Node } from "./node.js";
import type { Wire } from "./wire.js";
import { World } from "./world.js";

const { limits } = new World();

function refusal(wire: Wire): string | undefined {
  return wire.from("acceptor").last("acceptor", "refuse")?.code;
}

describe("a member with a secret", () => {
  const asMember = { mesh: "m", role: "member" } as const;
  const asServer = { mesh: "m", role: "rendezvous" } as const;
  const challenge = { type: "challenge", mesh: "m", id: idOf(2), nonce: idOf(7) } as const;

  function keyed(): { world: World; node: Node } {
    const world = new World();
    return {
      world,
      node: world
        .node(2, { isKeyed: true })
        .begin()
        .admit([listed(1), listed(2)]),
    };
  }

  test.each([
    ["a hello from a member", asMember, hello(1), undefined],
    ["a hello from a server", asServer, hello(1), "WRONG_ROLE"],
    ["a check from a server", asServer, { type: "check", mesh: "m", id: idOf(9) }, undefined],
    ["a check for another mesh", asServer, { type: "check", mesh: "other", id: idOf(2) }, "WRONG_MESH"],
    ["a challenge for another mesh", asServer, { ...challenge, mesh: "other" }, "WRONG_MESH"],
    ["a check from a member", asMember, { type: "check", mesh: "m", id: idOf(2) }, "WRONG_ROLE"],
    ["a challenge from a member", asMember, challenge, "WRONG_ROLE"],
    ["a challenge from a server that is not awaited", asServer, challenge, "UNAWAITED_CHALLENGE"],
  ] as const)("judges %s by what was proved", (_, identity, control, code) => {
    const { world, node } = keyed();
    expect(refusal(world.call(node, identity).say("dialer", control))).toBe(code);
  });

  test("reads nothing from a caller in the open", () => {
    const { world, node } = keyed();
    expect(refusal(world.call(node).say("dialer", hello(1)))).toBe("SECRET_REQUIRED");
    expect(node.notes).toEqual(["SECRET_REQUIRED"]);
  });

  test("gives a proof the time of a handshake, from its first byte", () => {
    const { world, node } = keyed();
    const call = world.call(node);
    world.live(60_000);
    node.handle({ type: "proving", connection: call.acceptor.stand?.connection ?? "in:0" });
    world.live(limits.handshakeMs - 1);
    // Nobody of the directory is there, which is noted after a while.
    const others = (): string[] => node.notes.filter((code) => code !== "NO_LINK");
    expect(others()).toEqual([]);
    world.live(1);
    expect(others()).toEqual(["HANDSHAKE_TIMEOUT"]);
  });

  test("says which key a dial is for", () => {
    const { node } = keyed();
    expect(node.identities).toEqual([{ mesh: "m", role: "rendezvous" }]);
    node.entries(joined(listed(3)));
    expect(node.identities).toEqual([
      { mesh: "m", role: "rendezvous" },
      { mesh: "m", role: "member" },
    ]);
  });
});
