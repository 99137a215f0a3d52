// Counts the bytes that the rendezvous server writes while N members join, one every 60 ms, up to the complete mesh, and
// draws them against N: npm run wire-up-bytes. The machines and drivers are the real ones, the network and the clock are the
// simulator's, so a run needs no sockets and always gives the same figures. Writes bench/wire-up-bytes.svg and prints a table.
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { draw } from "../dist/cli/bench/plot.js";
import { defaultLimits } from "../dist/core/limits.js";
import { SeededRandom } from "../dist/core/random.js";
import { Member } from "../dist/mesh/member.js";
import { Messaging } from "../dist/messaging/messaging.js";
import { Rendezvous } from "../dist/rendezvous/rendezvous.js";
import { Driver } from "../dist/runtime/driver.js";
import { MemoryLog } from "../dist/runtime/memory-log.js";
import { Network } from "../dist/simulator/network.js";
import { SimulatedProcess, World } from "../dist/simulator/world.js";

/** Milliseconds between two joins: about what it takes to start a process. */
const everyMs = 60;
const serverAddress = { host: "10.1.0.1", port: 4000 };
/** The server's revisions begin at its start time in microseconds. */
const firstRevision = 1_700_000_000_000_000;

/** Plays one wire-up, and counts. */
function wireUp(size, dialect) {
  const world = new World(size);
  const network = new Network(world, { delayMs: 1, split: 0, splitGapMs: 0, merge: 0, dialLoss: 0 });
  const random = new SeededRandom(size);
  const draw = () =>
    Array.from({ length: 4 }, () =>
      random
        .integer(0, 2 ** 32 - 1)
        .toString(16)
        .padStart(8, "0"),
    ).join("");
  const count = { entryBytes: 0, entries: 0, complete: false };
  const limits = { ...defaultLimits, dialsInFlight: 8 };

  const serverProcess = new SimulatedProcess(world, "server", serverAddress.host, false);
  const log = new MemoryLog(firstRevision);
  const server = new Driver({
    machine: new Rendezvous({
      capacity: size,
      onFull: "teardown",
      mayAdvertise: () => false,
      dialect: "any",
      endWord: "teardown",
      isKeyed: false,
      draw,
      firstRevision,
      limits,
    }),
    transport: network.transportOf(serverProcess),
    clock: serverProcess.clock,
    perform: (output) => {
      if (output.type === "append") {
        const entry = log.append(output.change);
        count.entries += 1;
        // As it stands in a frame: the entry, or in classic one line of a list.
        count.entryBytes += dialect === "native" ? JSON.stringify(entry).length : entry.address.length + 1;
        server.input({ type: "appended", mesh: output.mesh, entry });
      } else if (output.type === "event" && output.event.type === "complete") count.complete = true;
    },
  });
  server.listen(serverAddress, () => {});

  for (let rank = 0; rank < size; rank += 1) world.at(1 + rank * everyMs, () => join(rank));
  function join(rank) {
    const address = { host: `10.0.${rank >> 8}.${rank & 255}`, port: 40_000 };
    const process = new SimulatedProcess(world, `${rank}`, address.host, dialect === "classic");
    const driver = new Driver({
      machine: new Member(
        {
          dialect,
          mesh: "default",
          isKeyed: false,
          draw,
          serverLostMs: Number.POSITIVE_INFINITY,
          seed: rank,
          limits,
        },
        (outputs) => new Messaging(outputs, limits),
      ),
      transport: network.transportOf(process),
      clock: process.clock,
      perform: ({ event }) => {
        if (event?.type !== "connected") return;
        driver.listen(address, (on) => driver.input({ type: "listening", on }));
        driver.input({ type: "register" });
      },
    });
    process.do(() => driver.input({ type: "connectToServer", to: serverAddress }));
  }
  world.run(size * everyMs + 60_000, () => count.complete);
  if (!count.complete) throw new Error(`${dialect}, ${size} members: not complete`);
  const meanEntry = count.entryBytes / count.entries;
  return { size, bytes: server.sentBytes, meanEntry, share: server.sentBytes / (size * size * meanEntry) };
}

const { values } = parseArgs({ options: { sizes: { type: "string", default: "10,20,50,64,100,200,350,500" } } });
const sizes = values.sizes.split(",").map(Number);
const series = {
  native: sizes.map((size) => wireUp(size, "native")),
  classic: sizes.map((size) => wireUp(size, "classic")),
};
process.stdout.write(
  "| members | native | / (N^2 mean entry) | classic | / (N^2 mean entry) |\n|---|---|---|---|---|\n",
);
for (const [index, native] of series.native.entries()) {
  const classic = series.classic[index];
  const cells = [native.size, native.bytes, native.share.toFixed(2), classic.bytes, classic.share.toFixed(2)];
  process.stdout.write(`| ${cells.map((cell) => cell.toLocaleString("en-US")).join(" | ")} |\n`);
}
const pointsOf = (line) => line.map(({ size, bytes }) => ({ x: size, y: bytes }));
const picture = draw({
  title: "Bytes the server writes until N members are fully linked",
  label: "Bytes the server writes, against members",
  xAxis: `members (simulated network, one join every ${everyMs} ms)`,
  unit,
  series: [
    { name: "native", colour: "#1a6fb5", points: pointsOf(series.native) },
    { name: "classic", colour: "#c2541b", points: pointsOf(series.classic) },
  ],
});
writeFileSync(new URL("../bench/wire-up-bytes.svg", import.meta.url), picture);

function unit(bytes) {
  const steps = [
    [1e9, "GB"],
    [1e6, "MB"],
    [1e3, "kB"],
  ];
  const [size, name] = steps.find(([step]) => bytes >= step) ?? [1, "B"];
  return `${Number((bytes / size).toPrecision(3))} ${name}`;
}
