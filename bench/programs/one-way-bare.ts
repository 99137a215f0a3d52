// One way, bare: messages with their length in front over one connection. `batched`: one write a turn of the event loop;
// `naive`: one write a message; `whole`: no message is copied.
import { once } from "node:events";
import type { Socket } from "node:net";
import {
  type BareParameters,
  BatchedWriter,
  dialBare,
  listenBare,
  MessageReader,
  type MessageWriter,
  NaiveWriter,
  WholeWriter,
} from "./bare.js";
import { exitWithParent, parametersOf, report } from "./program.js";
import { measureSending, type Stretches } from "./rate.js";

const parameters = parametersOf<
  Stretches &
    BareParameters & {
      readonly role: "receive" | "lead";
      readonly variant: "batched" | "naive" | "whole";
      readonly bytes: number;
      readonly to: readonly [string];
    }
>();

/** A message of one byte asks how many messages have arrived. */
const questionBytes = 1;

exitWithParent();
if (parameters.role === "receive") await receive();
else await lead();

async function receive(): Promise<void> {
  const address = await listenBare((socket) => {
    // The first byte of each message is a 1. Adding it up makes every program read what it receives.
    let received = 0;
    const reader = new MessageReader((message) => {
      received += message[0] ?? 0;
      if (message.length === questionBytes) socket.write(`${received}\n`);
    });
    socket.on("data", (chunk: Buffer) => reader.read(chunk));
  }, parameters);
  report({ ready: address });
}

function writerFor(socket: Socket): MessageWriter {
  if (parameters.variant === "naive") return new NaiveWriter(socket);
  return parameters.variant === "whole" ? new WholeWriter(socket) : new BatchedWriter(socket);
}

async function lead(): Promise<void> {
  const { to, bytes, secret } = parameters;
  const socket = await dialBare(to[0], secret);
  const writer = writerFor(socket);
  const message = Buffer.alloc(bytes, 1);
  const send = (): boolean => writer.write(message);
  const drained = (): Promise<unknown> => writer.drained();
  const received = async (): Promise<number> => {
    writer.write(Buffer.alloc(questionBytes));
    const [answer] = (await once(socket, "data")) as [Buffer];
    return Number(answer);
  };
  report({ result: await measureSending(parameters, { receivers: 1, send, drained, received }) });
}
