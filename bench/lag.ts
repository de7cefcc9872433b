/**
 * Does inference in the worker threads hold up the event loop?
 *
 * `npm run bench -- lag`. Starts the gateway with the embedded model on all cores, keeps 8 tasks running with one SSE
 * reader each (in a process of their own), and compares the delay of the main thread's event loop with that of the
 * same gateway at rest. A p99 over 10 ms under load would be bad: somebody's POST waits that long.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { start } from '../src/index.js'

const TASKS = 8
const MEASURE_MS = 10_000
const RESOLUTION_MS = 1

const running = await start({ port: 0, model: ['default'], workers: availableParallelism() })
await running.ready

const rest = await measure()
const readers = fork(fileURLToPath(new URL('./load/streams.js', import.meta.url)), [running.url, String(TASKS)])
await once(readers, 'message')
const load = await measure()
readers.send('stop')
const [{ tasks, events }] = (await once(readers, 'message')) as [{ tasks: number; events: number }]
await running.close()

process.stdout.write(`event-loop delay in ms, over what a timer of ${RESOLUTION_MS} ms asks for (${MEASURE_MS / 1000} s each)
                          p50     p99     max
at rest              ${row(rest)}
${TASKS} tasks, all workers ${row(load)}
ratio of p99: ${(load.p99 / rest.p99).toFixed(1)}; ${tasks} tasks and ${events} events in that time
`)

type Delay = { p50: number; p99: number; max: number }

async function measure(): Promise<Delay> {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
  delay.enable()
  await new Promise((resolve) => setTimeout(resolve, MEASURE_MS))
  delay.disable()
  // The histogram holds the time from timer to timer, in nanoseconds.
  const over = (ns: number): number => Math.max(0, ns / 1e6 - RESOLUTION_MS)
  return { p50: over(delay.percentile(50)), p99: over(delay.percentile(99)), max: over(delay.max) }
}

function row({ p50, p99, max }: Delay): string {
  return [p50, p99, max].map((ms) => ms.toFixed(2).padStart(8)).join('')
}
