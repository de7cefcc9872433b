/**
 * `rejoin load`: options in, a progress line meanwhile on stderr, a table or JSON at the end on stdout.
 */
import { writeFile } from 'node:fs/promises'
import type { Measure, Point } from './measure.js'
import { loadHelp, loadOptions } from './options.js'
import { report } from './report.js'
import { runLoad } from './run.js'
import { shownCount, shownMs, summarize, wentWell } from './summary.js'
import { table } from './table.js'

/** Without a terminal a line is written this often, and not rewritten. */
const LINE_MS = 2000

/** Returns the exit code: 0, or 1 when an event was lost or repeated, or nothing came at all.
 * @throws ConfigError when an option is wrong; Error when the report cannot be written */
export async function loadTest(argv: string[], env: Record<string, string | undefined>): Promise<number> {
  const { help, ...options } = loadOptions.read(argv, env)
  if (help) {
    process.stdout.write(loadHelp())
    return 0
  }
  const over = new AbortController()
  const stop = (): void => over.abort()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop)
  const progress = new Progress(process.stderr)
  const result = await runLoad(options, over.signal, (point, measure) => progress.show(point, measure))
  progress.end()
  const summary = summarize(result)
  if (options.json) process.stdout.write(`${JSON.stringify(summary)}\n`)
  else process.stdout.write(table(summary))
  if (options.report !== '') {
    await writeFile(options.report, report(result, summary))
    process.stderr.write(`Report: ${options.report}\n`)
  }
  return wentWell(summary) ? 0 : 1
}

class Progress {
  readonly #out: NodeJS.WriteStream
  #shownAt = 0

  constructor(out: NodeJS.WriteStream) {
    this.#out = out
  }

  show(
    { atS, tokensPerS, active, firstTokenP50, gapP99, latenessP99 }: Point,
    { lost, repeated, errors }: Measure,
  ): void {
    if (!this.#out.isTTY && performance.now() - this.#shownAt < LINE_MS) return
    this.#shownAt = performance.now()
    const wrong = [...errors.values()].reduce((sum, count) => sum + count, 0)
    const line = [
      `${atS.toFixed(1).padStart(6)} s`,
      `${shownCount(tokensPerS)} tokens/s`,
      `${active} answers`,
      `first token ${firstTokenP50 > 0 ? shownMs(firstTokenP50) : '–'}`,
      latenessP99 > 0 ? `late p99 ${shownMs(latenessP99)}` : `gap p99 ${shownMs(gapP99)}`,
      `lost ${lost}, repeated ${repeated}, errors ${wrong}`,
    ].join('  ')
    this.#out.write(this.#out.isTTY ? `\r\x1b[K${line}` : `${line}\n`)
  }

  end(): void {
    if (this.#out.isTTY) this.#out.write('\r\x1b[K')
  }
}
