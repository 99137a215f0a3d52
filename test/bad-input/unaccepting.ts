import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { onTestFinished } from "vitest";

/**
 * A listener that never accepts: its thread sleeps. With a backlog of 1 the kernel completes two connections on its
 * behalf; after those it silently drops every further attempt, as a firewall would.
 */
const program = `
  const { createServer } = require("node:net");
  const { parentPort, workerData: { memory, host, port } } = require("node:worker_threads");
  const sleeping = new Int32Array(memory);
  const server = createServer({ allowHalfOpen: true }, (socket) => socket.on("error", () => {}).resume());
  server.listen({ port, host, backlog: 1 }, () => {
    parentPort.postMessage(server.address().port);
    Atomics.wait(sleeping, 0, 0);
  });
`;

export interface UnacceptingListener {
  readonly address: string;
  /** Lets the thread go on, which accepts everything from then on. */
  wake(): void;
}

export async function unacceptingListener(host = "127.0.0.1", at = 0): Promise<UnacceptingListener> {
  const memory = new SharedArrayBuffer(4);
  const sleeping = new Int32Array(memory);
  const wake = (): void => {
    Atomics.store(sleeping, 0, 1);
    Atomics.notify(sleeping, 0);
  };
  const worker = new Worker(program, { eval: true, workerData: { memory, host, port: at }, execArgv: [] });
  onTestFinished(async () => {
    wake();
    await worker.terminate();
  });
  const [port] = (await once(worker, "message")) as [number];
  return { address: `${host}:${port}`, wake };
}
