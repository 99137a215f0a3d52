import { keepStack, tracedFrom } from "../api/call-stack.js";
import { functionOption, listenArguments, listenOption, waitOption } from "../api/options.js";
import { waitWithin } from "../api/waiting.js";
import { nodeClock } from "../nodejs/clock.js";
import type { Contract } from "./contract.js";
import { environmentOf } from "./gang.js";
import { lifecycleOf, MeshNode } from "./mesh-node.js";
import type { NodeOptions } from "./options.js";

/** Options of `join`: those of the node, where it listens, and how long joining may take. */
export interface JoinOptions<C extends Contract = Contract> extends NodeOptions<C> {
  /** Ends the joining with `ABORTED`. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Milliseconds after which the joining ends with `TIMED_OUT`, default 30,000; `Infinity` is allowed. The time that the node
   * stands in the waiting line of a full mesh does not count; in the classic dialect, which does not tell of it, it does.
   */
  readonly timeoutMs?: number | undefined;
  /**
   * `ip:port`. Default: the address by which this machine reaches the server, and any free port. A node that has been given
   * neither this nor `advertise` follows its machine to another address: it listens and registers there anew.
   */
  readonly listen?: string;
  /**
   * Called with the new node before it connects: what it listens for, handles or subscribes to here misses nothing. `join`
   * waits for it, within its own bounds, and fails with what it throws.
   */
  readonly setup?: (node: MeshNode<C>) => void | Promise<void>;
}

/** For how long `join` looks for the server. */
export const joinTimeoutMs = 30_000;

/**
 * Joins the mesh of the server at `host:port`, and resolves when the server has taken the new node in. A server that is not
 * there yet, or goes meanwhile, is looked for, after ever longer pauses of at most 1 s: see `timeoutMs`.
 *
 * The server may have several addresses, as an array or in one string, between commas: they are dialed in turn, here and
 * whenever the session with the server is lost. They must lead to one server, or to servers with one log: two servers that
 * know nothing of one another are two meshes. An address where no server of this mesh answers (another secret, another
 * protocol) is passed over unless all are like that; a refusal by a server ends the joining.
 *
 * Without an address the environment says where and as whom: `FULLMESH_SERVER`, `FULLMESH_MESH`, `FULLMESH_SECRET`, and in
 * a gang, as `fullmesh run` starts it, `FULLMESH_RANK` and `FULLMESH_SIZE`. Options win over it.
 *
 * @throws {FullmeshError} `TIMED_OUT`, whose `cause` says why each address has failed; `REFUSED`, `PORT_IN_USE`,
 *   `NOT_OUR_ADDRESS`, `BAD_OPTION`, `BAD_SECRET`, `INSECURE_LISTEN`, `ABORTED`, and what shows that the server has another
 *   secret or none, or is no server: `SECRET_MISMATCH`, `SECRET_NOT_USED`, `WRONG_IDENTITY`, `SECRET_UNPROVED`, `BAD_PREFACE`, `VERSION_MISMATCH`
 */
export async function join<C extends Contract = Contract>(
  server: string | readonly string[],
  options?: JoinOptions<C>,
): Promise<MeshNode<C>>;
export async function join<C extends Contract = Contract>(options?: JoinOptions<C>): Promise<MeshNode<C>>;
export async function join<C extends Contract>(
  server?: string | readonly string[] | JoinOptions<C>,
  more: JoinOptions<C> = {},
): Promise<MeshNode<C>> {
  return await tracedFrom(join, async () => {
    if (isOptions(server)) {
      const from = environmentOf(process.env);
      return await joinAt(from.server, { ...from.options, ...(server ?? more) });
    }
    return await joinAt(server, more);
  });
}

function isOptions<C extends Contract>(
  server: string | readonly string[] | JoinOptions<C> | undefined,
): server is JoinOptions<C> | undefined {
  return server === undefined || (typeof server === "object" && !Array.isArray(server));
}

async function joinAt<C extends Contract>(
  server: string | readonly string[],
  options: JoinOptions<C>,
): Promise<MeshNode<C>> {
  const node = new MeshNode<C>(options);
  await joinWith(node, server, options);
  return node;
}

/** Takes the steps of `join` with a node whose events somebody listens to already. Leaves if a step fails. */
export async function joinWith<C extends Contract>(
  node: MeshNode<C>,
  server: string | readonly string[],
  options: JoinOptions<C>,
): Promise<void> {
  const { setup, listen, signal } = options;
  const timeoutMs = waitOption("timeoutMs", options.timeoutMs ?? joinTimeoutMs);
  const wanted = listen === undefined ? undefined : listenOption("listen", listen);
  if (setup !== undefined) functionOption("setup", setup);
  const startedAt = nodeClock.now();
  const steps = async (): Promise<void> => {
    if (setup !== undefined) await waitWithin(prepare(node, setup), { timeoutMs }, () => "`setup` has not finished");
    // What `setup` has taken is not there for the server; the machine counts the rest, but for the waiting line.
    const lookMs = setup === undefined ? timeoutMs : Math.max(0, timeoutMs - (nodeClock.now() - startedAt));
    if (wanted !== undefined) {
      const [at, port] = listenArguments(wanted);
      await node.initListeningSocket(at, port);
    }
    await lifecycleOf(node).connectToServer(server, {}, lookMs);
    if (wanted === undefined) await node.initListeningSocket();
    await node.sockListen();
    await node.registerWithServer();
  };
  const name = [server].flat().join(" or ");
  const missing = (): string =>
    node.address === undefined ? `no connection to ${name}` : `${name} has not taken in ${node.address}`;
  try {
    await waitWithin(steps(), { signal }, missing);
  } catch (error) {
    await node.leave();
    throw error;
  }
}

async function prepare<Node>(node: Node, setup: (node: Node) => void | Promise<void>): Promise<void> {
  try {
    await setup(node);
  } catch (error) {
    throw keepStack(error);
  }
}
