// Wire-up with fullmesh: join, and wait until the server says that every pair is linked.
import { join } from "fullmesh";
import { exitWithParent, nowMs, parametersOf, report, reportComplete } from "./program.js";

const { server, size, secret } = parametersOf<{
  readonly server: string;
  readonly size: number;
  readonly secret?: string;
}>();

exitWithParent();
const node = await join(server, secret === undefined ? {} : { secret });
report({ ready: nowMs() });
await node.complete({ size });
reportComplete();
