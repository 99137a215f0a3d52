/**
 * fullmesh: introduces processes to one another and gives them exactly one connection between every pair.
 *
 * @packageDocumentation
 */

export type { WaitOptions } from "./api/waiting.js";
export { type ErrorCode, FullmeshError, type LogEvent as Note, type LogLevel } from "./core/errors.js";
export { defaultLimits, type Limits } from "./core/limits.js";
export type { CompletenessReport as Completeness, Direction } from "./mesh/types.js";
export type { NodeChange as Change } from "./node/change-loops.js";
export type { Degradation, Message, NodeEvents, Peer } from "./node/events.js";
export { type JoinOptions, join } from "./node/join.js";
export { type LoopOptions, MeshNode } from "./node/mesh-node.js";
export type { MeshStream } from "./node/mesh-stream.js";
export type { SkippedPeer as Skipped } from "./node/messages.js";
export type { NodeOptions } from "./node/options.js";
export type { RequestContext as Inquiry, RequestHandler as Answerer } from "./node/request-handlers.js";
export type { RequestOptions, RequestOutcome as Outcome } from "./node/requests.js";
export type { StreamHandler as StreamTaker } from "./node/streams.js";
export type { Address } from "./protocol/address.js";
export type { Dialect, Id, Meta } from "./protocol/directory.js";
export type { OnFull } from "./rendezvous/types.js";
export type { LogRecord } from "./runtime/log-rate-limiter.js";
export { type TraceRecord, toSequenceDiagram } from "./runtime/trace.js";
export type { ServerEvents } from "./server/events.js";
export type { ServeOptions, ServerOptions } from "./server/options.js";
export { type ListeningServer, RendezvousServer, serve } from "./server/rendezvous-server.js";
