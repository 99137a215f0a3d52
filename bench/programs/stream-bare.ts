// A bulk stream, bare: piped into a connection of its own, while requests, if there are any, go over another one.
import type { Socket } from "node:net";
import { BatchedWriter, dialBare, listenBare, MessageReader } from "./bare.js";
import { isTransferEnd, measureStream, sourceOf } from "./bulk.js";
import { exitWithParent, parametersOf, report } from "./program.js";

const parameters = parametersOf<{
  readonly role: "receive" | "lead";
  readonly streamBytes: number;
  readonly hasRequests: boolean;
  readonly warmMs: number;
  readonly ms: number;
  readonly secret?: string;
  readonly to: readonly [string];
}>();

exitWithParent();
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
  }, parameters);
  report({ ready: address });
}

function echo(socket: Socket): void {
  const writer = new BatchedWriter(socket);
  const reader = new MessageReader((message) => writer.write(message));
  socket.on("data", (chunk: Buffer) => reader.read(chunk));
}

function count(socket: Socket): void {
  let received = 0;
  socket.on("data", (chunk: Buffer) => {
    received += chunk.length;
    if (isTransferEnd(received, parameters.streamBytes)) socket.write("*");
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
  const writer = new BatchedWriter(requests);
  let onReply: (() => void) | undefined;
  const reader = new MessageReader(() => onReply?.());
  requests.on("data", (chunk: Buffer) => reader.read(chunk));
  const payload = Buffer.alloc(64);
  const request = (): Promise<void> =>
    new Promise((resolve) => {
      onReply = resolve;
      writer.write(payload);
    });
  const transfer = (bytes: number): Promise<void> =>
    new Promise((resolve) => {
      stream.once("data", () => resolve());
      sourceOf(bytes).pipe(stream, { end: false });
    });
  report({ result: await measureStream(parameters, request, transfer) });
}
