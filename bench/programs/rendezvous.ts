// The rendezvous server that the measured members join.
import { serve } from "fullmesh";
import { followStarter, parametersOf, tell } from "./program.js";

followStarter();
const { secret } = parametersOf<{ readonly secret?: string }>();
const server = await serve({ listen: "127.0.0.1:0", ...(secret === undefined ? {} : { secret }) });
tell({ ready: server.address });
