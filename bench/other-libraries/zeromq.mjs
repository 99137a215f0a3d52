// The jobs of the bench over the package `zeromq`: one way between two Dealer sockets, requests from a Request to a Reply.
import { Dealer, Reply, Request } from "zeromq";
import { exitWithParent, parametersOf, report } from "../../dist/bench/programs/program.js";
import { measureRequests, measureSending } from "../../dist/bench/programs/rate.js";

const parameters = parametersOf();
const { role, job, to, bytes } = parameters;

exitWithParent();
if (role === "receive") await receive();
else if (job === "request") await sendRequests(connected(new Request()));
else await lead(connected(new Dealer()));

function connected(socket) {
  socket.connect(to[0]);
  return socket;
}

async function receive() {
  const socket = job === "request" ? new Reply() : new Dealer();
  await socket.bind("tcp://127.0.0.1:*");
  report({ ready: socket.lastEndpoint });
  let received = 0;
  for await (const [message] of socket) {
    if (job === "request") await socket.send(message);
    else if (message.length === 1) await socket.send(`${received}`);
    else received += message[0];
  }
}

async function lead(socket) {
  const message = Buffer.alloc(bytes, 1);
  let sent;
  // It says by a promise, for each message, that the queue has taken it.
  const send = () => {
    sent = socket.send(message);
    return false;
  };
  const drained = () => sent;
  const received = async () => {
    await socket.send(Buffer.alloc(1));
    const [answer] = await socket.receive();
    return Number(answer);
  };
  report({ result: await measureSending(parameters, { receivers: 1, send, drained, received }) });
}

async function sendRequests(socket) {
  const payload = Buffer.alloc(bytes);
  const request = async () => {
    await socket.send(payload);
    return await socket.receive();
  };
  report({ result: await measureRequests(parameters, request) });
}
