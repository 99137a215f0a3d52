import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const output = new URL("../../dist/src/cli/output.js", import.meta.url);

/** Runs a program that writes by an `Output`, and gives what comes out. */
function run(json: boolean, program: string): { readonly stdout: string; readonly stderr: string } {
  const head = `import { Output } from ${JSON.stringify(output.href)}; const output = new Output({ json: ${json}, quiet: false });`;
  const args = ["--input-type=module", "--eval", `${head} ${program}`];
  const { stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: fileURLToPath(new URL("../../", import.meta.url)),
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  return { stdout, stderr };
}

const flood = `
  const reason = "x".repeat(1_000);
  for (let index = 0; index < 10_000; index += 1) output.event("left", null, { index, reason }, "left " + reason);
  output.event("complete", null, {}, "complete");
  await output.flush(new AbortController().signal);
`;

it("writes no more of a flood of events than their type may take, says how many it left out, and holds back no other", () => {
  const { stdout } = run(true, flood);
  expect(stdout.length).toBeLessThan(5 * 1024 * 1024);
  const events = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { event: string; count?: number });
  const left = events.filter(({ event }) => event === "left").length;
  expect(left).toBeGreaterThan(3_000);
  expect(events.slice(-2)).toMatchObject([{ event: "complete" }, { event: "omitted", of: "left" }]);
  // On a slow machine one more may go through meanwhile, with a count of those before it.
  expect(events.reduce((sum, { count = 0 }) => sum + count, 0)).toBe(10_000 - left);
});

it("does the same to sentences for people", () => {
  const { stdout, stderr } = run(false, flood);
  expect(stdout).toBe("");
  expect(stderr.length).toBeLessThan(5 * 1024 * 1024);
  expect(stderr).toMatch(/\ncomplete\nleft out \d+ events "left", which came too often\n$/);
});

it.each([
  ["behind a message that stdout has not taken", "output.announce();", 'output.deliver("message");'],
  ["at a reader that takes nothing", "", ""],
])("keeps 16 MiB of lines %s, leaves out the others, and says so", (_where, before, deliver) => {
  const { stdout, stderr } = run(
    false,
    `
      ${before}
      const line = "x".repeat(1024 * 1024);
      for (let index = 0; index < 40; index += 1) output.data(line);
      output.talk("that was all");
      ${deliver}
      await output.flush(new AbortController().signal);
    `,
  );
  expect(stdout.length).toBeGreaterThan(15 * 1024 * 1024);
  expect(stdout.length).toBeLessThan(18 * 1024 * 1024);
  expect(stderr).toMatch(/lines are left out\nthat was all\n.* 2\d lines were not taken from stdout\n/s);
});
