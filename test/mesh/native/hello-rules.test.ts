import { describe, expect, test } from "vitest";
import { type HelloCase, helloRules, judgeHello } from "../../../src/mesh/native/hello-rules.js";

describe("a hello", () => {
  const good: HelloCase = {
    isForMe: true,
    isAdmitted: true,
    sender: "earlier",
    isLeaving: false,
    attempt: 3,
    highest: 2,
    granted: undefined,
    fits: () => true,
  };

  test("with which nothing is wrong is taken", () => {
    expect(judgeHello(good)).toBe("take");
  });

  test.each<[Partial<HelloCase>, string]>([
    [{ isForMe: false }, "WRONG_TARGET"],
    [{ isForMe: false, sender: "removed" }, "WRONG_TARGET"],
    [{ sender: "removed" }, "GONE"],
    [{ sender: "removed", isAdmitted: false }, "GONE"],
    [{ isAdmitted: false }, "park"],
    [{ sender: "unknown", attempt: 1 }, "park"],
    [{ sender: "classic", attempt: 1 }, "WRONG_DIALECT"],
    [{ sender: "later" }, "NOT_OWNER"],
    [{ sender: "later", granted: 2 }, "NOT_OWNER"],
    [{ sender: "later", attempt: 1, granted: 2 }, "STALE_ATTEMPT"],
    [{ sender: "later", attempt: 2 }, "STALE_ATTEMPT"],
    [{ sender: "later", attempt: 2, granted: 2, isLeaving: true }, "GONE"],
    [{ sender: "later", attempt: 2, granted: 2, fits: () => false }, "SESSION_LOST"],
    [{ sender: "later", attempt: 2, granted: 2 }, "take"],
    [{ isLeaving: true, attempt: 1 }, "GONE"],
    [{ attempt: 2 }, "STALE_ATTEMPT"],
    [{ attempt: 1, fits: () => false }, "STALE_ATTEMPT"],
    [{ fits: () => false }, "SESSION_LOST"],
  ])("with %j is judged %s", (wrong, verdict) => {
    expect(judgeHello({ ...good, ...wrong })).toBe(verdict);
  });

  test("is asked last whether it fits, because asking takes it up", () => {
    let asked = 0;
    const fits = (): boolean => {
      asked += 1;
      return true;
    };
    for (const wrong of [
      { isForMe: false },
      { sender: "removed" },
      { sender: "unknown" },
      { sender: "later" },
      { attempt: 2 },
    ] as const) {
      judgeHello({ ...good, ...wrong, fits });
    }
    expect(asked).toBe(0);
    expect(helloRules.at(-1)?.verdict).toBe("SESSION_LOST");
  });
});
