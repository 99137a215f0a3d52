import { describe, expect, it } from "vitest";
import { Exposition } from "../../src/api/exposition.js";
import { Histogram } from "../../src/core/histogram.js";
import { parseExposition } from "../support/exposition.js";

const families = {
  mesh_links: { type: "gauge", help: "Links." },
  mesh_joins_total: { type: "counter", help: "Joins." },
  mesh_round_trip_seconds: { type: "histogram", help: "Round trips." },
} as const;

describe("figures in the text format", () => {
  it("come in one group a family, whatever the order in which they are added, with every label value as it was", () => {
    const text = new Exposition(families);
    const odd = 'a "b" \\ c\nd, e="f" \u{1f600}';
    text.add("mesh_links", 3, { mesh: "default" });
    text.add("mesh_joins_total", 1e21, { mesh: odd });
    text.add("mesh_links", 0.000_000_1, { mesh: odd });
    const [links, joins] = parseExposition(text.text);
    expect(links).toMatchObject({ name: "mesh_links", type: "gauge", help: "Links." });
    expect(links?.samples.map(({ labels, value }) => [labels.mesh, value])).toEqual([
      ["default", 3],
      [odd, 1e-7],
    ]);
    expect(joins?.samples).toEqual([{ name: "mesh_joins_total", labels: { mesh: odd }, value: 1e21 }]);
  });

  it("count what was measured within each bound and below, in the unit of the name", () => {
    const histogram = new Histogram([1, 10, 100]);
    for (const value of [0.5, 1, 2, 50, 1_000]) histogram.observe(value);
    const text = new Exposition(families);
    text.addHistogram("mesh_round_trip_seconds", histogram, 1_000, { mesh: "default" });
    const [family] = parseExposition(text.text);
    const rows = family?.samples.map(({ name, labels, value }) => [name.split("_").at(-1), labels.le, value]);
    expect(rows).toEqual([
      ["bucket", "0.001", 2],
      ["bucket", "0.01", 3],
      ["bucket", "0.1", 4],
      ["bucket", "+Inf", 5],
      ["sum", undefined, 1.0535],
      ["count", undefined, 5],
    ]);
  });
});

describe("the check of the text format", () => {
  const head = "# HELP a_total A.\n# TYPE a_total counter\n";
  const histogram = "# HELP h_seconds H.\n# TYPE h_seconds histogram\n";
  const bucket = (le: string, count: number): string => `h_seconds_bucket{le="${le}"} ${count}\n`;

  it("takes what is right", () => {
    expect(parseExposition(`${head}a_total{x="1"} 1\na_total{x="2"} 2e+3\n`)[0]?.samples).toHaveLength(2);
    parseExposition(`${histogram}${bucket("0.5", 1)}${bucket("+Inf", 2)}h_seconds_sum 3\nh_seconds_count 2\n`);
  });

  it.each([
    ["a line without its end", `${head}a_total 1`],
    ["a sample without a type", "a_total 1\n"],
    ["a type without its help", "# TYPE a_total counter\na_total 1\n"],
    ["a family without samples", head],
    ["a family in two groups", `${head}a_total 1\n# HELP b B.\n# TYPE b gauge\nb 1\na_total{x="1"} 1\n`],
    ["a family that is described twice", `${head}a_total 1\n${head}a_total{x="1"} 1\n`],
    ["a series that comes twice", `${head}a_total{x="1",y="2"} 1\na_total{y="2",x="1"} 1\n`],
    ["a counter without _total", "# HELP a A.\n# TYPE a counter\na 1\n"],
    ["a gauge with it", "# HELP a_total A.\n# TYPE a_total gauge\na_total 1\n"],
    ["a counter below 0", `${head}a_total -1\n`],
    ["a quote that is not escaped", `${head}a_total{x="a"b"} 1\n`],
    ["an escape that there is not", `${head}a_total{x="a\\tb"} 1\n`],
    ["a label of its own", `${head}a_total{__x="1"} 1\n`],
    ["what is no number", `${head}a_total undefined\n`],
    ["milliseconds", "# HELP a_ms A.\n# TYPE a_ms gauge\na_ms 1\n"],
    ["an unknown type", "# HELP a A.\n# TYPE a number\na 1\n"],
    ["a histogram without +Inf", `${histogram}${bucket("1", 1)}h_seconds_sum 1\nh_seconds_count 1\n`],
    ["buckets that fall", `${histogram}${bucket("1", 2)}${bucket("+Inf", 1)}h_seconds_sum 1\nh_seconds_count 1\n`],
    [
      "bounds that fall",
      `${histogram}${bucket("2", 1)}${bucket("1", 1)}${bucket("+Inf", 1)}h_seconds_sum 1\nh_seconds_count 1\n`,
    ],
    ["another count", `${histogram}${bucket("+Inf", 1)}h_seconds_sum 1\nh_seconds_count 2\n`],
    ["no sum", `${histogram}${bucket("+Inf", 1)}h_seconds_count 1\n`],
  ])("finds %s", (_, text) => {
    expect(() => parseExposition(text)).toThrow();
  });
});
