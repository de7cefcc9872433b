/**
 * What the journal costs per event: the backend alone, fed as workers feed it at 100,000 events a second.
 *
 * `npm run bench -- journal`. Flushes of 100 tasks, one token each, a thousand times a second, with readers left out; the
 * CPU of the whole process (all threads) with the journal, less the same without. Bad: over 0.5 µs an event with
 * `process`, or a median commit over 3 ms.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Flush } from '../src/backend/backend.js'
import { EmbeddedBackend, type EmbeddedOptions } from '../src/backend/embedded/embedded.js'
import { newTaskId } from '../src/core/id.js'
import { TaskLog } from '../src/log/task-log.js'
import { newTask } from './journal/task.js'
import { percentile } from './statistics.js'

const TASKS = 2000
const PER_FLUSH = 100
const EVENTS_PER_S = 100_000
const SECONDS = 5
const ROUNDS = 3

const OPTIONS: EmbeddedOptions = {
  maxQueue: 1_000_000,
  maxQueueBytes: 1e9,
  maxIdempotencyKeys: 1_000_000,
  maxRingEvents: 1024,
  retentionMs: 1e9,
  retentionBytes: 1e9,
}

type Kind = 'none' | 'process' | 'disk'
type Cost = { cpuUs: number; commitMs: number[]; eventsPerS: number }

async function backendOf(kind: Kind, dir: string): Promise<EmbeddedBackend> {
  if (kind === 'none') return new EmbeddedBackend(OPTIONS)
  const disk = { path: dir, durability: kind, journalBytes: 64 * 1_048_576, onTrouble: () => {} }
  return (await EmbeddedBackend.open(OPTIONS, disk)).backend
}

/** Tasks that run, in a backend of that kind. */
async function running(backend: EmbeddedBackend): Promise<TaskLog[]> {
  const logs: TaskLog[] = []
  for (let ordinal = 1; ordinal <= TASKS; ordinal++) {
    const task = newTask(newTaskId(), ordinal)
    const log = new TaskLog(task.id, OPTIONS.maxRingEvents)
    log.append({ task: task.id, seq: 1, at: 1, type: 'queued', position: 0 })
    void backend.enqueue(task, log.eventAt(1))
    logs.push(log)
  }
  for (let taken = 0; taken < TASKS; ) taken += (await backend.take('m', TASKS, new AbortController().signal)).length
  return logs
}

async function cost(kind: Kind): Promise<Cost> {
  const dir = mkdtempSync(join(tmpdir(), 'rejoin-bench-'))
  const backend = await backendOf(kind, dir)
  const logs = await running(backend)
  const commitMs: number[] = []
  let next = 0
  const flush = (): Promise<void> => {
    const at = Date.now()
    const flushes: Flush[] = Array.from({ length: PER_FLUSH }, () => {
      const task = next++ % TASKS
      const log = logs[task] as TaskLog
      const from = log.addedSeq
      log.addToken(` word${task}`, 1, at)
      return { id: log.task, attempt: 1, log, from, to: from + 1, ids: [task] }
    })
    const from = performance.now()
    return backend.append(flushes).then(() => {
      for (const { log, to } of flushes) log.show(to)
      commitMs.push(performance.now() - from)
    })
  }
  for (let i = 0; i < 200; i++) await flush()
  commitMs.length = 0
  const [cpu, from] = [process.cpuUsage(), performance.now()]
  const flushesPerMs = EVENTS_PER_S / PER_FLUSH / 1000
  const pending = new Set<Promise<void>>()
  for (let sent = 0; sent < SECONDS * 1000 * flushesPerMs; ) {
    for (const due = (performance.now() - from) * flushesPerMs; sent < due; sent++) {
      const flushed = flush()
      pending.add(flushed)
      void flushed.then(() => pending.delete(flushed))
    }
    await sleep(1)
  }
  await Promise.all(pending)
  const { user, system } = process.cpuUsage(cpu)
  const elapsedS = (performance.now() - from) / 1000
  const events = commitMs.length * PER_FLUSH
  await backend.close()
  rmSync(dir, { recursive: true })
  return { cpuUs: (user + system) / events, commitMs, eventsPerS: events / elapsedS }
}

for (let round = 1; round <= ROUNDS; round++) {
  const none = await cost('none')
  for (const kind of ['process', 'disk'] as const) {
    const { cpuUs, commitMs, eventsPerS } = await cost(kind)
    const p50 = percentile(commitMs, 50).toFixed(2)
    const p99 = percentile(commitMs, 99).toFixed(2)
    process.stdout.write(
      `round ${round}, ${kind}: ${(cpuUs - none.cpuUs).toFixed(2)} µs CPU an event (${cpuUs.toFixed(2)} less ${none.cpuUs.toFixed(2)}) ` +
        `at ${Math.round(eventsPerS / 1000)} k events/s; commit p50 ${p50} ms, p99 ${p99} ms\n`,
    )
  }
}
