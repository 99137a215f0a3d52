import { connect, createServer, type Socket } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { FullmeshError, join, type MeshNode, serve } from "../../src/index.js";
import { LogRecorder } from "../support/logs.js";
import { freePort, splitAddress } from "../support/sockets.js";

/** Passes each connection on to one of these ports in turn, as a balancer does. Returns its address. */
async function balance(ports: readonly number[]): Promise<string> {
  let turn = 0;
  const open = new Set<Socket>();
  const balancer = createServer({ allowHalfOpen: true }, (front) => {
    const back = connect({ port: ports[turn % ports.length] ?? 0, host: "127.0.0.1", allowHalfOpen: true });
    turn += 1;
    for (const [one, other] of [
      [front, back],
      [back, front],
    ] as const) {
      open.add(one);
      one.pipe(other);
      one.on("error", () => other.destroy()).on("close", () => open.delete(one));
    }
  });
  await new Promise<void>((resolve) => balancer.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    balancer.close();
    for (const socket of open) socket.destroy();
  });
  const address = balancer.address();
  return typeof address === "object" ? `127.0.0.1:${address?.port}` : "";
}

/** As its supervisor would: starts it again if it is refused, because the balancer has sent the dial-back elsewhere. */
async function joinAgain(server: string, port: number, advertise: string, { logger }: LogRecorder): Promise<MeshNode> {
  for (;;) {
    try {
      const node = await join(server, { listen: `127.0.0.1:${port}`, advertise, logger });
      onTestFinished(() => node.leave());
      return node;
    } catch (error) {
      if (!(error instanceof FullmeshError) || error.code !== "REFUSED") throw error;
    }
  }
}

test("two members behind one balancer say that they share its address, and so does the server", async () => {
  const [serverLog, memberLog] = [new LogRecorder(), new LogRecorder()];
  const server = await serve({ listen: "127.0.0.1:0", logger: serverLog.logger });
  onTestFinished(() => server.close());
  const ports: number[] = [await freePort()];
  const advertise = await balance(ports);
  const isShared = ({ code }: { readonly code: string }): boolean => code === "ADDRESS_SHARED";
  await joinAgain(String(server.address), ports[0] ?? 0, advertise, memberLog);
  ports.push(await freePort());
  await joinAgain(String(server.address), ports[1] ?? 0, advertise, memberLog);
  expect(splitAddress(`${(await serverLog.first(isShared)).remote}`)).toEqual(splitAddress(advertise));
  expect((await memberLog.first(isShared)).message).toContain(advertise);
});
