// The jobs of the bench over the package `ws`: one way, requests.
import WebSocket, { WebSocketServer } from "ws";
import { exitWithParent, parametersOf, report } from "../../dist/bench/programs/program.js";
import { measureRequests, measureSending } from "../../dist/bench/programs/rate.js";

const parameters = parametersOf();
const { role, job, to, bytes } = parameters;

/** Bytes that may wait in a socket; `ws` leaves backpressure to the application. */
const queuedBytes = 1_048_576;

exitWithParent();
if (role === "receive") receive();
else await lead(await open(to[0]));

function receive() {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
  server.on("listening", () => report({ ready: `127.0.0.1:${server.address().port}` }));
  server.on("connection", (socket) => {
    let received = 0;
    socket.on("message", (message) => {
      if (job === "request") socket.send(message);
      else {
        received += message[0];
        if (message.length === 1) socket.send(`${received}`);
      }
    });
  });
}

function open(address) {
  return new Promise((resolve) => {
    const socket = new WebSocket(`ws://${address}`, { perMessageDeflate: false });
    socket.on("open", () => resolve(socket));
  });
}

async function lead(socket) {
  if (job === "request") return await sendRequests(socket);
  const message = Buffer.alloc(bytes, 1);
  let onWritten = () => {};
  const written = () => onWritten();
  const hasRoom = () => socket.bufferedAmount < queuedBytes;
  const send = () => {
    socket.send(message, written);
    return hasRoom();
  };
  const drained = () =>
    new Promise((resolve) => {
      onWritten = () => hasRoom() && resolve();
      onWritten();
    });
  const received = () => {
    socket.send(Buffer.alloc(1));
    return new Promise((resolve) => socket.once("message", (text) => resolve(+text)));
  };
  report({ result: await measureSending(parameters, { receivers: 1, send, drained, received }) });
}

async function sendRequests(socket) {
  const waiting = new Map();
  let requests = 0;
  socket.on("message", (message) => {
    const id = message.readUInt32BE(0);
    waiting.get(id)(message);
    waiting.delete(id);
  });
  const request = () =>
    new Promise((resolve) => {
      requests += 1;
      waiting.set(requests, resolve);
      const payload = Buffer.alloc(bytes);
      payload.writeUInt32BE(requests, 0);
      socket.send(payload);
    });
  report({ result: await measureRequests(parameters, request) });
}
