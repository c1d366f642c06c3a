// Prints the totals of the last test run as one plain line, `N passed, N failed`, read from the results that vitest left
// in .cache. A file that could not be loaded counts as one failure: its tests were never seen.

import { readFileSync } from 'node:fs'

interface TestResults {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly numPendingTests: number
  readonly numTodoTests: number
  readonly testResults: readonly { readonly status: string; readonly assertionResults: readonly unknown[] }[]
}

const results = JSON.parse(readFileSync('.cache/test-results.json', 'utf8')) as TestResults
const unloaded = results.testResults.filter((file) => file.status === 'failed' && file.assertionResults.length === 0)
const failed = results.numFailedTests + unloaded.length
const skipped = results.numPendingTests + results.numTodoTests
const line = `${results.numPassedTests} passed, ${failed} failed`
process.stdout.write(`${skipped === 0 ? line : `${line}, ${skipped} skipped`}\n`)
