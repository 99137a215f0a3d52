// A peer that speaks the classic dialect has no messages: only bytes, in order, without boundaries.
import { join, serve } from "fullmesh";

const server = await serve({ listen: "127.0.0.1:0" });
try {
  const native = await join(server.address);
  const classic = await join(server.address, { dialect: "classic" });
  await Promise.all([native.complete({ size: 2 }), classic.complete({ size: 2 })]);
  const heard = (node) => new Promise((resolve) => node.once("bytes", ({ bytes }) => resolve(`${Buffer.from(bytes)}`)));

  const question = heard(classic);
  native.write(classic.address, Buffer.from("is anybody there?\n"));
  process.stdout.write(await question);
  const answer = heard(native);
  classic.writeAll(Buffer.from("yes\n"));
  process.stdout.write(await answer);
  try {
    native.send(classic.address, "greeting", "hello");
  } catch ({ code, remedy }) {
    console.log(`${code}: ${remedy}`);
  }
} finally {
  await server.teardown();
}

// Prints:
// is anybody there?
// yes
// CLASSIC_PEER: Use `write` for classic peers.
