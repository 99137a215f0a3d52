// Start-up, bare: import `node:net`, connect.
import { once } from "node:events";
import { connect } from "node:net";
import { nowMs, parametersOf, report } from "./program.js";

const [host = "", port] = parametersOf<{ readonly server: string }>().server.split(":");
const socket = connect({ host, port: Number(port) });
await once(socket, "connect");
report({ ready: nowMs() });
socket.destroy();
