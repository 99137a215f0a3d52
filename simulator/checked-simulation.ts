import type { ClaimChecker } from "./checkers/claim-checker.js";
import type { CompletenessChecker } from "./checkers/completeness-checker.js";
import type { LinkChecker } from "./checkers/link-checker.js";
import type { LogChecker } from "./checkers/log-checker.js";
import type { MessageChecker } from "./checkers/message-checker.js";
import type { RequestChecker } from "./checkers/request-checker.js";
import type { StreamChecker } from "./checkers/stream-checker.js";
import type { PageMemory } from "./page-memory.js";
import type { SimulationContext } from "./simulation-context.js";

/** A simulation with the checkers that its server, members and workload report to. */
export interface CheckedSimulation extends SimulationContext {
  readonly logChecker: LogChecker;
  readonly linkChecker: LinkChecker;
  readonly messageChecker: MessageChecker;
  readonly requestChecker: RequestChecker;
  readonly streamChecker: StreamChecker;
  readonly completenessChecker: CompletenessChecker;
  readonly claimChecker: ClaimChecker;
  readonly memory: PageMemory;
}
