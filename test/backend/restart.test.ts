/** What a backend on disk finds when it is opened again. */
import assert from 'node:assert/strict'
import { cpSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { DiskOptions } from '../../src/backend/embedded/disk.js'
import { EmbeddedBackend, type Opened } from '../../src/backend/embedded/embedded.js'
import type { EventBody, TaskEvent } from '../../src/core/event.js'
import type { TaskId } from '../../src/core/id.js'
import type { Task } from '../../src/core/task.js'
import { TaskLog } from '../../src/log/task-log.js'
import { flushOf, looseFlush } from '../flush.js'
import { aTask } from '../task.js'
import { until } from '../until.js'
import { diskOptions, temporaryDir } from './disk.js'
import { COMPLETED, WIDE } from './suite.js'

const NEVER = new AbortController().signal
const event = (id: TaskId, seq: number, body: EventBody): TaskEvent => ({ task: id, seq, at: seq, ...body })
const token = (text: string): EventBody => ({ type: 'token', text, tokens: 1 })

async function open(t: TestContext, path: string, more: Partial<DiskOptions> = {}): Promise<Opened> {
  const opened = await EmbeddedBackend.open(WIDE, diskOptions(path, more))
  t.after(() => opened.backend.close())
  return opened
}

/** What `kill -9` would leave of a directory whose gateway has just been told that all it wrote is written. */
function crashed(t: TestContext, path: string): string {
  const copy = temporaryDir(t)
  for (const part of ['archive', 'journal', 'version']) cpSync(join(path, part), join(copy, part), { recursive: true })
  return copy
}

const accept = (backend: EmbeddedBackend, task: Task): Promise<unknown> =>
  backend.enqueue(task, event(task.id, 1, { type: 'queued', position: 0 }))

const say = (
  backend: EmbeddedBackend,
  id: TaskId,
  attempt: number,
  seq: number,
  ...bodies: [EventBody, ...EventBody[]]
): Promise<TaskId[]> => {
  const [first, ...rest] = bodies
  const events = rest.map((body, index) => event(id, seq + 1 + index, body))
  const ids = bodies.flatMap(({ type }, index) => (type === 'token' ? [seq + index] : []))
  return backend.append([looseFlush(attempt, [event(id, seq, first), ...events], ids)])
}

test('tasks that waited wait again, in their order, and what had started is given back with all that it said', async (t) => {
  const path = temporaryDir(t)
  const { backend } = await open(t, path)
  const runs = aTask({ priority: 9, promptIds: Int32Array.of(1, 2, 3) })
  const waiting = [5, 0, 9, 5].map((priority) => aTask({ priority }))
  await accept(backend, runs)
  await backend.take('m', 1, NEVER)
  for (const task of waiting) await accept(backend, task)
  await say(backend, runs.id, 2, 2, { type: 'started', attempt: 2, model: 'm' }, token('Hello'), token(' 🦊'))

  const again = await open(t, crashed(t, path))

  assert.deepEqual(
    again.recovered.map(({ task }) => task),
    [runs, ...waiting],
  )
  const [first] = again.recovered
  assert.deepEqual([first?.log.text(), first?.ids, first?.canceledBy], ['Hello 🦊', [3, 4], null])
  assert.equal(again.backend.depth, 4)
  const taken = await again.backend.take('m', 10, NEVER)
  assert.deepEqual(
    taken.map(({ id }) => id),
    [2, 0, 3, 1].map((index) => waiting[index]?.id),
  )
  assert.ok(again.nextOrdinal > Math.max(...waiting.map(({ ordinal }) => ordinal)))
})

test('the attempt fences after a restart, too', async (t) => {
  const path = temporaryDir(t)
  const { backend } = await open(t, path)
  const task = aTask()
  await accept(backend, task)
  await backend.take('m', 1, NEVER)
  await say(backend, task.id, 3, 2, { type: 'started', attempt: 3, model: 'm' })

  const again = await open(t, crashed(t, path))
  const late = await say(again.backend, task.id, 2, 3, token('late'))
  const present = await say(again.backend, task.id, 3, 3, token('present'))

  assert.deepEqual([late, present], [[task.id], []])
})

test('a cancel that was answered is known after a restart', async (t) => {
  const path = temporaryDir(t)
  const { backend } = await open(t, path)
  const task = aTask()
  await accept(backend, task)
  await backend.take('m', 1, NEVER)
  await backend.cancel(task.id, 'client')

  const { recovered } = await open(t, crashed(t, path))

  assert.deepEqual(
    recovered.map(({ canceledBy }) => canceledBy),
    ['client'],
  )
})

test('a task that ended and was not archived is given back to be archived, and one that was is found and not given back', async (t) => {
  const path = temporaryDir(t)
  const { backend } = await open(t, path)
  const [fresh, old] = [aTask(), aTask()]
  const logs = new Map<TaskId, TaskLog>()
  for (const task of [fresh, old]) {
    await accept(backend, task)
    await backend.take('m', 1, NEVER)
    await say(backend, task.id, 1, 2, token('x'), COMPLETED)
    const log = new TaskLog(task.id, 16)
    for (const [index, body] of [{ type: 'queued', position: 0 } as const, token('x'), COMPLETED].entries()) {
      log.append(event(task.id, index + 1, body))
    }
    logs.set(task.id, log)
  }
  await backend.archive({ task: old, log: logs.get(old.id) as TaskLog })

  const again = await open(t, crashed(t, path))

  assert.deepEqual(
    again.recovered.map(({ task, log }) => [task.id, log.end?.type]),
    [[fresh.id, 'completed']],
  )
  assert.equal((await again.backend.find(old.id)).type, 'kept')
  assert.equal(await again.backend.cancel(fresh.id, 'client'), 'unknown')
})

test('idempotency keys of waiting, ended and archived tasks name them after a restart', async (t) => {
  const path = temporaryDir(t)
  const { backend } = await open(t, path)
  const tasks = ['waits', 'ended', 'archived'].map((key) => aTask({ idempotency: { key, bodyHash: 'h' }, model: key }))
  for (const task of tasks) await accept(backend, task)
  for (const { id, model } of tasks.slice(1)) {
    await backend.take(model, 1, NEVER)
    await say(backend, id, 1, 2, COMPLETED)
  }
  const archived = tasks[2] as Task
  const log = new TaskLog(archived.id, 16)
  for (const [index, body] of [{ type: 'queued', position: 0 } as const, COMPLETED].entries()) {
    log.append(event(archived.id, index + 1, body))
  }
  await backend.archive({ task: archived, log })

  // Twice: what the first start has archived, or kept elsewhere, counts as well.
  const again = await open(t, crashed(t, path))
  for (const kept of again.recovered) if (kept.log.ended) await again.backend.archive(kept)
  const last = await open(t, crashed(t, path))

  for (const { backend } of [again, last]) {
    for (const { id, idempotency } of tasks) {
      assert.deepEqual(await backend.known('me', idempotency as { key: string; bodyHash: string }), {
        type: 'replay',
        id,
      })
    }
    assert.deepEqual(await backend.known('me', { key: 'ended', bodyHash: 'other' }), { type: 'conflict' })
    assert.equal(await backend.known('you', { key: 'ended', bodyHash: 'h' }), null)
  }
})

test('a retry with a key whose task is being accepted waits until that is certain', async (t) => {
  const { backend } = await open(t, temporaryDir(t))
  const task = aTask({ idempotency: { key: 'k', bodyHash: 'h' } })
  const order: string[] = []

  const accepting = accept(backend, task).then(() => order.push('accepted'))
  const known = backend.known('me', { key: 'k', bodyHash: 'h' }).then((known) => order.push(known?.type ?? 'new'))
  await Promise.all([accepting, known])

  assert.deepEqual(new Set(order), new Set(['accepted', 'replay']))
})

test('a task that runs while thousands come and go does not hold on to the journal, and has all of it after a crash', async (t) => {
  const path = temporaryDir(t)
  const journalBytes = 40_000
  const { backend } = await open(t, path, { journalBytes })
  const [long, waits] = [aTask({ model: 'long' }), aTask({ model: 'waits', idempotency: { key: 'k', bodyHash: 'h' } })]
  for (const task of [long, waits]) await accept(backend, task)
  await backend.take('long', 1, NEVER)
  const logs = new Map([long, waits].map((task) => [task.id, new TaskLog(task.id, 100_000)]))
  for (const [id, log] of logs) log.append(event(id, 1, { type: 'queued', position: 0 }))
  const ids: number[] = []
  backend.onCheckpoint((id) => {
    const log = logs.get(id)
    const task = [long, waits].find((task) => task.id === id)
    return log && task ? { task, log, ids: id === long.id ? [...ids] : [], canceledBy: null } : null
  })
  const files = (): number => readdirSync(join(path, 'journal')).length

  let most = 0
  for (let seq = 2; seq < 2000; seq++) {
    const body = token(`${seq} and some more text to make the journal long; `)
    const log = logs.get(long.id) as TaskLog
    ids.push(seq)
    await backend.append([flushOf(log, 1, [event(long.id, seq, body)], [seq])])
    log.show(seq)
    most = Math.max(most, files())
  }
  await until('old files to be gone', () => files() <= 6)
  const again = await open(t, crashed(t, path), { journalBytes })

  assert.ok(most <= 12, `${most} files`)
  const [first, second] = again.recovered
  assert.deepEqual([first?.task.id, second?.task.id], [long.id, waits.id])
  assert.equal(first?.log.text(), logs.get(long.id)?.text())
  assert.deepEqual(first?.ids, ids)
  assert.equal(first?.log.lastSeq, 1999)
  assert.deepEqual(await again.backend.known('me', { key: 'k', bodyHash: 'h' }), { type: 'replay', id: waits.id })
})

test('webhooks that were not delivered are there after a restart, those that were are not', async (t) => {
  const path = temporaryDir(t)
  const { backend } = await open(t, path)
  for (const delivered of [true, false]) {
    const task = aTask({ webhook: { url: 'https://example.com/' } })
    const log = new TaskLog(task.id, 16)
    for (const [index, body] of [{ type: 'queued', position: 0 } as const, COMPLETED].entries()) {
      log.append({ ...event(task.id, index + 1, body), at: Date.now() })
    }
    await backend.archive({ task, log })
    if (delivered) backend.deliveries.removeDelivery(task.id)
  }
  await backend.close()

  const { deliveries } = await open(t, path)

  assert.deepEqual(
    deliveries.map(({ url, failures }) => [url, failures]),
    [['https://example.com/', 0]],
  )
  assert.match(deliveries[0]?.id ?? '', /^task_.{21}_2$/)
})

test('a task that was kept elsewhere and had said nothing since needs the journal again from its next word on', async (t) => {
  const path = temporaryDir(t)
  const [quiet, loud] = [aTask(), aTask()]
  const logs = new Map([quiet, loud].map(({ id }) => [id, new TaskLog(id, 1000)]))
  const logOf = ({ id }: Task): TaskLog => logs.get(id) as TaskLog
  // A file for each record.
  const start = async (path: string): Promise<EmbeddedBackend> => {
    const { backend } = await open(t, path, { journalBytes: 4 })
    backend.onCheckpoint((id) => {
      const task = [quiet, loud].find((task) => task.id === id) as Task
      return { task, log: logOf(task), ids: [], canceledBy: null }
    })
    return backend
  }
  const speak = async (backend: EmbeddedBackend, task: Task, count: number): Promise<void> => {
    for (let i = 0; i < count; i++) {
      const said = event(task.id, logOf(task).lastSeq + 1, token(`${i} `))
      await backend.append([flushOf(logOf(task), 1, [said])])
      logOf(task).show(said.seq)
    }
  }
  const files = (path: string): number => readdirSync(join(path, 'journal')).length
  const first = await start(path)
  for (const task of [quiet, loud]) {
    await accept(first, task)
    logOf(task).append(event(task.id, 1, { type: 'queued', position: 0 }))
  }
  await first.take('m', 2, NEVER)
  await speak(first, quiet, 5)
  await speak(first, loud, 20)
  await until('old files to be gone', () => files(path) <= 6)

  const copy = crashed(t, path)
  const second = await start(copy)
  await speak(second, quiet, 5)
  await speak(second, loud, 20)
  await until('old files to be gone again', () => files(copy) <= 6)
  const { recovered } = await open(t, crashed(t, copy))

  assert.deepEqual(
    recovered.map(({ log }) => log.text()),
    [quiet, loud].map((task) => logOf(task).text()),
  )
})
