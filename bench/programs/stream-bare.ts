// A bulk stream, bare: piped into a connection of its own, while requests, if there are any, go over another one.
import type { Socket } from "node:net";
import { BatchedOutlet, dialBare, listenBare, MessageReader } from "./bare.js";
import { isMark, measureStream, sourceOf } from "./bulk.js";
import { followStarter, parametersOf, tell } from "./program.js";

const parameters = parametersOf<{
  readonly role: "receive" | "lead";
  readonly streamBytes: number;
  readonly hasRequests: boolean;
  readonly warmMs: number;
  readonly ms: number;
  readonly secret?: string;
  readonly to: readonly [string];
}>();

followStarter();
if (parameters.role === "receive") await receive();
else await lead();

/** The first byte on a connection says what it is for. */
async function receive(): Promise<void> {
  const address = await listenBare((socket) => {
    socket.once("data", (first: Buffer) => {
      if (first[0] === 1) echo(socket);
      else count(socket);
      socket.write(first);
    });
  }, parameters.secret);
  tell({ ready: address });
}

function echo(socket: Socket): void {
  const outlet = new BatchedOutlet(socket);
  const reader = new MessageReader((message) => outlet.write(message));
  socket.on("data", (chunk: Buffer) => reader.read(chunk));
}

function count(socket: Socket): void {
  let received = 0;
  socket.on("data", (chunk: Buffer) => {
    received += chunk.length;
    if (isMark(received, parameters.streamBytes)) socket.write("*");
  });
}

async function lead(): Promise<void> {
  const open = async (purpose: number): Promise<Socket> => {
    const socket = await dialBare(parameters.to[0], parameters.secret);
    socket.write(Buffer.of(purpose));
    await new Promise((resolve) => socket.once("data", resolve));
    return socket;
  };
  const [requests, stream] = [await open(1), await open(2)];
  const outlet = new BatchedOutlet(requests);
  let resume: (() => void) | undefined;
  const reader = new MessageReader(() => resume?.());
  requests.on("data", (chunk: Buffer) => reader.read(chunk));
  const question = Buffer.alloc(64);
  const ask = (): Promise<void> =>
    new Promise((resolve) => {
      resume = resolve;
      outlet.write(question);
    });
  const transfer = (bytes: number): Promise<void> =>
    new Promise((resolve) => {
      stream.once("data", () => resolve());
      sourceOf(bytes).pipe(stream, { end: false });
    });
  tell({ result: await measureStream(parameters, ask, transfer) });
}
