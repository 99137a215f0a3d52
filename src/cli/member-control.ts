import type { Address } from "../protocol/address.js";
import type { WireStep } from "./wire-step.js";

/** What `up` wants of a member process. */
export type MemberCommand =
  /** Cut the connection that was dialed to this address. */
  | { readonly type: "cut"; readonly peer: Address }
  /** These addresses cannot be dialed until the next such command. */
  | { readonly type: "unreachable"; readonly peers: readonly Address[] }
  /** The step with this number may happen. */
  | { readonly type: "go"; readonly number: number };

/** What a member process tells `up`. */
export type MemberReport =
  /** It holds this step until it may happen. */
  | { readonly type: "step"; readonly number: number; readonly step: WireStep }
  /** It has a connection to an address that it has dialed; its own end is `local`. */
  | { readonly type: "connected"; readonly local: Address };
