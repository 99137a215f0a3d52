import { EventEmitter } from "node:events";
import { fromCaller, tracedFrom } from "../api/call-stack.js";
import { integerOption, refuseUnknown, refuseUnknownEvents, requireOptions, signalOption } from "../api/options.js";
import type { WaitOptions } from "../api/waiting.js";
import type { Endpoint } from "../core/connections.js";
import type { Address } from "../protocol/address.js";
import type { Claim, ClaimOptions, HeldKey } from "./claims.js";
import type { GatherOptions, GroupOptions } from "./collectives.js";
import type {
  Contract,
  MessagePayload,
  MessageTopic,
  PayloadArguments,
  Reply,
  RequestPayload,
  RequestTopic,
  SentPayload,
  SentReply,
  SentRequest,
  StreamTopic,
} from "./contract.js";
import { type Member, type Message, type NodeEvent, type NodeEvents, nodeEventNames, type Peer } from "./events.js";
import type { Lifecycle } from "./lifecycle.js";
import type { MeshStream } from "./mesh-stream.js";
import type { SkippedPeer } from "./messages.js";
import { NodeRuntime } from "./node-runtime.js";
import type { NodeOptions } from "./options.js";
import type { PeerName } from "./peers.js";
import type { RequestHandler } from "./request-handlers.js";
import { noOptions, type RequestOptions, type RequestOutcome } from "./requests.js";
import type { NodeStats } from "./stats.js";
import type { StreamHandler } from "./streams.js";

/** The steps of a node, for `join`: it looks for a server that is not there. */
export let lifecycleOf: <C extends Contract>(node: MeshNode<C>) => Lifecycle;

/** How long a loop goes on. */
export interface LoopOptions {
  /** Ends the loop with `ABORTED`. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * A member of a mesh. Its steps can be taken one by one, with any pause between: `connectToServer`, `initListeningSocket`,
 * `sockListen`, `registerWithServer`, `start`. `join` takes them in a row. A peer is named by its address, by its
 * name, or by a `Peer` of `peers` or of an event, which stands for one incarnation. `C` is the type of its contract; without
 * one topics are any strings, and payloads and replies are `unknown`.
 */
export class MeshNode<C extends Contract = Contract> extends EventEmitter<NodeEvents> {
  /** The name of the mesh. */
  readonly mesh: string;
  readonly #runtime: NodeRuntime;

  static {
    lifecycleOf = (node) => node.#runtime.steps;
  }

  /** Throws `BAD_OPTION` for an option with a value that it cannot take. */
  constructor(options: NodeOptions<C> = {}) {
    super();
    refuseUnknownEvents(this as EventEmitter, nodeEventNames);
    this.#runtime = new NodeRuntime(this, options);
    this.mesh = this.#runtime.mesh;
  }

  /** The address that this node has registered; undefined before it has. */
  get address(): Address | undefined {
    return this.#runtime.machine.own;
  }

  /** All members that the directory lists, this node included, in join order. */
  get members(): readonly Member[] {
    return this.#runtime.peers.members;
  }

  /**
   * This node's place in the newest list, 0 for the oldest; -1 while no list names it. In a gang it is the rank that the node
   * was given, for life: that is also its place in the list, as long as no copy has been restarted.
   */
  get rank(): number {
    return this.#runtime.events.rank;
  }

  /**
   * The oldest member that the server has heard within one lease (20 s), as the server has said last; in the classic dialect,
   * the first of the list. Undefined before this node is a member, after the end, and once this node has not heard the server
   * for one lease. So a leader that is killed is passed over at once, and one that hangs or is cut off within one lease; it
   * knows as soon as it runs. A hint and no lock: for a moment two members may each believe that they lead. What must not
   * be done twice is claimed, or guarded by the resource with `order` as a fencing token.
   */
  get leader(): Member | undefined {
    return this.#runtime.machine.leader;
  }

  /**
   * This incarnation's order: unique in the mesh, and larger than that of every member that joined before, so it can be
   * handed to a resource as a fencing token. Null before it is known, and in a classic node.
   */
  get order(): number | null {
    return this.#runtime.machine.self?.order ?? null;
  }

  /** The id of this incarnation; undefined before it is a member, and in a classic node. */
  get id(): string | undefined {
    return this.#runtime.machine.self?.id;
  }

  /** The other members, in join order, each with the state of the link with it. */
  get peers(): readonly Peer[] {
    return this.#runtime.peers.all;
  }

  /**
   * Connects to the rendezvous server at `host:port`, or at the first of several such addresses that answers. Resolves with this machine's end of the connection. After
   * `SERVER_UNREACHABLE` it may be called again; an attempt that is no longer waited for goes on until `leave`.
   *
   * @throws {FullmeshError} `SERVER_UNREACHABLE`, `BAD_OPTION`, `ABORTED`, `TIMED_OUT`
   */
  async connectToServer(server: string | readonly string[], wait: WaitOptions = {}): Promise<Endpoint> {
    return await this.#runtime.steps.connectToServer(server, wait);
  }

  /**
   * Checks and keeps the address to listen on. Node cannot bind without listening, so a port in use shows later. Without an
   * address it is the one by which this machine reaches the server, also when that changes, and any free port; or a new local
   * socket beside that of the server. `at` is an IP, or a local socket such as `unix:/run/app/a.sock`, which has no port.
   */
  async initListeningSocket(at?: string, port = 0): Promise<void> {
    this.#runtime.steps.initListeningSocket(at, port);
  }

  /**
   * Listens. Resolves with the address, in which port 0 has become a real one.
   *
   * @throws {FullmeshError} `PORT_IN_USE`, `NOT_OUR_ADDRESS`, `LISTEN_FAILED`, `WRONG_STEP`; on a local socket `PATH_IN_USE`, `UNSAFE_FOLDER`
   */
  async sockListen(): Promise<Address> {
    const address = await this.#runtime.steps.sockListen();
    this.#runtime.events.emit({ type: "listening", address });
    return address;
  }

  /**
   * Registers, and resolves when a list names this node, which is the only answer that the classic dialect has. In a full
   * mesh that holds newcomers in line, that is when a slot has become free.
   *
   * @throws {FullmeshError} `REFUSED`, `SERVER_VANISHED`, `SERVER_UNREACHABLE`, `WRONG_STEP`, `ABORTED`, `TIMED_OUT`
   */
  async registerWithServer(wait: WaitOptions = {}): Promise<void> {
    await this.#runtime.steps.registerWithServer(wait);
  }

  /** Settles as `start` does, whenever it is asked for. A rejection that nobody waits for is no unhandled one. */
  get closed(): Promise<string> {
    return this.#runtime.steps.closed;
  }

  /**
   * The last step: resolves with the reason when the mesh has ended for this node and every connection is closed.
   *
   * @throws {FullmeshError} `INCOMPLETE` if the mesh has not become whole in time, `SERVER_VANISHED`, `REFUSED`,
   *   `LIST_TOO_LONG`, `WRONG_STEP`
   */
  async start(): Promise<string> {
    return await this.#runtime.steps.start();
  }

  /**
   * Resolves when the mesh is whole and has `size` members or more: all have a session with the server, every pair is linked,
   * and both ends have said so. Without `timeoutMs` it waits as long as the node is a member, and logs once, after 10 s, what
   * is missing. A mesh that ends at its capacity is whole at that only. To a classic node nobody says so; it
   * speaks for its own links.
   *
   * @throws {FullmeshError} `TIMED_OUT` and `ABORTED`, naming the pairs that are missing and why; `ENDED`, `INCOMPLETE`
   */
  async complete(options: WaitOptions & { readonly size?: number } = {}): Promise<void> {
    await tracedFrom(this.complete, async () => {
      requireOptions(options, "{ size: 3 }");
      refuseUnknown(options, ["size", "signal", "timeoutMs"]);
      const { size = 1, ...wait } = options;
      integerOption("size", size, 1);
      this.#runtime.context.requireRunning();
      await this.#runtime.completion.wait(size, wait);
    });
  }

  /**
   * Claims a key, and resolves when this node alone of the mesh holds it. Those that wait for a key get it in the order of
   * their claims. The key is free again when its holder releases it or leaves, and 10 s after the server has last heard a
   * holder that was killed, hangs or is cut off; `claim.signal` of such a holder is aborted at least 3 s before that, as
   * soon as its process runs. A server that starts grants nothing for 10 s. A node has 256 claims at most, held or waited
   * for. `signal` and `timeoutMs` end the wait.
   *
   * @throws {FullmeshError} `CLAIMED` and `CLAIMS_UNSETTLED` with `wait: false`; `TOO_MANY_CLAIMS`, `TOO_MANY_WAITING`,
   *   `WRONG_DIALECT`, `BAD_OPTION`, `ABORTED`, `TIMED_OUT`, `ENDED`
   */
  async claim(key: string, options: ClaimOptions = {}): Promise<Claim> {
    this.#runtime.context.requireRunning();
    return await this.#runtime.claims.claim(key, options);
  }

  /** What this node holds at this moment, for metrics: links by state, what waits, requests and streams, round trips. */
  stats(): NodeStats {
    return this.#runtime.stats();
  }

  /**
   * The same figures, and round trips as a histogram and the delay of the event loop, in the text format of Prometheus: for the
   * answer to its scrape, with the content type `text/plain; version=0.0.4`. docs/deploy.md lists the series. No series is of
   * one peer, so their number does not grow with the mesh. The delay is measured from the first call on.
   */
  metrics(): string {
    return this.#runtime.metrics();
  }

  /** The keys that members hold, as far as this node knows: the server frees them later than their holders let go. */
  get claims(): readonly HeldKey[] {
    return this.#runtime.claims.all;
  }

  /**
   * Resolves when all members of a group have called it with this name: the ranks from 0 to `size` - 1, which in a gang are
   * all copies. The name can be used again for the next barrier. Without `timeoutMs` it waits as long as the members live.
   *
   * @throws {FullmeshError} `MEMBER_LOST`, naming the member of the group that has left or was lost before all had called;
   *   `TIMED_OUT`, naming those who have not; `ABORTED`; `WRONG_STEP` if this node waits at it already, or is not in the
   *   group; `BAD_OPTION`, also if others have called it with another size; `ENDED`
   */
  async barrier(name: string, options: GroupOptions = {}): Promise<void> {
    await this.#runtime.collectives.barrier(name, options);
  }

  /**
   * Resolves with the values of all members of a group, in rank order, when each has called it. It is a barrier as well; see
   * there for the group. Values are payloads of `send`. All of them together may have 1 MiB as they travel.
   *
   * @throws {FullmeshError} those of `barrier`; `MESSAGE_TOO_LARGE`, to all of them; `BAD_VALUE`
   */
  async allGather<Value = unknown>(value: Value, options: GatherOptions = {}): Promise<Value[]> {
    // What the others send is theirs to choose; the caller says what it relies on.
    return (await this.#runtime.collectives.allGather(value, options)) as Value[];
  }

  /**
   * Sends a message to one native peer. It is delivered once, in order, also when connections break, as long as both ends
   * live. A payload is bytes, a value (null, booleans, numbers, texts, dates, byte arrays, arrays and plain objects), or
   * nothing. Bytes below 4 KiB and values are copied; from 4 KiB on bytes are referenced until the peer has them, and must
   * not change. Returns false when the peer is behind (its connection takes less than is sent, or 4 MiB wait for its
   * program): go on after `drain`. Messages that wait for the peer are overtaken by requests and streams. `leave` waits for
   * what is under way on connections that are there, and not for one that is gone; `peer:down` counts what was not
   * acknowledged.
   *
   * @throws {FullmeshError} `QUEUE_FULL` above the hard limit (16 MiB), and takes nothing; `NOT_LINKED`, `UNKNOWN_PEER`,
   *   `AMBIGUOUS_PEER`, `PEER_GONE`, `CLASSIC_PEER`, `MESSAGE_TOO_LARGE` (1 MiB), `BAD_VALUE`, `BAD_OPTION`, `ENDED`
   */
  send<Topic extends MessageTopic<C>>(
    peer: PeerName,
    topic: Topic,
    ...payload: PayloadArguments<SentPayload<C, Topic>>
  ): boolean;
  send(peer: PeerName, topic: string, payload?: unknown): boolean {
    try {
      return this.#runtime.messages.send(peer, topic, payload);
    } catch (error) {
      throw fromCaller(error, this.send);
    }
  }

  /**
   * Sends a message to every other member that the directory lists; it is encoded once. Returns the peers that were left
   * out: `QUEUE_FULL` for those whose queue is full, of which `drain` tells, `NOT_LINKED` for those that are leaving or whose
   * link has ended, and `CLASSIC_PEER`. Payloads are those of `send`.
   *
   * @throws {FullmeshError} `MESSAGE_TOO_LARGE`, `BAD_VALUE`, `BAD_OPTION`, `ENDED`
   */
  broadcast<Topic extends MessageTopic<C>>(
    topic: Topic,
    ...payload: PayloadArguments<SentPayload<C, Topic>>
  ): readonly SkippedPeer[];
  broadcast(topic: string, payload?: unknown): readonly SkippedPeer[] {
    try {
      return this.#runtime.messages.broadcast(topic, payload);
    } catch (error) {
      throw fromCaller(error, this.broadcast);
    }
  }

  /**
   * Calls `listener` with each message of one topic from native peers, in order for each peer. What it throws reaches the
   * process as an uncaught exception, and keeps no other message back. Returns a function that removes the listener.
   *
   * @throws {FullmeshError} `BAD_OPTION`
   */
  onMessage<Topic extends MessageTopic<C>>(
    topic: Topic,
    listener: (message: Message<MessagePayload<C, Topic>>) => void,
  ): () => void {
    try {
      return this.#runtime.messages.listen(topic, listener as (message: Message) => void);
    } catch (error) {
      throw fromCaller(error, this.onMessage);
    }
  }

  /**
   * Loops over the messages of one topic, or of all without one, from now on, until `break` or the node's end. A message counts as taken when the
   * loop asks for it, so a slow loop slows down those who send (each may be 4 MiB ahead, all its topics together); one that
   * is made and not read stops them. Several loops may run; each gets all messages, and `message` is emitted as well.
   *
   * @throws {FullmeshError} `BAD_OPTION`; while looping, `ABORTED`
   */
  subscribe<Topic extends MessageTopic<C>>(
    topic: Topic,
    options?: LoopOptions,
  ): AsyncIterableIterator<Message<MessagePayload<C, Topic>>>;
  subscribe(topic?: undefined, options?: LoopOptions): AsyncIterableIterator<Message>;
  subscribe(topic?: string, options: LoopOptions = {}): AsyncIterableIterator<Message> {
    try {
      return this.#runtime.messages.loop(topic, loopSignal(options));
    } catch (error) {
      throw fromCaller(error, this.subscribe);
    }
  }

  /**
   * Asks one native peer, and resolves with the reply of its `onRequest` handler. Payload and reply are those of `send`. The request
   * waits while the connection is gone, and fails when the link ends; whether the peer has acted on it is not known then.
   *
   * @throws {FullmeshError} `NO_HANDLER`, `HANDLER_FAILED` or the code of the error that was thrown there, `OVERLOADED` (the
   *   peer works on 1,024 of ours), `TIMED_OUT` (30 s by default), `ABORTED`, `PEER_DOWN`; at once `NOT_LINKED`,
   *   `CLASSIC_PEER`, `QUEUE_FULL` (4,096 are under way), `MESSAGE_TOO_LARGE`, `BAD_VALUE`, `BAD_OPTION`, `ENDED`
   */
  request<Topic extends RequestTopic<C>>(
    peer: PeerName,
    topic: Topic,
    ...rest: PayloadArguments<SentRequest<C, Topic>, [options?: RequestOptions]>
  ): Promise<Reply<C, Topic>>;
  request(peer: PeerName, topic: string, payload?: unknown, options: RequestOptions = noOptions): Promise<unknown> {
    try {
      return this.#runtime.requests.request(peer, topic, payload, options);
    } catch (error) {
      return Promise.reject(fromCaller(error, this.request));
    }
  }

  /**
   * Asks every other member, and resolves when each has replied or failed, in the order of `peers`. One whose link is not
   * up is waited for until `timeoutMs`; a classic one comes back with `CLASSIC_PEER`. What fails for a single peer is in its outcome, also `ABORTED` and `TIMED_OUT`.
   *
   * @throws {FullmeshError} `MESSAGE_TOO_LARGE`, `BAD_VALUE`, `BAD_OPTION`, `ENDED`
   */
  requestAll<Topic extends RequestTopic<C>>(
    topic: Topic,
    ...rest: PayloadArguments<SentRequest<C, Topic>, [options?: RequestOptions]>
  ): Promise<RequestOutcome<Reply<C, Topic>>[]>;
  requestAll(topic: string, payload?: unknown, options: RequestOptions = noOptions): Promise<RequestOutcome[]> {
    try {
      return this.#runtime.requests.requestAll(topic, payload, options);
    } catch (error) {
      return Promise.reject(fromCaller(error, this.requestAll));
    }
  }

  /**
   * Handles the requests of one topic: what `handler` returns, or resolves with, is the reply, and what it throws is the
   * asker's error: of a `FullmeshError` the code and the message, otherwise `HANDLER_FAILED` and the message (1 KiB of it).
   * Codes that an asker finds itself, such as `TIMED_OUT`, travel as `HANDLER_FAILED` with the code in front of the message.
   * Its `signal` is aborted when nobody waits any more. Returns a function that ends the handling.
   *
   * @throws {FullmeshError} `WRONG_STEP` if the topic is handled already, `BAD_OPTION`
   */
  onRequest<Topic extends RequestTopic<C>>(
    topic: Topic,
    handler: RequestHandler<RequestPayload<C, Topic>, SentReply<C, Topic>>,
  ): () => void {
    try {
      return this.#runtime.requestHandlers.handle(topic, handler as RequestHandler);
    } catch (error) {
      throw fromCaller(error, this.onRequest);
    }
  }

  /**
   * Opens a stream of bytes to one native peer and from it, at once: what is written waits until the peer takes it. Without
   * an `onStream` for the topic there, it fails with `STREAM_ABORTED`, whose cause is `NO_HANDLER`. See `MeshStream`.
   *
   * @throws {FullmeshError} `NOT_LINKED`, `CLASSIC_PEER`, `BAD_OPTION`, `ENDED`
   */
  openStream(peer: PeerName, topic: StreamTopic<C>): MeshStream {
    try {
      return this.#runtime.streams.open(peer, topic);
    } catch (error) {
      throw fromCaller(error, this.openStream);
    }
  }

  /**
   * Takes the streams of one topic that peers open. If `handler` throws, or its promise rejects, the stream is aborted with
   * that error. Returns a function that ends the taking; streams that are open stay so.
   *
   * @throws {FullmeshError} `WRONG_STEP` if the topic is taken already, `BAD_OPTION`
   */
  onStream(topic: StreamTopic<C>, handler: StreamHandler): () => void {
    try {
      return this.#runtime.streams.take(topic, handler);
    } catch (error) {
      throw fromCaller(error, this.onStream);
    }
  }

  /**
   * Loops over what happens to this node and its mesh, from now on, until `break` or the node's end: what the events of the
   * same names tell, but for messages, bytes and notes. What happens while the loop is busy waits for it.
   *
   * @throws {FullmeshError} `BAD_OPTION`; while looping, `ABORTED`, and `UNREAD_EVENTS` if more than 4,096 wait
   */
  events(options: LoopOptions = {}): AsyncIterableIterator<NodeEvent> {
    try {
      return this.#runtime.events.loop(loopSignal(options));
    } catch (error) {
      throw fromCaller(error, this.events);
    }
  }

  /**
   * Writes bytes to one classic peer. Small ones are copied; from 4 KiB on they are referenced until they have left this
   * process, and must not change. Returns false above the soft limit (4 MiB waiting): go on after `drain`.
   *
   * @throws {FullmeshError} `QUEUE_FULL` above the hard limit (16 MiB waiting), and takes nothing; `NOT_LINKED`,
   *   `NATIVE_PEER`
   */
  write(peer: PeerName, bytes: Uint8Array): boolean {
    try {
      return this.#runtime.classicWriter.write(peer, bytes);
    } catch (error) {
      throw fromCaller(error, this.write);
    }
  }

  /** Writes bytes to every classic peer that is linked. Returns those that were left out: their queue is full. */
  writeAll(bytes: Uint8Array): readonly SkippedPeer[] {
    try {
      return this.#runtime.classicWriter.writeAll(bytes);
    } catch (error) {
      throw fromCaller(error, this.writeAll);
    }
  }

  /**
   * Leaves the mesh: closes every connection, and resolves when all are closed. What was sent, and what was written on
   * streams, is delivered before, as far as peers take it within 5 s; a stream that has ended by then arrives whole. The
   * option `limits.drainMs` allows more time, or less. Beside a peer that hangs it takes so long, and 1 s more at most.
   */
  async leave(): Promise<void> {
    await this.#runtime.steps.leave();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave();
  }
}

function loopSignal(options: LoopOptions): AbortSignal | undefined {
  refuseUnknown(options, ["signal"]);
  return signalOption("signal", options.signal);
}
