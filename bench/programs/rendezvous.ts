// The rendezvous server that the measured members join.
import { serve } from "fullmesh";
import { exitWithParent, localPrefix, parametersOf, report } from "./program.js";

exitWithParent();
const { secret, socketFolder } = parametersOf<{ readonly secret?: string; readonly socketFolder?: string }>();
const listen = socketFolder === undefined ? "127.0.0.1:0" : `${localPrefix}${socketFolder}/mesh.sock`;
const server = await serve({ listen, ...(secret === undefined ? {} : { secret }) });
report({ ready: server.address });
