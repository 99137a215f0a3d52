import { constants } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { connect as connectTls, createServer as createTlsServer, type TlsOptions } from "node:tls";

/**
 * What the bare programs are written with: sockets of `node:net`, or of `node:tls` with a pre-shared key, and messages
 * with their length in front.
 */

const headBytes = 4;
/** Bytes that are gathered in one turn of the loop, at most: one message of 64 KiB, or many small ones. */
const batchBytes = 65_536 + headBytes;

/** The same protection that a mesh with a secret has: TLS 1.3, one cipher, one group, no tickets, no certificates. */
function keyed(secret: string): { readonly tls: TlsOptions; readonly psk: Buffer } {
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

/** Listens on a free port, or where it is told, and resolves with the address. */
export async function listenBare(
  accept: (socket: Socket) => void,
  secret?: string,
  { host = "127.0.0.1", port = 0 } = {},
): Promise<string> {
  const server =
    secret === undefined
      ? createServer({ noDelay: true }, accept)
      : createTlsServer({ ...keyed(secret).tls, pskCallback: () => keyed(secret).psk }, (socket) => {
          socket.setNoDelay(true);
          accept(socket);
        });
  server.listen({ host, port, backlog: 4096 });
  await once(server, "listening");
  return `${host}:${(server.address() as AddressInfo).port}`;
}

/** Connects, and resolves when bytes can pass. */
export async function dialBare(address: string, secret?: string): Promise<Socket> {
  const [host = "", port] = address.split(":");
  const to = { host, port: Number(port), noDelay: true };
  if (secret === undefined) {
    const socket = connect(to);
    await once(socket, "connect");
    return socket;
  }
  const { tls, psk } = keyed(secret);
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

/** Something that takes messages, and says when it can take no more for now. */
export interface Outlet {
  /** False: nothing was taken; go on when `whenFree` calls. */
  write(message: Uint8Array): boolean;
  whenFree(resume: () => void): void;
}

/**
 * Gathers messages in one reused buffer, and writes it once a turn of the loop; meanwhile another one fills. Takes nothing
 * more once that is full too, so what waits is bounded whatever `socket.write` has returned.
 */
export class BatchedOutlet implements Outlet {
  readonly #sockets: readonly Socket[];
  #filling = Buffer.allocUnsafeSlow(batchBytes);
  #spare = Buffer.allocUnsafeSlow(batchBytes);
  #used = 0;
  #isScheduled = false;
  /** Sockets that have not yet taken the last batch. */
  #pending = 0;
  #resume: (() => void) | undefined;

  /** The same messages for all of these sockets. */
  constructor(...sockets: readonly Socket[]) {
    this.#sockets = sockets;
  }

  write(message: Uint8Array): boolean {
    const end = this.#used + headBytes + message.length;
    if (end > this.#filling.length) return false;
    this.#filling.writeUInt32BE(message.length, this.#used);
    this.#filling.set(message, this.#used + headBytes);
    this.#used = end;
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      process.nextTick(this.#flush);
    }
    return true;
  }

  whenFree(resume: () => void): void {
    this.#resume = resume;
  }

  readonly #flush = (): void => {
    if (this.#pending > 0) return;
    this.#isScheduled = false;
    const bytes = this.#filling.subarray(0, this.#used);
    [this.#filling, this.#spare] = [this.#spare, this.#filling];
    this.#used = 0;
    this.#pending = this.#sockets.length;
    for (const socket of this.#sockets) socket.write(bytes, this.#written);
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
  };

  readonly #written = (): void => {
    this.#pending -= 1;
    if (this.#pending === 0 && this.#isScheduled) this.#flush();
  };
}

/** Writes each message by itself, with its length in front of it. */
export class NaiveOutlet implements Outlet {
  readonly #socket: Socket;
  #isFull = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("drain", () => {
      this.#isFull = false;
    });
  }

  write(message: Uint8Array): boolean {
    if (this.#isFull) return false;
    const framed = Buffer.allocUnsafe(headBytes + message.length);
    framed.writeUInt32BE(message.length, 0);
    framed.set(message, headBytes);
    this.#isFull = !this.#socket.write(framed);
    return true;
  }

  whenFree(resume: () => void): void {
    this.#socket.once("drain", resume);
  }
}

/** Hands each message to the socket without copying it, what comes in one turn together. */
export class WholeOutlet implements Outlet {
  readonly #socket: Socket;
  #isFull = false;
  #isCorked = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("drain", () => {
      this.#isFull = false;
    });
  }

  write(message: Uint8Array): boolean {
    if (this.#isFull) return false;
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
    this.#isFull = !this.#socket.write(message);
    return true;
  }

  whenFree(resume: () => void): void {
    this.#socket.once("drain", resume);
  }
}

/**
 * Cuts what comes into messages: one view each, or, if one straddles two reads, one copy of it in memory of its size.
 */
export class MessageReader {
  readonly #hear: (message: Uint8Array) => void;
  /** Of a message that has begun: the bytes of its length, then itself, and how much of that is there. */
  readonly #head = Buffer.alloc(headBytes);
  #headFilled = 0;
  #begun: Buffer | undefined;
  #filled = 0;

  constructor(hear: (message: Uint8Array) => void) {
    this.#hear = hear;
  }

  read(chunk: Buffer): void {
    let at = this.#headFilled > 0 ? this.#finish(chunk) : 0;
    while (chunk.length - at >= headBytes) {
      const length = chunk.readUInt32BE(at);
      const end = at + headBytes + length;
      if (end > chunk.length) break;
      this.#hear(chunk.subarray(at + headBytes, end));
      at = end;
    }
    if (at < chunk.length) this.#begin(chunk, at);
  }

  /** Goes on with a message that has begun. Returns where the next one begins. */
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
    this.#hear(message);
    return at + taken;
  }

  #begin(chunk: Buffer, at: number): void {
    this.#headFilled = chunk.copy(this.#head, 0, at);
    if (this.#headFilled < headBytes) return;
    this.#begun = Buffer.allocUnsafeSlow(this.#head.readUInt32BE(0));
    this.#filled = chunk.copy(this.#begun, 0, at + headBytes);
  }
}
