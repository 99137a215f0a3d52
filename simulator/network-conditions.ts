/** How the network behaves. Chances are from 0 to 1, times in milliseconds. */
export interface NetworkConditions {
  readonly delayMs: number;
  /** The chance that a message is cut in two on its way. */
  readonly split: number;
  /** How much later its second part may arrive. */
  readonly splitGapMs: number;
  /** The chance that bytes are read in one piece with those that wait to be read. */
  readonly merge: number;
  /** The chance that a connection attempt is lost without an answer. */
  readonly dialLoss: number;
  /** The chance that one end of a connection is stalled from the beginning, unlike all other connections. */
  readonly lag?: { readonly chance: number; readonly forMs: number };
}
