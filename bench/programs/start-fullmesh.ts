// Start-up with fullmesh: import the package, join.
import { join } from "fullmesh";
import { nowMs, parametersOf, report } from "./program.js";

const node = await join(parametersOf<{ readonly server: string }>().server);
report({ ready: nowMs() });
await node.leave();
