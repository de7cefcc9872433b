/**
 * The clients of a benchmark, in a process of their own; see `clients.ts` for the other side.
 *
 * Forked with a job. All connect; then each submits a task, and the next one when it has ended. The first tasks have all lengths
 * up to the job's, so that they do not end, and begin, in step for ever. Says `started` when each client has had its first
 * token, and in answer to orders what came in a window, or how long each client took to follow a task once.
 */
import { cpuSeconds } from '../cpu.js'
import { spreadOf } from '../statistics.js'
import { Connection, type Tally } from './connection.js'
import { type Job, LOOKING, type Order, type Report } from './job.js'
import { taskRequest } from './wire.js'

/** Fewer than a server's listen backlog: what is over that is dropped, and tried again after a second. */
const CONNECTING = 100

const job = JSON.parse(process.argv[2] ?? '{}') as Job
const { tokens } = job.script
const request = taskRequest(job, job.script)
const tally: Tally = { events: 0, tasks: 0, lateMs: [], firstMs: [] }
const follows = job.follow !== undefined

let silent = job.clients
let caughtUpMs: number[] = []

const report = (what: Report): void => {
  process.send?.(what)
}

const connections = Array.from(
  { length: job.clients },
  (_, i) => new Connection(job, tally, job.script.stamp === true && i % LOOKING === 0, onTask),
)

function onTask(what: 'greeted' | 'ended', connection: Connection): void {
  if (what === 'greeted') {
    if (--silent === 0) report({ type: 'started' })
  } else if (!follows) connection.submit(request, tokens)
  else {
    caughtUpMs.push(connection.tookMs)
    if (caughtUpMs.length === job.clients) report({ type: 'caughtUp', ms: caughtUpMs })
  }
}

async function connectAll(): Promise<void> {
  const unconnected = connections.values()
  const connectSome = async (): Promise<void> => {
    for (const connection of unconnected) await connection.open()
  }
  await Promise.all(Array.from({ length: CONNECTING }, connectSome))
}

/** One after another, within the time that the job gives. */
async function submitAll(): Promise<void> {
  const from = performance.now()
  for (const [i, connection] of connections.entries()) {
    const atMs = ((job.spreadMs ?? 0) * i) / job.clients
    while (performance.now() - from < atMs) await new Promise((resolve) => setTimeout(resolve, 1))
    if (follows) connection.submit(request, tokens)
    else {
      const first = Math.ceil((tokens * (i + 1)) / job.clients)
      connection.submit(taskRequest(job, { ...job.script, tokens: first }), first)
    }
  }
}

function measure(measureMs: number): void {
  Object.assign(tally, { events: 0, tasks: 0, lateMs: [], firstMs: [] })
  const [from, cpuS] = [performance.now(), cpuSeconds(job.pid)]
  setTimeout(() => {
    const { events, tasks, lateMs, firstMs } = tally
    const [ms, serverCpuS] = [performance.now() - from, cpuSeconds(job.pid) - cpuS]
    const received = { ms, events, tasks, serverCpuS, lateMs: spreadOf(lateMs), firstMs: spreadOf(firstMs) }
    report({ type: 'received', received })
  }, measureMs)
}

process.on('message', (order: Order) => {
  if (order === 'stop') process.exit(0)
  if (order === 'catchUp') {
    caughtUpMs = []
    for (const connection of connections) connection.submit(request, tokens)
  } else measure(order.measureMs)
})
process.on('disconnect', () => process.exit(0))

await connectAll()
await submitAll()
