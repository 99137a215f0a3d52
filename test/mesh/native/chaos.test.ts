import fc from "fast-check";
import { expect, test } from "vitest";
import { idOf, serverAddress } from "./names.js";
import type { Node } from "./node.js";
import type { Side, Wire } from "./wire.js";
import { World } from "./world.js";

const pick = fc.nat({ max: 1_000 });
const side = fc.constantFrom<Side>("dialer", "acceptor");

/** What may happen to three members and the network between them. */
const step = fc.oneof(
  { weight: 4, arbitrary: fc.record({ type: fc.constant("send" as const), from: pick, to: pick }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant("connect" as const), wire: pick }) },
  { weight: 9, arbitrary: fc.record({ type: fc.constant("deliver" as const), wire: pick, side, count: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("cut" as const), wire: pick, side, isLost: fc.boolean() }) },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant("pass" as const), ms: fc.constantFrom(10, 60, 2_000, 12_000) }),
  },
);

type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

class Run {
  /** A caller whose hello was lost is soon forgotten. */
  readonly world = new World({ firstByteMs: 30_000 });
  readonly nodes = this.world.mesh(3);
  /** What each member has sent to each other one: `1 2` is from the first to the second. */
  readonly sent = new Map<string, string[]>();

  /** Wires between members on which something can still happen. */
  get wires(): Wire[] {
    return this.world.wires.filter(
      (wire) => wire.to !== serverAddress && (wire.isConnected || !wire.dialer.isClosed) && !isDead(wire),
    );
  }

  take(each: Step): void {
    if (each.type === "pass") this.world.pass(each.ms);
    else if (each.type === "send") this.send(at(this.nodes, each.from), at(this.nodes, each.to));
    else {
      const wire = at(this.wires, each.wire);
      if (wire !== undefined) this.move(wire, each);
    }
  }

  move(wire: Wire, each: Extract<Step, { type: "connect" | "deliver" | "cut" }>): void {
    if (each.type === "deliver") wire.from(each.side, each.count);
    else if (!wire.isConnected) {
      if (each.type === "connect") wire.connect();
      else wire.refuse();
    } else if (each.type === "cut") {
      if (each.isLost) wire.lose(each.side);
      wire.cut(each.side);
    }
  }

  /** By which attempt a link is up, as this member has told the server. */
  reported(node: Node, order: number): number | undefined {
    let attempt: number | undefined;
    for (const frame of node.said) {
      if (frame.type !== "links") continue;
      if (frame.down.some(([peer]) => peer === idOf(order))) attempt = undefined;
      attempt = frame.up.find(([peer]) => peer === idOf(order))?.[1] ?? attempt;
    }
    return attempt;
  }

  send(from: Node | undefined, to: Node | undefined): void {
    if (from === undefined || to === undefined || from.link(to) === undefined) return;
    const list = this.sent.get(`${from.number} ${to.number}`) ?? [];
    list.push(`${from.number} ${to.number} ${list.length}`);
    this.sent.set(`${from.number} ${to.number}`, list);
    from.send(to, list.at(-1) ?? "");
  }

  delivered(from: number, to: number): string[] {
    const node = this.nodes[to - 1];
    return node?.messages.filter((text) => text.startsWith(`${from} ${to} `)) ?? [];
  }

  each(check: (sent: readonly string[], delivered: readonly string[]) => void): void {
    for (const [pair, sent] of this.sent) {
      const [from = 0, to = 0] = pair.split(" ").map(Number);
      check(sent, this.delivered(from, to));
    }
  }
}

function at<Item>(items: readonly Item[], index: number): Item | undefined {
  return items[index % Math.max(1, items.length)];
}

function isDead({ dialer, acceptor }: Wire): boolean {
  return dialer.isClosed && acceptor.isClosed;
}

test("whatever the network does, links come up again, and every message is delivered once and in order", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const run = new Run();
      for (const each of steps) {
        run.take(each);
        run.each((sent, delivered) => expect(delivered).toEqual(sent.slice(0, delivered.length)));
      }
      run.world.live(120_000);
      run.each((sent, delivered) => expect(delivered).toEqual(sent));
      const [a, b, c] = run.nodes as [Node, Node, Node];
      for (const [owner, later] of [
        [a, b],
        [a, c],
        [b, c],
      ] as const) {
        expect([owner.isUp(later), later.isUp(owner)]).toEqual([true, true]);
        const attempt = owner.link(later)?.attempt;
        expect(later.link(owner)?.attempt).toBe(attempt);
        expect([run.reported(owner, later.number), run.reported(later, owner.number)]).toEqual([attempt, attempt]);
        expect(owner.unacknowledged(later)).toBe(0);
      }
      for (const node of run.nodes) {
        expect(node.openWires.filter(({ to }) => to !== serverAddress)).toHaveLength(2);
        expect(node.eventsOf("unlink")).toEqual([]);
        expect(node.eventsOf("ended")).toEqual([]);
      }
      for (const node of run.nodes) node.leave();
      run.world.flow();
      for (const node of run.nodes) {
        node.session.from("dialer").halfClose("acceptor");
        node.session.from("acceptor");
        expect(node.openWires).toEqual([]);
        expect(node.events.at(-1)).toEqual({ type: "closed" });
        for (const { unacknowledged } of node.eventsOf("unlink")) expect(unacknowledged).toBe(0);
      }
    }),
    { numRuns: 100 },
  );
});
