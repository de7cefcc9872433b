/** A gateway that ends in the middle of its work, and the next one over the same directory. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { EmbeddedBackend } from '../../src/backend/embedded/embedded.js'
import type { EventBody, Seq, TaskEvent } from '../../src/core/event.js'
import type { TaskId } from '../../src/core/id.js'
import type { Task } from '../../src/core/task.js'
import type { Gateway, GatewayOptions } from '../../src/gateway/gateway.js'
import type { TaskRecord } from '../../src/gateway/record.js'
import { TaskLog } from '../../src/log/task-log.js'
import { diskOptions, temporaryDir } from '../backend/disk.js'
import { flushOf } from '../flush.js'
import { onnxSource } from '../model/answer.js'
import { aSpec, aTask } from '../task.js'
import {
  BACKEND,
  ENDLESS,
  firstOf,
  isToken,
  makeGateway,
  outline,
  RECEIVED,
  script,
  submit,
  textOf,
  whole,
  words,
} from './harness.js'

type Options = Partial<GatewayOptions> & { slots?: number }

/** Over the directory, with what is there; not opened. */
async function over(t: TestContext, dir: string, options: Options = {}): Promise<Gateway> {
  const { backend, ...left } = await EmbeddedBackend.open(BACKEND, diskOptions(dir))
  const gateway = makeGateway(t, { backend, ...options })
  gateway.recover(left)
  return gateway
}

/** Ends one in the middle of its work, and gives the next one. */
async function restarted(t: TestContext, dir: string, gateway: Gateway, options: Options = {}): Promise<Gateway> {
  await gateway.close()
  return over(t, dir, options)
}

const found = (gateway: Gateway, { task }: TaskRecord): Promise<TaskRecord> => gateway.find('me', task.id)

/** Accepts and takes a task, if it has not been, and has it say something. */
const logs = new Map<TaskId, TaskLog>()
async function says(backend: EmbeddedBackend, task: Task, attempt: number, bodies: EventBody[]): Promise<void> {
  const { id } = task
  const event = (body: EventBody, seq: Seq): TaskEvent => ({ task: id, seq, at: Date.now(), ...body })
  if (!logs.has(id)) {
    const log = new TaskLog(id, 1024)
    logs.set(id, log)
    log.append(event({ type: 'queued', position: 0 }, 1))
    await backend.enqueue(task, log.eventAt(1))
    await backend.take('scripted', 1, new AbortController().signal)
  }
  const log = logs.get(id) as TaskLog
  const events = bodies.map((body, index) => event(body, log.addedSeq + 1 + index))
  await backend.append([flushOf(log, attempt, events)])
}

function saidSoFar(gateway: Gateway, record: TaskRecord): TaskEvent[] {
  const events: TaskEvent[] = []
  const reader = gateway.attach(record, 0, () => {})
  for (let entry = reader.next(0); entry; entry = reader.next(0)) events.push(entry.event)
  gateway.detach(reader)
  return events
}

/** Until it has said so many tokens. */
const tokens = (gateway: Gateway, record: TaskRecord, count: number): Promise<TaskEvent> =>
  firstOf(gateway, record, () => record.log.tokens >= count)

test('a running task goes on where it was, and is one log to whoever comes back', async (t) => {
  const dir = temporaryDir(t)
  const before = await over(t, dir)
  await before.open()
  const record = await submit(before, script({ tokens: 100, rate: 200 }))
  await tokens(before, record, 30)
  const shown = saidSoFar(before, record)

  const after = await restarted(t, dir, before)
  const again = await found(after, record)
  await after.open()
  const events = await whole(after, again)

  assert.deepEqual(events.slice(0, shown.length), shown)
  assert.deepEqual(
    events.map(({ seq }) => seq),
    events.map((_, index) => index + 1),
  )
  assert.equal(textOf(events), words(100))
  assert.equal(outline(events), 'queued, started 1, retrying 2, started 2, completed')
  assert.deepEqual(
    events.flatMap((event) => (event.type === 'progress' ? [event.percent] : [])),
    [25, 50, 75, 100],
  )
  const end = events.at(-1)
  const first = events.find(isToken)
  assert.ok(end?.type === 'completed')
  assert.deepEqual(end.usage, { prompt_tokens: 1, cached_tokens: 0, completion_tokens: 100 })
  assert.equal(end.timings.first_token_ms, (first?.at ?? 0) - record.task.createdAt)
})

test('through many restarts nothing is lost, and attempts that brought tokens do not count', async (t) => {
  const dir = temporaryDir(t)
  let gateway = await over(t, dir)
  await gateway.open()
  let record = await submit(gateway, script({ tokens: 60, rate: 200 }))

  for (let restarts = 1; restarts <= 5; restarts++) {
    await tokens(gateway, record, restarts * 10)
    gateway = await restarted(t, dir, gateway, { maxAttempts: 2 })
    record = await found(gateway, record)
    await gateway.open()
  }

  const events = await whole(gateway, record)
  assert.equal(textOf(events), words(60))
  assert.equal(record.state.attempt, 6)
})

test('a task that has brought no token in so many processes fails, since they may have died of it', async (t) => {
  const dir = temporaryDir(t)
  const task = aTask({ model: 'scripted', text: '{"tokens":3}' })
  const { backend } = await EmbeddedBackend.open(BACKEND, diskOptions(dir))
  await says(backend, task, 1, [{ type: 'started', attempt: 1, model: 'scripted' }])
  await says(backend, task, 2, [
    { type: 'retrying', attempt: 2, reason: 'the gateway was restarted' },
    { type: 'started', attempt: 2, model: 'scripted' },
  ])
  await backend.close()

  const gateway = await over(t, dir, { maxAttempts: 2 })
  const events = await whole(gateway, await gateway.find('me', task.id))

  assert.equal(outline(events), 'queued, started 1, retrying 2, started 2, failed')
  const end = events.at(-1)
  assert.deepEqual(end?.type === 'failed' && end.error, {
    code: 'worker_lost',
    message: 'no token in 2 attempts in a row, the bound; the gateway ended during the last one',
  })
})

test('what waited runs in its old order, after what was running', async (t) => {
  const dir = temporaryDir(t)
  const before = await over(t, dir, { slots: 1 })
  await before.open()
  const running = await submit(before, script({ tokens: 40, rate: 200 }))
  const waiting = []
  for (const priority of [5, 0, 9]) waiting.push(await submit(before, script({ tokens: 1 }, { priority })))
  await tokens(before, running, 5)

  const after = await restarted(t, dir, before, { slots: 1 })
  const records = await Promise.all([running, ...waiting].map((record) => found(after, record)))
  const positions = records.map((record) => after.extras(record).queuePosition)
  await after.open()
  for (const record of records) await whole(after, record)

  assert.deepEqual(positions, [null, 1, 2, 0])
  const started = records.map(({ state }) => state.startedAt ?? 0)
  const [, five, zero, nine] = started as [number, number, number, number]
  assert.ok((records[0]?.state.finishedAt ?? 0) <= nine && nine <= five && five <= zero, `${started}`)
})

test('a task that had just ended is found from the start on', async (t) => {
  const dir = temporaryDir(t)
  const first = await EmbeddedBackend.open(BACKEND, diskOptions(dir))
  // As if the process had ended before anything reached the archive.
  t.mock.method(first.backend, 'archive', async () => {})
  const before = makeGateway(t, { backend: first.backend })
  await before.open()
  const { record } = await before.submit('me', script({ tokens: 3 }), {
    ...RECEIVED,
    idempotency: { key: 'k', bodyHash: 'h' },
  })
  await whole(before, record)

  const after = await restarted(t, dir, before)
  const again = await found(after, record)
  const replay = await after.submit('me', script({ tokens: 3 }), {
    ...RECEIVED,
    idempotency: { key: 'k', bodyHash: 'h' },
  })

  assert.equal(textOf(await whole(after, again)), words(3))
  assert.deepEqual([replay.replay, replay.record.task.id], [true, record.task.id])
  assert.equal(after.extras(again).expiresAt, (record.state.finishedAt ?? 0) + 60_000)
})

test('a cancel that was answered is honoured, and a deadline that has passed meanwhile', async (t) => {
  const dir = temporaryDir(t)
  const canceled = aTask({ model: 'scripted' })
  const late = aTask({ model: 'scripted', deadlineMs: 1000, createdAt: Date.now() - 2000 })
  const { backend } = await EmbeddedBackend.open(BACKEND, diskOptions(dir))
  await says(backend, canceled, 1, [{ type: 'started', attempt: 1, model: 'scripted' }])
  await says(backend, late, 1, [])
  await backend.cancel(canceled.id, 'admin')
  await backend.close()

  const gateway = await over(t, dir)
  const ends = await Promise.all(
    [canceled, late].map(async ({ id }) => (await whole(gateway, await gateway.find('me', id))).at(-1)),
  )

  assert.deepEqual(
    ends.map((event) => event?.type === 'canceled' && event.by),
    ['admin', 'deadline'],
  )
})

test('a task that pauses for want of readers waits, and goes on when it is read', async (t) => {
  const dir = temporaryDir(t)
  const before = await over(t, dir)
  await before.open()
  const record = await submit(before, script({ tokens: 60, rate: 200 }, { onDisconnect: { type: 'pause' } }))
  await firstOf(before, record, isToken)

  const after = await restarted(t, dir, before)
  const again = await found(after, record)
  await after.open()
  const waited = [again.state.attempt, again.log.lastSeq === again.log.addedSeq, after.dispatchers[0]?.paused.size]
  const events = await whole(after, again)

  assert.deepEqual(waited, [1, true, 1])
  assert.equal(outline(events), 'queued, started 1, retrying 2, started 2, completed')
  assert.equal(textOf(events), words(60))
})

test('tasks whose model is not served any more end, whether they ran or waited', async (t) => {
  const dir = temporaryDir(t)
  const models = [{ source: { type: 'scripted', name: 'old', slots: 1 } as const, workers: 1 }]
  const before = await over(t, dir, { models })
  await before.open()
  const records = [await submit(before, script(ENDLESS)), await submit(before, script({ tokens: 1 }))]
  await firstOf(before, records[0] as TaskRecord, isToken)

  const after = await restarted(t, dir, before)
  const ends = await Promise.all(records.map(async (record) => (await whole(after, await found(after, record))).at(-1)))

  assert.deepEqual(
    ends.map((event) => event?.type === 'failed' && event.error.code),
    ['model_not_found', 'model_not_found'],
  )
})

test('in a drain what does not end in time is stopped between two tokens, and goes on in the next process', async (t) => {
  const dir = temporaryDir(t)
  const before = await over(t, dir, { slots: 2 })
  await before.open()
  const records = [
    await submit(before, script({ tokens: 10, rate: 100 })),
    await submit(before, script({ tokens: 100, rate: 200 })),
    await submit(before, script({ tokens: 2 })),
  ]
  await firstOf(before, records[1] as TaskRecord, isToken)

  await before.drain(200)
  const states = records.map(({ state }) => state.status)
  const after = await restarted(t, dir, before)
  await after.open()
  const all = await Promise.all(records.map(async (record) => whole(after, await found(after, record))))

  assert.deepEqual(states, ['completed', 'running', 'queued'])
  assert.deepEqual(all.map(textOf), [words(10), words(100), words(2)])
  assert.deepEqual(all.map(outline), [
    'queued, started 1, completed',
    'queued, started 1, retrying 2, started 2, completed',
    'queued, started 1, completed',
  ])
})

test('the embedded model goes on with the text of an undisturbed run, also after a long prompt and with logprobs', async (t) => {
  const dir = temporaryDir(t)
  const models = [{ source: onnxSource(), workers: 1 }]
  const specs = [
    aSpec({ text: 'Tell me a story about a fox who lost a kite.', maxTokens: 60 }),
    aSpec({ text: 'Tell me a story about a fox who lost a kite. '.repeat(20), maxTokens: 40, topLogprobs: 2 }),
  ]
  const before = await over(t, dir, { models })
  await before.open()
  const undisturbed = await Promise.all(specs.map(async (spec) => whole(before, await submit(before, spec))))
  const records = await Promise.all(specs.map((spec) => submit(before, spec)))
  await Promise.all(records.map((record) => tokens(before, record, 5)))

  await before.drain(0)
  const after = await restarted(t, dir, before, { models })
  await after.open()
  const disturbed = await Promise.all(records.map(async (record) => whole(after, await found(after, record))))

  assert.deepEqual(disturbed.map(textOf), undisturbed.map(textOf))
  assert.ok(
    disturbed.some((events) => outline(events).includes('retrying')),
    disturbed.map(outline).join('; '),
  )
  const likely = (events: TaskEvent[]): unknown =>
    events.flatMap((event) => (event.type === 'token' ? (event.logprobs?.map(({ token }) => token) ?? []) : []))
  assert.deepEqual(disturbed.map(likely), undisturbed.map(likely))
})
