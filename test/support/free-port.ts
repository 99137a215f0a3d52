import { randomInt } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";

/**
 * A port on loopback on which nobody listens now. It lies below the range from which systems take ports for outgoing
 * connections and for listeners on port 0, so no other program takes it by accident, and no dial to it connects to itself.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const server = createServer();
    const isListening = new Promise<boolean>((resolve) => {
      server.once("listening", () => resolve(true)).once("error", () => resolve(false));
    });
    server.listen(randomInt(10_000, 32_000), "127.0.0.1");
    if (!(await isListening)) continue;
    const { port } = server.address() as AddressInfo;
    server.close();
    await once(server, "close");
    return port;
  }
}
