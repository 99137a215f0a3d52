import { describe, expect, it } from "vitest";
import type { Change, Entry, Id, MemberChange } from "../../src/protocol/directory.js";
import type { LogAnswer, LogAppend, SharedLogInput } from "../../src/rendezvous/types.js";
import type { MembershipLog } from "../../src/runtime/membership-log.js";

/** One membership log under test. */
export interface TestedLog {
  readonly log: MembershipLog;
  /** Resolves when every append has been answered. */
  settled(): Promise<void> | void;
}

function isAnswer(input: LogAnswer | SharedLogInput): input is LogAnswer {
  return input.type === "appended" || input.type === "rejected";
}

/**
 * What every membership log must do, whatever is behind it. `create` opens an empty one; of one that servers share, only the
 * answers count here.
 */
export function describeMembershipLog(
  name: string,
  create: (answer: (input: LogAnswer | SharedLogInput) => void) => TestedLog,
): void {
  const idOf = (number: number): Id => String(number).padStart(32, "0");
  const joined = (number: number): MemberChange => ({
    type: "joined",
    id: idOf(number),
    address: `127.0.0.1:${4_000 + number}`,
    dialect: "native",
  });
  const open = (): TestedLog & { readonly answers: LogAnswer[] } => {
    const answers: LogAnswer[] = [];
    const take = (input: LogAnswer | SharedLogInput): void => {
      if (isAnswer(input)) answers.push(input);
    };
    return { ...create(take), answers };
  };
  const appendAll = (log: MembershipLog, count: number, after: number, mesh = "default"): LogAppend[] => {
    const appends = Array.from({ length: count }, (_, index): LogAppend => {
      return { mesh, key: index + 1, after, change: joined(100 + index) };
    });
    for (const append of appends) log.append(append);
    return appends;
  };
  const entriesOf = (answers: readonly LogAnswer[], mesh = "default"): Entry[] => {
    return answers.flatMap((answer) => (answer.type === "appended" && answer.mesh === mesh ? [answer.entry] : []));
  };

  describe(`${name}, as a membership log`, () => {
    it("answers each append once, with its key, in the order of the appends", async () => {
      const { log, answers, settled } = open();
      const appends = appendAll(log, 40, 0);
      await settled();
      expect(answers.map(({ key }) => key)).toEqual(appends.map(({ key }) => key));
    });

    it("gives each entry a higher revision than the one before, above the one that the append names", async () => {
      const { log, answers, settled } = open();
      appendAll(log, 40, 1_000);
      await settled();
      const revisions = [1_000, ...entriesOf(answers).map(({ revision }) => revision)];
      expect(revisions.every((revision, index) => index === 0 || revision > (revisions[index - 1] ?? 0))).toBe(true);
      expect(revisions.length).toBeGreaterThan(1);
    });

    it("makes of a change an entry that says the same, and gives a new member its revision as its order", async () => {
      const { log, answers, settled } = open();
      const appends = appendAll(log, 20, 0);
      const copies = structuredClone(appends);
      await settled();
      for (const answer of answers) {
        if (answer.type === "rejected") continue;
        const { revision } = answer.entry;
        const change = appends.find(({ key }) => key === answer.key)?.change;
        expect(answer.entry).toEqual({ ...change, order: revision, revision });
      }
      expect(appends).toEqual(copies);
    });

    it("appends removals and replacements", async () => {
      const { log, answers, settled } = open();
      const left: Change = { type: "left", id: idOf(100), reason: "done" };
      const replaced: Change = {
        type: "replaced",
        replaces: idOf(101),
        id: idOf(102),
        address: "127.0.0.1:4101",
        dialect: "native",
      };
      for (const [index, change] of [joined(100), left, joined(101), replaced].entries()) {
        log.append({ mesh: "default", key: index + 1, after: 0, change });
      }
      await settled();
      const [leaving, replacing] = ["left", "replaced"].map((type) =>
        entriesOf(answers).find((entry) => entry.type === type),
      );
      const revisionOf = (entry: Entry | undefined): object => ({ revision: entry?.revision ?? 0 });
      expect(leaving ?? { ...left, revision: 0 }).toEqual({ ...left, ...revisionOf(leaving) });
      const order = replacing?.revision ?? 0;
      expect(replacing ?? { ...replaced, order, revision: 0 }).toEqual({
        ...replaced,
        order,
        ...revisionOf(replacing),
      });
    });

    it("appends claims as they are, with a token only where an earlier log has given one", async () => {
      const { log, answers, settled } = open();
      const changes: Change[] = [
        joined(100),
        { type: "claimed", key: "job", holder: idOf(100) },
        { type: "unclaimed", key: "job", reason: "given up" },
        { type: "claimed", key: "job", holder: idOf(100), token: 7 },
      ];
      for (const [index, change] of changes.entries())
        log.append({ mesh: "default", key: -index - 1, after: 0, change });
      await settled();
      for (const answer of answers) {
        if (answer.type === "rejected" || answer.entry.type === "joined") continue;
        const { revision, ...rest } = answer.entry;
        expect(rest).toEqual(changes[-1 - (answer.key ?? 0)]);
        expect(revision).toBeGreaterThan(0);
      }
    });

    it("never makes an entry of a change that it has rejected", async () => {
      const { log, answers, settled } = open();
      const appends = appendAll(log, 40, 0);
      await settled();
      const rejected = new Set(answers.flatMap((answer) => (answer.type === "rejected" ? [answer.key] : [])));
      const idIn = (change: Change): string => ("id" in change ? change.id : "");
      const ids = appends.filter(({ key }) => !rejected.has(key)).map(({ change }) => idIn(change));
      expect(entriesOf(answers).map(idIn)).toEqual(ids);
    });

    it("keeps the logs of different meshes apart", async () => {
      const { log, answers, settled } = open();
      appendAll(log, 20, 0, "one");
      appendAll(log, 20, 500, "other");
      await settled();
      expect(entriesOf(answers, "one").every(({ revision }) => revision <= 500)).toBe(true);
      expect(entriesOf(answers, "other").every(({ revision }) => revision > 500)).toBe(true);
    });

    it("begins a new log for a mesh that was forgotten", async () => {
      const { log, answers, settled } = open();
      appendAll(log, 20, 0);
      await settled();
      answers.length = 0;
      log.forget("default");
      appendAll(log, 20, 7_000);
      await settled();
      expect(answers).toHaveLength(20);
      for (const { revision } of entriesOf(answers)) expect(revision).toBeGreaterThan(7_000);
    });

    it("says nothing more once it is closed", async () => {
      const { log, answers, settled } = open();
      appendAll(log, 20, 0);
      log.close();
      const { length } = answers;
      appendAll(log, 20, 0);
      await settled();
      expect(answers).toHaveLength(length);
    });
  });
}
