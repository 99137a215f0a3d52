// One of several processes that claim the same key, and use a resource while they hold it. Arguments: the server, the port
// of the resource, the key. Writes a line when it begins and when it stops.
import { connect } from "node:net";
import { join } from "fullmesh";

const [, , server, port, key] = process.argv;
const say = (type, fields = {}) => console.log(JSON.stringify({ type, at: Date.now(), ...fields }));
const resource = connect({ host: "127.0.0.1", port: Number(port), noDelay: true });
say("started");
const node = await join(server, { timeoutMs: 120_000, logger: false });
say("registered", { id: node.id });

for (;;) {
  const claim = await node.claim(key);
  const { token, signal } = claim;
  say("begins", { token });
  await new Promise((resolve) => {
    const use = () => {
      // The time first: whatever holds this process up behind it makes the use look older, not newer.
      const at = Date.now();
      if (claim.isHeld) resource.write(`${JSON.stringify({ by: process.pid, token, at })}\n`);
    };
    use();
    const timer = setInterval(use, 20);
    signal.addEventListener("abort", () => {
      clearInterval(timer);
      resolve();
    });
  });
  say("stops", { token, reason: signal.reason.message });
}
