import { Exposition, type MetricFamily } from "../api/exposition.js";
import type { LoopDelayFigures } from "../api/loop-delay.js";
import type { Histogram } from "../core/histogram.js";
import type { NodeStats } from "./stats.js";

/** What the figures of a node are made of. */
export interface NodeFigures extends NodeStats {
  readonly mesh: string;
  readonly members: number;
  /** This node has a session with the server. */
  readonly isServed: boolean;
  /** Keys that it holds. */
  readonly claims: number;
  /** Round trips to peers in milliseconds; undefined in a classic node, which measures none. */
  readonly roundTrips: Histogram | undefined;
  readonly loopDelay: LoopDelayFigures;
}

/** Every series of `MeshNode.metrics`, by its name. docs/deploy.md prints this table. */
export const nodeMetrics = {
  fullmesh_node_members: { type: "gauge", help: "Members that the newest directory lists, this one included." },
  fullmesh_node_server_connected: {
    type: "gauge",
    help: "1 while the member has a session with its server, otherwise 0.",
  },
  fullmesh_node_links: { type: "gauge", help: "Links with peers, by state: waiting, up or broken." },
  fullmesh_node_reconnects_total: { type: "counter", help: "How often a link has got a new connection." },
  fullmesh_node_messages_sent_total: {
    type: "counter",
    help: "Messages given to the links of peers, a broadcast once for each.",
  },
  fullmesh_node_messages_received_total: { type: "counter", help: "Messages received from peers." },
  fullmesh_node_sent_bytes_total: { type: "counter", help: "Bytes that the member has sent, before any encryption." },
  fullmesh_node_received_bytes_total: { type: "counter", help: "Bytes that it has received." },
  fullmesh_node_queued_bytes: {
    type: "gauge",
    help: "Bytes that peers have not acknowledged, or that wait for them.",
  },
  fullmesh_node_requests_pending: { type: "gauge", help: "Requests of the member that have no reply yet." },
  fullmesh_node_requests_served: { type: "gauge", help: "Requests of peers that are in work here." },
  fullmesh_node_streams: { type: "gauge", help: "Open streams." },
  fullmesh_node_claims: { type: "gauge", help: "Keys that the member holds." },
  fullmesh_node_round_trip_seconds: {
    type: "histogram",
    help: "Round trips to peers, as pings on idle connections and beside streams have measured them.",
  },
  fullmesh_node_event_loop_delay_seconds: {
    type: "gauge",
    help: "How late callbacks were, by stat: mean, p99 or max.",
  },
} as const satisfies Record<string, MetricFamily>;

/** The figures in the text format of Prometheus. */
export function nodeMetricsText(figures: NodeFigures): string {
  const { mesh, links, requests, messages, roundTrips, loopDelay } = figures;
  const text = new Exposition(nodeMetrics);
  text.add("fullmesh_node_members", figures.members, { mesh });
  text.add("fullmesh_node_server_connected", figures.isServed ? 1 : 0, { mesh });
  for (const [state, count] of Object.entries(links)) text.add("fullmesh_node_links", count, { mesh, state });
  text.add("fullmesh_node_reconnects_total", figures.reconnects, { mesh });
  text.add("fullmesh_node_messages_sent_total", messages.sent, { mesh });
  text.add("fullmesh_node_messages_received_total", messages.received, { mesh });
  text.add("fullmesh_node_sent_bytes_total", figures.sentBytes, { mesh });
  text.add("fullmesh_node_received_bytes_total", figures.receivedBytes, { mesh });
  text.add("fullmesh_node_queued_bytes", figures.queuedBytes, { mesh });
  text.add("fullmesh_node_requests_pending", requests.pending, { mesh });
  text.add("fullmesh_node_requests_served", requests.served, { mesh });
  text.add("fullmesh_node_streams", figures.streams, { mesh });
  text.add("fullmesh_node_claims", figures.claims, { mesh });
  if (roundTrips !== undefined) text.addHistogram("fullmesh_node_round_trip_seconds", roundTrips, 1_000, { mesh });
  for (const [stat, seconds] of Object.entries(loopDelay)) {
    text.add("fullmesh_node_event_loop_delay_seconds", seconds, { mesh, stat });
  }
  return text.text;
}
