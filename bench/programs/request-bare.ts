// Requests, bare: an echo. Each request begins with a number, by which the reply finds whoever waits for it. What comes in
// one turn of the loop goes out in one write, at both ends.
import { BatchedOutlet, dialBare, listenBare, MessageReader } from "./bare.js";
import { followStarter, parametersOf, tell } from "./program.js";
import { askFor } from "./rate.js";

const parameters = parametersOf<{
  readonly role: "receive" | "lead";
  readonly bytes: number;
  readonly inFlight: number;
  readonly warmMs: number;
  readonly ms: number;
  readonly secret?: string;
  readonly to: readonly [string];
}>();

followStarter();
if (parameters.role === "receive") await receive();
else await lead();

async function receive(): Promise<void> {
  const address = await listenBare((socket) => {
    const outlet = new BatchedOutlet(socket);
    const reader = new MessageReader((message) => outlet.write(message));
    socket.on("data", (chunk: Buffer) => reader.read(chunk));
  }, parameters.secret);
  tell({ ready: address });
}

async function lead(): Promise<void> {
  const { bytes, inFlight, warmMs, ms } = parameters;
  const socket = await dialBare(parameters.to[0], parameters.secret);
  const outlet = new BatchedOutlet(socket);
  const waiting = new Map<number, (reply: Uint8Array) => void>();
  let asked = 0;
  const reader = new MessageReader((message) => {
    const id = (message as Buffer).readUInt32BE(0);
    waiting.get(id)?.(message);
    waiting.delete(id);
  });
  socket.on("data", (chunk: Buffer) => reader.read(chunk));
  const question = Buffer.alloc(bytes);
  const ask = (): Promise<unknown> =>
    new Promise((resolve) => {
      asked += 1;
      waiting.set(asked, resolve);
      question.writeUInt32BE(asked, 0);
      outlet.write(question);
    });
  await askFor(warmMs, inFlight, ask);
  tell({ result: await askFor(ms, inFlight, ask) });
}
