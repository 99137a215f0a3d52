import { Exposition, type MetricFamily } from "../../api/exposition.js";
import type { LoopDelayFigures } from "../../api/loop-delay.js";
import type { MeshStatus } from "../../protocol/status.js";
import type { MeshCounters } from "../mesh-counters.js";

/** What the figures of a server are made of. */
export interface ServerFigures {
  /** One for each mesh. */
  readonly meshes: readonly MeshStatus[];
  readonly counters: MeshCounters;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly loopDelay: LoopDelayFigures;
  /** Of the store that the server shares with others, if it has one. */
  readonly store: StoreFigures | undefined;
}

export interface StoreFigures {
  /** It has been read, and what this server writes comes back. */
  readonly isThere: boolean;
  readonly requests: number;
  readonly failures: number;
  /** How long ago the newest sign of life of this server was written that has come back. */
  readonly beatAgeMs: number;
  /** Other servers that share it. */
  readonly others: number;
}

/** Every series, by its name. docs/deploy.md prints this table. */
export const serverMetrics = {
  fullmesh_info: { type: "gauge", help: "Always 1; the label version names the version of this program." },
  fullmesh_start_time_seconds: { type: "gauge", help: "When the server started, in seconds since the epoch." },
  fullmesh_connections: { type: "gauge", help: "Open connections of the server, whoever is at their other ends." },
  fullmesh_members: { type: "gauge", help: "Members that the directory lists." },
  fullmesh_suspects: { type: "gauge", help: "Those of them without a session." },
  fullmesh_waiting: { type: "gauge", help: "Newcomers in the waiting line." },
  fullmesh_links_expected: { type: "gauge", help: "Pairs of members." },
  fullmesh_links_up: { type: "gauge", help: "Pairs that are linked, by the reports of every end that can report." },
  fullmesh_links_missing: { type: "gauge", help: "Pairs that are not, pairs of classic members included." },
  fullmesh_complete: { type: "gauge", help: "1 if the mesh is complete, otherwise 0." },
  fullmesh_claims: { type: "gauge", help: "Keys that members hold." },
  fullmesh_joins_total: {
    type: "counter",
    help: "Members that were let in, without those that were there before this server.",
  },
  fullmesh_departures_total: { type: "counter", help: "Members that have gone, by type: left or lost." },
  fullmesh_refusals_total: { type: "counter", help: "Connections and registrations that were refused, by code." },
  fullmesh_store_up: {
    type: "gauge",
    help: "With a store: 1 while what the server writes comes back from it, otherwise 0.",
  },
  fullmesh_store_requests_total: { type: "counter", help: "Requests to the store." },
  fullmesh_store_failures_total: { type: "counter", help: "Those of them that failed, or were not answered in time." },
  fullmesh_store_beat_age_seconds: {
    type: "gauge",
    help: "How long ago the newest sign of life of the server was written that has come back from the store.",
  },
  fullmesh_other_servers: { type: "gauge", help: "Other servers that share the store and are there." },
  fullmesh_sent_bytes_total: { type: "counter", help: "Bytes that the server has sent, before any encryption." },
  fullmesh_received_bytes_total: { type: "counter", help: "Bytes that it has received." },
  fullmesh_event_loop_delay_seconds: { type: "gauge", help: "How late callbacks were, by stat: mean, p99 or max." },
} as const satisfies Record<string, MetricFamily>;

type MetricName = keyof typeof serverMetrics;

/** The figures in the text format of Prometheus, version 0.0.4. */
export function serverMetricsText(figures: ServerFigures): string {
  const text = new Exposition(serverMetrics);
  const [first] = figures.meshes;
  if (first !== undefined) addServer(first, text);
  for (const [mesh, gauges] of gaugesByLabel(figures)) {
    for (const [name, value] of Object.entries(gauges)) text.add(name as MetricName, value, { mesh });
  }
  for (const [mesh, { joined, left, lost }] of figures.counters.all) {
    text.add("fullmesh_joins_total", joined, { mesh });
    text.add("fullmesh_departures_total", left, { mesh, type: "left" });
    text.add("fullmesh_departures_total", lost, { mesh, type: "lost" });
  }
  if (figures.store !== undefined) addStore(figures.store, text);
  text.add("fullmesh_sent_bytes_total", figures.sentBytes);
  text.add("fullmesh_received_bytes_total", figures.receivedBytes);
  for (const [stat, seconds] of Object.entries(figures.loopDelay)) {
    text.add("fullmesh_event_loop_delay_seconds", seconds, { stat });
  }
  return text.text;
}

function addServer({ server }: MeshStatus, text: Exposition<MetricName>): void {
  text.add("fullmesh_info", 1, { version: server.version });
  text.add("fullmesh_start_time_seconds", server.startedAt / 1000);
  text.add("fullmesh_connections", server.connections);
  for (const [code, count] of Object.entries(server.refusals)) text.add("fullmesh_refusals_total", count, { code });
}

function addStore(
  { isThere, requests, failures, beatAgeMs, others }: StoreFigures,
  text: Exposition<MetricName>,
): void {
  text.add("fullmesh_store_up", isThere ? 1 : 0);
  text.add("fullmesh_store_requests_total", requests);
  text.add("fullmesh_store_failures_total", failures);
  text.add("fullmesh_store_beat_age_seconds", beatAgeMs / 1000);
  text.add("fullmesh_other_servers", others);
}

/** The gauges of all meshes, by label. */
function gaugesByLabel({ meshes, counters }: ServerFigures): Map<string, Record<string, number>> {
  const sums = new Map<string, Record<string, number>>();
  for (const status of meshes) {
    const label = counters.labelOf(status.mesh);
    const sum = sums.get(label) ?? {};
    for (const [name, value] of Object.entries(gaugesOf(status))) sum[name] = (sum[name] ?? 0) + value;
    sums.set(label, sum);
  }
  return sums;
}

function gaugesOf({ members, links, complete, claims }: MeshStatus): Record<string, number> {
  const inState = (state: string): number => members.filter((member) => member.state === state).length;
  return {
    fullmesh_members: members.filter(({ rank }) => rank !== null).length,
    fullmesh_suspects: inState("suspect"),
    fullmesh_waiting: inState("waiting"),
    fullmesh_links_expected: links.expected,
    fullmesh_links_up: links.up,
    fullmesh_links_missing: links.expected - links.up,
    fullmesh_complete: complete ? 1 : 0,
    fullmesh_claims: claims.length,
  } satisfies Partial<Record<MetricName, number>>;
}
