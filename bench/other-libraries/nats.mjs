// The jobs of the bench over a NATS server with the package `nats`: one way, requests.
import { connect } from "nats";
import { exitWithParent, parametersOf, report } from "../../dist/bench/programs/program.js";
import { measureRequests, measureSending } from "../../dist/bench/programs/rate.js";

const parameters = parametersOf();
const { role, job, server, bytes } = parameters;

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
    else if (message.data.length === 1) message.respond(`${received}`);
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
  const received = async () => {
    const answer = await connection.request("price-change", Buffer.alloc(1), { timeout: 30_000 });
    return Number(answer.string());
  };
  report({ result: await measureSending(parameters, { receivers: 1, send, drained, received }) });
}

async function sendRequests() {
  const payload = Buffer.alloc(bytes);
  const request = () => connection.request("price-change", payload, { timeout: 10_000 });
  report({ result: await measureRequests(parameters, request) });
}
