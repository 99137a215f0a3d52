import { appendFileSync } from "node:fs";
import { afterEach, it, vi } from "vitest";
import { run } from "../../src/simulator/run.js";
import { plants } from "./planted.js";

afterEach(() => {
  vi.restoreAllMocks();
});
for (const p of plants)
  it(p.when, () => {
    p.plant();
    const found: { seed: number; ms: number; inv: string; size: number }[] = [];
    const t0 = performance.now();
    let seed = 1;
    for (; seed < 20000 && performance.now() - t0 < 20000 && found.length < 40; seed++) {
      const t = performance.now();
      const o = run(seed, { kind: "native", stopsAtViolation: true });
      if (o.violations.length)
        found.push({
          seed,
          ms: performance.now() - t,
          inv: [...new Set(o.violations.slice(0, 1).map((v) => v.invariant))].join(","),
          size: o.steps,
        });
    }
    found.sort((a, b) => a.size - b.size);
    const by = new Map<string, number>();
    for (const f of found) by.set(f.inv, (by.get(f.inv) ?? 0) + 1);
    appendFileSync(
      "/tmp/planted.txt",
      `${p.when} | ${found.length} of ${seed} | ${JSON.stringify(found.filter((f, i) => found.findIndex((g) => g.inv === f.inv) === i || i < 2))} | ${JSON.stringify([...by])}\n`,
    );
  }, 60000);
