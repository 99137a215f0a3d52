// Prints "N passed, N failed, N skipped" from the test runner's JSON report, and fails if anything was skipped or failed.
import { readFileSync } from "node:fs";

const [path = ""] = process.argv.slice(2);

function read() {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    process.stderr.write(`no test report at ${path}: ${error.message}\n`);
    return { numPassedTests: 0, numFailedTests: 1, numPendingTests: 0, numTodoTests: 0, testResults: [] };
  }
}

const report = read();
const skipped = report.numPendingTests + report.numTodoTests;
for (const file of report.testResults) {
  for (const test of file.assertionResults) {
    if (test.status !== "passed" && test.status !== "failed") process.stderr.write(`skipped: ${test.fullName}\n`);
  }
}
process.stdout.write(`${report.numPassedTests} passed, ${report.numFailedTests} failed, ${skipped} skipped\n`);
process.exitCode = skipped > 0 || report.numFailedTests > 0 || report.numPassedTests === 0 ? 1 : 0;
