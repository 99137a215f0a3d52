import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createConnection, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";
import type { Address } from "../../src/index.js";
import { encodeAcknowledgement } from "../../src/protocol/native/acknowledgement.js";
import { type Control, decodeControl, encodeControl } from "../../src/protocol/native/control.js";
import { FrameReader, frameKinds } from "../../src/protocol/native/frames.js";
import { encodePreface } from "../../src/protocol/native/preface.js";
import { splitAddress } from "../support/sockets.js";

/**
 * A native member that the test controls: it registers, and answers the hello of the only earlier member. After that hello
 * it reads nothing until `read` is called.
 */
export class NativeMember {
  readonly address: Address;
  readonly #link: Socket;

  private constructor(address: Address, link: Socket) {
    this.address = address;
    this.#link = link;
  }

  /** Joins a mesh in which there is one member that dials it; resolves when it has answered that member's hello. */
  static async join(server: string): Promise<NativeMember> {
    const id = randomBytes(16).toString("hex");
    const session = createConnection({ ...splitAddress(server), allowHalfOpen: true });
    const sendToServer = readControls(session, () => {});
    const listener = createServer({ allowHalfOpen: true });
    onTestFinished(() => void listener.close());
    const linked = new Promise<Socket>((resolve) => {
      listener.on("connection", (socket) => {
        const send = readControls(socket, (control) => {
          if (control.type === "challenge") {
            send({ type: "here", id });
            socket.end();
            sendToServer({ type: "proof", nonce: control.nonce });
          } else if (control.type === "hello") {
            socket.removeAllListeners("data").pause();
            const { attempt } = control;
            send({ type: "answer", attempt, since: attempt, received: 0 });
            resolve(socket);
          }
        });
      });
    });
    listener.listen(0, "127.0.0.1");
    await Promise.all([once(listener, "listening"), once(session, "connect")]);
    const { port } = listener.address() as AddressInfo;
    const address: Address = `127.0.0.1:${port}`;
    sendToServer({ type: "register", mesh: "default", id, address });
    return new NativeMember(address, await linked);
  }

  /** Acknowledges all frames up to this one, whether or not it has read them. */
  acknowledge(number: number): void {
    this.#link.write(encodeAcknowledgement(number));
  }

  /** Reads so many bytes of what was sent to it after the hello, or a few more. */
  read(bytes: number): Promise<Buffer> {
    const pieces: Buffer[] = [];
    let read = 0;
    return new Promise((resolve) => {
      this.#link.on("data", (piece) => {
        pieces.push(piece);
        read += piece.length;
        if (read >= bytes) resolve(Buffer.concat(pieces));
      });
      this.#link.resume();
    });
  }
}

/** Sends a preface, and calls `handle` with each control message that comes. Returns what sends one. */
function readControls(socket: Socket, handle: (control: Control) => void): (control: Control) => void {
  const bounds = { controlBytes: 65_536, messageBytes: 0 };
  const reader = new FrameReader(bounds, {
    preface: () => {},
    frame: (kind, body) => {
      const control = kind === frameKinds.control ? decodeControl(body) : undefined;
      if (control !== undefined && control.type !== "bad") handle(control);
    },
    bad: () => {},
  });
  socket.on("data", (bytes) => reader.push(bytes)).on("error", () => {});
  onTestFinished(() => void socket.destroy());
  socket.write(encodePreface());
  return (control) => socket.write(encodeControl(control));
}
