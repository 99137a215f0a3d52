import { onTestFinished } from "vitest";
import type { Endpoint, Identity, NetworkEndpoint } from "../../src/core/connections.js";
import { type ErrorCode, FullmeshError } from "../../src/core/errors.js";
import { Keyring } from "../../src/nodejs/keyring.js";
import { Secret } from "../../src/nodejs/secret.js";
import { nodeTransport } from "../../src/nodejs/transport.js";
import { formatAddress } from "../../src/protocol/address.js";
import type { ConnectionEvents, ConnectionPort, ListenerPort, TransportPort } from "../../src/runtime/ports.js";
import { type RawConnection, Recorder, rawClient, rawListener } from "../support/sockets.js";

/** The secrets of the tests, as `fullmesh secret` would print them. */
export const secret = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
export const otherSecret = "8PHy8_T19vf4-fr7_P3-_-Dh4uPk5ebn6Onq6-zt7u8";

export const server: Identity = { mesh: "cache", role: "rendezvous" };
export const member: Identity = { mesh: "cache", role: "member" };

const keepAliveMs = 5_000;

export function plainTransport(): TransportPort {
  return nodeTransport(keepAliveMs);
}

export function secretTransport(
  accepts: (identity: Identity) => boolean = () => true,
  text: string = secret,
): TransportPort {
  return nodeTransport(keepAliveMs, new Keyring(new Secret(text), accepts));
}

/** The events of one end of a connection, in order, without the bytes. */
export type EndEvent =
  | { readonly type: "connected"; readonly local: Endpoint; readonly remote: Endpoint; readonly cipher?: string }
  | { readonly type: "secured"; readonly identity: Identity; readonly cipher: string }
  | { readonly type: "unproved"; readonly code: ErrorCode; readonly message: string }
  | { readonly type: "proving" | "bytes" | "flushed" | "ended" }
  | { readonly type: "closed"; readonly failure: string | undefined };

/** One end of a connection. It records its events, and can be waited for. */
export class ConnectionEnd implements ConnectionEvents {
  readonly events = new Recorder<EndEvent>();
  readonly #growth = new Recorder<number>();
  readonly #pieces: Uint8Array[] = [];
  #port: ConnectionPort | undefined;
  #received = 0;
  /** Called at each event, as a machine is. */
  onEvent: (event: EndEvent) => void = () => {};

  get port(): ConnectionPort {
    if (this.#port === undefined) throw new Error("there is no connection yet");
    return this.#port;
  }

  set port(port: ConnectionPort) {
    this.#port = port;
    onTestFinished(() => port.abort());
  }

  /** The types of the events without `proving`; consecutive `bytes` count once. */
  get eventTypes(): string[] {
    const types = this.events.items.map(({ type }) => type).filter((type) => type !== "proving");
    return types.filter((type, index) => type !== "flushed" && (type !== "bytes" || types[index - 1] !== "bytes"));
  }

  get text(): string {
    return Buffer.concat(this.#pieces).toString("latin1");
  }

  /** Why its proof of the secret failed. */
  get reasons(): string[] {
    return this.events.items.flatMap((item) => (item.type === "unproved" ? [item.code] : []));
  }

  connected(local: Endpoint, remote: Endpoint, cipher?: string): void {
    this.#add({ type: "connected", local, remote, ...(cipher === undefined ? {} : { cipher }) });
  }

  proving(): void {
    this.#add({ type: "proving" });
  }

  secured(identity: Identity, cipher: string): void {
    this.#add({ type: "secured", identity, cipher });
  }

  unproved(code: ErrorCode, message: string): void {
    this.#add({ type: "unproved", code, message });
  }

  bytes(bytes: Uint8Array): void {
    this.#pieces.push(bytes);
    this.#received += bytes.length;
    this.#growth.add(this.#received);
    this.#add({ type: "bytes" });
  }

  flushed(): void {
    this.#add({ type: "flushed" });
  }

  ended(): void {
    this.#add({ type: "ended" });
  }

  closed(failure: string | undefined): void {
    this.#add({ type: "closed", failure });
  }

  send(text: string): void {
    this.port.send(Buffer.from(text, "latin1"));
  }

  async first<Type extends EndEvent["type"]>(type: Type): Promise<Extract<EndEvent, { type: Type }>> {
    const found = await this.events.first((event) => event.type === type);
    return found as Extract<EndEvent, { type: Type }>;
  }

  /** Resolves once so many bytes have arrived in total. */
  async received(count: number): Promise<void> {
    if (count > 0) await this.#growth.first((received) => received >= count);
  }

  #add(event: EndEvent): void {
    this.events.add(event);
    this.onEvent(event);
  }
}

/** A listener, and its ends of the connections that it accepts. */
export class TestListener {
  readonly address: string;
  readonly endpoint: NetworkEndpoint;
  readonly ends: Recorder<ConnectionEnd>;

  constructor(listener: ListenerPort, ends: Recorder<ConnectionEnd>) {
    if (listener.address.path !== undefined) throw new Error("it listens on a local socket");
    this.endpoint = listener.address;
    this.address = formatAddress(this.endpoint);
    this.ends = ends;
    onTestFinished(() => listener.close());
  }

  accepted(n: number): Promise<ConnectionEnd> {
    return this.ends.nth(n, () => true);
  }
}

/** Listens. `onAccept` may act on a connection at once, as a machine does. */
export function listenAt(
  transport: TransportPort,
  onAccept: (end: ConnectionEnd) => void = () => {},
): Promise<TestListener> {
  const ends = new Recorder<ConnectionEnd>();
  return new Promise((resolve, reject) => {
    transport.listen(
      { host: "127.0.0.1", port: 0 },
      (port) => {
        const end = new ConnectionEnd();
        end.port = port;
        onAccept(end);
        ends.add(end);
        return end;
      },
      (outcome) => {
        if (outcome instanceof FullmeshError) reject(outcome);
        else resolve(new TestListener(outcome, ends));
      },
    );
  });
}

export function dialTo(transport: TransportPort, to: Endpoint, identity: Identity = member): ConnectionEnd {
  const end = new ConnectionEnd();
  end.port = transport.dial(to, identity, end);
  return end;
}

/** Two connected ends, which have proved the secret if there is one. */
export async function pairOver(transport: TransportPort): Promise<[ConnectionEnd, ConnectionEnd]> {
  const venue = await listenAt(transport);
  const dialer = dialTo(transport, venue.endpoint);
  const { cipher } = await dialer.first("connected");
  const acceptor = await venue.accepted(1);
  if (cipher !== undefined) await acceptor.first("secured");
  return [dialer, acceptor];
}

/** What a relay does with the bytes from the dialer: forwards them, or something else. */
export type Tamper = (bytes: Buffer, pass: (bytes: Buffer) => Promise<void>) => Promise<void>;

/** A relay on the path, which sees all bytes, and may delay or change them. */
export class Relay {
  readonly endpoint: Endpoint;
  /** The dialer's connection to the relay, and the relay's to the listener. */
  readonly legs: Promise<readonly [front: RawConnection, back: RawConnection]>;

  constructor(endpoint: Endpoint, legs: Promise<readonly [RawConnection, RawConnection]>) {
    this.endpoint = endpoint;
    this.legs = legs;
  }

  /** Everything that the dialer has sent. */
  async recording(): Promise<Buffer> {
    const [front] = await this.legs;
    return Buffer.from(front.text, "latin1");
  }
}

export async function relayTo(address: string, tamper: Tamper = (bytes, pass) => pass(bytes)): Promise<Relay> {
  const listener = await rawListener();
  const legs = listener.accepted(1).then(async (front) => {
    const early: Buffer[] = [];
    const keep = (bytes: Buffer): void => void early.push(bytes);
    front.socket.on("data", keep);
    const back = await rawClient(address);
    front.socket.off("data", keep);
    const onward = (bytes: Buffer): void => void tamper(bytes, (changed) => back.write(changed));
    for (const bytes of early) onward(bytes);
    front.socket.on("data", onward).on("end", () => back.end());
    back.socket.on("data", (bytes) => void front.write(bytes)).on("end", () => front.end());
    front.socket.on("close", () => back.socket.destroy());
    back.socket.on("close", () => front.socket.destroy());
    return [front, back] as const;
  });
  const [host = "", port] = listener.address.split(":");
  return new Relay({ host, port: Number(port) }, legs);
}
