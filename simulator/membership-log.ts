import { SeededRandom } from "../src/core/random.js";
import type { LogAnswer, LogAppend } from "../src/rendezvous/types.js";
import type { LogAnswerHandler, MembershipLog } from "../src/runtime/membership-log.js";
import { MemoryLog } from "../src/runtime/memory-log.js";
import type { Engine } from "./engine.js";

/** How a simulated log behaves. */
export interface LogConditions {
  /** How long an answer takes, at most. */
  readonly delayMs: number;
  /** The share of appends that are rejected, 0 to 1, before `healsAt`. */
  readonly rejects: number;
  readonly healsAt: number;
}

/** A membership log that answers late, and rejects some appends. */
export class SimulatedMembershipLog implements MembershipLog {
  readonly #engine: Engine;
  readonly #conditions: LogConditions;
  readonly #answer: LogAnswerHandler;
  readonly #log = new MemoryLog((answer) => this.#answerLater(answer));
  /** Rejections have their own random numbers, so that without them a run stays as it is. */
  readonly #random: SeededRandom;
  #newestAnswerAt = 0;
  #isClosed = false;

  constructor(engine: Engine, conditions: LogConditions, answer: LogAnswerHandler) {
    this.#engine = engine;
    this.#conditions = conditions;
    this.#answer = answer;
    this.#random = new SeededRandom(engine.seed + 2 ** 46);
  }

  append(append: LogAppend): void {
    const { rejects, healsAt } = this.#conditions;
    if (rejects > 0 && this.#engine.now < healsAt && this.#random.chance(rejects)) {
      const reason = this.#random.chance(0.5) ? "conflict" : "unavailable";
      this.#answerLater({ type: "rejected", mesh: append.mesh, key: append.key, reason });
    } else {
      this.#log.append(append);
    }
  }

  forget(mesh: string): void {
    this.#log.forget(mesh);
  }

  close(): void {
    this.#isClosed = true;
    this.#log.close();
  }

  /** In the order of the appends: at once, or some time later. */
  #answerLater(answer: LogAnswer): void {
    const { now, random } = this.#engine;
    this.#newestAnswerAt = Math.max(this.#newestAnswerAt, now + random.next() * this.#conditions.delayMs);
    if (this.#newestAnswerAt <= now) this.#answer(answer);
    else {
      this.#engine.at(this.#newestAnswerAt, () => {
        if (!this.#isClosed) this.#answer(answer);
      });
    }
  }
}
