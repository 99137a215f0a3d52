import type { MachineInfo } from "./machine.js";
import { draw } from "./plot.js";
import { maxOthersShare } from "./rounds.js";
import { type BudgetVerdict, type Figure, figuresOf, ours, type Spread, spreadOf } from "./statistics.js";
import type { BenchmarkResult, Metric } from "./types.js";

/** What a figure says, and what it does not. */
const meaning = [
  "Everything ran on one machine, over its **loopback** interface or local sockets, where a network costs nothing.",
  "",
  "- A ratio says what fullmesh costs over a bare program that does the same work and no more, measured in the same round. It says",
  "  nothing about a network, and a program that does something with its messages will be nearer to 1.",
  "- Messages a second are those of processes that do nothing else: a bound for yours, not a forecast.",
  "- *Processes just started* counts from the first message on, for 1.5 s, while V8 still compiles. *After 1.5 s* or *10 s* counts",
  "  the same processes later. The difference is not what a service loses at each start: it sends less than these.",
  "- The fullmesh programs are written as the documentation shows it: `join` without limits set, `send` in a loop until it returns",
  "  false, and on at `drain`; topics have twelve letters. `broadcast` says only that a queue is full, so there the receivers report",
  "  how far they are, over the mesh. The bare programs are as fast as we can make them.",
  "- One request at a time: both processes sleep in turn, so the time to wake a core is in it. Compare ratios, not microseconds.",
  "- A broadcast and a wire-up have more processes than the machine has cores. So they show CPU time: of the receivers, and of the",
  "  start of Node and of the package.",
  "- *With a secret*: against `node:tls` with the same key and cipher. *Over local sockets*: fullmesh and `raw-local` over these,",
  "  against the bare program over TCP.",
  "- Other libraries do other work: NATS goes through a server, ZeroMQ has threads of its own, Erlang is another language. Each",
  "  program is what its documentation shows, and none keeps what is in flight when a connection breaks, as fullmesh does.",
  "- Where the brackets of two figures overlap, this run does not tell which is better.",
];

/** What the bare programs do, so that a reader can judge the ratios. */
const baselines = [
  "`raw-batched` is as fast as we can make a program of `node:net` that keeps messages apart. It has no topics, values,",
  "acknowledgements or credit, and loses what is in flight when its connection breaks.",
  "",
  "- Sending: two buffers of 64 KiB and 4 bytes, allocated once. A message is copied into the one that fills, behind 4 bytes of",
  "  length. One `write` a turn of the event loop (`process.nextTick`) takes all that the buffer holds; the other one fills",
  "  meanwhile, and is not written before the first has left the process.",
  "- Receiving: one `subarray` and one callback a message. Only a message that straddles two reads is copied.",
  "- Broadcast: one buffer for all receivers. A message is copied once, and each socket gets the same bytes in one `write` a",
  "  turn. The next buffer waits until all sockets have taken the last one.",
  "- Requests: the same at both ends, with a number of 4 bytes in the message, by which a `Map` finds its promise.",
  "",
  "`raw-whole`, the baseline for 64 KiB, copies nothing: it corks the socket for a turn, and writes each message and its length.",
  "`raw-naive` writes each message by itself, in a buffer of its own. `raw-pipe` pipes into a socket of its own, and the requests",
  "use another. `raw-barrier` is a coordinator that sends everybody the list of all when all have registered. `raw-sockets` is one",
  "connection a pair, on which the dialer sends its address and gets an answer. `raw-local` is the same program as the baseline,",
  "over local sockets.",
];

/** The results of one run of the bench. */
export interface BenchReport {
  readonly machine: MachineInfo;
  readonly date: string;
  readonly results: readonly BenchmarkResult[];
  /** What is missing, and why. */
  readonly notes: readonly string[];
}

/** The report, as Markdown. */
export function reportOf({ machine, date, results, notes }: BenchReport): string {
  const figures = results.flatMap(figuresOf);
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`);
  return [
    "# Results",
    "",
    "Made by `npm run bench -- --write --other-libraries`; `npm run bench -- --help` says more.",
    "",
    "## What a figure means",
    "",
    ...meaning,
    "",
    "## How it was measured",
    "",
    `- machine: ${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${machine.system}`,
    `- versions: ${versions.join(", ")}`,
    `- date: ${date}`,
    `- rounds: ${roundsOf(results)}; in each, every program runs once, one after the other, in fresh processes`,
    "- figures: the median of all rounds, in brackets the least and the greatest; ratios and differences are taken within a round",
    ...notes.map((note) => `- ${note}`),
    ...disturbances(results).map((note) => `- ${note}`),
    "",
    "## Budgets",
    "",
    "The most that fullmesh may cost. The medians are judged.",
    "",
    "| figure | what | wanted | measured | |",
    "|---|---|---|---|---|",
    ...figures.flatMap(budgetRows),
    ...(wireUpPlot(results) === undefined ? [] : ["", "![Time of a wire-up against members](wire-up-time.svg)"]),
    "",
    "## How strong the baselines are",
    "",
    ...baselines,
    ...results.flatMap(sectionOf),
    "",
  ].join("\n");
}

/** Such as `5 to 9 of each benchmark`. */
function roundsOf(results: readonly BenchmarkResult[]): string {
  const { min, max } = spreadOf(results.map(({ rounds }) => rounds.length)) ?? { min: 0, max: 0 };
  return `${min === max ? max : `${min} to ${max}`} of each benchmark`;
}

/** A figure as one line of text. */
export function sentenceOf({ name, metric, scores, verdicts }: Figure): string {
  const cells = scores.map(({ candidate, values, ratios }) => {
    const ratio = ratios === undefined || candidate === metric.baseline ? "" : ` (x ${amount(ratios.median)})`;
    return `${candidate} ${amount(values.median)}${ratio}`;
  });
  const judgements = verdicts.flatMap((verdict) => {
    const { of, measured, isMet } = verdict;
    if (measured === undefined) return [];
    const shown = of === "difference" ? ` more than ${metric.baseline}, is ${amount(measured.median)}` : "";
    return [` - wanted ${limitText(verdict, metric)}${shown}: ${isMet ? "met" : "not met"}`];
  });
  return `${name}, ${metric.unit}: ${cells.join(", ")}${judgements.join("")}`;
}

/** What was wrong with the rounds that count. */
export function disturbances(results: readonly BenchmarkResult[]): string[] {
  return results.flatMap(({ benchmark, rounds, failures, repeated }) => {
    const noisy = rounds.flatMap(({ othersShare = 0 }) => (othersShare > maxOthersShare ? [othersShare] : []));
    const most = Math.round(Math.max(0, ...noisy) * 100);
    const kept = `**${benchmark.name}**: in ${noisy.length} of ${rounds.length} rounds other processes used up to ${most} % of the CPU`;
    return [
      ...(noisy.length === 0 ? [] : [`${kept}, after ${repeated} rounds were repeated for that reason`]),
      ...failures.map((failure) => `**${benchmark.name}**: a run failed, ${failure.replace(/\s+/g, " ")}`),
    ];
  });
}

/** The time of a wire-up against its size, as SVG; undefined unless it was measured at two sizes. */
export function wireUpPlot(results: readonly BenchmarkResult[]): string | undefined {
  const figures = results.flatMap(figuresOf).flatMap((figure) => {
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
        const score = scores.find(({ candidate }) => candidate === name);
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

function sectionOf(result: BenchmarkResult): string[] {
  const { benchmark, rounds } = result;
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
    ...figuresOf(result).flatMap((figure) => rowsOf(figure, baseline !== undefined)),
  ];
}

/** A row for each program. `isCompared`: the table has columns for the ratio and the difference to the baseline. */
function rowsOf({ metric, scores }: Figure, isCompared: boolean): string[] {
  return scores.map(({ candidate, values, ratios, differences }) => {
    const cells = [metric.title, metric.unit, candidate, spread(values)];
    const shown = (of: Spread | undefined): string =>
      of === undefined || candidate === metric.baseline ? "" : spread(of);
    return row(isCompared ? [...cells, shown(ratios), shown(differences)] : cells);
  });
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}

function spread({ median, min, max }: Spread): string {
  return `${amount(median)} [${amount(min)} to ${amount(max)}]`;
}

/** A number with three significant digits, or all digits before the point. */
export function amount(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.max(0, 2 - Math.floor(Math.log10(Math.abs(value) || 1)));
  const rounded = value.toLocaleString("en-US", { maximumFractionDigits: Math.min(digits, 6) });
  return rounded === "-0" ? "0" : rounded;
}
