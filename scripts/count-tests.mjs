// `node scripts/count-tests.mjs REPORT [FAILED-GUARD…]`: prints "N passed, N failed" from vitest's JSON report and the
// names of guards that failed besides the tests; exits 1 if anything failed.
import { existsSync, readFileSync } from "node:fs";

const [report, ...failedGuards] = process.argv.slice(2);

let passed = 0;
let failed = failedGuards.filter((name) => name !== "tests").length;
if (report !== undefined && existsSync(report)) {
  const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(report, "utf8"));
  // A file that does not load has no tests to fail: it counts as one.
  const unloaded = testResults.filter(
    ({ status, assertionResults }) => status === "failed" && assertionResults.length === 0,
  );
  passed += numPassedTests;
  failed += numFailedTests + unloaded.length;
}
// Tests that ended without a report, or with an error outside any test, are a failure too.
if (failedGuards.includes("tests") && failed === 0) failed = 1;
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);
