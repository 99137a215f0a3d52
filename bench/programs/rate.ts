import { nowMs, percentilesOf } from "./program.js";

/** The loop of every program that sends as fast as it may, the same for all. */

/** How much a program sends in one turn of the loop before it lets the others have theirs. */
const turnBytes = 65_536;

/**
 * Sends for so many milliseconds. `send` says whether the next one may follow at once; if not, `whenFree` says when.
 * `isTaken`: whether a message that was answered with false has been taken all the same. Resolves with how many were sent.
 */
export function sendFor(
  ms: number,
  bytes: number,
  { send, whenFree, isTaken }: { send: () => boolean; whenFree: (resume: () => void) => void; isTaken: boolean },
): Promise<number> {
  const until = nowMs() + ms;
  const perTurn = Math.max(1, Math.floor(turnBytes / (bytes + 4)));
  let sent = 0;
  return new Promise((resolve) => {
    const turn = (): void => {
      if (nowMs() >= until) {
        resolve(sent);
        return;
      }
      for (let count = 0; count < perTurn; count += 1) {
        const isFree = send();
        if (isFree || isTaken) sent += 1;
        if (isFree) continue;
        whenFree(turn);
        return;
      }
      setImmediate(turn);
    };
    turn();
  });
}

/**
 * Asks for so many milliseconds, with so many requests in flight all the time. Resolves with the replies a second, and how
 * many microseconds the middle one and the slowest hundredth took.
 */
export async function askFor(
  ms: number,
  inFlight: number,
  ask: () => Promise<unknown>,
): Promise<{ readonly rate: number; readonly p50: number; readonly p99: number }> {
  const samples: number[] = [];
  const startedAt = nowMs();
  const until = startedAt + ms;
  const askInTurn = async (): Promise<void> => {
    for (let before = nowMs(); before < until; ) {
      await ask();
      const after = nowMs();
      samples.push((after - before) * 1000);
      before = after;
    }
  };
  await Promise.all(Array.from({ length: inFlight }, askInTurn));
  return { rate: samples.length / ((nowMs() - startedAt) / 1000), ...percentilesOf(samples) };
}
