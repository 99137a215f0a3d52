import { constants } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type NetConnectOpts, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer, type TlsOptions } from "node:tls";
import { localPrefix } from "./program.js";

/**
 * What the bare programs share: sockets of `node:net`, or of `node:tls` with a pre-shared key, and messages with their length
 * in front.
 */

const headBytes = 4;
/** The most bytes in one batch: one message of 64 KiB, or many small ones. */
const batchBytes = 65_536 + headBytes;

/** The protection of a mesh with a secret: TLS 1.3, one cipher, one group, no tickets, no certificates. */
function tlsOptions(secret: string): { readonly tls: TlsOptions; readonly psk: Buffer } {
  const tls = {
    minVersion: "TLSv1.3",
    maxVersion: "TLSv1.3",
    ciphers: "TLS_AES_128_GCM_SHA256",
    ecdhCurve: "X25519",
    secureOptions: constants.SSL_OP_NO_TICKET,
    ca: [],
  } as const;
  return { tls: { ...tls, ca: [] }, psk: Buffer.from(secret, "base64url") };
}

/** How the bare programs listen, and what they connect with. */
export interface BareParameters {
  readonly secret?: string;
  /** The folder of the local sockets; without it, TCP on the loopback interface. */
  readonly socketFolder?: string;
}

/** Listens on a free port, or on a local socket, and resolves with the address. Once a process. */
export async function listenBare(
  accept: (socket: Socket) => void,
  { secret, socketFolder }: BareParameters,
): Promise<string> {
  const server =
    secret === undefined
      ? createServer({ noDelay: true }, accept)
      : createTlsServer({ ...tlsOptions(secret).tls, pskCallback: () => tlsOptions(secret).psk }, (socket) => {
          socket.setNoDelay(true);
          accept(socket);
        });
  const path = socketFolder === undefined ? undefined : `${socketFolder}/${process.pid}.sock`;
  server.listen({ ...(path === undefined ? { host: "127.0.0.1", port: 0 } : { path }), backlog: 4096 });
  await once(server, "listening");
  return path === undefined ? `127.0.0.1:${(server.address() as AddressInfo).port}` : `${localPrefix}${path}`;
}

/** Connects, and resolves when bytes can be written. */
export async function dialBare(address: string, secret?: string): Promise<Socket> {
  const to = addressOf(address);
  if (secret === undefined) {
    const socket = connect(to);
    await once(socket, "connect");
    return socket;
  }
  const { tls, psk } = tlsOptions(secret);
  const socket = connectTls({
    ...to,
    ...tls,
    pskCallback: () => ({ psk, identity: "bench" }),
    checkServerIdentity: () => new Error("a certificate proves nothing here"),
  });
  await once(socket, "secureConnect");
  socket.setNoDelay(true);
  return socket;
}

function addressOf(address: string): NetConnectOpts {
  if (address.startsWith(localPrefix)) return { path: address.slice(localPrefix.length) };
  const [host = "", port] = address.split(":");
  return { host, port: Number(port), noDelay: true };
}

/** Writes messages to sockets, each with its length in front. */
export interface MessageWriter {
  /** Takes the message. False: wait for `drained` before the next one. */
  write(message: Uint8Array): boolean;
  /** Resolves when there is room after a `write` that returned false. */
  drained(): Promise<unknown>;
}

/**
 * Gathers messages in one reused buffer, and writes it once a turn of the event loop; meanwhile another one fills. `write`
 * returns false when the buffer has no room for another message of that length, so what waits is bounded whatever
 * `socket.write` has returned.
 */
export class BatchedWriter implements MessageWriter {
  readonly #sockets: readonly Socket[];
  #filling = Buffer.allocUnsafeSlow(batchBytes);
  #spare = Buffer.allocUnsafeSlow(batchBytes);
  #used = 0;
  #isScheduled = false;
  /** Sockets that have not yet taken the last batch. */
  #pending = 0;
  #onDrained: (() => void) | undefined;

  /** The same messages for all of these sockets. */
  constructor(...sockets: readonly Socket[]) {
    this.#sockets = sockets;
  }

  write(message: Uint8Array): boolean {
    const frameBytes = headBytes + message.length;
    const end = this.#used + frameBytes;
    this.#filling.writeUInt32BE(message.length, this.#used);
    this.#filling.set(message, this.#used + headBytes);
    this.#used = end;
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      process.nextTick(this.#flush);
    }
    return end + frameBytes <= this.#filling.length;
  }

  drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#onDrained = resolve;
    });
  }

  readonly #flush = (): void => {
    if (this.#pending > 0) return;
    this.#isScheduled = false;
    const bytes = this.#filling.subarray(0, this.#used);
    [this.#filling, this.#spare] = [this.#spare, this.#filling];
    this.#used = 0;
    this.#pending = this.#sockets.length;
    for (const socket of this.#sockets) socket.write(bytes, this.#written);
    const resolve = this.#onDrained;
    this.#onDrained = undefined;
    resolve?.();
  };

  readonly #written = (): void => {
    this.#pending -= 1;
    if (this.#pending === 0 && this.#isScheduled) this.#flush();
  };
}

/** Writes each message by itself, in a buffer of its own. */
export class NaiveWriter implements MessageWriter {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  write(message: Uint8Array): boolean {
    const framed = Buffer.allocUnsafe(headBytes + message.length);
    framed.writeUInt32BE(message.length, 0);
    framed.set(message, headBytes);
    return this.#socket.write(framed);
  }

  drained(): Promise<unknown> {
    return once(this.#socket, "drain");
  }
}

/** Hands each message to the socket without copying it; what is written in one turn of the event loop goes out together. */
export class WholeWriter implements MessageWriter {
  readonly #socket: Socket;
  #isCorked = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  write(message: Uint8Array): boolean {
    if (!this.#isCorked) {
      this.#isCorked = true;
      this.#socket.cork();
      process.nextTick(() => {
        this.#isCorked = false;
        this.#socket.uncork();
      });
    }
    const head = Buffer.allocUnsafe(headBytes);
    head.writeUInt32BE(message.length, 0);
    this.#socket.write(head);
    return this.#socket.write(message);
  }

  drained(): Promise<unknown> {
    return once(this.#socket, "drain");
  }
}

/** Cuts received bytes into messages: a view of each, or a copy of one that straddles two reads. */
export class MessageReader {
  readonly #onMessage: (message: Uint8Array) => void;
  /** A message whose end has not arrived: its head, its content, and how much of each has arrived. */
  readonly #head = Buffer.alloc(headBytes);
  #headFilled = 0;
  #begun: Buffer | undefined;
  #filled = 0;

  constructor(onMessage: (message: Uint8Array) => void) {
    this.#onMessage = onMessage;
  }

  read(chunk: Buffer): void {
    let at = this.#headFilled > 0 ? this.#finish(chunk) : 0;
    while (chunk.length - at >= headBytes) {
      const length = chunk.readUInt32BE(at);
      const end = at + headBytes + length;
      if (end > chunk.length) break;
      this.#onMessage(chunk.subarray(at + headBytes, end));
      at = end;
    }
    if (at < chunk.length) this.#begin(chunk, at);
  }

  /** Continues the unfinished message. Returns where the next one begins. */
  #finish(chunk: Buffer): number {
    let at = 0;
    while (this.#headFilled < headBytes && at < chunk.length) {
      this.#head[this.#headFilled] = chunk[at] ?? 0;
      this.#headFilled += 1;
      at += 1;
    }
    if (this.#headFilled < headBytes) return at;
    this.#begun ??= Buffer.allocUnsafeSlow(this.#head.readUInt32BE(0));
    const taken = chunk.copy(this.#begun, this.#filled, at);
    this.#filled += taken;
    if (this.#filled < this.#begun.length) return at + taken;
    const message = this.#begun;
    this.#begun = undefined;
    this.#headFilled = 0;
    this.#filled = 0;
    this.#onMessage(message);
    return at + taken;
  }

  #begin(chunk: Buffer, at: number): void {
    this.#headFilled = chunk.copy(this.#head, 0, at);
    if (this.#headFilled < headBytes) return;
    this.#begun = Buffer.allocUnsafeSlow(this.#head.readUInt32BE(0));
    this.#filled = chunk.copy(this.#begun, 0, at + headBytes);
  }
}
