import { onTestFinished, vi } from "vitest";
import { NativeConnection } from "../../../src/mesh/native/connection.js";
import { grantRules } from "../../../src/mesh/native/grant-rules.js";
import { type HelloRule, helloRules } from "../../../src/mesh/native/hello-rules.js";
import { Link } from "../../../src/mesh/native/link.js";
import { ResumeState } from "../../../src/mesh/native/resume-state.js";

/** A rule of the link tables is there, or it is not: each test of a rule runs in both worlds. */
export const worlds = [
  { world: "with the rule", isThere: true },
  { world: "without the rule", isThere: false },
] as const;

function changeRules(change: (rules: readonly HelloRule[]) => HelloRule[]): void {
  const rules = helloRules as HelloRule[];
  const before = [...rules];
  rules.splice(0, rules.length, ...change(before));
  if (rules.length === before.length && rules.every((rule, index) => rule === before[index]))
    throw new Error("no such rule");
  onTestFinished(() => void rules.splice(0, rules.length, ...before));
}

/** Hellos are judged without the rule that has this tag. */
export function dropHelloRule(tag: string): void {
  changeRules((rules) => rules.filter(({ tags }) => !tags.split(" ").includes(tag)));
}

/** Grants are judged without the rule that has this tag. */
export function dropGrantRule(tag: string): void {
  const rules = grantRules as (typeof grantRules)[number][];
  const at = rules.findIndex(({ tags }) => tags === tag);
  const dropped = rules.splice(at, 1);
  onTestFinished(() => void rules.splice(at, 0, ...dropped));
}

/** The rule with this tag is another one. */
export function bendHelloRule(tag: string, bent: Partial<HelloRule>): void {
  changeRules((rules) => rules.map((rule) => (rule.tags.split(" ").includes(tag) ? { ...rule, ...bent } : rule)));
}

/** Messages go without numbers: whatever comes is taken for the next one. */
export function takeWithoutNumbers(): void {
  vi.spyOn(ResumeState.prototype, "judge").mockReturnValue("deliver");
}

/** Hellos and answers do not say what has been received. */
export function sayNothingReceived(): void {
  vi.spyOn(ResumeState.prototype, "received", "get").mockReturnValue(0);
}

/** Every attempt of a link has the same number. */
export function reuseNumbers(): void {
  const step = Link.prototype.step;
  vi.spyOn(Link.prototype, "step").mockImplementation(function (this: Link, event) {
    if (event === "dial" || event === "grant") this.attempt = 0;
    step.call(this, event);
  });
}

/** Connections that are given up stay open, and are still read. */
export function keepWhatIsGivenUp(): void {
  vi.spyOn(NativeConnection.prototype, "abort").mockReturnValue();
}

/** A table of transitions allows one more. */
export function changeTable(table: object, state: string, event: string, next: string): void {
  const row = (table as Record<string, Record<string, string>>)[state] as Record<string, string>;
  row[event] = next;
  onTestFinished(() => void Reflect.deleteProperty(row, event));
}
