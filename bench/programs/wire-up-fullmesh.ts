// Wire-up with fullmesh: join, and wait until the server says that every pair is linked.
import { join } from "fullmesh";
import { followStarter, nowMs, parametersOf, tell } from "./program.js";

const { server, size, secret } = parametersOf<{
  readonly server: string;
  readonly size: number;
  readonly secret?: string;
}>();

followStarter();
const node = await join(server, secret === undefined ? {} : { secret });
tell({ ready: nowMs() });
await node.complete({ size });
tell({ complete: nowMs() });
