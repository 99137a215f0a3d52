// Broadcast, bare: one encoding for all receivers, and one write for each of them a turn of the event loop.
import { once } from "node:events";
import { type BareParameters, BatchedWriter, dialBare, listenBare, MessageReader } from "./bare.js";
import { exitWithParent, parametersOf, report } from "./program.js";
import { measureSending, type Stretches } from "./rate.js";

const parameters = parametersOf<
  Stretches &
    BareParameters & {
      readonly role: "receive" | "lead";
      readonly bytes: number;
      readonly to: readonly string[];
    }
>();

/** A message of one byte asks how many messages have arrived. */
const questionBytes = 1;

exitWithParent();
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
  }, parameters);
  report({ ready: address });
}

async function lead(): Promise<void> {
  const sockets = await Promise.all(parameters.to.map((address) => dialBare(address, parameters.secret)));
  const writer = new BatchedWriter(...sockets);
  const message = Buffer.alloc(parameters.bytes, 1);
  const send = (): boolean => writer.write(message);
  const drained = (): Promise<unknown> => writer.drained();
  const received = async (): Promise<number> => {
    const answers = sockets.map((socket) => once(socket, "data") as Promise<[Buffer]>);
    writer.write(Buffer.alloc(questionBytes));
    return (await Promise.all(answers)).reduce((sum, [answer]) => sum + Number(answer), 0);
  };
  const sender = { receivers: sockets.length, send, drained, received };
  report({ result: await measureSending(parameters, sender) });
}
