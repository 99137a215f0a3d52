// Misbehaving members in a process of their own, for tests. `registrations` registers many members in many meshes. `reports`
// joins one of these meshes, reports false links with all of its members again and again, its own link up and down, and
// lets others join and leave in both dialects. Prints "done" when all of that has been sent, and goes on until it is killed.
// Arguments: the folder of the build, the server, "registrations" or "reports".
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, createServer } from "node:net";

const [, , build, server, role] = process.argv;
const { encodeControl, decodeControl } = await import(`${build}/src/protocol/native/control.js`);
const { FrameReader, frameKinds } = await import(`${build}/src/protocol/native/frames.js`);
const { encodePreface } = await import(`${build}/src/protocol/native/preface.js`);
const [host, port] = server.split(":");

/** Calls `handle` with each control message that comes on a socket. */
function listen(socket, handle) {
  const reader = new FrameReader(
    { controlBytes: 1_000_000, messageBytes: 0 },
    {
      preface: () => {},
      frame: (kind, body) => kind === frameKinds.control && handle(decodeControl(body)),
      bad: () => {},
    },
  );
  socket.on("data", (bytes) => reader.push(bytes)).on("error", () => {});
}

/** Joins a mesh, answers every dial-back, and resolves once admitted. */
async function member(mesh) {
  const id = randomBytes(16).toString("hex");
  const session = connect(port, host);
  const send = (control) => session.write(encodeControl(control));
  const listener = createServer((dial) => {
    listen(dial, (control) => {
      if (control.type === "challenge") send({ type: "proof", nonce: control.nonce });
      dial.write(encodePreface());
      dial.end(encodeControl({ type: "here", id }));
    });
  }).listen(0, "127.0.0.1");
  await once(listener, "listening");
  session.write(encodePreface());
  send({ type: "register", mesh, id, address: `127.0.0.1:${listener.address().port}` });
  const orders = new Set();
  await new Promise((resolve, reject) => {
    listen(session, (control) => {
      if (control.type === "refuse") reject(new Error(`${control.code}: ${control.message}`));
      for (const { order } of control.members ?? control.entries ?? []) if (order !== undefined) orders.add(order);
      if (control.type === "directory") resolve();
    });
  });
  return { session, listener, send, orders };
}

async function register() {
  for (let mesh = 0; mesh < 20; mesh += 1) {
    await Promise.all(Array.from({ length: 20 }, () => member(`mesh ${mesh}`)));
  }
}

async function report() {
  const [a, b] = [await member("mesh 0"), await member("mesh 0")];
  const [other = 0] = b.orders;
  const reportUp = () => {
    const up = Array.from(a.orders, (order) => [order, 1]);
    for (const { send } of [a, b]) send({ type: "links", up, down: [] });
  };
  for (let index = 0; index < 2_000; index += 1) {
    if (index % 2 === 0) a.send({ type: "links", up: [], down: [[other, "up", "x".repeat(160)]] });
    else a.send({ type: "links", up: [[other, 1]], down: [] });
  }
  for (let index = 0; index < 200; index += 1) {
    const classic = connect(port, host).on("error", () => {});
    classic.end("127.0.0.1:9");
    await once(classic.resume(), "close");
  }
  for (let index = 0; index < 50; index += 1) {
    const { session, listener, send } = await member("mesh 0");
    send({ type: "leave", reason: "x".repeat(160) });
    session.end();
    listener.close();
  }
  setInterval(reportUp, 100);
  reportUp();
}

await (role === "registrations" ? register() : report());
console.log("done");
