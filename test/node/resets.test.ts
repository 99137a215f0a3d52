import { createHash } from "node:crypto";
import { once } from "node:events";
import { describe, expect, it, onTestFinished } from "vitest";
import { SeededRandom } from "../../src/core/random.js";
import { join, MeshNode, type MeshStream, serve } from "../../src/index.js";
import { type ResettingProxy, resettingProxy } from "../support/resets.js";
import { Recorder, splitAddress } from "../support/sockets.js";

/** Resets in one run. */
const resets = 1_000;
const streamResets = 200;

/** So many messages of one direction may be under way: enough for several on every connection. */
const mostUnderWay = 40;

/** The largest message, and the smallest one that is referenced instead of copied. */
const largest = 150_000;
const referenced = 4_096;

/** What message `number` of a direction holds: a length and bytes that follow from both. */
function contentOf(salt: number, number: number): Buffer {
  const random = new SeededRandom(salt * 1_000_003 + number);
  const most = random.chance(0.1) ? largest : random.chance(0.3) ? 3 * referenced : 200;
  const bytes = Buffer.allocUnsafe(4 + random.integer(0, most));
  bytes.fill(random.integer(0, 255));
  bytes.writeUInt32BE(number);
  for (let at = 4; at < bytes.length; at += 97) bytes[at] = random.integer(0, 255);
  return bytes;
}

/** One direction of the load: sends messages of all sizes for as long as it is to, and checks what arrives. */
class Direction {
  readonly faults: string[] = [];
  readonly arrivals = new Recorder<number>();
  readonly #salt: number;
  readonly #from: MeshNode;
  #sent = 0;
  #taken = 0;
  #isOver = false;

  constructor(salt: number, from: MeshNode, to: MeshNode) {
    this.#salt = salt;
    this.#from = from;
    to.on("message", ({ payload }) => this.#take(payload as Uint8Array));
  }

  get sent(): number {
    return this.#sent;
  }

  /** Sends until so many are under way; goes on whenever one arrives. */
  pump(): void {
    while (!this.#isOver && this.#sent - this.#taken < mostUnderWay) {
      this.#sent += 1;
      this.#from.broadcast("load", contentOf(this.#salt, this.#sent));
    }
  }

  finish(): Promise<unknown> {
    this.#isOver = true;
    return this.arrivals.first((number) => number === this.#sent);
  }

  #take(payload: Uint8Array): void {
    this.#taken += 1;
    const expected = contentOf(this.#salt, this.#taken);
    if (!expected.equals(payload)) this.faults.push(`message ${this.#taken} is ${digest(payload)}`);
    this.arrivals.add(this.#taken);
    this.pump();
  }
}

function digest(bytes: Uint8Array): string {
  return `${bytes.length} bytes ${createHash("sha256").update(bytes).digest("hex").slice(0, 8)}`;
}

/** One direction of a stream: writes chunks of all sizes for as long as it is to, and checks every byte that arrives. */
class Flow {
  readonly faults: string[] = [];
  /** Settles when all that was written has been read. */
  readonly whole: Promise<unknown>;
  #written = 0;
  #read = 0;
  #isOver = false;

  constructor(salt: number, from: MeshStream, to: MeshStream) {
    const random = new SeededRandom(salt);
    to.on("data", (bytes: Buffer) => {
      if (!bytes.equals(patternAt(this.#read, bytes.length))) this.faults.push(`wrong bytes behind ${this.#read}`);
      this.#read += bytes.length;
    });
    this.whole = once(to, "end").then(() => this.#read === this.#written || this.faults.push("bytes are missing"));
    const write = (): void => {
      while (!this.#isOver) {
        const bytes = patternAt(this.#written, random.integer(1, random.chance(0.5) ? largest : 500));
        this.#written += bytes.length;
        if (!from.write(bytes)) {
          from.once("drain", write);
          return;
        }
      }
      from.end();
    };
    write();
  }

  finish(): Promise<unknown> {
    this.#isOver = true;
    return this.whole;
  }
}

const period = 65_521;
const pattern = Buffer.from(
  Array.from({ length: period + largest }, (_, at) => ((at % period) * 31 + ((at % period) >> 8) * 7) & 0xff),
);

/** What a stream has from a place on: bytes that come again after a period that is no multiple of any buffer. */
function patternAt(place: number, bytes: number): Buffer {
  return Buffer.from(pattern.subarray(place % period, (place % period) + bytes));
}

interface Shaken {
  readonly first: MeshNode;
  readonly second: MeshNode;
  readonly proxy: ResettingProxy;
  /** The reasons of all links that have ended. */
  readonly downs: Recorder<string>;
}

/** Two members, and a proxy between them that resets their connections so many times. */
async function shaken(times: number): Promise<Shaken> {
  const random = new SeededRandom(7);
  const server = await serve({ listen: "127.0.0.1:0" });
  onTestFinished(() => server.close());
  const limits = { redialMinMs: 2, redialMaxMs: 8, acknowledgeBytes: 30_000 };
  const first = await join(String(server.address), { limits });
  onTestFinished(() => first.leave());
  let port = 0;
  const proxy = await resettingProxy(
    () => port,
    () => {
      if (proxy.resets >= times) return undefined;
      // In the greeting, soon behind it, or in the middle of the load.
      const most = random.chance(0.1) ? 300 : random.chance(0.5) ? 5_000 : 2 * largest;
      return random.integer(1, most);
    },
  );
  const second = new MeshNode({ advertise: proxy.address, limits });
  onTestFinished(() => second.leave());
  await second.connectToServer(String(server.address));
  await second.initListeningSocket("127.0.0.1", 0);
  port = splitAddress(await second.sockListen()).port;
  await second.registerWithServer();
  await Promise.all([first, second].map((node) => once(node, "peer:up")));
  const downs = new Recorder<string>();
  for (const node of [first, second]) node.on("peer:down", ({ reason }) => downs.add(reason));
  return { first, second, proxy, downs };
}

describe("a link whose connections are reset at any byte, under load both ways", () => {
  it(`delivers every message once, whole and in order through ${resets} resets`, async () => {
    const { first, second, proxy, downs } = await shaken(resets);
    const ways = [new Direction(1, first, second), new Direction(2, second, first)];
    for (const way of ways) way.pump();
    await Promise.all(ways.map((way) => way.arrivals.first(() => proxy.resets >= resets)));
    await Promise.all(ways.map((way) => way.finish()));

    expect(ways.map(({ faults }) => faults)).toEqual([[], []]);
    expect(ways.map(({ arrivals, sent }) => arrivals.items.length - sent)).toEqual([0, 0]);
    expect(proxy.resets).toBe(resets);
    expect(downs.items).toEqual([]);
  }, 180_000);

  it(`delivers every byte of a stream once and in order through ${streamResets} resets`, async () => {
    const { first, second, proxy, downs } = await shaken(streamResets);
    const accepted = new Promise<MeshStream>((resolve) => second.onStream("load", resolve));
    const opened = first.openStream(String(second.address), "load");
    const ends: [MeshStream, MeshStream] = [opened, await accepted];
    const flows = [new Flow(1, ...ends), new Flow(2, ...(ends.toReversed() as typeof ends))];
    await new Promise<void>((resolve) => {
      for (const end of ends) end.on("data", () => proxy.resets >= streamResets && resolve());
    });
    await Promise.all(flows.map((flow) => flow.finish()));

    expect(flows.map(({ faults }) => faults)).toEqual([[], []]);
    expect(proxy.resets).toBe(streamResets);
    expect(downs.items).toEqual([]);
  }, 180_000);
});
