// Wire-up, bare (`raw-barrier`): everybody tells a coordinator where it listens. When all have, they are handed the whole
// list and told to go, and each dials those after it. Complete when each has a connection with everybody else.
import type { Socket } from "node:net";
import { dialBare, listenBare } from "./bare.js";
import { followStarter, nowMs, parametersOf, tell } from "./program.js";

const { role, server, size, secret } = parametersOf<{
  readonly role: "coordinate" | "member";
  readonly server: string;
  readonly size: number;
  readonly secret?: string;
}>();

followStarter();
if (role === "coordinate") await coordinate();
else await takePart();

async function coordinate(): Promise<void> {
  const members: { readonly socket: Socket; readonly address: string }[] = [];
  const address = await listenBare((socket) => {
    onLine(socket, (line) => {
      members.push({ socket, address: line });
      if (members.length < size) return;
      const list = JSON.stringify(members.map(({ address }) => address));
      for (const { socket } of members) socket.write(`${list}\n`);
    });
  }, secret);
  tell({ ready: address });
}

async function takePart(): Promise<void> {
  let links = 0;
  const linked = (): void => {
    links += 1;
    if (links === size - 1) tell({ complete: nowMs() });
  };
  const own = await listenBare((socket) => onLine(socket, linked), secret);
  const coordinator = await dialBare(server, secret);
  onLine(coordinator, (line) => {
    const list = JSON.parse(line) as string[];
    for (const address of list.slice(list.indexOf(own) + 1)) {
      void dialBare(address, secret).then((socket) => {
        socket.write(`${own}\n`);
        linked();
      });
    }
  });
  coordinator.write(`${own}\n`);
  tell({ ready: nowMs() });
}

/** Hears the lines that come; most often that is one. */
function onLine(socket: Socket, hear: (line: string) => void): void {
  let text = "";
  socket.setEncoding("utf8").on("data", (more: string) => {
    text += more;
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) hear(line);
  });
}
