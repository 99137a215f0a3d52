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
 * A native member in the hand of the test: it registers, and takes the link on which the only earlier member greets it.
 * Behind that hello it reads nothing before it is told to.
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
    const tell = speak(session, () => {});
    const listener = createServer({ allowHalfOpen: true });
    onTestFinished(() => void listener.close());
    const linked = new Promise<Socket>((resolve) => {
      listener.on("connection", (socket) => {
        const say = speak(socket, (control) => {
          if (control.type === "challenge") {
            say({ type: "here", id });
            socket.end();
            tell({ type: "proof", nonce: control.nonce });
          } else if (control.type === "hello") {
            socket.removeAllListeners("data").pause();
            const { attempt } = control;
            say({ type: "answer", attempt, since: attempt, received: 0 });
            resolve(socket);
          }
        });
      });
    });
    listener.listen(0, "127.0.0.1");
    await Promise.all([once(listener, "listening"), once(session, "connect")]);
    const { port } = listener.address() as AddressInfo;
    const address: Address = `127.0.0.1:${port}`;
    tell({ type: "register", mesh: "default", id, address });
    return new NativeMember(address, await linked);
  }

  /** Says that it has all frames up to this one, whether or not it has read them. */
  acknowledge(number: number): void {
    this.#link.write(encodeAcknowledgement(number));
  }

  /** Reads so many bytes of what was sent to it behind the hello, or a few more. */
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

/** Tells what comes on a connection, and returns what says something on it. */
function speak(socket: Socket, heard: (control: Control) => void): (control: Control) => void {
  const bounds = { controlBytes: 65_536, messageBytes: 0 };
  const reader = new FrameReader(bounds, {
    preface: () => {},
    frame: (kind, body) => {
      const control = kind === frameKinds.control ? decodeControl(body) : undefined;
      if (control !== undefined && control.type !== "bad") heard(control);
    },
    bad: () => {},
  });
  socket.on("data", (bytes) => reader.push(bytes)).on("error", () => {});
  onTestFinished(() => void socket.destroy());
  socket.write(encodePreface());
  return (control) => socket.write(encodeControl(control));
}
