/**
 * How long a start takes with much to keep: 100,000 ended tasks, and a thousand that were running when it was killed.
 *
 * `npm run bench -- restart`. The ended tasks are archived as the gateway does it; then a gateway is started on them as a
 * user does, loaded with running tasks, killed with `kill -9` and started again. Bad: more than a few seconds over the
 * start with an empty directory, which is in the same run.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EmbeddedBackend } from '../src/backend/embedded/embedded.js'
import { newTaskId } from '../src/core/id.js'
import { TaskLog } from '../src/log/task-log.js'
import { newTask } from './journal/task.js'
import { Clients } from './load/clients.js'
import { BenchGateway } from './load/gateway.js'

const ENDED = 100_000
const TOKENS = 200
const RUNNING = 1000
const KEEP = ['--retention-bytes', '10000000000']

/** Fills an empty directory, through the backend itself. */
async function fill(path: string): Promise<void> {
  const { backend } = await EmbeddedBackend.open(
    {
      maxQueue: ENDED,
      maxQueueBytes: 1e9,
      maxIdempotencyKeys: 1,
      maxRingEvents: 1024,
      retentionMs: 86_400_000,
      retentionBytes: 1e10,
    },
    { path, durability: 'process', journalBytes: 64 * 1_048_576, onTrouble: () => {} },
  )
  const now = Date.now()
  for (let ordinal = 1; ordinal <= ENDED; ) {
    const archiving: Promise<void>[] = []
    for (const until = Math.min(ENDED, ordinal + 999); ordinal <= until; ordinal++) {
      const task = newTask(newTaskId(), ordinal)
      const log = new TaskLog(task.id, 1024)
      log.append({ task: task.id, seq: 1, at: now, type: 'queued', position: 0 })
      for (let seq = 2; seq < TOKENS + 2; seq++) {
        log.append({ task: task.id, seq, at: now, type: 'token', text: ` word${seq}`, tokens: 1 })
      }
      log.append({ task: task.id, seq: TOKENS + 2, at: now, type: 'canceled', by: 'client' })
      archiving.push(backend.archive({ task, log }))
    }
    await Promise.all(archiving)
  }
  await backend.close()
}

const dir = mkdtempSync(join(tmpdir(), 'rejoin-bench-'))
try {
  const empty = await BenchGateway.start([])
  await empty.stop()
  process.stdout.write(`an empty directory: ready after ${empty.readyMs.toFixed(0)} ms\n`)

  const from = performance.now()
  await fill(dir)
  process.stdout.write(
    `${ENDED} tasks of ${TOKENS} tokens archived in ${((performance.now() - from) / 1000).toFixed(1)} s\n`,
  )
  const kept = await BenchGateway.start(KEEP, dir)
  process.stdout.write(`with ${ENDED} ended tasks: ready after ${kept.readyMs.toFixed(0)} ms\n`)

  const clients = await Clients.start(kept, {
    protocol: 'sse',
    clients: RUNNING,
    script: { tokens: 100_000, rate: 50 },
    onLeave: 'goOn',
  })
  await clients.measure(5000)
  const stopped = clients.stop()
  await kept.stop('SIGKILL')
  await stopped.catch(() => {})
  const killed = await BenchGateway.start(KEEP, dir)
  process.stdout.write(`and ${RUNNING} running ones, after kill -9: ready after ${killed.readyMs.toFixed(0)} ms\n`)
  await killed.stop()
} finally {
  rmSync(dir, { recursive: true, force: true })
}
