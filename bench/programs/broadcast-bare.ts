// Broadcast, bare: one encoding for all; what comes in one turn of the loop goes out in one write for each receiver.
import { BatchedOutlet, dialBare, listenBare, MessageReader } from "./bare.js";
import { followStarter, nowMs, parametersOf, tell } from "./program.js";
import { sendFor } from "./rate.js";

const parameters = parametersOf<{
  readonly role: "receive" | "lead";
  readonly bytes: number;
  readonly warmMs: number;
  readonly ms: number;
  readonly secret?: string;
  readonly to: readonly string[];
}>();

/** A message of one byte asks how many have come. */
const questionBytes = 1;

followStarter();
if (parameters.role === "receive") await receive();
else await lead();

async function receive(): Promise<void> {
  const address = await listenBare((socket) => {
    let received = 0;
    const reader = new MessageReader((message) => {
      received += message[0] ?? 0;
      if (message.length === questionBytes) socket.write(`${received}\n`);
    });
    socket.on("data", (chunk: Buffer) => reader.read(chunk));
  }, parameters.secret);
  tell({ ready: address });
}

async function lead(): Promise<void> {
  const sockets = await Promise.all(parameters.to.map((address) => dialBare(address, parameters.secret)));
  const outlet = new BatchedOutlet(...sockets);
  const message = Buffer.alloc(parameters.bytes, 1);
  const way = {
    send: () => outlet.write(message),
    whenFree: (resume: () => void) => outlet.whenFree(resume),
    isTaken: false,
  };
  const ask = async (): Promise<number> => {
    const answers = sockets.map(
      (socket) => new Promise<number>((resolve) => socket.once("data", (answer: Buffer) => resolve(Number(answer)))),
    );
    const put = (): void => (outlet.write(Buffer.alloc(questionBytes)) ? undefined : outlet.whenFree(put));
    put();
    return (await Promise.all(answers)).reduce((sum, count) => sum + count, 0);
  };
  await sendFor(parameters.warmMs, parameters.bytes, way);
  const before = await ask();
  const startedAt = nowMs();
  const sent = await sendFor(parameters.ms, parameters.bytes, way);
  const deliveries = (await ask()) - before;
  if (deliveries !== sent * sockets.length) throw new Error(`sent ${sent}, delivered ${deliveries}`);
  tell({ result: { rate: deliveries / ((nowMs() - startedAt) / 1000) } });
}
