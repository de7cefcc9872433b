import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { EmbeddedBackend } from '../../src/backend/embedded/embedded.js'
import type { TaskEvent } from '../../src/core/event.js'
import type { TaskId } from '../../src/core/id.js'
import type { Task } from '../../src/core/task.js'
import { until } from '../until.js'
import {
  BACKEND,
  ENDLESS,
  firstOf,
  GatedBackend,
  isToken,
  listed,
  makeGateway,
  openGateway,
  outline,
  script,
  submit,
  textOf,
  whole,
  words,
} from './harness.js'

const NOTHING = (): void => {}

test('a task says queued, started, its tokens, its progress, and how it ended', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, script({ tokens: 8 }))

  const events = await whole(gateway, record)

  assert.equal(outline(events), 'queued, started 1, completed')
  assert.equal(textOf(events), words(8))
  const progress = events.flatMap((event) => (event.type === 'progress' ? [event.percent] : []))
  assert.deepEqual(progress, [25, 50, 75, 100])
  assert.deepEqual(
    events.map(({ seq }) => seq),
    events.map((_, index) => index + 1),
  )
  const end = events.at(-1) as Extract<TaskEvent, { type: 'completed' }>
  const { queued_ms, first_token_ms, total_ms } = end.timings
  assert.ok(0 <= queued_ms && queued_ms <= (first_token_ms ?? -1) && (first_token_ms ?? 0) <= total_ms)
})

test('an answer without tokens has no first token', async (t) => {
  const gateway = await openGateway(t)

  const events = await whole(gateway, await submit(gateway, script({ tokens: 0 })))

  const end = events.at(-1) as Extract<TaskEvent, { type: 'completed' }>
  assert.deepEqual([end.usage.completion_tokens, end.timings.first_token_ms], [0, null])
})

test('a prompt that the model cannot read fails its task with the code', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, script([]))

  const events = await whole(gateway, record)

  assert.equal(outline(events), 'queued, started 1, failed')
  assert.equal(record.state.error?.code, 'invalid_prompt')
})

test('readers at any position see the same log, live or after the end', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, script({ tokens: 30, rate: 1000 }))
  const live = await whole(gateway, record)

  const later = await whole(gateway, record)
  const reader = gateway.attach(record, 10, NOTHING)
  const rest: TaskEvent[] = []
  for (let entry = reader.next(0); entry; entry = reader.next(0)) rest.push(entry.event)

  assert.deepEqual(later, live)
  assert.deepEqual(rest, live.slice(10))
  gateway.detach(reader)
})

test('an event is visible only after the backend has it', async (t) => {
  const backend = new GatedBackend()
  const gateway = await openGateway(t, { backend })
  backend.hold()
  const record = await submit(gateway, script({ tokens: 3 }))
  await until('words in the backend', () => backend.heldEvents().some(isToken))
  for (let turns = 0; turns < 20; turns++) await turn()
  const before = { seq: record.log.lastSeq, status: record.state.status, text: gateway.extras(record).text }

  backend.release()
  const events = await whole(gateway, record)

  assert.deepEqual(before, { seq: 1, status: 'queued', text: '' })
  assert.equal(textOf(events), words(3))
})

test('a position beyond the log is `position_ahead`, one that is too old is `log_gone`', async (t) => {
  const gateway = await openGateway(t, { maxRingEvents: 16 })
  const record = await submit(gateway, script({ tokens: 1000 }))
  await whole(gateway, record)
  const { lastSeq } = record.log

  assert.throws(() => gateway.attach(record, lastSeq + 1, NOTHING), { code: 'position_ahead' })
  assert.throws(() => gateway.attach(record, 10, NOTHING), { code: 'log_gone' })
  assert.equal(gateway.attach(record, lastSeq, NOTHING).done, true)
  assert.equal(gateway.attach(record, 0, NOTHING).position, 0)
})

test('readers have a bound, and one that leaves makes room, once', async (t) => {
  const gateway = makeGateway(t, { maxReaders: 2 })
  const record = await submit(gateway, script({}))
  const [first] = [gateway.attach(record, 0, NOTHING), gateway.attach(record, 0, NOTHING)]
  assert.throws(() => gateway.attach(record, 0, NOTHING), { code: 'too_many_readers', retryAfterS: 1 })

  gateway.detach(first)
  gateway.detach(first)

  gateway.attach(record, 0, NOTHING)
  assert.throws(() => gateway.attach(record, 0, NOTHING), { code: 'too_many_readers' })
})

test('a reader that was refused for its position does not count', async (t) => {
  const gateway = makeGateway(t, { maxReaders: 1 })
  const record = await submit(gateway, script({}))

  assert.throws(() => gateway.attach(record, 99, NOTHING), { code: 'position_ahead' })

  gateway.attach(record, 0, NOTHING)
})

test('a dropped task is gone for who comes, and whole for who is there', async (t) => {
  const gateway = await openGateway(t, { retentionBytes: 0 })
  const record = await submit(gateway, script({ tokens: 5, rate: 100 }))
  const expiresBefore = gateway.extras(record).expiresAt

  const events = await whole(gateway, record)

  assert.equal(textOf(events), words(5))
  assert.equal(expiresBefore, null)
  await until('its end in the archive', async () => (await listed(gateway)).length === 0)
  await assert.rejects(gateway.find('me', record.task.id), { code: 'log_gone' })
})

test('an ended task says when it will be dropped', async (t) => {
  const gateway = await openGateway(t, { retentionMs: 5000 })
  const record = await submit(gateway, script({ tokens: 1 }))

  await whole(gateway, record)

  assert.equal(gateway.extras(record).expiresAt, (record.state.finishedAt ?? 0) + 5000)
})

test('while the gateway drains, what runs may end, what waits is canceled, and nothing new comes in', async (t) => {
  const gateway = await openGateway(t, { slots: 1 })
  const running = await submit(gateway, script({ tokens: 60, rate: 200 }))
  const waiting = await submit(gateway, script({ tokens: 1 }))
  await firstOf(gateway, running, isToken)

  const draining = gateway.drain(20_000)
  const state = { draining: gateway.draining, ready: gateway.ready }
  await assert.rejects(submit(gateway, script({})), { code: 'draining', retryAfterS: 1 })
  await draining

  assert.deepEqual(state, { draining: true, ready: false })
  assert.deepEqual([running.state.status, running.log.text()], ['completed', words(60)])
  const events = await whole(gateway, waiting)
  assert.equal(outline(events), 'queued, canceled')
  assert.equal(events.at(-1)?.type === 'canceled' && (events.at(-1) as { by: string }).by, 'shutdown')
})

test('what runs longer than the drain time is canceled by `shutdown`', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, script(ENDLESS))
  await firstOf(gateway, record, isToken)

  await gateway.drain(50)
  const events = await whole(gateway, record)

  assert.equal(outline(events), 'queued, started 1, canceled')
  assert.equal(events.at(-1)?.type === 'canceled' && (events.at(-1) as { by: string }).by, 'shutdown')
})

test('a drain without time still ends every log', async (t) => {
  const gateway = await openGateway(t)
  const records = await Promise.all(Array.from({ length: 20 }, () => submit(gateway, script(ENDLESS))))
  for (const record of records) await firstOf(gateway, record, isToken)

  await gateway.drain(0)

  assert.deepEqual(
    records.map(({ state }) => state.status),
    records.map(() => 'canceled'),
  )
})

test('a drain waits for the last words of what it canceled, also when it has no time for the others', async (t) => {
  const backend = new GatedBackend()
  const gateway = await openGateway(t, { backend })
  const record = await submit(gateway, script(ENDLESS))
  await firstOf(gateway, record, isToken)
  const order: string[] = []
  const reading = whole(gateway, record).then(() => order.push('ended'))

  backend.hold()
  const draining = gateway.drain(0).then(() => order.push('drained'))
  const slowUntil = performance.now() + 30
  await until('a slow backend', () => performance.now() > slowUntil)
  backend.release()
  await Promise.all([reading, draining])

  assert.deepEqual(order, ['ended', 'drained'])
})

test('a gateway that drains before its models are loaded cancels what waits, and closes', async (t) => {
  const gateway = makeGateway(t)
  const opening = gateway.open()
  const record = await submit(gateway, script({ tokens: 1 }))

  await gateway.drain(20_000)
  await gateway.close()

  assert.ok(['canceled', 'completed'].includes(record.state.status), record.state.status)
  void opening
})

test('a task that nobody works on any more is found by two sweeps in a row, and its readers are told', async (t) => {
  const lost: TaskId[] = []
  class LosingBackend extends EmbeddedBackend {
    override async take(model: string, max: number, signal: AbortSignal): Promise<Task[]> {
      const [first, ...rest] = await super.take(model, max, signal)
      if (first && lost.length === 0) lost.push(first.id)
      return first && lost[0] !== first.id ? [first, ...rest] : rest
    }
  }
  const gateway = await openGateway(t, { backend: new LosingBackend(BACKEND) })
  const ownerless = await submit(gateway, script({ tokens: 3 }))
  await until('its loss', () => lost.length > 0)
  const running = await submit(gateway, script(ENDLESS))
  await firstOf(gateway, running, isToken)

  gateway.sweep(Date.now())
  const before = ownerless.state.status
  gateway.sweep(Date.now())
  const events = await whole(gateway, ownerless)

  assert.equal(before, 'queued')
  assert.equal(outline(events), 'queued, failed')
  assert.equal(ownerless.state.error?.code, 'worker_lost')
  assert.equal(running.state.status, 'running')
})

test('an idle gateway drains at once', async (t) => {
  const gateway = await openGateway(t)

  await gateway.drain(1_000_000)

  assert.equal(gateway.draining, true)
})
