import { describe, expect, it } from "vitest";
import { type ClientAct, checkHistory } from "../../proof/mesh-history.js";
import { SeededRandom } from "../../src/core/random.js";

const capacity = 4;

/** What clients have seen of a mesh in which all happens at one moment each; they see the beginning earlier, the end later. */
function trueHistory(seed: number, length: number): ClientAct[] {
  const random = new SeededRandom(seed);
  const acts: ClientAct[] = [];
  const inside: string[] = [];
  let stamp = 0;
  const times = (at: number): { begunAt: number; endedAt: number } => {
    return { begunAt: at - random.next() * 20, endedAt: at + random.next() * 20 };
  };
  for (let at = 0; at < length; at += 1) {
    const id = `m${at}`;
    const first = inside[0];
    if (inside.length > 0 && first !== undefined && random.chance(0.45)) {
      inside.shift();
      const isDead = random.chance(0.3);
      acts.push(isDead ? { act: "die", id: first, begunAt: at - 1 } : { act: "leave", id: first, ...times(at) });
    } else if (inside.length >= capacity) acts.push({ act: "join", id, refused: "MESH_SEALED", ...times(at) });
    else {
      inside.push(id);
      stamp += 1 + Math.floor(random.next() * 3);
      acts.push({ act: "join", id, order: stamp, ...times(at) });
    }
  }
  return acts;
}

describe("the checker of histories", () => {
  it("finds an order for what has happened in one", () => {
    for (let seed = 1; seed <= 40; seed += 1) {
      const verdict = checkHistory(trueHistory(seed, 400), capacity);
      expect(verdict.isLinearizable, `seed ${seed}: ${verdict.stuck.join("; ")}`).toBe(true);
    }
  });

  it.each<readonly [title: string, plant: (acts: ClientAct[]) => ClientAct[]]>([
    [
      "an order that is lower than that of somebody who was in before it began",
      (acts) => [
        ...acts,
        { act: "join", id: "late", order: 0.5, begunAt: 10_000, endedAt: 10_001 },
        ...leaving(acts, 9_000),
      ],
    ],
    [
      "an order that is given twice",
      (acts) => {
        const [first] = acts.flatMap((act) => (act.act === "join" && act.order !== undefined ? [act] : []));
        return [...acts, { ...(first as ClientAct), id: "twin", begunAt: 10_000, endedAt: 10_001 } as ClientAct];
      },
    ],
    [
      "more members than the capacity",
      (acts) => [
        ...acts,
        ...leaving(acts, 9_000),
        ...[1, 2, 3, 4, 5].map(
          (index): ClientAct => ({
            act: "join",
            id: `x${index}`,
            order: 1_000 + index,
            begunAt: 10_000,
            endedAt: 10_001,
          }),
        ),
      ],
    ],
    [
      "somebody refused while a slot is free",
      (acts) => [
        ...acts,
        ...leaving(acts, 9_000),
        { act: "join", id: "refused", refused: "MESH_SEALED", begunAt: 10_000, endedAt: 10_001 },
      ],
    ],
    [
      "a key that two hold",
      (acts) => [
        ...acts,
        ...leaving(acts, 9_000),
        ...["a", "b"].map(
          (id, index): ClientAct => ({ act: "join", id, order: 1_000 + index, begunAt: 9_100, endedAt: 9_200 }),
        ),
        { act: "claim", id: "a", key: "job", token: 1_010, begunAt: 10_000, endedAt: 10_001 },
        { act: "claim", id: "b", key: "job", token: 1_011, begunAt: 10_002, endedAt: 10_003 },
        { act: "release", id: "a", key: "job", token: 1_010, begunAt: 10_010, endedAt: 10_011 },
      ],
    ],
  ])("finds none where there is %s", (_, plant) => {
    for (let seed = 1; seed <= 3; seed += 1) {
      expect(checkHistory(plant(trueHistory(seed, 24)), capacity).isLinearizable, `seed ${seed}`).toBe(false);
    }
  });
});

/** All that are inside leave at this time; who is dead is gone by then. */
function leaving(acts: readonly ClientAct[], at: number): ClientAct[] {
  const gone = new Set(acts.flatMap((act) => (act.act === "leave" ? [act.id] : [])));
  const inside = acts.filter((act) => act.act === "join" && act.order !== undefined && !gone.has(act.id));
  return inside.flatMap(({ id }): ClientAct[] =>
    acts.some((act) => act.act === "die" && act.id === id) ? [] : [{ act: "leave", id, begunAt: at, endedAt: at + 1 }],
  );
}
