/**
 * How many worker threads, and how many threads of ONNX Runtime in each, serve most; and is the event loop free?
 *
 * `npm run bench -- threads`. Starts the gateway with the embedded model in each way, keeps 16 tasks running with one
 * SSE reader each (in a process of their own), and measures tokens a second, the median time to a first token, and the
 * delay of the main thread's event loop, beside that of a gateway at rest. Bad: a default that is not the best of the
 * table, or a p99 of the delay over 10 ms: somebody's POST waits that long.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { start } from '../src/index.js'
import type { Streams } from './load/streams.js'
import { median } from './statistics.js'

const TASKS = 16
const MEASURE_MS = 6000
const RESOLUTION_MS = 1
const CORES = availableParallelism()

type Way = { workers: number; threads: number; slots: number }
type Row = { tokensPerSecond: number; firstTokenMs: number; delay: Delay }
type Delay = { p50: number; p99: number; max: number }

/** As many slots as there are tasks, shared by the workers. */
const way = (workers: number, threads: number): Way => ({ workers, threads, slots: Math.ceil(TASKS / workers) })
const WAYS = [way(1, 1), way(CORES, 1), way(1, CORES), way(CORES, CORES)]

process.stdout.write(`${TASKS} tasks, ${MEASURE_MS / 1000} s each; delay of the event loop in ms, over what a timer of ${RESOLUTION_MS} ms asks for
workers  threads  slots   tokens/s   ratio   first token ms     p50     p99     max
`)
const idle = await rest()
let first = 0
for (const { workers, threads, slots } of WAYS) {
  const { tokensPerSecond, firstTokenMs, delay } = await measure({ workers, threads, slots })
  first ||= tokensPerSecond
  const cells = [
    String(workers).padStart(7),
    String(threads).padStart(9),
    String(slots).padStart(7),
    tokensPerSecond.toFixed(0).padStart(11),
    (tokensPerSecond / first).toFixed(2).padStart(8),
    firstTokenMs.toFixed(0).padStart(17),
    shown(delay),
  ]
  process.stdout.write(`${cells.join('')}\n`)
}
process.stdout.write(`at rest${' '.repeat(52)}${shown(idle)}\n`)

async function measure({ workers, threads, slots }: Way): Promise<Row> {
  const running = await start({ port: 0, model: ['default'], workers, threads, slots, durability: 'none' })
  await running.ready
  const readers = fork(fileURLToPath(new URL('./load/streams.js', import.meta.url)), [running.url, String(TASKS)])
  await once(readers, 'message')
  const from = performance.now()
  const delay = await delayFor(MEASURE_MS)
  const ms = performance.now() - from
  readers.send('stop')
  const [{ tokens, firstTokenMs }] = (await once(readers, 'message')) as [Streams]
  await running.close()
  return { tokensPerSecond: (tokens * 1000) / ms, firstTokenMs: median(firstTokenMs), delay }
}

async function rest(): Promise<Delay> {
  const running = await start({ port: 0, model: ['default'], durability: 'none' })
  await running.ready
  const delay = await delayFor(MEASURE_MS)
  await running.close()
  return delay
}

async function delayFor(ms: number): Promise<Delay> {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  histogram.enable()
  await sleep(ms)
  histogram.disable()
  // The histogram holds the time from timer to timer, in nanoseconds.
  const over = (ns: number): number => Math.max(0, ns / 1e6 - RESOLUTION_MS)
  return { p50: over(histogram.percentile(50)), p99: over(histogram.percentile(99)), max: over(histogram.max) }
}

function shown({ p50, p99, max }: Delay): string {
  return [p50, p99, max].map((ms) => ms.toFixed(2).padStart(8)).join('')
}
