/** How the network behaves. Chances are from 0 to 1, times in milliseconds. */
export interface NetworkConditions {
  readonly delayMs: number;
  /** That a message is cut in two on its way. */
  readonly split: number;
  /** How long its second member may lag behind. */
  readonly splitGapMs: number;
  /** That what arrives while something waits to be read is read in one piece with it. */
  readonly merge: number;
  /** That a connection attempt is lost without a word. */
  readonly dialLoss: number;
  /** That all that one end of a connection says is held up for a while from the beginning, alone of all connections. */
  readonly lag?: { readonly chance: number; readonly forMs: number };
}
