import { join, MeshNode } from "fullmesh";
import { parametersOf, report } from "./program.js";

/** The parameters of every program that joins a mesh. */
interface JoinParameters {
  readonly server: string;
  readonly secret?: string;
  /** The address to register instead of the one where it listens. */
  readonly advertise?: string;
}

/** Joins the mesh of the server in the parameters, and reports it. */
export async function joinMesh(): Promise<MeshNode> {
  const { server, secret, advertise } = parametersOf<JoinParameters>();
  const keyed = secret === undefined ? {} : { secret };
  const node = advertise === undefined ? await join(server, keyed) : new MeshNode({ ...keyed, advertise });
  if (advertise !== undefined) {
    // The relay must know where this member listens before the server dials the advertised address.
    await node.connectToServer(server);
    await node.initListeningSocket("127.0.0.1", 0);
    report({ listening: await node.sockListen() });
    await node.registerWithServer();
  }
  report({ ready: node.address });
  return node;
}
