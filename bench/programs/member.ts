import { join, MeshNode } from "fullmesh";
import { parametersOf, tell } from "./program.js";

/** What every program that takes part in a mesh is told. */
interface Membership {
  readonly server: string;
  readonly secret?: string;
  /** Where others are to reach this member instead of where it listens. */
  readonly advertise?: string;
}

/** Joins the mesh of the server that the program was given, and says so. */
export async function enter(): Promise<MeshNode> {
  const { server, secret, advertise } = parametersOf<Membership>();
  const keyed = secret === undefined ? {} : { secret };
  const node = advertise === undefined ? await join(server, keyed) : new MeshNode({ ...keyed, advertise });
  if (advertise !== undefined) {
    // The relay in between has to be told where this member listens before the server looks for it there.
    await node.connectToServer(server);
    await node.initListeningSocket("127.0.0.1", 0);
    tell({ listening: await node.sockListen() });
    await node.registerWithServer();
  }
  tell({ ready: node.address });
  return node;
}
