// Requests, bare: an echo. Each request begins with a number, which matches the reply to it. Both ends write once a turn of the
// event loop.
import { type BareParameters, BatchedWriter, dialBare, listenBare, MessageReader } from "./bare.js";
import { exitWithParent, parametersOf, report } from "./program.js";
import { measureRequests, type Stretches } from "./rate.js";

const parameters = parametersOf<
  Stretches &
    BareParameters & {
      readonly role: "receive" | "lead";
      readonly bytes: number;
      readonly inFlight: number;
      readonly to: readonly [string];
    }
>();

exitWithParent();
if (parameters.role === "receive") await receive();
else await lead();

async function receive(): Promise<void> {
  const address = await listenBare((socket) => {
    const writer = new BatchedWriter(socket);
    const reader = new MessageReader((message) => writer.write(message));
    socket.on("data", (chunk: Buffer) => reader.read(chunk));
  }, parameters);
  report({ ready: address });
}

async function lead(): Promise<void> {
  const socket = await dialBare(parameters.to[0], parameters.secret);
  const writer = new BatchedWriter(socket);
  const waiting = new Map<number, (reply: Uint8Array) => void>();
  let requests = 0;
  const reader = new MessageReader((message) => {
    const id = (message as Buffer).readUInt32BE(0);
    waiting.get(id)?.(message);
    waiting.delete(id);
  });
  socket.on("data", (chunk: Buffer) => reader.read(chunk));
  const payload = Buffer.alloc(parameters.bytes);
  const request = (): Promise<unknown> =>
    new Promise((resolve) => {
      requests += 1;
      waiting.set(requests, resolve);
      payload.writeUInt32BE(requests, 0);
      writer.write(payload);
    });
  report({ result: await measureRequests(parameters, request) });
}
