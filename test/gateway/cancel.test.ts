import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ENDLESS, firstOf, isToken, makeGateway, openGateway, outline, script, submit, whole } from './harness.js'

test('a waiting task that is canceled ends at once and never starts', async (t) => {
  const gateway = await openGateway(t, { slots: 1 })
  const blocker = await submit(gateway, script(ENDLESS))
  await firstOf(gateway, blocker, isToken)
  const waiting = await submit(gateway, script({ tokens: 3 }))

  const canceling = await gateway.cancel(waiting, 'client')

  assert.equal(canceling, true)
  assert.equal(outline(await whole(gateway, waiting)), 'queued, canceled')
  assert.equal(gateway.extras(waiting).queuePosition, null)
  assert.equal(blocker.state.status, 'running')
})

test('a running task that is canceled ends, and its slot goes to the next one', async (t) => {
  const gateway = await openGateway(t, { slots: 1 })
  const running = await submit(gateway, script(ENDLESS))
  const next = await submit(gateway, script({ tokens: 3 }))
  await firstOf(gateway, running, isToken)

  await gateway.cancel(running, 'client')
  const events = await whole(gateway, running)

  assert.equal(outline(events), 'queued, started 1, canceled')
  assert.deepEqual(events.at(-1)?.type === 'canceled' && events.at(-1), { ...events.at(-1), by: 'client' })
  assert.equal(outline(await whole(gateway, next)), 'queued, started 1, completed')
})

test('an ended task stays as it ended', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, script({ tokens: 1 }))
  const events = await whole(gateway, record)

  const canceling = await gateway.cancel(record, 'client')

  assert.equal(canceling, false)
  assert.equal(record.state.status, 'completed')
  assert.deepEqual(await whole(gateway, record), events)
})

test('a task that is canceled twice ends once, by whoever asked first', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, script(ENDLESS))
  await firstOf(gateway, record, isToken)

  await Promise.all([gateway.cancel(record, 'admin'), gateway.cancel(record, 'client')])
  const events = await whole(gateway, record)

  assert.equal(outline(events), 'queued, started 1, canceled')
  assert.equal(events.at(-1)?.type === 'canceled' && (events.at(-1) as { by: string }).by, 'admin')
})

test('a task can be canceled before the model is loaded', async (t) => {
  const gateway = makeGateway(t)
  const record = await submit(gateway, script({ tokens: 1 }))

  await gateway.cancel(record, 'client')

  assert.equal(outline(await whole(gateway, record)), 'queued, canceled')
})

test('a running task that is over its deadline is canceled by it', async (t) => {
  const gateway = await openGateway(t)

  const record = await submit(gateway, script(ENDLESS, { deadlineMs: 100 }))
  const events = await whole(gateway, record)

  const end = events.at(-1)
  assert.deepEqual(end?.type === 'canceled' && end.by, 'deadline')
  assert.ok(events.some(isToken))
  assert.ok((end?.at ?? 0) - record.task.createdAt >= 99)
})

test('a waiting task that is over its deadline is canceled by it, without a start', async (t) => {
  const gateway = await openGateway(t, { slots: 1 })
  await submit(gateway, script(ENDLESS))

  const events = await whole(gateway, await submit(gateway, script({ tokens: 1 }, { deadlineMs: 20 })))

  assert.equal(outline(events), 'queued, canceled')
  assert.equal(events.at(-1)?.type === 'canceled' && (events.at(-1) as { by: string }).by, 'deadline')
})

test('a task that ends before its deadline is not touched by it', async (t) => {
  const gateway = await openGateway(t)
  const record = await submit(gateway, script({ tokens: 1 }, { deadlineMs: 100 }))
  await whole(gateway, record)

  const later = await whole(gateway, await submit(gateway, script(ENDLESS, { deadlineMs: 200 })))

  assert.equal(outline(later), 'queued, started 1, canceled')
  assert.equal(record.state.status, 'completed')
})
