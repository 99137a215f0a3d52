// What a large mesh costs the store that several servers share: node simulator/scale.mjs --members 1000 --servers 5 [--reports 5]
// The logs of the servers run over a simulated store without faults; what members would make their servers write is scripted:
// all join, each reports its links so many times until it has one with everybody, whole each time, and then one more joins.
// Says what was written, how much each server has read of it, and when all of them knew the last report. Times are those of the
// play, in which a request takes 5 ms at most each way whatever it carries; the last column is what it took this machine.
import { parseArgs } from "node:util";
import { Engine, SimulatedProcess } from "../dist/simulator/engine.js";
import { calmStore, SimulatedStore } from "../dist/simulator/store.js";
import { defaultLimits } from "../dist/src/core/limits.js";
import { ReplicatedLog } from "../dist/src/runtime/replicated/replicated-log.js";

const usage = "node simulator/scale.mjs [--members 1000] [--servers 5] [--reports 5]";
const { values } = parseArgs({
  options: {
    members: { type: "string", default: "1000" },
    servers: { type: "string", default: "5" },
    reports: { type: "string", default: "5" },
    help: { type: "boolean", default: false },
  },
});
const members = Number(values.members);
const mesh = "default";

const engine = new Engine(1);
const written = { values: 0, bytes: 0, transactions: 0 };
const store = new SimulatedStore(engine, calmStore, ({ events }) => {
  written.transactions += 1;
  for (const event of events) {
    if (event.type !== "put" || !event.key.startsWith("mesh/")) continue;
    written.values += 1;
    written.bytes += event.key.length + event.value.length;
  }
});

/** A server's log, and what has come of it. */
class Server {
  attachments = new Map();
  reports = new Map();
  isStarted = false;

  constructor(number) {
    const process = new SimulatedProcess(engine, `server ${number}`, `10.0.1.${number + 1}`);
    const settings = {
      rules: { format: 1, capacity: null, onFull: "hold", dialect: "any", leaseMs: 20_000 },
      limits: defaultLimits,
      newId: () => engine.draw(),
      baseRevision: () => 1,
    };
    const failed = (error) => {
      throw error;
    };
    this.log = new ReplicatedLog(store.connect(process), process.clock, (input) => this.#take(input), settings, failed);
    this.log.start(() => {
      this.isStarted = true;
    });
  }

  #take(input) {
    if (input.type === "appended") this.attachments.set(input.entry.id, input.attachment);
    else if (input.type === "rejected") throw new Error("an append was rejected");
    else if (input.type === "restored")
      for (const { id, attachment } of input.state.attachments) this.attachments.set(id, attachment);
    else if (input.type === "published" && input.fact.type === "reported")
      this.reports.set(input.fact.id, input.fact.report.up.length);
  }
}

const idOf = (number) => number.toString(16).padStart(32, "0");
const servers = Array.from({ length: Number(values.servers) }, (_, number) => new Server(number));
const serverOf = (number) => servers[number % servers.length];

function until(isSo, what) {
  engine.run(engine.now + 600_000, isSo);
  if (!isSo()) throw new Error(`not so after ten minutes: ${what}`);
}

function join(number) {
  const address = `10.0.${number >> 8}.${number & 255}:8080`;
  const change = { type: "joined", id: idOf(number), address, dialect: "native", name: `member-${number}` };
  serverOf(number).log.append({ mesh, key: number, after: 0, change });
}

/** Each of the first members says that it has a link with so many others. */
function report(count, links) {
  for (let number = 0; number < count; number += 1) {
    const id = idOf(number);
    const up = Array.from({ length: links }, (_, peer) => [idOf(peer < number ? peer : peer + 1), 1]);
    const attachment = serverOf(number).attachments.get(id);
    serverOf(number).log.publish(mesh, { type: "reported", id, attachment, report: { up, down: [] } });
  }
}

/** Performs this, and says what it has cost. */
function measure(name, run) {
  const before = { ...written };
  const [at, cpu] = [engine.now, process.cpuUsage()];
  run();
  const { user, system } = process.cpuUsage(cpu);
  const [count, bytes, transactions] = ["values", "bytes", "transactions"].map((key) => written[key] - before[key]);
  const figures = `${count} values, ${(bytes / 1e6).toFixed(2)} MB, ${transactions} transactions`;
  const times = `known everywhere after ${Math.round(engine.now - at)} ms; ${((user + system) / 1e6).toFixed(1)} s of CPU`;
  process.stdout.write(`${name}: ${figures}; ${times}\n`);
}

const joined = (count) => () => servers.every(({ attachments }) => attachments.size === count);
const reported = (count, links) => () =>
  servers.every(({ reports }) => reports.size === count && [...reports.values()].every((each) => each === links));

if (values.help) process.stdout.write(`${usage}\n`);
else {
  until(() => servers.every(({ isStarted }) => isStarted), "the servers have started");
  process.stdout.write(`${members} members at ${servers.length} servers\n`);
  measure("all join", () => {
    for (let number = 0; number < members; number += 1) join(number);
    until(joined(members), "all are listed");
  });
  const rounds = Number(values.reports);
  measure(`${rounds} reports of each`, () => {
    for (let round = 1; round <= rounds; round += 1) {
      report(members, Math.floor(((members - 1) * round) / rounds));
      if (round < rounds) engine.run(engine.now + defaultLimits.storeReportMs);
    }
    until(reported(members, members - 1), "all links are known");
  });
  measure("one more joins", () => {
    join(members);
    until(joined(members + 1), "it is listed");
    report(members + 1, members);
    until(reported(members + 1, members), "its links are known");
  });
  for (const { log } of servers) log.close();
}
