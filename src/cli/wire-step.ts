import { type Control, decodeControl } from "../protocol/native/control.js";
import { frameHeaderBytes, frameKinds } from "../protocol/native/frames.js";
import { firstNativeByte, prefaceBytes } from "../protocol/native/preface.js";
import type { WireAction } from "./controlled-transport.js";

/** What a step of the wire-up is, in either dialect. */
export type StepKind =
  | "dial"
  /** A member asks the server to be let in. In classic it sends its address, and that is all. */
  | "register"
  /** A member asks to be let in again, because its session has broken. */
  | "resume"
  /** The server asks whoever listens at an address for a number, or who it is. */
  | "challenge"
  | "check"
  | "here"
  | "proof"
  | "directory"
  | "entries"
  /** The classic list of all members. */
  | "list"
  | "hello"
  | "answer"
  | "grant"
  /** A dial that was granted has failed. */
  | "failed"
  | "refuse";

/** One step that a process is about to take. */
export interface WireStep {
  readonly kind: StepKind;
  /** See `WireAction`. */
  readonly remote: string;
  readonly isDialed: boolean;
  /** What a person should read of the message: addresses in a list, the attempt of a hello, the code of a refusal. */
  readonly detail: string;
}

/** The step that an action is; undefined for what is no part of the wire-up, such as pings and reports. */
export function stepOf({ remote, isDialed, bytes }: WireAction): WireStep | undefined {
  if (bytes === undefined) return { kind: "dial", remote, isDialed, detail: "" };
  const read = bytes[0] === firstNativeByte || (bytes[0] ?? 0) < 0x20 ? nativeStep(bytes) : classicStep(bytes);
  return read === undefined ? undefined : { ...read, remote, isDialed };
}

type StepContent = Pick<WireStep, "kind" | "detail">;

function nativeStep(bytes: Uint8Array): StepContent | undefined {
  // The preface goes out with the first frame.
  const frame = bytes[0] === firstNativeByte ? bytes.subarray(prefaceBytes) : bytes;
  if (frame[frameHeaderBytes - 1] !== frameKinds.control) return undefined;
  const control = decodeControl(frame.subarray(frameHeaderBytes));
  return control === undefined || control.type === "bad" ? undefined : controlStep(control);
}

function controlStep(control: Control): StepContent | undefined {
  switch (control.type) {
    case "register":
    case "resume":
    case "challenge":
    case "check":
    case "here":
    case "proof":
      return { kind: control.type, detail: "" };
    case "directory":
      return { kind: "directory", detail: control.members.map(({ address }) => address).join(" ") };
    case "entries": {
      const changes = control.entries.flatMap((entry) => ("address" in entry ? [entry.address] : []));
      return changes.length === 0 ? undefined : { kind: "entries", detail: changes.join(" ") };
    }
    case "grant":
      return control.failed === undefined
        ? { kind: "grant", detail: String(control.attempt) }
        : { kind: "failed", detail: control.failed };
    case "hello":
    case "answer":
      return { kind: control.type, detail: String(control.attempt) };
    case "refuse":
      return { kind: "refuse", detail: `${control.code}: ${control.message}` };
    default:
      return undefined;
  }
}

const listHead = "list:\n";
const helloHead = "Hello from:";

function classicStep(bytes: Uint8Array): StepContent | undefined {
  const text = new TextDecoder().decode(bytes);
  if (text.startsWith(listHead))
    return { kind: "list", detail: text.slice(listHead.length).trim().replaceAll("\n", " ") };
  if (text.startsWith(helloHead)) return { kind: "hello", detail: "" };
  return /^[\d.[\]:a-f]+:\d+$/.test(text.trim()) ? { kind: "register", detail: "" } : undefined;
}
