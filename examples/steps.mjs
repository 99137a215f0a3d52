// What `serve` and `join` do, step by step; any time may pass between two of them.
import { MeshNode, RendezvousServer } from "fullmesh";

const server = new RendezvousServer();
await server.initSocket("127.0.0.1", 0);
const address = await server.sockListen();

const node = new MeshNode({ name: "Alice" });
const local = await node.connectToServer(address);
await node.initListeningSocket(local.host, 0);
const own = await node.sockListen();
console.log(`a member yet: ${node.id !== undefined}, rank ${node.rank}`);
await node.registerWithServer({ timeoutMs: 10_000 });
console.log(`a member now: ${node.id !== undefined}, rank ${node.rank}, at its own address: ${node.address === own}`);
console.log(`members: ${node.members.length}, the server has the same: ${server.members[0] === own}`);

const end = node.start();
await node.leave();
console.log(await end);
await server.close();

// Prints:
// a member yet: false, rank -1
// a member now: true, rank 0, at its own address: true
// members: 1, the server has the same: true
// left
