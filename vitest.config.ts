import { defineConfig } from "vitest/config";

const isCi = process.env.CI !== undefined;

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    // The build is shared by all tests that start processes, so it is made once, before any of them.
    globalSetup: ["test/support/build.ts"],
    // Processes of the tests share two cores with the tests themselves.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    reporters: isCi ? ["default", "json"] : ["default"],
    outputFile: { json: ".cache/test-results.json" },
  },
});
