// One way, bare: messages with their length in front over one connection. `batched`: what comes in one turn of the loop goes
// out in one write; `naive`: one write a message; `whole`: nothing is copied before the socket has it.
import type { Socket } from "node:net";
import { BatchedOutlet, dialBare, listenBare, MessageReader, NaiveOutlet, type Outlet, WholeOutlet } from "./bare.js";
import { followStarter, nowMs, parametersOf, tell } from "./program.js";
import { sendFor } from "./rate.js";

const parameters = parametersOf<{
  readonly role: "receive" | "lead";
  readonly variant: "batched" | "naive" | "whole";
  readonly bytes: number;
  readonly warmMs: number;
  readonly ms: number;
  readonly secret?: string;
  readonly to: readonly [string];
}>();

/** A message of one byte asks how many have come. */
const questionBytes = 1;

followStarter();
if (parameters.role === "receive") await receive();
else await lead();

async function receive(): Promise<void> {
  const address = await listenBare((socket) => {
    // Each message begins with a 1, which is read, so that no program gets away with not looking at what it receives.
    let received = 0;
    const reader = new MessageReader((message) => {
      received += message[0] ?? 0;
      if (message.length === questionBytes) socket.write(`${received}\n`);
    });
    socket.on("data", (chunk: Buffer) => reader.read(chunk));
  }, parameters.secret);
  tell({ ready: address });
}

function outletOf(socket: Socket): Outlet {
  if (parameters.variant === "naive") return new NaiveOutlet(socket);
  return parameters.variant === "whole" ? new WholeOutlet(socket) : new BatchedOutlet(socket);
}

async function lead(): Promise<void> {
  const socket = await dialBare(parameters.to[0], parameters.secret);
  const outlet = outletOf(socket);
  const message = Buffer.alloc(parameters.bytes, 1);
  const way = {
    send: () => outlet.write(message),
    whenFree: (resume: () => void) => outlet.whenFree(resume),
    isTaken: false,
  };
  const ask = (): Promise<number> =>
    new Promise((resolve) => {
      const question = Buffer.alloc(questionBytes);
      const put = (): void => (outlet.write(question) ? undefined : outlet.whenFree(put));
      socket.once("data", (answer: Buffer) => resolve(Number(answer)));
      put();
    });
  const warm = await sendFor(parameters.warmMs, parameters.bytes, way);
  await ask();
  const startedAt = nowMs();
  const sent = await sendFor(parameters.ms, parameters.bytes, way);
  const received = (await ask()) - warm;
  if (received !== sent) throw new Error(`sent ${sent}, received ${received}`);
  tell({ result: { rate: sent / ((nowMs() - startedAt) / 1000) } });
}
