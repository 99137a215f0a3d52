/**
 * The life of a member's conversation with its server, as data: from each state, what may happen and where it leads.
 * Anything else is a fault of the machine, and is said at once.
 */
export const classicSessionTransitions = {
  /** No connection. */
  idle: { dialing: "connecting", over: "over" },
  /** A dial is under way. */
  connecting: { connected: "connected", lost: "idle", over: "over" },
  /** Connected; nothing has been registered yet, for as long as the caller likes. */
  connected: { registering: "registering", lost: "idle", over: "over" },
  /** The registration is sent; no list has named this node. */
  registering: { listed: "listed", over: "over" },
  /** A list has named this node. */
  listed: { over: "over" },
  /** The end: told by the server, wished by the owner, or a broken connection. */
  over: { over: "over" },
} as const;

export type ClassicSessionState = keyof typeof classicSessionTransitions;
export type ClassicSessionTrigger = "dialing" | "connected" | "registering" | "listed" | "lost" | "over";
