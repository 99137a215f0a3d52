import type { MemberMachine } from "../mesh/member-machine.js";
import type { MessagingChannels } from "../messaging/messaging-channel.js";
import type { Peers } from "./peers.js";

/** What a node holds at this moment, and what it has sent and received. See `MeshNode.stats`. */
export interface NodeStats {
  /** How many peers have a link in each state. */
  readonly links: { readonly waiting: number; readonly up: number; readonly broken: number };
  /** Bytes of messages and other frames that native peers have not acknowledged, or that wait for them. */
  readonly queuedBytes: number;
  /** Requests without a reply: this node's own, and those of peers that are in work here. */
  readonly requests: { readonly pending: number; readonly served: number };
  /** Open streams. */
  readonly streams: number;
  /**
   * Messages since the start: given to the links of peers, a broadcast once for each, and received from them. Requests and
   * streams are none.
   */
  readonly messages: { readonly sent: number; readonly received: number };
  /** How often a native link has got a new connection. */
  readonly reconnects: number;
  /** Bytes given to connections since the start, before any encryption. */
  readonly sentBytes: number;
  /** Bytes received on connections since the start, after any decryption. */
  readonly receivedBytes: number;
  /** The round trip of each native link whose connection has measured one, in milliseconds, by the peer's address. */
  readonly roundTripMs: Readonly<Record<string, number>>;
}

export function statsOf(
  machine: MemberMachine<unknown>,
  peers: Peers,
  { channels }: MessagingChannels,
  totals: Pick<NodeStats, "messages" | "reconnects" | "sentBytes" | "receivedBytes">,
): NodeStats {
  const links = { waiting: 0, up: 0, broken: 0 };
  for (const { state } of peers.all) links[state] += 1;
  const requests = { pending: 0, served: 0 };
  const roundTripMs: Record<string, number> = {};
  let [queuedBytes, streams] = [0, 0];
  for (const { peer, waitingBytes, underWay } of channels) {
    const link = machine.nativeLink(peer as `${string}:${number}`);
    queuedBytes += waitingBytes + (link?.unacknowledgedBytes ?? 0);
    requests.pending += underWay.pending;
    requests.served += underWay.served;
    streams += underWay.streams;
    if (link?.roundTripMs !== undefined) roundTripMs[peer] = link.roundTripMs;
  }
  return { links, queuedBytes, requests, streams, ...totals, roundTripMs };
}
