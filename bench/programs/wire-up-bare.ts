// Wire-up, bare (`raw-barrier`): each member sends a coordinator its address. When all have, the coordinator sends each the
// whole list, and each dials those after it. Complete when each has a connection with every other.
import type { Socket } from "node:net";
import { type BareParameters, dialBare, listenBare } from "./bare.js";
import { exitWithParent, nowMs, parametersOf, report, reportComplete } from "./program.js";

const parameters = parametersOf<
  BareParameters & { readonly role: "coordinate" | "member"; readonly server: string; readonly size: number }
>();
const { role, server, size, secret } = parameters;

exitWithParent();
if (role === "coordinate") await coordinate();
else await member();

async function coordinate(): Promise<void> {
  const members: { readonly socket: Socket; readonly address: string }[] = [];
  const address = await listenBare((socket) => {
    onLine(socket, (line) => {
      members.push({ socket, address: line });
      if (members.length < size) return;
      const list = JSON.stringify(members.map(({ address }) => address));
      for (const { socket } of members) socket.write(`${list}\n`);
    });
  }, parameters);
  report({ ready: address });
}

async function member(): Promise<void> {
  let links = 0;
  const linked = (): void => {
    links += 1;
    if (links === size - 1) reportComplete();
  };
  const own = await listenBare((socket) => onLine(socket, linked), parameters);
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
  report({ ready: nowMs() });
}

/** Calls `onText` with each line that arrives. */
function onLine(socket: Socket, onText: (line: string) => void): void {
  let text = "";
  socket.setEncoding("utf8").on("data", (more: string) => {
    text += more;
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) onText(line);
  });
}
