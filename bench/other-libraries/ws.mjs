// The jobs of the bench over the package `ws`: one way, requests, broadcast.
import WebSocket, { WebSocketServer } from "ws";
import { followStarter, nowMs, parametersOf, tell } from "../../dist/bench/programs/program.js";
import { askFor, sendFor } from "../../dist/bench/programs/rate.js";

const { role, job, to, bytes, inFlight, warmMs, ms } = parametersOf();

/** Bytes that may wait in a socket before its sender does; `ws` leaves that to its user. */
const waitingBytes = 1_048_576;

followStarter();
if (role === "receive") receive();
else await lead(await Promise.all(to.map(open)));

function receive() {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false });
  server.on("listening", () => tell({ ready: `127.0.0.1:${server.address().port}` }));
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
  if (job === "request") return await request(sockets[0]);
  const message = Buffer.alloc(bytes, 1);
  let isFree = true;
  let resume;
  const taken = () => {
    isFree = sockets.every((socket) => socket.bufferedAmount < waitingBytes);
    if (isFree) resume?.();
  };
  const way = {
    send: () => {
      if (!isFree) return false;
      for (const socket of sockets) {
        socket.send(message, taken);
        if (socket.bufferedAmount >= waitingBytes) isFree = false;
      }
      return true;
    },
    whenFree: (then) => {
      resume = () => {
        resume = undefined;
        then();
      };
    },
    isTaken: false,
  };
  const ask = async () => {
    const answers = sockets.map((socket) => new Promise((resolve) => socket.once("message", (text) => resolve(+text))));
    for (const socket of sockets) socket.send(Buffer.alloc(1));
    return (await Promise.all(answers)).reduce((sum, count) => sum + count, 0);
  };
  await sendFor(warmMs, bytes, way);
  const before = await ask();
  const startedAt = nowMs();
  const sent = await sendFor(ms, bytes, way);
  const deliveries = (await ask()) - before;
  if (deliveries !== sent * sockets.length) throw new Error(`sent ${sent}, delivered ${deliveries}`);
  tell({ result: { rate: deliveries / ((nowMs() - startedAt) / 1000) } });
}

async function request(socket) {
  const waiting = new Map();
  let asked = 0;
  socket.on("message", (message) => {
    const id = message.readUInt32BE(0);
    waiting.get(id)(message);
    waiting.delete(id);
  });
  const ask = () =>
    new Promise((resolve) => {
      asked += 1;
      waiting.set(asked, resolve);
      const question = Buffer.alloc(bytes);
      question.writeUInt32BE(asked, 0);
      socket.send(question);
    });
  await askFor(warmMs, inFlight, ask);
  tell({ result: await askFor(ms, inFlight, ask) });
}
