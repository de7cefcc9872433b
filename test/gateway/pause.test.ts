import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import fc from 'fast-check'
import type { TaskSpec } from '../../src/core/task.js'
import type { Gateway } from '../../src/gateway/gateway.js'
import type { TaskRecord } from '../../src/gateway/record.js'
import type { Reader } from '../../src/log/reader.js'
import { until } from '../until.js'
import { ENDLESS, firstOf, openGateway, outline, script, submit, textOf, whole, words } from './harness.js'

const NOTHING = (): void => {}

const pausing = (fields: object, more: Partial<TaskSpec> = {}): TaskSpec =>
  script(fields, { onDisconnect: { type: 'pause' }, ...more })

const pausedIn = (gateway: Gateway): number => gateway.dispatchers[0]?.paused.size ?? 0

const freeIn = (gateway: Gateway): number => gateway.dispatchers[0]?.engine.free ?? 0

const paused = (gateway: Gateway, tasks = 1): Promise<boolean> =>
  until(`${tasks} paused`, () => pausedIn(gateway) === tasks)

/** A reader that has come to a task that decodes. */
async function following(gateway: Gateway, record: TaskRecord): Promise<Reader> {
  const reader = gateway.attach(record, 0, NOTHING)
  const { textBytes } = record.log
  await until('a token', () => record.log.textBytes > textBytes)
  return reader
}

/** A task that has said something, and is paused. */
async function pausedOnce(gateway: Gateway, spec: TaskSpec): Promise<TaskRecord> {
  const record = await submit(gateway, spec)
  gateway.detach(await following(gateway, record))
  await paused(gateway)
  return record
}

const endOf = (record: TaskRecord): unknown => {
  const { status, error, lastSeq } = record.state
  return { status, error, lastSeq }
}

test('a task that may pause does not start while nobody reads, and keeps nobody waiting', async (t) => {
  const gateway = await openGateway(t, { slots: 1 })
  const record = await submit(gateway, pausing({ tokens: 3 }))
  await paused(gateway)

  const other = await whole(gateway, await submit(gateway, script({ tokens: 2 })))

  assert.equal(outline(other), 'queued, started 1, completed')
  assert.equal(freeIn(gateway), 1)
  assert.deepEqual([record.state.status, record.log.lastSeq], ['queued', 1])
  const { queuePosition, estimatedWaitMs } = gateway.extras(record)
  assert.deepEqual([queuePosition, estimatedWaitMs], [0, 0])
})

test('it starts when a reader comes', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, pausing({ tokens: 3 }))
  await paused(gateway)

  const events = await whole(gateway, record)

  assert.equal(outline(events), 'queued, started 1, completed')
  assert.equal(textOf(events), words(3))
})

test('a task that is followed from the start just runs', async (t) => {
  const gateway = await openGateway(t)
  const { record } = await gateway.submitFollowed('me', pausing({ tokens: 5 }), { bytes: 10, idempotency: null })

  const events = await whole(gateway, record)

  assert.equal(outline(events), 'queued, started 1, completed')
})

test('decoding stops when the last reader leaves, and goes on with the next, as if nothing had been', async (t) => {
  const gateway = await openGateway(t, { slots: 1 })
  const record = await pausedOnce(gateway, pausing({ tokens: 40, rate: 200 }))
  const before = { text: record.log.text(), seq: record.log.lastSeq }

  // It needs the one slot that there is.
  await whole(gateway, await submit(gateway, script({ tokens: 20, rate: 200 })))
  const meanwhile = { text: record.log.text(), seq: record.log.lastSeq }
  const { status } = record.state
  const events = await whole(gateway, record)

  assert.deepEqual(meanwhile, before)
  assert.notEqual(before.text, words(40))
  assert.equal(status, 'running')
  assert.equal(outline(events), 'queued, started 1, completed')
  assert.equal(textOf(events), words(40))
  assert.equal(record.state.usage?.completion_tokens, 40)
  const progress = events.flatMap((event) => (event.type === 'progress' ? [event.percent] : []))
  assert.deepEqual(progress, [25, 50, 75, 100])
})

test('while one reader is left decoding goes on', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, pausing(ENDLESS))
  const readers = [gateway.attach(record, 0, NOTHING), gateway.attach(record, 0, NOTHING)] as const

  gateway.detach(readers[0])
  const { lastSeq } = record.log
  await until('ten more events', () => record.log.lastSeq > lastSeq + 10)

  assert.equal(pausedIn(gateway), 0)
  gateway.detach(readers[1])
  await paused(gateway)
})

test('who looks in and leaves within one turn starts nothing', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, pausing({ tokens: 3 }))
  await paused(gateway)

  for (let i = 0; i < 10; i++) gateway.detach(gateway.attach(record, 0, NOTHING))
  await whole(gateway, await submit(gateway, script({ tokens: 2 })))

  assert.deepEqual([pausedIn(gateway), record.log.lastSeq], [1, 1])
})

test('a reader that is back before the pause is done misses nothing', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, pausing({ tokens: 60, rate: 300 }))

  gateway.detach(await following(gateway, record))
  // The pause has been posted, and its answer has not come.
  await turn()
  assert.equal(freeIn(gateway), 63)
  const events = await whole(gateway, record)

  assert.equal(outline(events), 'queued, started 1, completed')
  assert.equal(textOf(events), words(60))
})

test('however readers come and go, the log is that of a task that nobody left', async (t) => {
  const gateway = await openGateway(t, { slots: 4 })
  const visits = fc.array(fc.record({ turns: fc.nat(30), away: fc.nat(30) }), { maxLength: 20 })
  const rates = fc.constantFrom(0, 1000, 5000)
  const property = fc.asyncProperty(visits, rates, async (visits, rate) => {
    const record = await submit(gateway, pausing({ tokens: 30, rate }))

    for (const { turns, away } of visits) {
      const reader = gateway.attach(record, record.log.lastSeq, NOTHING)
      for (let i = 0; i < turns; i++) await turn()
      gateway.detach(reader)
      for (let i = 0; i < away; i++) await turn()
    }
    const events = await whole(gateway, record)

    assert.equal(outline(events), 'queued, started 1, completed')
    assert.equal(textOf(events), words(30))
    assert.equal(record.state.usage?.completion_tokens, 30)
    assert.deepEqual(
      events.map(({ seq }) => seq),
      events.map((_, index) => index + 1),
    )
  })

  await fc.assert(property, { numRuns: 60 })

  assert.deepEqual([pausedIn(gateway), freeIn(gateway)], [0, 4])
})

test('a cancel ends a paused task at once, started or not', async (t) => {
  const gateway = await openGateway(t)
  const started = await pausedOnce(gateway, pausing(ENDLESS))
  const waiting = await submit(gateway, pausing({ tokens: 3 }))
  await paused(gateway, 2)

  await gateway.cancel(started, 'client')
  await gateway.cancel(waiting, 'client')
  const ended = [started.state.status, waiting.state.status]

  assert.deepEqual(ended, ['canceled', 'canceled'])
  assert.equal(outline(await whole(gateway, started)), 'queued, started 1, canceled')
  assert.equal(outline(await whole(gateway, waiting)), 'queued, canceled')
  assert.equal(pausedIn(gateway), 0)
})

test('a cancel that crosses the pause ends the task once', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, pausing(ENDLESS))
  gateway.detach(await following(gateway, record))
  await turn()

  await gateway.cancel(record, 'client')
  const events = await whole(gateway, record)

  assert.equal(outline(events), 'queued, started 1, canceled')
  assert.deepEqual([pausedIn(gateway), freeIn(gateway)], [0, 64])
})

test('a deadline ends a paused task', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, pausing({ tokens: 3 }, { deadlineMs: 50 }))

  await until('its end', () => record.state.ended)

  assert.deepEqual(endOf(record), { status: 'canceled', error: null, lastSeq: 2 })
  const events = await whole(gateway, record)
  assert.equal(events.at(-1)?.type === 'canceled' && (events.at(-1) as { by: string }).by, 'deadline')
})

test('a paused task that nobody reads for as long as ended ones are kept is canceled by `deadline`', async (t) => {
  const gateway = await openGateway(t, { retentionMs: 60_000 })
  const record = await submit(gateway, pausing({ tokens: 3 }))
  await paused(gateway)
  const now = Date.now()

  gateway.sweep(now + 59_000)
  const before = record.state.status
  gateway.sweep(now + 61_000)
  await until('its end', () => record.state.ended)

  assert.deepEqual([before, record.state.status], ['queued', 'canceled'])
})

test('a drain cancels paused tasks at once, and lets those that are read end', async (t) => {
  const gateway = await openGateway(t)
  const started = await pausedOnce(gateway, pausing(ENDLESS))
  const waiting = await submit(gateway, pausing({ tokens: 3 }))
  await paused(gateway, 2)
  const read = await submit(gateway, pausing({ tokens: 40, rate: 200 }))
  await following(gateway, read)

  await gateway.drain(1_000_000)

  assert.deepEqual(
    [started, waiting, read].map(({ state }) => state.status),
    ['canceled', 'canceled', 'completed'],
  )
  const events = await whole(gateway, started)
  assert.equal(events.at(-1)?.type === 'canceled' && (events.at(-1) as { by: string }).by, 'shutdown')
})

test('while the gateway drains, a task whose reader leaves may end, too', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, pausing({ tokens: 40, rate: 200 }))
  const reader = await following(gateway, record)

  const draining = gateway.drain(1_000_000)
  gateway.detach(reader)
  await draining

  assert.deepEqual([record.state.status, record.log.text()], ['completed', words(40)])
})

test('a task whose pause is on its way when the drain begins does not hold it up', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, pausing(ENDLESS))
  gateway.detach(await following(gateway, record))
  await turn()

  await gateway.drain(1_000_000)

  assert.equal(record.state.status, 'canceled')
})

test('paused tasks count for who would add to them, and do not keep out the others', async (t) => {
  const gateway = await openGateway(t, { maxQueue: 2 })
  const records = [await submit(gateway, pausing({ tokens: 1 })), await submit(gateway, pausing({ tokens: 1 }))]
  await paused(gateway, 2)

  await assert.rejects(submit(gateway, pausing({})), { code: 'queue_full', message: '2 tasks wait, the bound' })
  const other = await whole(gateway, await submit(gateway, script({ tokens: 1 })))
  for (const record of records) await whole(gateway, record)
  await submit(gateway, pausing({}))

  assert.equal(other.at(-1)?.type, 'completed')
})

test('the bytes of paused tasks have a bound, too', async (t) => {
  const gateway = await openGateway(t, { maxQueueBytes: 100 })
  await submit(gateway, pausing({}), { bytes: 90 })
  await paused(gateway)

  await assert.rejects(submit(gateway, pausing({}), { bytes: 11 }), {
    code: 'queue_full',
    message: 'the requests that wait hold 100 bytes, the bound',
  })
  await submit(gateway, script({ tokens: 1 }), { bytes: 100 })
})

test('a worker that dies while a task is paused does not touch it', async (t) => {
  const gateway = await openGateway(t)
  const record = await pausedOnce(gateway, pausing({ tokens: 40, rate: 300 }))

  await whole(gateway, await submit(gateway, script({ tokens: 3, crash_at: 1 })))
  const events = await whole(gateway, record)

  assert.equal(outline(events), 'queued, started 1, completed')
  assert.equal(textOf(events), words(40))
})

test('a task that nobody reads when its next attempt would start waits for a reader', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, pausing({ tokens: 20, crash_at: 3 }))
  await firstOf(gateway, record, ({ type }) => type === 'retrying')
  await paused(gateway)
  const before = [record.state.status, record.state.attempt]

  const events = await whole(gateway, record)

  assert.deepEqual(before, ['running', 2])
  assert.equal(outline(events), 'queued, started 1, retrying 2, started 2, completed')
  assert.equal(textOf(events), words(20))
})

test('the time of a pause is not taken for time of service', async (t) => {
  const gateway = await openGateway(t, { slots: 1 })
  const record = await pausedOnce(gateway, pausing({ tokens: 10, rate: 100 }))
  const pausedUntil = performance.now() + 1500
  await until('a long pause', () => performance.now() > pausedUntil)

  await whole(gateway, record)

  const waitMs = gateway.dispatchers[0]?.admission.waitMs(0, 1, 0) ?? null
  assert.ok(waitMs !== null && waitMs >= 80 && waitMs < 1000, `${waitMs}`)
})
