import { functionOption, listenOption } from "../api/options.js";
import { type WaitOptions, waitFor } from "../api/waiting.js";
import { MeshNode } from "./mesh-node.js";
import type { NodeOptions } from "./options.js";

/** Options of `join`: those of the node, where it listens, and how long joining may take. */
export interface JoinOptions extends NodeOptions, WaitOptions {
  /**
   * `ip:port`. Default: the address by which this machine reaches the server, and any free port. A node that has been given
   * neither this nor `advertise` follows its machine to another address: it listens and registers there anew.
   */
  readonly listen?: string;
  /**
   * Called with the new node before it connects: what it listens for, handles or subscribes to here misses nothing. `join`
   * waits for it, within its own bounds, and fails with what it throws.
   */
  readonly setup?: (node: MeshNode) => void | Promise<void>;
}

/**
 * Joins the mesh of the server at `host:port`, and resolves when the server has taken the new node in.
 *
 * @throws {FullmeshError} `SERVER_UNREACHABLE`, `PORT_IN_USE`, `NOT_OUR_ADDRESS`, `REFUSED`, `SERVER_VANISHED`,
 *   `BAD_OPTION`, `BAD_SECRET`, `INSECURE_LISTEN`, `ABORTED`, `TIMED_OUT`
 */
export async function join(server: string, options: JoinOptions = {}): Promise<MeshNode> {
  const node = new MeshNode(options);
  await joinWith(node, server, options);
  return node;
}

/** Takes the steps of `join` with a node whose events somebody listens to already. Leaves if a step fails. */
export async function joinWith(node: MeshNode, server: string, options: JoinOptions): Promise<void> {
  const { setup, listen } = options;
  const wanted = listen === undefined ? undefined : listenOption("listen", listen);
  if (setup !== undefined) functionOption("setup", setup);
  const steps = async (): Promise<void> => {
    await setup?.(node);
    await node.connectToServer(server);
    if (wanted === undefined) await node.initListeningSocket();
    else await node.initListeningSocket(wanted.host, wanted.port);
    await node.sockListen();
    await node.registerWithServer();
  };
  const missing = (): string =>
    node.address === undefined ? `no connection to ${server}` : `${server} has not taken in ${node.address}`;
  try {
    // One bound for all the steps together.
    await waitFor(steps(), options, missing);
  } catch (error) {
    await node.leave();
    throw error;
  }
}
