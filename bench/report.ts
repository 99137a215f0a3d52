import type { MachineInfo } from "./machine.js";
import { draw } from "./plot.js";
import { othersShareMost } from "./rounds.js";
import { type BudgetVerdict, type Figure, figuresOf, ours, type Spread } from "./statistics.js";
import type { Metric, Played } from "./types.js";

/** What the bare programs do, so that a reader can judge what it means to be compared with them. */
const baselines = [
  "`raw-batched` is as fast as we can make a program of `node:net` that keeps messages apart, and does nothing else: no",
  "topics, no values, no acknowledgements, no credit, no life after a connection.",
  "",
  "- Sending: two buffers of 64 KiB and 4 bytes, made once and used again. A message is copied into the one that fills, with",
  "  4 bytes of length in front; nothing is allocated for it. One `write` a turn of the loop (`process.nextTick`) takes all",
  "  that the buffer holds; the other one fills meanwhile, and is not written before the first has left the process.",
  "- Receiving: one `subarray` and one callback a message. Only a message that straddles two reads is copied.",
  "- Broadcast: one buffer for all receivers. A message is copied once, however many there are, and each socket is given the",
  "  same bytes in one `write` a turn. The next buffer waits until all sockets have taken the last one.",
  "- Requests: the same at both ends, with 4 bytes of number in the message, by which a `Map` finds who waits.",
  "",
  "`raw-whole`, the baseline for 64 KiB, copies nothing: it corks the socket for a turn, and hands it each message and its",
  "length. `raw-naive` writes each message by itself, in a buffer of its own. `raw-pipe` pipes into a socket of its own, and",
  "requests beside it have another. `raw-barrier` is a coordinator that hands everybody the list of all when all are there.",
  "`raw-sockets` is one connection a pair, on which the dialer says who it is, and has an answer.",
];

/** Everything that one run of the benchmark has found. */
export interface Results {
  readonly machine: MachineInfo;
  readonly date: string;
  readonly played: readonly Played[];
  /** What a reader has to know: columns that are missing, and why. */
  readonly notes: readonly string[];
}

/** The report, as Markdown. */
export function reportOf({ machine, date, played, notes }: Results): string {
  const figures = played.flatMap(figuresOf);
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  return [
    "# Results",
    "",
    "`npm run bench -- --write --peers` has measured this, and measures it again; `npm run bench -- --help` says more.",
    "Everything ran on the **loopback** interface of one machine, where a network costs nothing: the ratios say what",
    "fullmesh adds to bare sockets, and nothing about a network.",
    "",
    `- machine: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.system}`,
    `- versions: ${versions.join(", ")}`,
    `- date: ${date}`,
    "",
    "In each round every program runs once, one after the other, each in fresh processes. Figures are the median of all",
    "rounds, in brackets the least and the greatest. Ratios and differences are taken within a round, against the program",
    "named. What is measured is the steady state: messages and requests go to and fro for 1.5 s before they count, over a",
    "path with a delay for 1 s; half as many bytes go on a bulk stream before those that count.",
    "",
    ...notes.map((note) => `- ${note}`),
    ...disturbances(played).map((note) => `- ${note}`),
    "",
    "## Budgets",
    "",
    "What whoever builds on fullmesh pays at most. The medians are judged.",
    "",
    "| figure | what | wanted | measured | |",
    "|---|---|---|---|---|",
    ...figures.flatMap(budgetRows),
    ...(wireUpPlot(played) === undefined ? [] : ["", "![Time of a wire-up against members](wire-up-time.svg)"]),
    "",
    "## How strong the baselines are",
    "",
    ...baselines,
    ...played.flatMap(sectionOf),
    "",
  ].join("\n");
}

/** One line for a person who watches. */
export function sentenceOf({ name, metric, scores, verdicts }: Figure): string {
  const cells = scores.map(({ contestant, values, ratios }) => {
    const ratio = ratios === undefined || contestant === metric.baseline ? "" : ` (x ${amount(ratios.median)})`;
    return `${contestant} ${amount(values.median)}${ratio}`;
  });
  const judged = verdicts.flatMap((verdict) => {
    const { of, measured, isMet } = verdict;
    if (measured === undefined) return [];
    const shown = of === "difference" ? ` more than ${metric.baseline}, is ${amount(measured.median)}` : "";
    return [` - wanted ${limitText(verdict, metric)}${shown}: ${isMet ? "met" : "not met"}`];
  });
  return `${name}, ${metric.unit}: ${cells.join(", ")}${judged.join("")}`;
}

/** What is wrong with the rounds that were kept. */
export function disturbances(played: readonly Played[]): string[] {
  return played.flatMap(({ benchmark, rounds, failures, repeated }) => {
    const loud = rounds.flatMap(({ othersShare = 0 }) => (othersShare > othersShareMost ? [othersShare] : []));
    const most = Math.round(Math.max(0, ...loud) * 100);
    const kept = `**${benchmark.name}**: in ${loud.length} of ${rounds.length} rounds other processes took up to ${most} % of the CPU`;
    return [
      ...(loud.length === 0 ? [] : [`${kept}, after ${repeated} rounds were repeated for that reason`]),
      ...failures.map((failure) => `**${benchmark.name}**: a run failed, ${failure.replace(/\s+/g, " ")}`),
    ];
  });
}

/** The time of a wire-up against its size, as SVG; undefined if it was not measured at two sizes at least. */
export function wireUpPlot(played: readonly Played[]): string | undefined {
  const figures = played.flatMap(figuresOf).flatMap((figure) => {
    const [, size] = /^wire-up-(\d+)\.launched$/.exec(figure.name) ?? [];
    return size === undefined ? [] : [{ size: Number(size), scores: figure.scores }];
  });
  if (figures.length < 2) return undefined;
  const colours = { [ours]: "#1a6fb5", "raw-barrier": "#c2541b" };
  return draw({
    title: "From the launch of N processes until all are linked",
    label: "Time from launch to complete, against members",
    xAxis: "member processes (one machine, loopback)",
    unit: (ms) => `${Number((ms / 1000).toPrecision(3))} s`,
    series: Object.entries(colours).map(([name, colour]) => ({
      name,
      colour,
      points: figures.flatMap(({ size, scores }) => {
        const score = scores.find(({ contestant }) => contestant === name);
        return score === undefined ? [] : [{ x: size, y: score.values.median }];
      }),
    })),
  });
}

function budgetRows({ metric, verdicts }: Figure): string[] {
  return verdicts.map((verdict) => {
    const { of, measured, isMet } = verdict;
    const what = {
      value: metric.unit,
      ratio: `x ${metric.baseline}`,
      difference: `${metric.unit} more than ${metric.baseline}`,
    };
    const shown = measured === undefined ? "not measured" : spread(measured);
    const word = isMet === undefined ? "**not known**" : isMet ? "met" : "**not met**";
    return row([metric.title, what[of], limitText(verdict, metric), shown, word]);
  });
}

function limitText({ limit }: BudgetVerdict, { better }: Metric): string {
  return `${better === "more" ? ">=" : "<="} ${limit}`;
}

function sectionOf(played: Played): string[] {
  const { benchmark, rounds } = played;
  const baseline = benchmark.metrics.find((metric) => metric.baseline !== undefined)?.baseline;
  const compared = baseline === undefined ? "" : ` x ${baseline} | less ${baseline} |`;
  return [
    "",
    `## ${benchmark.title}`,
    "",
    `\`npm run bench -- --only ${benchmark.name}\`, ${rounds.length} rounds.`,
    "",
    `| figure | unit | program | value |${compared}`,
    `|---|---|---|---|${baseline === undefined ? "" : "---|---|"}`,
    ...figuresOf(played).flatMap((figure) => rowsOf(figure, baseline !== undefined)),
  ];
}

/** A row for each program. `isCompared`: the table has columns for what the baseline makes of it. */
function rowsOf({ metric, scores }: Figure, isCompared: boolean): string[] {
  return scores.map(({ contestant, values, ratios, differences }) => {
    const cells = [metric.title, metric.unit, contestant, spread(values)];
    const shown = (of: Spread | undefined): string =>
      of === undefined || contestant === metric.baseline ? "" : spread(of);
    return row(isCompared ? [...cells, shown(ratios), shown(differences)] : cells);
  });
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

function spread({ median, min, max }: Spread): string {
  return `${amount(median)} [${amount(min)} to ${amount(max)}]`;
}

/** A number with three digits that count, and as many more as stand before the point. */
export function amount(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)));
  const rounded = value.toLocaleString("en-US", { maximumFractionDigits: Math.min(digits, 6) });
  return rounded === "-0" ? "0" : rounded;
}
