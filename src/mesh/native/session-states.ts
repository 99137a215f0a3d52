/**
 * The life of a native member's conversation with its server, as data: from each state, what may happen and where it
 * leads. Anything else is a fault of the machine, and is said at once.
 */
export const nativeSessionTransitions = {
  /** No connection. */
  idle: { dialing: "connecting", over: "over" },
  /** A dial is under way. */
  connecting: { connected: "connected", lost: "idle", postponed: "postponed", over: "over" },
  /** Connected; nothing has been registered yet, for as long as the caller likes. */
  connected: { registering: "registering", lost: "idle", over: "over" },
  /** The registration is sent; the server dials back, or lets us wait in line. */
  registering: { admitted: "listed", postponed: "postponed", over: "over" },
  /** Refused for now: the server is dialed again when it has said, or after a while. */
  postponed: { dialing: "connecting", over: "over" },
  /** In the directory. */
  listed: { lost: "away", fenced: "away", over: "over" },
  /** Without a connection; the server is dialed again after a pause. Who was fenced has nothing to go back to. */
  away: { dialing: "returning", fenced: "away", over: "over" },
  /** A dial is under way, or the resume is sent; or the registration of the next incarnation. */
  returning: { admitted: "listed", lost: "away", fenced: "away", over: "over" },
  /** The end: told by the server, wished by the owner, or a failure. */
  over: { over: "over" },
} as const;

export type NativeSessionState = keyof typeof nativeSessionTransitions;
export type NativeSessionTrigger =
  | "dialing"
  | "connected"
  | "registering"
  | "postponed"
  | "admitted"
  | "lost"
  | "fenced"
  | "over";
