// The jobs of the bench over Erlang distribution: starts a node, which runs `erlang.escript`. The node of the receiver listens
// on a port that both know, so no port mapper (epmd) is needed, which would outlive the bench.
import { spawn } from "node:child_process";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { parametersOf } from "../../dist/bench/programs/program.js";

const { role, job, to = [], bytes, startedMs, warmMs, ms } = parametersOf();
const port = role === "lead" ? to[0] : await freePort();
const flags = [
  ...["-boot", "no_dot_erlang", "-noshell", "-name", `${role}@127.0.0.1`, "-setcookie", "bench"],
  ...["-kernel", "inet_dist_use_interface", "{127,0,0,1}"],
  ...["-start_epmd", "false", "-erl_epmd_port", port],
  ...(role === "lead" ? ["-dist_listen", "false"] : []),
];
const program = fileURLToPath(new URL("erlang.escript", import.meta.url));
const args = [role, job, port, bytes, startedMs, warmMs, ms].map(String);
// It writes its reports to our stdout itself, and ends when our stdin does.
const node = spawn("erl", [...flags, "-run", "escript", "start", "-extra", program, ...args], { stdio: "inherit" });
node.on("close", (code) => process.exit(code ?? 1));

async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return `${port}`;
}
