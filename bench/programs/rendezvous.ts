// The rendezvous server that the measured members join.
import { serve } from "fullmesh";
import { exitWithParent, parametersOf, report } from "./program.js";

exitWithParent();
const { secret } = parametersOf<{ readonly secret?: string }>();
const server = await serve({ listen: "127.0.0.1:0", ...(secret === undefined ? {} : { secret }) });
report({ ready: server.address });
