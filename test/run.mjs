// Runs every test file in a process of its own and ends with one line: `N passed, N failed`.
//
// Files are found by their source, so that what an old build left in dist/ is never run. A skipped test is told
// loudly, and in CI it is a failure: there everything that a test needs must be installed.
// Usage: node test/run.mjs [PART_OF_A_PATH ...]
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { fileURLToPath } from 'node:url'

const here = fileURLToPath(new URL('.', import.meta.url))
const built = fileURLToPath(new URL('../dist/test/', import.meta.url))
const wanted = process.argv.slice(2)

const files = readdirSync(here, { recursive: true })
  .filter((file) => file.endsWith('.test.ts') && (wanted.length === 0 || wanted.some((part) => file.includes(part))))
  .map((file) => join(built, file.replace(/\.ts$/, '.js')))
  .sort()

const count = { passed: 0, failed: 0, skipped: [] }
const tests = run({ files, concurrency: Math.max(2, availableParallelism()), timeout: 300_000 })
tests.on('test:pass', ({ name, skip, details }) => {
  if (skip !== undefined) count.skipped.push(name)
  else if (details.type !== 'suite') count.passed++
})
tests.on('test:fail', ({ details }) => {
  if (details.type !== 'suite') count.failed++
})
tests.on('end', () => {
  for (const name of count.skipped) process.stdout.write(`SKIPPED: ${name}\n`)
  const skippedInCi = process.env.CI ? count.skipped.length : 0
  const skipped = count.skipped.length > 0 ? `, ${count.skipped.length} skipped` : ''
  process.stdout.write(`\n${count.passed} passed, ${count.failed} failed${skipped}\n`)
  process.exitCode = count.passed > 0 && count.failed + skippedInCi === 0 ? 0 : 1
})
tests.compose(new spec()).pipe(process.stdout)
