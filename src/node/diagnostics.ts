import { type Channel, channel, type TracingChannel, tracingChannel } from "node:diagnostics_channel";
import { type NodeEvent, nodeEventNames } from "./events.js";

/**
 * Channels of `node:diagnostics_channel`, for tracers such as OpenTelemetry; docs/api.md names them. For those that nobody
 * subscribes to nothing is made.
 */

/** What happens too often for a channel of its own. */
const frequent: ReadonlySet<string> = new Set(["message", "bytes"]);

/** By the type of the event. They are kept here, because a channel that nobody refers to may be collected. */
const channels: ReadonlyMap<string, Channel> = new Map(
  nodeEventNames.filter((type) => !frequent.has(type)).map((type) => [type, channel(`fullmesh:${type}`)]),
);

/** Publishes an event of a node as `{ node, event }`. */
export function publishEvent(node: object, event: NodeEvent): void {
  const found = channels.get(event.type);
  if (found?.hasSubscribers === true) found.publish({ node, event });
}

/** A request, as tracers see it. Its `result` or `error` is added at its end. */
interface TracedRequest {
  /** The address of the other end. */
  readonly peer: string;
  readonly topic: string;
}

type RequestChannel = TracingChannel<unknown, TracedRequest>;

/** Requests of this node, from the question to the reply. */
export const requestChannel: RequestChannel = tracingChannel("fullmesh:request");

/** Requests of peers, while a handler works on them. */
export const handlerChannel: RequestChannel = tracingChannel("fullmesh:handler");

/** Whether anybody subscribes to any part of it. */
export function isTraced({ start, end, asyncStart, asyncEnd, error }: RequestChannel): boolean {
  const isSync = start.hasSubscribers || end.hasSubscribers || error.hasSubscribers;
  return isSync || asyncStart.hasSubscribers || asyncEnd.hasSubscribers;
}

/** Runs a request within the channel, so that what it calls runs in the context of the tracer. */
export async function traced<Result>(
  tracing: RequestChannel,
  { peer, topic }: TracedRequest,
  run: () => Promise<Result>,
): Promise<Result> {
  // The types of Node 20 leave the result out.
  return await (tracing.tracePromise(run, { peer, topic }) as unknown as Promise<Result>);
}
