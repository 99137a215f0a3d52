// Requests to one peer. What its handler returns is the reply; what it throws is the error.
import { setTimeout } from "node:timers/promises";
import { join, serve } from "fullmesh";

const server = await serve({ listen: "127.0.0.1:0" });
try {
  const first = await join(server.address);
  // Without this the errors of its handlers are on stderr, with their stacks.
  const second = await join(server.address, { logger: false });
  await Promise.all([first.complete({ size: 2 }), second.complete({ size: 2 })]);
  second.onRequest("add", (numbers) => numbers.reduce((sum, number) => sum + number, 0));
  second.onRequest("sleep", async (milliseconds, { signal }) => {
    // When nobody waits any more there is no need to go on.
    await setTimeout(milliseconds, undefined, { signal }).catch(() => console.log("woken up early"));
  });
  second.onRequest("enter", (name) => {
    if (name !== "Alice") throw Object.assign(new Error(`who is ${name}?`), { code: "NOT_INVITED", data: { name } });
    throw new RangeError("the lock is broken");
  });

  const [peer] = first.peers;
  console.log(await first.request(peer, "add", [1, 2, 3]));
  await first.request(peer, "sleep", 60_000, { timeoutMs: 20 }).catch(({ code }) => console.log(code));
  for (const name of ["Bob", "Alice"]) {
    await first.request(peer, "enter", name).catch(({ code, message, data }) => console.log(code, message, data));
  }
  await first.request(peer, "subtract", [3, 2]).catch(({ code }) => console.log(code));
} finally {
  await server.teardown();
}

// Prints:
// 6
// TIMED_OUT
// woken up early
// NOT_INVITED who is Bob? { name: 'Bob' }
// HANDLER_FAILED the lock is broken undefined
// NO_HANDLER
