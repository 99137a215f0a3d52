import { wrapTransports } from "../nodejs/transport.js";
import { ControlledTransport } from "./controlled-transport.js";
import type { MemberCommand, MemberReport } from "./member-control.js";
import { stepOf } from "./wire-step.js";

/*
 * A member process of `fullmesh up`: `fullmesh join` with connections that `up` can cut, refuse and hold, over the IPC channel of the
 * child process. Nobody else starts this program.
 */

/** Set by `up --slow`. */
const isSlow = process.env.FULLMESH_UP_SLOW === "1";
const held = new Map<number, () => void>();
let steps = 0;

const report = (message: MemberReport): void => void process.send?.(message);

const transport = new ControlledTransport(
  (action, go) => {
    const step = isSlow ? stepOf(action) : undefined;
    if (step === undefined) {
      go();
      return;
    }
    steps += 1;
    held.set(steps, go);
    report({ type: "step", number: steps, step });
  },
  (local) => {
    if (isSlow) report({ type: "connected", local });
  },
);
wrapTransports((inner) => transport.wrap(inner));

process.on("message", (command: MemberCommand) => {
  if (command.type === "cut") transport.cut(command.peer);
  else if (command.type === "unreachable") transport.setUnreachable(command.peers);
  else {
    held.get(command.number)?.();
    held.delete(command.number);
  }
});
// Without `up` there is no mesh: what it leaves behind ends, however it has ended itself.
process.on("disconnect", () => process.exit());
process.channel?.unref();

await import("./main.js");
