// The jobs of the bench over the package `ws`: one way, requests, broadcast.
import WebSocket, { WebSocketServer } from "ws";
import { exitWithParent, nowMs, parametersOf, report } from "../../dist/bench/programs/program.js";
import { requestFor, sendFor } from "../../dist/bench/programs/rate.js";

const { role, job, to, bytes, inFlight, warmMs, ms } = parametersOf();

/** Bytes that may wait in a socket; `ws` leaves backpressure to the application. */
const queuedBytes = 1_048_576;

exitWithParent();
if (role === "receive") receive();
else await lead(await Promise.all(to.map(open)));

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

async function lead(sockets) {
  if (job === "request") return await sendRequests(sockets[0]);
  const message = Buffer.alloc(bytes, 1);
  let onWritten = () => {};
  const written = () => onWritten();
  const hasRoom = () => sockets.every((socket) => socket.bufferedAmount < queuedBytes);
  const send = () => {
    for (const socket of sockets) socket.send(message, written);
    return hasRoom();
  };
  const drained = () =>
    new Promise((resolve) => {
      onWritten = () => hasRoom() && resolve();
      onWritten();
    });
  const receivedCount = async () => {
    const answers = sockets.map((socket) => new Promise((resolve) => socket.once("message", (text) => resolve(+text))));
    for (const socket of sockets) socket.send(Buffer.alloc(1));
    return (await Promise.all(answers)).reduce((sum, count) => sum + count, 0);
  };
  await sendFor(warmMs, send, drained);
  const before = await receivedCount();
  const startedAt = nowMs();
  const sent = await sendFor(ms, send, drained);
  const deliveries = (await receivedCount()) - before;
  if (deliveries !== sent * sockets.length) throw new Error(`sent ${sent}, delivered ${deliveries}`);
  report({ result: { rate: deliveries / ((nowMs() - startedAt) / 1000) } });
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
  await requestFor(warmMs, inFlight, request);
  report({ result: await requestFor(ms, inFlight, request) });
}
