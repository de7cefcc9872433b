import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { TaskSpec } from '../../src/core/task.js'
import type { Gateway } from '../../src/gateway/gateway.js'
import type { TaskRecord } from '../../src/gateway/record.js'
import { until } from '../until.js'
import { firstOf, isToken, makeGateway, openGateway, outline, script, submit, textOf, whole, words } from './harness.js'

const freeIn = (gateway: Gateway): number => gateway.dispatchers[0]?.engine.free ?? 0

/** Back-offs last until the test ends them, and so does everything else that waits in the main thread. */
const holdTimers = (t: TestContext): void => t.mock.timers.enable({ apis: ['setTimeout'] })

/** A task whose first attempt has failed after some tokens; its back-off lasts. */
async function backingOff(t: TestContext, gateway: Gateway, more: Partial<TaskSpec> = {}): Promise<TaskRecord> {
  holdTimers(t)
  const record = await submit(gateway, script({ tokens: 10, fail_at: 3 }, more))
  await firstOf(gateway, record, ({ type }) => type === 'retrying')
  return record
}

test('an answer whose step failed goes on, with the text of an undisturbed run, and says why', async (t) => {
  const gateway = await openGateway(t)

  const events = await whole(gateway, await submit(gateway, script({ tokens: 20, fail_at: [4, 11] })))

  assert.equal(textOf(events), words(20))
  assert.equal(outline(events), 'queued, started 1, retrying 2, started 2, retrying 3, started 3, completed')
  assert.deepEqual(
    events.flatMap((event) => (event.type === 'retrying' ? [event.reason] : [])),
    ['the script fails at token 5', 'the script fails at token 12'],
  )
  assert.deepEqual(
    events.map(({ seq }) => seq),
    events.map((_, index) => index + 1),
  )
})

test('a task that fails in every attempt fails with the code and message of the last one, and no other with it', async (t) => {
  const gateway = await openGateway(t, { maxAttempts: 3 })
  const neighbours = [1, 2, 3].map(() => submit(gateway, script({ tokens: 60, rate: 100 })))

  const record = await submit(gateway, script({ fail_at: 'always' }))
  const events = await whole(gateway, record)
  const beside = await Promise.all(neighbours.map(async (record) => whole(gateway, await record)))

  assert.equal(outline(events), 'queued, started 1, retrying 2, started 2, retrying 3, started 3, failed')
  assert.deepEqual(record.state.error, { code: 'model_failed', message: 'the script fails at token 0' })
  for (const events of beside) {
    assert.equal(textOf(events), words(60))
    assert.equal(outline(events), 'queued, started 1, completed')
  }
})

test('what cannot succeed is not tried again', async (t) => {
  const gateway = await openGateway(t)

  const record = await submit(gateway, script({ tokens: -1 }))
  const events = await whole(gateway, record)

  assert.equal(outline(events), 'queued, started 1, failed')
  assert.equal(record.state.error?.code, 'invalid_prompt')
})

test('a task that waits for its next attempt has no slot, and others run', async (t) => {
  const gateway = await openGateway(t, { slots: 1 })
  const record = await backingOff(t, gateway)
  const free = freeIn(gateway)
  const { lastSeq } = record.log

  const other = await whole(gateway, await submit(gateway, script({ tokens: 5 })))
  const meanwhile = record.log.lastSeq
  t.mock.timers.tick(5000)
  const events = await whole(gateway, record)

  assert.equal(free, 1)
  assert.equal(outline(other), 'queued, started 1, completed')
  assert.equal(meanwhile, lastSeq)
  assert.equal(outline(events), 'queued, started 1, retrying 2, started 2, completed')
  assert.equal(textOf(events), words(10))
})

test('a cancel ends a task that waits for its next attempt at once', async (t) => {
  const gateway = await openGateway(t)
  const record = await backingOff(t, gateway)

  await gateway.cancel(record, 'client')
  const { status } = record.state
  t.mock.timers.tick(5000)

  assert.equal(status, 'canceled')
  assert.equal(outline(await whole(gateway, record)), 'queued, started 1, retrying 2, canceled')
  assert.equal(freeIn(gateway), 64)
})

test('a deadline ends a task that waits for its next attempt', async (t) => {
  const gateway = await openGateway(t)
  t.mock.method(Math, 'random', () => 0)
  const record = await backingOff(t, gateway, { deadlineMs: 90 })

  // The back-off takes 100 ms.
  t.mock.timers.tick(95)
  const events = await whole(gateway, record)

  assert.deepEqual(events.at(-1), { ...events.at(-1), type: 'canceled', by: 'deadline' })
  assert.equal(outline(events), 'queued, started 1, retrying 2, canceled')
})

test('a task whose reader leaves while it waits for its next attempt is paused, and its reader starts it', async (t) => {
  const gateway = await openGateway(t)
  // `firstOf` is a reader that leaves.
  const record = await backingOff(t, gateway, { onDisconnect: { type: 'pause' } })
  await until('the pause', () => gateway.dispatchers[0]?.paused.size === 1)

  t.mock.timers.tick(5000)
  const paused = gateway.dispatchers[0]?.paused.size
  const events = await whole(gateway, record)

  assert.equal(paused, 1)
  assert.equal(outline(events), 'queued, started 1, retrying 2, started 2, completed')
  assert.equal(textOf(events), words(10))
})

test('a reader that comes to a task that waits for its next attempt does not start it', async (t) => {
  const gateway = await openGateway(t)
  holdTimers(t)
  const record = await submit(gateway, script({ tokens: 10, fail_at: 3 }, { onDisconnect: { type: 'pause' } }))
  const reading = whole(gateway, record)
  await until('its back-off', () => record.state.attempt === 2)
  const { lastSeq } = record.log

  const reader = gateway.attach(record, 0, () => {})
  for (let i = 0; i < 10; i++) await new Promise(setImmediate)
  const meanwhile = record.log.lastSeq
  gateway.detach(reader)
  t.mock.timers.tick(5000)
  const events = await reading

  assert.equal(meanwhile, lastSeq)
  assert.equal(outline(events), 'queued, started 1, retrying 2, started 2, completed')
})

test('a cancel that crosses the failure of an attempt ends the task', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, script({ tokens: 10, rate: 100, fail_at: 3 }))
  await firstOf(gateway, record, isToken)

  // As `cancel` does, whose message to the thread comes too late.
  record.canceledBy = 'client'
  const events = await whole(gateway, record)

  assert.equal(outline(events), 'queued, started 1, canceled')
})

test('a drain lets a task that waits for its next attempt go on to its end', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, script({ tokens: 10, fail_at: 3 }))
  await firstOf(gateway, record, ({ type }) => type === 'retrying')

  await gateway.drain(20_000)

  assert.deepEqual([record.state.status, record.log.text()], ['completed', words(10)])
})

test('a drain that has no time cancels it by `shutdown`', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, script({ tokens: 10, fail_at: [0, 1, 2, 3, 4, 5, 6, 7, 8] }))
  await firstOf(gateway, record, ({ type }) => type === 'retrying')

  await gateway.drain(0)
  const events = await whole(gateway, record)

  assert.deepEqual(events.at(-1), { ...events.at(-1), type: 'canceled', by: 'shutdown' })
})

test('a gateway that is closed starts nothing that waited', async (t) => {
  const gateway = makeGateway(t)
  await gateway.open()
  const record = await backingOff(t, gateway)
  const { lastSeq } = record.log

  await gateway.close()
  t.mock.timers.tick(5000)

  assert.equal(record.log.lastSeq, lastSeq)
})
