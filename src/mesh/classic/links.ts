import type { ConnectionId } from "../../core/connections.js";
import type { KeyedTimers, Timers } from "../../core/timers.js";
import type { Address } from "../../protocol/address.js";
import type { Connections } from "../connections.js";
import type { Direction } from "../types.js";

/** The edge of the mesh between this node and one peer, over one connection. */
export interface ClassicLink {
  readonly peer: Address;
  readonly connection: ConnectionId;
  readonly direction: Direction;
  /** Payload that waits until the peer has surely understood our hello. */
  held: Uint8Array[];
  heldBytes: number;
  isHolding: boolean;
  /** True while something written has not left this process. */
  isUnflushed: boolean;
}

/**
 * The links that are up, at most one for each peer. After the hello a link is a pipe of bytes.
 *
 * The dialing side holds its first payload for a while, so that a simple reader does not find it in one piece with the
 * hello. Where our own port could be the beginning of a longer one, that while exceeds the reader's quiet period, because a
 * payload that begins with a digit would else be read as part of the port.
 */
export class ClassicLinks {
  readonly #connections: Pick<Connections, "send">;
  readonly #links = new Map<Address, ClassicLink>();
  readonly #pauses: KeyedTimers<ClassicLink>;

  /** `released` is called when a pause is over, and what was held has gone out. */
  constructor(
    connections: Pick<Connections, "send">,
    timers: Timers,
    released: (link: ClassicLink, now: number) => void,
  ) {
    this.#connections = connections;
    this.#pauses = timers.keyed((link, now) => {
      this.release(link);
      released(link, now);
    });
  }

  get all(): Iterable<ClassicLink> {
    return this.#links.values();
  }

  has(peer: Address): boolean {
    return this.#links.has(peer);
  }

  get(peer: Address): ClassicLink | undefined {
    return this.#links.get(peer);
  }

  /** A link is up. With `holdUntil`, payload waits until then. */
  add(peer: Address, connection: ConnectionId, direction: Direction, holdUntil?: number): ClassicLink {
    const link: ClassicLink = {
      peer,
      connection,
      direction,
      held: [],
      heldBytes: 0,
      isHolding: holdUntil !== undefined,
      isUnflushed: false,
    };
    this.#links.set(peer, link);
    if (holdUntil !== undefined) this.#pauses.set(link, holdUntil);
    return link;
  }

  remove(link: ClassicLink): void {
    this.#pauses.clear(link);
    if (this.#links.get(link.peer) === link) this.#links.delete(link.peer);
  }

  write(link: ClassicLink, bytes: Uint8Array): void {
    link.isUnflushed = true;
    if (link.isHolding) {
      link.held.push(bytes);
      link.heldBytes += bytes.length;
    } else this.#connections.send(link.connection, bytes);
  }

  /** Lets go what a link holds, now. */
  release(link: ClassicLink): void {
    this.#pauses.clear(link);
    link.isHolding = false;
    for (const bytes of link.held) this.write(link, bytes);
    link.held = [];
    link.heldBytes = 0;
  }
}
