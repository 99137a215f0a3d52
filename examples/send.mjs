// Messages to one peer: once each and in order; a payload is bytes, any value that JSON knows, or nothing.
import { join, serve } from "fullmesh";

const server = await serve({ listen: "127.0.0.1:0" });
try {
  const first = await join(server.address);
  const second = await join(server.address);
  await Promise.all([first.complete({ size: 2 }), second.complete({ size: 2 })]);
  const goodbye = new Promise((resolve) => {
    const show = ({ peer, topic, payload }) => {
      console.log(`${topic} from rank ${second.members.findIndex(({ id }) => id === peer.id)}:`, payload);
    };
    second.onMessage("greeting", show);
    second.onMessage("bytes", show);
    second.onMessage("goodbye", (message) => resolve(show(message)));
  });

  const [peer] = first.peers;
  first.send(peer, "greeting", { text: "hello", times: 3 });
  first.send(peer, "bytes", Uint8Array.of(1, 2, 3));
  // False says that the peer is behind: this one still goes, but now it is time to wait.
  while (first.send(peer, "load", new Uint8Array(100_000)));
  await new Promise((resolve) => first.once("drain", resolve));
  first.send(peer.address, "goodbye");
  await goodbye;
  try {
    first.send("127.0.0.1:1", "greeting");
  } catch (error) {
    console.log(error.code);
  }
} finally {
  await server.teardown();
}

// Prints:
// greeting from rank 0: { text: 'hello', times: 3 }
// bytes from rank 0: Uint8Array(3) [ 1, 2, 3 ]
// goodbye from rank 0: undefined
// UNKNOWN_PEER
