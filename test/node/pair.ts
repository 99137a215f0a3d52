import { onTestFinished } from "vitest";
import { type JoinOptions, join, type MeshNode, type RendezvousServer, serve } from "../../src/index.js";

import { LogRecorder } from "../support/logs.js";

export interface Pair {
  readonly server: RendezvousServer;
  readonly first: MeshNode;
  readonly second: MeshNode;
  /** What each of them logs. */
  readonly firstLog: LogRecorder;
  readonly secondLog: LogRecorder;
}

/** A mesh of two, the first of which dials. The second has the same options, unless it is given others. */
export async function pair(options: JoinOptions = {}, others: JoinOptions = options): Promise<Pair> {
  const server = await serve({ listen: "127.0.0.1:0", logger: false });
  onTestFinished(() => server.close());
  const [firstLog, secondLog] = [new LogRecorder(), new LogRecorder()];
  const first = await join(String(server.address), { logger: firstLog.logger, ...options });
  const second = await join(String(server.address), { logger: secondLog.logger, ...others });
  onTestFinished(async () => {
    await Promise.all([first.leave(), second.leave()]);
  });
  await Promise.all([first.complete({ size: 2 }), second.complete({ size: 2 })]);
  return { server, first, second, firstLog, secondLog };
}
