/** `on_disconnect: "cancel"` and `{"cancel_after_ms": n}`; the clock of the timers is the test's. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { TaskSpec } from '../../src/core/task.js'
import type { Gateway } from '../../src/gateway/gateway.js'
import type { TaskRecord } from '../../src/gateway/record.js'
import { Unread } from '../../src/gateway/unread.js'
import type { Reader } from '../../src/log/reader.js'
import { aRecord } from '../task.js'
import { until } from '../until.js'
import {
  ENDLESS,
  firstOf,
  isToken,
  makeGateway,
  openGateway,
  outline,
  RECEIVED,
  script,
  submit,
  textOf,
  whole,
  words,
} from './harness.js'

const GRACE_MS = 5000
const NOTHING = (): void => {}

const canceling = (fields: object, afterMs: number | null = null): TaskSpec =>
  script(fields, { onDisconnect: { type: 'cancel', afterMs } })

/** A gateway whose timers go only when they are told to. */
async function frozen(t: TestContext, gateway: Gateway | Promise<Gateway>): Promise<Gateway> {
  const opened = await gateway
  t.mock.timers.enable({ apis: ['setTimeout'] })
  return opened
}

/** Passes time, with a turn of the event loop before it and one after. */
async function pass(t: TestContext, ms: number): Promise<void> {
  await turn()
  t.mock.timers.tick(ms)
  await turn()
}

const read = (gateway: Gateway, record: TaskRecord): Reader => gateway.attach(record, record.log.lastSeq, NOTHING)

const isCanceled = ({ canceledBy }: TaskRecord): boolean => canceledBy !== null

test('a task whose last reader has left is canceled by `client` when the grace is over', async (t) => {
  const gateway = await frozen(t, openGateway(t))
  const record = await submit(gateway, canceling(ENDLESS))
  await firstOf(gateway, record, isToken)

  await pass(t, GRACE_MS - 1)
  const before = isCanceled(record)
  await pass(t, 1)
  await until('its end', () => record.state.ended)

  const events = await whole(gateway, record)
  assert.equal(before, false)
  assert.equal(outline(events), 'queued, started 1, canceled')
  assert.equal(events.at(-1)?.type === 'canceled' && (events.at(-1) as { by: string }).by, 'client')
})

test('a `cancel` task waits for its first reader, and may end unread', async (t) => {
  const gateway = await frozen(t, openGateway(t))
  const record = await submit(gateway, canceling({ tokens: 20, rate: 200 }))

  await pass(t, 1_000_000_000)
  await until('its end', () => record.state.ended)

  assert.equal(outline(await whole(gateway, record)), 'queued, started 1, completed')
})

test('a task that waits in the queue is canceled, too, and never starts', async (t) => {
  const gateway = await frozen(t, makeGateway(t))
  const record = await submit(gateway, canceling(ENDLESS))

  gateway.detach(read(gateway, record))
  await pass(t, GRACE_MS)

  assert.equal(outline(await whole(gateway, record)), 'queued, canceled')
})

test('while one reader is left nothing is counted', async (t) => {
  const gateway = await frozen(t, makeGateway(t))
  const record = await submit(gateway, canceling(ENDLESS))
  const readers = [read(gateway, record), read(gateway, record)] as const

  gateway.detach(readers[0])
  await pass(t, 10 * GRACE_MS)
  const before = isCanceled(record)
  gateway.detach(readers[1])
  await pass(t, GRACE_MS)

  assert.deepEqual([before, isCanceled(record)], [false, true])
})

test('a reader that is back within the grace keeps the task, and has all of it anew when it leaves', async (t) => {
  const gateway = await frozen(t, makeGateway(t))
  const record = await submit(gateway, canceling(ENDLESS))
  gateway.detach(read(gateway, record))
  await pass(t, GRACE_MS - 1)

  const again = read(gateway, record)
  await pass(t, 10 * GRACE_MS)
  gateway.detach(again)
  await pass(t, GRACE_MS - 1)
  const before = isCanceled(record)
  await pass(t, 1)

  assert.deepEqual([before, isCanceled(record)], [false, true])
})

test('a reader that takes the place of the last one in the same turn leaves no gap, even without a grace', async (t) => {
  const gateway = await frozen(t, makeGateway(t, { disconnectGraceMs: 0 }))
  const record = await submit(gateway, canceling(ENDLESS))
  let reader = read(gateway, record)

  for (let i = 0; i < 10; i++) {
    gateway.detach(reader)
    reader = read(gateway, record)
    await pass(t, 10)
  }
  const before = isCanceled(record)
  gateway.detach(reader)
  await pass(t, 1)

  assert.deepEqual([before, isCanceled(record)], [false, true])
})

test('polls that find something at once, and are over in the turn in which they came, keep the task', async (t) => {
  const gateway = await frozen(t, makeGateway(t))
  const records = [await submit(gateway, canceling(ENDLESS)), await submit(gateway, canceling(ENDLESS, GRACE_MS))]

  for (let i = 0; i < 10; i++) {
    for (const record of records) gateway.detach(read(gateway, record))
    await pass(t, GRACE_MS - 1)
  }
  const before = records.map(isCanceled)
  await pass(t, 1)

  assert.deepEqual(
    [before, records.map(isCanceled)],
    [
      [false, false],
      [true, true],
    ],
  )
})

test('a reader that comes in the very turn in which the time is up keeps the task', async (t) => {
  const gateway = await frozen(t, makeGateway(t))
  const record = await submit(gateway, canceling(ENDLESS, 1000))

  const reader = read(gateway, record)
  t.mock.timers.tick(1000)
  await pass(t, 10_000)
  const before = isCanceled(record)
  gateway.detach(reader)
  await pass(t, 1000)

  assert.deepEqual([before, isCanceled(record)], [false, true])
})

test('`cancel_after_ms` counts from acceptance', async (t) => {
  const gateway = await frozen(t, openGateway(t))
  const record = await submit(gateway, canceling(ENDLESS, 700))

  await pass(t, 699)
  const before = isCanceled(record)
  await pass(t, 1)
  await until('its end', () => record.state.ended)

  assert.deepEqual([before, record.state.status], [false, 'canceled'])
})

test('`cancel_after_ms` counts from when the last reader left, however long it read', async (t) => {
  const gateway = await frozen(t, makeGateway(t))
  const record = await submit(gateway, canceling(ENDLESS, 700))
  const reader = read(gateway, record)

  await pass(t, 100_000)
  gateway.detach(reader)
  await pass(t, 699)
  const before = isCanceled(record)
  await pass(t, 1)

  assert.deepEqual([before, isCanceled(record)], [false, true])
})

test('the longest `cancel_after_ms` is waited for', async (t) => {
  const gateway = await frozen(t, makeGateway(t))
  const weekMs = 7 * 86_400_000
  const record = await submit(gateway, canceling(ENDLESS, weekMs))

  await pass(t, weekMs - 1)
  const before = isCanceled(record)
  await pass(t, 1)

  assert.deepEqual([before, isCanceled(record)], [false, true])
})

test('a client that submits in order to follow, and is gone when the task is accepted, has left it', async (t) => {
  const gateway = await frozen(t, makeGateway(t))
  const { record } = await gateway.submitFollowed('me', canceling(ENDLESS), RECEIVED)

  await pass(t, GRACE_MS)

  assert.equal(outline(await whole(gateway, record)), 'queued, canceled')
})

test('tasks of other kinds go on without readers', async (t) => {
  const gateway = await frozen(t, makeGateway(t))
  const records = [
    await submit(gateway, script(ENDLESS)),
    await submit(gateway, script(ENDLESS, { onDisconnect: { type: 'pause' } })),
  ]

  for (const record of records) gateway.detach(read(gateway, record))
  await pass(t, 1_000_000_000)

  assert.deepEqual(records.map(isCanceled), [false, false])
})

test('while the gateway drains, tasks that their readers leave may end', async (t) => {
  const gateway = await openGateway(t, { disconnectGraceMs: 0 })
  const left = await submit(gateway, canceling({ tokens: 40, rate: 200 }, 1))
  const leaving = await submit(gateway, canceling({ tokens: 40, rate: 200 }))
  const readers = [read(gateway, left), read(gateway, leaving)] as const
  await turn()
  gateway.detach(readers[0])

  const draining = gateway.drain(1_000_000)
  gateway.detach(readers[1])
  await draining

  for (const record of [left, leaving]) {
    const events = await whole(gateway, record)
    assert.equal(outline(events), 'queued, started 1, completed')
    assert.equal(textOf(events), words(40))
  }
})

/** Without a gateway: whom it cancels. */
function alone(t: TestContext): {
  unread: Unread
  canceled: TaskRecord[]
  record: (afterMs: number | null) => TaskRecord
} {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const canceled: TaskRecord[] = []
  const record = (afterMs: number | null): TaskRecord => aRecord({ onDisconnect: { type: 'cancel', afterMs } })
  return { unread: new Unread(GRACE_MS, (record) => canceled.push(record)), canceled, record }
}

test('after a restart a `cancel` task has 30 s for its readers to come back, `cancel_after_ms` its own time', async (t) => {
  const { unread, canceled, record } = alone(t)
  const [cut, own] = [record(null), record(40_000)]
  unread.restored(cut)
  unread.restored(own)

  const counts: number[] = []
  for (const ms of [29_999, 1, 9_999, 1]) {
    await pass(t, ms)
    counts.push(canceled.length)
  }

  assert.deepEqual(counts, [0, 1, 1, 2])
  assert.deepEqual(canceled, [cut, own])
})

test('a reader that is back after a restart has the usual grace when it leaves', async (t) => {
  const { unread, canceled, record } = alone(t)
  const cut = record(null)
  unread.restored(cut)
  const attached = cut.log.attach(0, NOTHING)
  unread.readersChanged(cut)
  await pass(t, 100_000)

  if (attached.type === 'reader') attached.reader.close()
  unread.readersChanged(cut)
  await pass(t, GRACE_MS - 1)
  const before = canceled.length
  await pass(t, 1)

  assert.deepEqual([before, canceled], [0, [cut]])
})

test('a task that has ended is not canceled, and after the close none is', async (t) => {
  const { unread, canceled, record } = alone(t)
  const [ended, closed] = [record(1000), record(1000)]
  unread.accepted(ended)
  unread.accepted(closed)

  unread.ended(ended)
  unread.close()
  unread.readersChanged(closed)
  unread.accepted(record(1000))
  await pass(t, 100_000)

  assert.deepEqual(canceled, [])
})
