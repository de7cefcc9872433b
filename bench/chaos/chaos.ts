/**
 * Proves PROTOCOL section 2: nothing is lost and nothing comes twice, whatever is killed.
 *
 * `npm run chaos` (at most 18 minutes, more than 200 kills), `npm run chaos -- --ci` (20 kills in less than a minute),
 * `npm run chaos -- --help`. Starts the real gateway on this machine, keeps tasks running on it, follows each over SSE,
 * WebSocket and long poll with connections that are cut, slow and stalled, and kills the gateway with `kill -9` again and
 * again. Bad: any violation (exit code 1). It is printed with the task, the reader, and the command that makes the
 * same decisions again; the data directory and the gateway's log are kept.
 */
import { randomInt } from 'node:crypto'
import { commandOf, HELP, OptionError, type Options, readOptions } from './options.js'
import { runChaos, type Watch } from './run.js'
import { kinds, progressLine, table } from './table.js'
import { shownViolation } from './violations.js'

const EXIT = { violated: 1, usage: 2, interrupted: 130 } as const
const LINE_EVERY_MS = 5000

try {
  const options = readOptions(process.argv.slice(2), () => randomInt(1_000_000))
  process.exitCode = options ? await run(options) : help()
} catch (error) {
  process.stderr.write(`chaos: ${(error as Error).message}\n`)
  process.exitCode = error instanceof OptionError ? EXIT.usage : EXIT.violated
}
// What is left are waits of tasks that were given up, and they would hold up the exit.
process.exit()

function help(): number {
  process.stdout.write(HELP)
  return 0
}

async function run(options: Options): Promise<number> {
  const interrupt = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.on(signal, () => {
      // A second one does not wait for an orderly end; the exit kills the gateway, too.
      if (interrupt.signal.aborted) process.exit(EXIT.interrupted)
      interrupt.abort()
    })
  }
  process.stdout.write(`${commandOf(options)}\n`)
  const result = await runChaos(options, interrupt.signal, watcher(options))
  const { violations, cutShort, kept } = result
  process.stdout.write(`\n${table(result, options)}`)
  if (cutShort) process.stdout.write(`\nIt was cut short: ${cutShort}.\n`)
  if (violations.total > 0) {
    process.stdout.write(`\n${violations.total} violations:\n${kinds(violations)}\nThe first of them:\n`)
    for (const violation of violations.first) process.stdout.write(`  ${shownViolation(violation)}\n`)
    process.stdout.write(`\nKept: ${kept}\nAgain: ${commandOf(options)}\n`)
  }
  if (cutShort === 'interrupted') return EXIT.interrupted
  // A run that was short of kills has proved less than was asked for.
  return violations.total > 0 || cutShort ? EXIT.violated : 0
}

/** One line that is written over on a terminal, and a line now and then elsewhere. */
function watcher(options: Options): Watch {
  let last = performance.now()
  return (state) => {
    if (process.stdout.isTTY) {
      process.stdout.write(`\r${progressLine(state, options)}\u001b[K`)
    } else if (performance.now() - last >= LINE_EVERY_MS) {
      last = performance.now()
      process.stdout.write(`${progressLine(state, options)}\n`)
    }
  }
}
