// A loop over the messages of one topic. While it is busy its senders are slowed down, and nothing is lost.
import { join, serve } from "fullmesh";

const server = await serve({ listen: "127.0.0.1:0" });
try {
  const first = await join(server.address);
  const second = await join(server.address);
  await Promise.all([first.complete({ size: 2 }), second.complete({ size: 2 })]);

  const jobs = second.subscribe("jobs");
  for (let number = 1; number <= 1_000; number += 1) first.broadcast("jobs", { number });
  let sum = 0;
  for await (const { payload } of jobs) {
    // As slow as you like: the next one waits.
    await new Promise((resolve) => setImmediate(resolve));
    sum += payload.number;
    if (payload.number === 1_000) break;
  }
  console.log(`the numbers from 1 to 1000 are ${sum} together`);

  try {
    for await (const _ of second.subscribe("jobs", { signal: AbortSignal.timeout(10) }));
  } catch (error) {
    console.log(error.code);
  }
} finally {
  await server.teardown();
}

// Prints:
// the numbers from 1 to 1000 are 500500 together
// ABORTED
