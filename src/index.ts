/**
 * fullmesh: introduces processes to one another and gives them exactly one connection between every pair.
 *
 * @packageDocumentation
 */

export type { Logger } from "./api/log.js";
export type { WaitOptions } from "./api/waiting.js";
export { type ErrorCode, FullmeshError, type LogLevel } from "./core/errors.js";
export { defaultLimits, type Limits } from "./core/limits.js";
export type { CompletenessReport, Direction } from "./mesh/types.js";
export type { Claim, ClaimOptions, HeldKey } from "./node/claims.js";
export type { GatherOptions, GroupOptions } from "./node/collectives.js";
export {
  type Contract,
  defineContract,
  type RequestSchemas,
  type SchemaIssue,
  type SchemaResult,
  type StandardSchema,
  type,
} from "./node/contract.js";
export type { Degradation, Member, Message, NodeEvent, NodeEvents, Peer, ReceivedBytes } from "./node/events.js";
export type { GangPlace } from "./node/gang.js";
export { type JoinOptions, join } from "./node/join.js";
export { type LoopOptions, MeshNode } from "./node/mesh-node.js";
export type { MeshStream } from "./node/mesh-stream.js";
export type { SkippedPeer } from "./node/messages.js";
export type { NodeOptions } from "./node/options.js";
export { RemoteError } from "./node/remote-errors.js";
export type { RequestContext, RequestHandler } from "./node/request-handlers.js";
export type { RequestOptions, RequestOutcome } from "./node/requests.js";
export type { NodeStats } from "./node/stats.js";
export type { StreamContext, StreamHandler } from "./node/streams.js";
export { makeSecret } from "./nodejs/secret.js";
export type { Address } from "./protocol/address.js";
export type { Dialect, Id, Meta } from "./protocol/directory.js";
export type { LinkStage, MissingPair } from "./protocol/missing-pair.js";
export type {
  ClaimStatus,
  Departure,
  EndReport,
  LinkCounts,
  MemberState,
  MemberStatus,
  MeshStatus,
  PairEnd,
  PairStatus,
  ServerStatus,
} from "./protocol/status.js";
export type { OnFull } from "./rendezvous/types.js";
export type { LogRecord } from "./runtime/log-rate-limiter.js";
export { type TraceRecord, toSequenceDiagram } from "./runtime/trace.js";
export type { ServerEvents } from "./server/events.js";
export type { ServeOptions, ServerOptions, StoreOptions } from "./server/options.js";
export { type ListeningServer, RendezvousServer, serve } from "./server/rendezvous-server.js";
export { type SiblingsOptions, siblings } from "./siblings/siblings.js";
