import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { nodeMetrics } from "../../src/node/metrics.js";
import { serverMetrics } from "../../src/server/http/metrics.js";
import { requireTool } from "../support/tools.js";

interface Target {
  readonly refId: string;
  readonly datasource: { readonly type: string; readonly uid: string };
  readonly expr: string;
  readonly legendFormat: string;
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly datasource?: Target["datasource"];
  readonly targets?: readonly Target[];
}

interface Variable {
  readonly name: string;
  readonly type: string;
  readonly datasource?: Target["datasource"];
}

const dashboard = JSON.parse(readFileSync(new URL("../../deploy/grafana.json", import.meta.url), "utf8")) as {
  readonly uid: string;
  readonly title: string;
  readonly schemaVersion: number;
  readonly templating: { readonly list: readonly Variable[] };
  readonly panels: readonly Panel[];
};
const { panels, templating } = dashboard;
const shown = panels.filter(({ type }) => type !== "row");
const queries = shown.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

/** The metrics that a query names; the series of a histogram belong to it. */
function metricsIn(query: string): string[] {
  return (query.match(/\bfullmesh_\w+/g) ?? []).map((name) => name.replace(/_(bucket|sum|count)$/, ""));
}

/** The labels by which a query groups its series, and which it shows. */
function labelsIn({ expr, legendFormat }: Target): string[] {
  const groups = Array.from(expr.matchAll(/\bby \(([^)]*)\)/g), ([, names = ""]) => names.split(/, */)).flat();
  const legends = Array.from(legendFormat.matchAll(/\{\{(\w+)\}\}/g), ([, name = ""]) => name);
  return [...groups, ...legends];
}

describe("deploy/grafana.json", () => {
  it("asks for series that servers and members have, and for all of them", () => {
    const named = new Set(queries.flatMap(metricsIn));
    const known = [...Object.keys(serverMetrics), ...Object.keys(nodeMetrics)];
    expect([...named].filter((name) => !known.includes(name))).toEqual([]);
    expect(known.filter((name) => !named.has(name))).toEqual([]);
  });

  it("groups by labels that there are, closes every bracket, and looks at the rate of counters only", () => {
    const labels = new Set(["mesh", "code", "type", "state", "stat", "le", "version", "instance"]);
    const targets = shown.flatMap(({ targets = [] }) => targets);
    expect(targets.flatMap(labelsIn).filter((label) => !labels.has(label))).toEqual([]);
    for (const query of queries) {
      for (const [open, close] of ["()", "[]", "{}"].map((pair) => pair.split("") as [string, string])) {
        expect([query, query.split(open).length]).toEqual([query, query.split(close).length]);
      }
      for (const [, name = ""] of query.matchAll(/\b(fullmesh_\w+)/g)) {
        const isCounter = /_(total|bucket)$/.test(name);
        expect([query, new RegExp(`rate\\(${name}\\b`).test(query)]).toEqual([query, isCounter]);
      }
    }
  });

  it("has queries that Prometheus understands, by `promtool check rules`", (context) => {
    const promtool = requireTool(context, "promtool");
    const rules = queries.map((query, index) => {
      const expr = query.replaceAll("$mesh", ".*").replaceAll("$__rate_interval", "5m");
      return { record: `query:${index}`, expr };
    });
    const folder = mkdtempSync(join(tmpdir(), "fullmesh-dashboard-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const file = join(folder, "rules.json");
    writeFileSync(file, JSON.stringify({ groups: [{ name: "dashboard", rules }] }));
    const { status, stdout, stderr } = spawnSync(promtool, ["check", "rules", file], { encoding: "utf8" });
    expect([status, stdout + stderr]).toEqual([0, expect.stringContaining(`${queries.length} rules found`)]);
  });

  it("has what Grafana asks for: a schema version, a name, panels with ids of their own that do not overlap", () => {
    expect(dashboard.schemaVersion).toBeGreaterThanOrEqual(36);
    expect([dashboard.uid, dashboard.title]).toEqual(["fullmesh", "fullmesh"]);
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const cells = new Set<string>();
    for (const { title, gridPos } of panels) {
      const { x, y, w, h } = gridPos;
      expect([title, x >= 0 && y >= 0 && w > 0 && h > 0 && x + w <= 24]).toEqual([title, true]);
      for (let column = x; column < x + w; column += 1) {
        for (let row = y; row < y + h; row += 1) {
          expect([title, cells.has(`${column} ${row}`)]).toEqual([title, false]);
          cells.add(`${column} ${row}`);
        }
      }
    }
    for (const { title, targets = [] } of shown) {
      expect([title, new Set(targets.map(({ refId }) => refId)).size]).toEqual([title, targets.length]);
      expect(targets.length).toBeGreaterThan(0);
    }
  });

  it("takes its data source from a variable everywhere, and uses no variable that it does not have", () => {
    expect(templating.list.find(({ name }) => name === "datasource")?.type).toBe("datasource");
    const sources = [...shown, ...shown.flatMap(({ targets = [] }) => targets), ...templating.list.slice(1)];
    const expected = { type: "prometheus", uid: `\${datasource}` };
    for (const { datasource } of sources) expect(datasource).toEqual(expected);
    const own = new Set(["__rate_interval", ...templating.list.map(({ name }) => name)]);
    const used = queries.flatMap((query) => Array.from(query.matchAll(/\$(\w+)/g), ([, name = ""]) => name));
    expect(used.filter((name) => !own.has(name))).toEqual([]);
  });
});
