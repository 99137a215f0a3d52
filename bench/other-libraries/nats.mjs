// The jobs of the bench over a NATS server with the package `nats`: one way, requests, broadcast.
import { connect } from "nats";
import { exitWithParent, nowMs, parametersOf, report } from "../../dist/bench/programs/program.js";
import { requestFor, sendFor } from "../../dist/bench/programs/rate.js";

const { role, job, server, receivers, bytes, inFlight, warmMs, ms } = parametersOf();

/** The sender flushes after so many bytes; the client has no other backpressure. */
const flushBytes = 1_048_576;

exitWithParent();
const connection = await connect({ servers: server, waitOnFirstConnect: true, reconnectTimeWait: 50 });
if (role === "receive") await receive();
else if (job === "request") await sendRequests();
else await lead();

async function receive() {
  let received = 0;
  const callback = (_error, message) => {
    if (job === "request") message.respond(message.data);
    else if (message.data.length === 1) connection.publish("answer", `${received}`);
    else received += message.data[0];
  };
  connection.subscribe("price-change", { callback });
  await connection.flush();
  report({ ready: "subscribed" });
}

async function lead() {
  const message = Buffer.alloc(bytes, 1);
  let unflushedBytes = 0;
  const send = () => {
    connection.publish("price-change", message);
    unflushedBytes += bytes;
    return unflushedBytes < flushBytes;
  };
  const drained = async () => {
    await connection.flush();
    unflushedBytes = 0;
  };
  const answers = [];
  let onAnswer = () => {};
  connection.subscribe("answer", {
    callback: (_error, message) => {
      answers.push(Number(message.string()));
      onAnswer();
    },
  });
  const receivedCount = () =>
    new Promise((resolve) => {
      answers.length = 0;
      onAnswer = () => {
        if (answers.length === receivers) resolve(answers.reduce((sum, count) => sum + count, 0));
      };
      connection.publish("price-change", Buffer.alloc(1));
    });
  await sendFor(warmMs, send, drained);
  const before = await receivedCount();
  const startedAt = nowMs();
  const sent = await sendFor(ms, send, drained);
  const deliveries = (await receivedCount()) - before;
  if (deliveries !== sent * receivers) throw new Error(`sent ${sent}, delivered ${deliveries}`);
  report({ result: { rate: deliveries / ((nowMs() - startedAt) / 1000) } });
}

async function sendRequests() {
  const payload = Buffer.alloc(bytes);
  const request = () => connection.request("price-change", payload, { timeout: 10_000 });
  await requestFor(warmMs, inFlight, request);
  report({ result: await requestFor(ms, inFlight, request) });
}
