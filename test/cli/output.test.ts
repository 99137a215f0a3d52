import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";

const output = new URL("../../dist/src/cli/output.js", import.meta.url);

/** Runs a program that writes to an `Output`, and returns its stdout and stderr. */
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

it("limits the rate of one type of event, reports how many were dropped, and does not delay other types", () => {
  const { stdout } = run(true, flood);
  expect(stdout.length).toBeLessThan(5 * 1024 * 1024);
  const events = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as { event: string; count?: number });
  const left = events.filter(({ event }) => event === "left").length;
  expect(left).toBeGreaterThan(3_000);
  expect(events.slice(-2)).toMatchObject([{ event: "complete" }, { event: "omitted", of: "left" }]);
  // On a slow machine one more may pass meanwhile, with a count of those before it.
  expect(events.reduce((sum, { count = 0 }) => sum + count, 0)).toBe(10_000 - left);
});

it("limits the rate of sentences in the same way", () => {
  const { stdout, stderr } = run(false, flood);
  expect(stdout).toBe("");
  expect(stderr.length).toBeLessThan(5 * 1024 * 1024);
  expect(stderr).toMatch(/\ncomplete\ndropped \d+ events "left", which were too frequent\n$/);
});

it.each([
  ["behind a message that is not written", "output.messageArrived();", 'output.writeMessage("message");'],
  ["for a reader that reads nothing", "", ""],
])("keeps 16 MiB of lines %s, drops the others, and reports it", (_where, before, deliver) => {
  const { stdout, stderr } = run(
    false,
    `
      ${before}
      const line = "x".repeat(1024 * 1024);
      for (let index = 0; index < 40; index += 1) output.result(line);
      output.info("that was all");
      ${deliver}
      await output.flush(new AbortController().signal);
    `,
  );
  expect(stdout.length).toBeGreaterThan(15 * 1024 * 1024);
  expect(stdout.length).toBeLessThan(18 * 1024 * 1024);
  expect(stderr).toMatch(/lines are dropped\nthat was all\n.* 2\d lines could not be written to stdout\n/s);
});
