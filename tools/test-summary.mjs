/**
 * Prints "N passed, N failed" from the file that vitest's json reporter wrote. A test file that could not even be
 * loaded has no test results of its own and counts as one failure; so does a missing report.
 *
 *     node tools/test-summary.mjs RESULTS.json
 */

import { readFileSync } from "node:fs"

const { passed, failed } = count(process.argv[2])
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed > 0 || passed === 0 ? 1 : 0

function count(file) {
  let report
  try {
    report = JSON.parse(readFileSync(file, "utf8"))
  } catch {
    console.error("the tests left no report")
    return { passed: 0, failed: 1 }
  }
  const unloaded = report.testResults.filter((f) => f.status === "failed" && f.assertionResults.length === 0)
  for (const { name, message } of unloaded) console.error(`could not be run: ${name}: ${message}`)
  return { passed: report.numPassedTests, failed: report.numFailedTests + unloaded.length }
}
