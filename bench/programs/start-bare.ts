// Start-up, bare: import `node:net`, connect.
import { once } from "node:events";
import { connect } from "node:net";
import { nowMs, parametersOf, tell } from "./program.js";

const [host = "", port] = parametersOf<{ readonly server: string }>().server.split(":");
const socket = connect({ host, port: Number(port) });
await once(socket, "connect");
tell({ ready: nowMs() });
socket.destroy();
