/**
 * What does it bring to decode many streams in one batch, and what does our code around it cost?
 *
 * `npm run bench -- batch`. For 1 to 32 streams at once, tokens a second over all of them, of our engine and of
 *   (a) the same engine with one slot, one task after another,
 *   (b) transformers.js with as many generations at once and the same threads (if it is there, see batch/transformers.ts),
 *   (c) a bare `session.run` loop with the same batch, the ceiling: the better of the two ways to keep keys and values,
 * each in a process of its own, one after another, with one thread of ONNX Runtime; then our engine on all cores, beside
 * (b) with as many threads, or one where that is faster. Below that, the ways to keep keys and values at a short and a long context, of the bare loop. Bad: less than 0.85 of (c),
 * or fewer than 4 times (b) at 16 streams.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { Job, Result } from './batch/setup.js'
import { median } from './statistics.js'

const WIDTHS = [1, 4, 8, 16, 32]
const FILES = ['onnx/model.onnx', 'onnx/model_q4.onnx']
const TOKENS = 200
const CORES = availableParallelism()

const run = async (job: Partial<Job>): Promise<Result> => {
  const whole = { file: 'onnx/model.onnx', width: 1, workers: 1, threads: 1, tokens: TOKENS, ...job }
  const child = fork(fileURLToPath(new URL(`./batch/${job.side}.js`, import.meta.url)), [JSON.stringify(whole)])
  const exit = once(child, 'exit')
  const [result] = (await Promise.race([
    once(child, 'message'),
    exit.then(() => [{ failed: 'the process ended' }]),
  ])) as [Result]
  await exit
  return result
}

/** The median of the rounds; NaN where there are none. */
const rate = async (job: Partial<Job>): Promise<number> => {
  const result = await run(job)
  if ('rates' in result) return median(result.rates)
  process.stderr.write(`${job.side}: ${result.failed}\n`)
  return Number.NaN
}

const perSecond = (tokens: number): string => (Number.isNaN(tokens) ? '-' : String(Math.round(tokens))).padStart(8)
const ratio = (of: number, to: number): string => (Number.isNaN(of / to) ? '-' : (of / to).toFixed(2)).padStart(7)

for (const file of FILES) {
  const single = await rate({ side: 'ours', file })
  process.stdout.write(`${file}, tokens/s
streams  (a) one  (b) t.js  (c) bare      ours    /(a)   /(b)   /(c)   ours on ${CORES} cores    /(a)   /(b)
`)
  for (const width of WIDTHS) {
    const job = { file, width }
    const bare = Math.max(
      await rate({ ...job, side: 'bare', keep: 'given' }),
      await rate({ ...job, side: 'bare', keep: 'appended' }),
    )
    const ours = await rate({ ...job, side: 'ours' })
    const workers = Math.min(CORES, width)
    const all = workers === 1 ? ours : await rate({ ...job, side: 'ours', workers })
    const transformers = await rate({ ...job, side: 'transformers' })
    const theirs = Math.max(transformers, await rate({ ...job, side: 'transformers', threads: CORES }))
    const cells = [
      String(width).padStart(7),
      ` ${perSecond(single)} `,
      ` ${perSecond(transformers)}`,
      ` ${perSecond(bare)}`,
      ` ${perSecond(ours)} `,
      ratio(ours, single),
      ratio(ours, transformers),
      ratio(ours, bare),
      `          ${perSecond(all)}  `,
      ratio(all, single),
      ratio(all, theirs),
    ]
    process.stdout.write(`${cells.join('')}\n`)
  }
  process.stdout.write('\n')
}

process.stdout.write(`ways to keep keys and values, bare loop, onnx/model.onnx, tokens/s
context  streams     given    shared  appended   appended/given
`)
for (const promptTokens of [16, 350]) {
  for (const width of [1, 8, 32]) {
    const rates: number[] = []
    for (const keep of ['given', 'shared', 'appended'] as const) {
      rates.push(await rate({ side: 'bare', width, keep, promptTokens, tokens: 100 }))
    }
    const [given = 0, , appended = 0] = rates
    const cells = rates.map((tokens) => `  ${perSecond(tokens)}`).join('')
    process.stdout.write(
      `${String(promptTokens).padStart(7)}${String(width).padStart(9)}${cells}${ratio(appended, given).padStart(17)}\n`,
    )
  }
}
