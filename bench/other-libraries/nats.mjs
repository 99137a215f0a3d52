// The jobs of the bench over a NATS server with the package `nats`: one way, requests, broadcast.
import { connect } from "nats";
import { followStarter, nowMs, parametersOf, tell } from "../../dist/bench/programs/program.js";
import { askFor, sendFor } from "../../dist/bench/programs/rate.js";

const { role, job, server, receivers, bytes, inFlight, warmMs, ms } = parametersOf();

/** Bytes after which the sender waits until the server has them; the client has no other backpressure. */
const flushBytes = 1_048_576;

followStarter();
const connection = await connect({ servers: server, waitOnFirstConnect: true, reconnectTimeWait: 50 });
if (role === "receive") await receive();
else if (job === "request") await request();
else await lead();

async function receive() {
  let received = 0;
  const callback = (_error, message) => {
    if (job === "request") message.respond(message.data);
    else if (message.data.length === 1) connection.publish("answer", `${received}`);
    else received += message.data[0];
  };
  connection.subscribe("work", { callback });
  await connection.flush();
  tell({ ready: "subscribed" });
}

async function lead() {
  const message = Buffer.alloc(bytes, 1);
  let waiting = 0;
  const way = {
    send: () => {
      if (waiting >= flushBytes) return false;
      connection.publish("work", message);
      waiting += bytes;
      return true;
    },
    whenFree: (resume) =>
      void connection.flush().then(() => {
        waiting = 0;
        resume();
      }),
    isTaken: false,
  };
  const answers = [];
  let heard = () => {};
  connection.subscribe("answer", {
    callback: (_error, message) => {
      answers.push(Number(message.string()));
      heard();
    },
  });
  const ask = () =>
    new Promise((resolve) => {
      answers.length = 0;
      heard = () => {
        if (answers.length === receivers) resolve(answers.reduce((sum, count) => sum + count, 0));
      };
      connection.publish("work", Buffer.alloc(1));
    });
  await sendFor(warmMs, bytes, way);
  const before = await ask();
  const startedAt = nowMs();
  const sent = await sendFor(ms, bytes, way);
  const deliveries = (await ask()) - before;
  if (deliveries !== sent * receivers) throw new Error(`sent ${sent}, delivered ${deliveries}`);
  tell({ result: { rate: deliveries / ((nowMs() - startedAt) / 1000) } });
}

async function request() {
  const question = Buffer.alloc(bytes);
  const ask = () => connection.request("work", question, { timeout: 10_000 });
  await askFor(warmMs, inFlight, ask);
  tell({ result: await askFor(ms, inFlight, ask) });
}
