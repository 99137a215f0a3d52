// Counts the bytes that the rendezvous server writes while N members join, one every 60 ms, up to the complete mesh, and
// draws them against N: npm run wire-up-bytes. The machines and drivers are the real ones, the network and the clock are the
// simulator's, so a run needs no sockets and always gives the same figures. Writes bench/wire-up-bytes.svg and prints a table.

import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { Engine, SimulatedProcess } from "../simulator/engine.js";
import { SimulatedNetwork } from "../simulator/network.js";
import { FullmeshError } from "../src/core/errors.js";
import { defaultLimits } from "../src/core/limits.js";
import { Queue } from "../src/core/queue.js";
import { SeededRandom } from "../src/core/random.js";
import { Timers } from "../src/core/timers.js";
import { MemberMachine } from "../src/mesh/member-machine.js";
import type { MemberInput, MemberOutput } from "../src/mesh/types.js";
import { MessagingChannels, type MessagingEvent } from "../src/messaging/messaging-channel.js";
import type { Dialect } from "../src/protocol/directory.js";
import { RendezvousMachine } from "../src/rendezvous/rendezvous-machine.js";
import type { RendezvousInput, RendezvousOutput } from "../src/rendezvous/types.js";
import { Driver } from "../src/runtime/driver.js";
import { MemoryLog } from "../src/runtime/memory-log.js";
import { draw } from "./plot.js";

/** Milliseconds between two joins: about what it takes to start a process. */
const everyMs = 60;
const serverAddress = { host: "10.1.0.1", port: 4000 };
/** The server's revisions begin at its start time in microseconds. */
const firstRevision = 1_700_000_000_000_000;

/** The bytes of one wire-up. */
interface WireUpBytes {
  readonly size: number;
  readonly bytes: number;
  readonly meanEntry: number;
  readonly share: number;
}

/** Simulates one wire-up, and counts. */
function wireUp(size: number, dialect: Dialect): WireUpBytes {
  const engine = new Engine(size);
  const network = new SimulatedNetwork(engine, { delayMs: 1, split: 0, splitGapMs: 0, merge: 0, dialLoss: 0 });
  const random = new SeededRandom(size);
  const newId = (): string =>
    Array.from({ length: 4 }, () =>
      random
        .integer(0, 2 ** 32 - 1)
        .toString(16)
        .padStart(8, "0"),
    ).join("");
  const count = { entryBytes: 0, entries: 0, complete: false };
  const limits = { ...defaultLimits, dialsInFlight: 8 };

  const serverProcess = new SimulatedProcess(engine, "server", serverAddress.host, false);
  const log = new MemoryLog((answer) => {
    if (answer.type === "appended") {
      const { entry } = answer;
      count.entries += 1;
      // As it stands in a frame: the entry, or in classic one line of a list.
      count.entryBytes +=
        dialect === "native" || entry.type !== "joined" ? JSON.stringify(entry).length : entry.address.length + 1;
    }
    server.input(answer);
  });
  const server = new Driver<RendezvousInput, RendezvousOutput>({
    machine: new RendezvousMachine({
      capacity: size,
      onFull: "teardown",
      mayAdvertise: () => false,
      dialect: "any",
      isKeyed: false,
      isShared: false,
      newId,
      wallTime: () => 0,
      firstRevision,
      startedAtMs: 0,
      version: "0.0.0",
      limits,
    }),
    transport: network.transportOf(serverProcess),
    clock: serverProcess.clock,
    perform: (output) => {
      if (output.type === "append") log.append(output);
      else if (output.type === "event" && output.event.type === "complete") count.complete = true;
    },
  });
  server.listen(serverAddress, () => {});

  for (let rank = 0; rank < size; rank += 1) engine.at(1 + rank * everyMs, () => join(rank));
  function join(rank: number): void {
    const address = { host: `10.0.${rank >> 8}.${rank & 255}`, port: 40_000 };
    const process = new SimulatedProcess(engine, `${rank}`, address.host, dialect === "classic");
    const outputs = new Queue<MemberOutput | MessagingEvent>();
    const timers = new Timers();
    const driver = new Driver<MemberInput, MemberOutput | MessagingEvent>({
      machine: new MemberMachine<MessagingEvent>(
        {
          dialect,
          mesh: "default",
          isKeyed: false,
          draw: newId,
          allocate: (bytes) => new Uint8Array(bytes),
          serverLostMs: Number.POSITIVE_INFINITY,
          seed: rank,
          limits,
        },
        outputs,
        timers,
        new MessagingChannels(outputs, limits, timers),
      ),
      transport: network.transportOf(process),
      clock: process.clock,
      perform: (output) => {
        if (output.type !== "event" || output.event.type !== "connected") return;
        driver.listen(address, (on) => {
          if (on instanceof FullmeshError) throw on;
          driver.input({ type: "listening", on });
        });
        driver.input({ type: "register" });
      },
    });
    process.do(() => driver.input({ type: "connectToServer", servers: [serverAddress] }));
  }
  engine.run(size * everyMs + 60_000, () => count.complete);
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
  const classic = series.classic[index] as WireUpBytes;
  const cells = [native.size, native.bytes, native.share.toFixed(2), classic.bytes, classic.share.toFixed(2)];
  process.stdout.write(`| ${cells.map((cell) => cell.toLocaleString("en-US")).join(" | ")} |\n`);
}
const pointsOf = (line: readonly WireUpBytes[]): { x: number; y: number }[] =>
  line.map(({ size, bytes }) => ({ x: size, y: bytes }));
const svg = draw({
  title: "Bytes the server writes until N members are fully linked",
  label: "Bytes the server writes, against members",
  xAxis: `members (simulated network, one join every ${everyMs} ms)`,
  unit,
  series: [
    { name: "native", colour: "#1a6fb5", points: pointsOf(series.native) },
    { name: "classic", colour: "#c2541b", points: pointsOf(series.classic) },
  ],
});
writeFileSync(new URL("../../bench/wire-up-bytes.svg", import.meta.url), svg);

function unit(bytes: number): string {
  const steps: readonly (readonly [size: number, name: string])[] = [
    [1e9, "GB"],
    [1e6, "MB"],
    [1e3, "kB"],
  ];
  const [size, name] = steps.find(([step]) => bytes >= step) ?? [1, "B"];
  return `${Number((bytes / size).toPrecision(3))} ${name}`;
}
