// Many members in one process, with fullmesh: each joins, and waits for a link with every other. Measures links a second, the
// time to `complete`, memory, and CPU while idle.
import { join, type MeshNode, type Peer } from "fullmesh";
import { residentBytes } from "./memory.js";
import { exitWithParent, nowMs, parametersOf, pause, report } from "./program.js";

const { members, idleMs, server } = parametersOf<{
  readonly members: number;
  readonly idleMs: number;
  readonly server: string;
}>();

exitWithParent();
const before = await residentBytes();
const startedAt = nowMs();
const nodes = await Promise.all(
  Array.from({ length: members }, async () => {
    const node = await join(server);
    await linkedWithAll(node);
    return node;
  }),
);
const links = (members * (members - 1)) / 2;
const rate = links / ((nowMs() - startedAt) / 1000);
await Promise.all(nodes.map((node) => node.complete({ size: members })));
const complete = nowMs() - startedAt;
const bytesPerEnd = ((await residentBytes()) - before) / (2 * links);
const cpu = process.cpuUsage();
await pause(idleMs);
const { user, system } = process.cpuUsage(cpu);
const idle = (user + system) / 1000 / (idleMs / 1000) / members;
if (nodes.some((node) => node.peers.filter(isUp).length !== members - 1)) throw new Error("some links are missing");
report({ result: { rate, complete, bytesPerEnd, idle } });

function isUp({ state }: Peer): boolean {
  return state === "up";
}

/** Resolves when the node has a link with every other. Some may be up before anybody can listen. */
function linkedWithAll(node: MeshNode): Promise<void> {
  const linked = new Set(node.peers.filter(isUp).map(({ address }) => address));
  return new Promise((resolve) => {
    const check = (): void => {
      if (linked.size < members - 1) return;
      node.off("peer:up", add);
      resolve();
    };
    const add = ({ peer }: { readonly peer: Peer }): void => {
      linked.add(peer.address);
      check();
    };
    node.on("peer:up", add);
    check();
  });
}
