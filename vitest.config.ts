import { defineConfig } from "vitest/config";

const isCi = process.env.CI !== undefined;

/** Tests of what starts no process and opens no socket: their files share a worker, and so load each module once. */
const ofMachines = ["bad-input", "core", "mesh", "messaging", "protocol", "rendezvous", "simulator"];
const machines = ofMachines.map((folder) => `test/${folder}/**/*.test.ts`);
const timeouts = { testTimeout: 60_000, hookTimeout: 60_000 };

export default defineConfig({
  test: {
    projects: [
      { test: { ...timeouts, name: "machines", include: machines, isolate: false } },
      { test: { ...timeouts, name: "processes", include: ["test/**/*.test.ts"], exclude: machines } },
    ],
    // The build is shared by all tests that start processes, so it is made once, before any of them.
    globalSetup: ["test/support/build.ts"],
    // Two cores are shared with the processes that the tests start; one test more than cores runs while others wait.
    maxWorkers: 3,
    reporters: isCi ? ["default", "json"] : ["default"],
    outputFile: { json: ".cache/test-results.json" },
  },
});
