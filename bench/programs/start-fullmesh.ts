// Start-up with fullmesh: import the package, join.
import { join } from "fullmesh";
import { nowMs, parametersOf, tell } from "./program.js";

const node = await join(parametersOf<{ readonly server: string }>().server);
tell({ ready: nowMs() });
await node.leave();
