import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { onTestFinished } from "vitest";
import { type Control, decodeControl, encodeControl } from "../../src/protocol/native/control.js";
import { FrameReader, frameKinds } from "../../src/protocol/native/frames.js";
import { encodePreface } from "../../src/protocol/native/preface.js";

function onControl(socket: Socket, handle: (control: Control) => void): void {
  const reader = new FrameReader(
    { controlBytes: 1_000_000, messageBytes: 0 },
    {
      preface: () => {},
      frame: (kind, body) => {
        const control = kind === frameKinds.control ? decodeControl(body) : undefined;
        if (control !== undefined && control.type !== "bad") handle(control);
      },
      bad: () => {},
    },
  );
  socket.on("data", (bytes) => reader.push(bytes)).on("error", () => {});
}

/**
 * A member that proves its address, so that it is listed, but never answers a hello: no link with it comes up. Resolves once the server has admitted it.
 */
export async function joinSilently(
  server: string,
  name: string,
): Promise<{ readonly address: string; readonly id: string; leave(): void }> {
  const id = randomBytes(16).toString("hex");
  const session = connect(Number(server.split(":")[1]), "127.0.0.1");
  const listener = createServer((socket) => {
    onControl(socket, (control) => {
      if (control.type !== "challenge") return;
      session.write(encodeControl({ type: "proof", nonce: control.nonce }));
      socket.write(encodePreface());
      socket.end(encodeControl({ type: "here", id }));
    });
  }).listen(0, "127.0.0.1");
  onTestFinished(() => {
    session.destroy();
    listener.close();
  });
  await once(listener, "listening");
  const address = `127.0.0.1:${(listener.address() as AddressInfo).port}` as const;
  session.write(encodePreface());
  session.write(encodeControl({ type: "register", mesh: "default", id, address, name }));
  await new Promise<void>((resolve) => {
    onControl(session, (control) => {
      if (control.type === "directory") resolve();
    });
  });
  return { address, id, leave: () => void session.end(encodeControl({ type: "leave", reason: "left" })) };
}
